"""What the fork server of `tests.processes` imports, once: the processes that it starts find it in place."""

import gc

import datasets  # noqa: F401
import peft  # noqa: F401
import reasoning_gym.factory  # noqa: F401
import transformers.models.llama.modeling_llama
import transformers.models.qwen2.modeling_qwen2  # noqa: F401

import tests.trl.tiny  # noqa: F401

gc.collect()
gc.freeze()  # as in tests/conftest.py

"""A real vLLM engine on this CPU, in colocate mode: one for each model, shared by all tests, since it starts in 8 s."""

from __future__ import annotations

import importlib.util
import os

import pytest

from tests.trl.tiny import build, make_model, make_tokenizer

os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
LAUNCHER = (
    "RANK",
    "LOCAL_RANK",
    "WORLD_SIZE",
)  # TRL sets them for vLLM; later trainers would take them for a launcher's


def missing() -> str | None:
    """Why there is no engine here, if there is none."""
    if importlib.util.find_spec("vllm") is None:
        return "vLLM is not installed: `make test-vllm` runs these tests in an environment of their own"
    from vllm.platforms import current_platform

    return None if current_platform.is_cpu() else "these tests need vLLM's CPU build: run `make test-vllm`"


def keep_weights(patch: pytest.MonkeyPatch) -> None:
    """Let linear layers keep the weights that TRL writes into; see docs/guides/vllm.md."""
    patch.setattr("vllm._custom_ops._supports_onednn", False)
    patch.setattr("vllm.model_executor.layers.utils.check_cpu_sgl_kernel", lambda *_: False)


def share_engines(patch: pytest.MonkeyPatch) -> None:
    """Give trainers on the same model the same engine; TRL writes a trainer's weights into it before it samples."""
    from trl.generation import vllm_generation

    start, engines = vllm_generation.LLM, {}

    def get(**settings):
        key = (settings["model"], settings["max_model_len"])
        if key not in engines:
            engines[key] = start(**settings)
        for name in LAUNCHER:
            os.environ.pop(name, None)
        return engines[key]

    patch.setattr(vllm_generation, "LLM", get)


def keep_engines(patch: pytest.MonkeyPatch) -> None:
    """Keep the engines of `echorl eval`: one that is collected takes the process groups of the others along."""
    import vllm

    start, kept = vllm.LLM, []

    def get(*args, **settings):
        kept.append(start(*args, **settings))
        return kept[-1]

    patch.setattr(vllm, "LLM", get)


@pytest.fixture(scope="session", autouse=True)
def engines():
    reason = missing()
    if reason:
        pytest.skip(reason)
    with pytest.MonkeyPatch.context() as patch:
        keep_weights(patch)
        share_engines(patch)
        keep_engines(patch)
        yield


@pytest.fixture(scope="session")
def vllm(engines, tmp_path_factory) -> dict:
    """Settings for `tiny.run` and `tiny.build`: the tiny model, sampled by vLLM."""
    folder = tmp_path_factory.mktemp("tiny-model")
    make_model(hidden=64).save_pretrained(folder)  # vLLM's CPU attention needs a head size of 32 or more
    make_tokenizer().save_pretrained(folder)
    settings = dict(model=str(folder), use_vllm=True, vllm_mode="colocate", vllm_max_model_length=64)
    build(tmp_path_factory.mktemp("start"), **settings)  # starting an engine sets random seeds: not inside a test
    return settings

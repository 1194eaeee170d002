"""The tests' own plug-ins for verl and vLLM, by entry points that conftest writes into a folder on PYTHONPATH."""

from __future__ import annotations

import os


def start() -> None:
    """Of verl: the CPU platform, gloo named once, copies of weights, and the stand-in for an engine if asked for."""
    import torch.distributed as dist

    from echorl.verl.plugin import after_import
    from tests.verl.support import cpu_platform  # noqa: F401

    init = dist.init_process_group

    def init_once(backend=None, *args, **kwargs):
        return init("cpu:gloo" if backend == "cpu:gloo,cpu:gloo" else backend, *args, **kwargs)

    dist.init_process_group = init_once
    after_import("verl.utils.fsdp_utils", "tests.verl.support.cpu_copies")
    if os.environ.get("ECHORL_TEST_STANDIN"):
        after_import("verl.trainer.ppo.v1", "tests.verl.support.standin")


def keep_weights() -> None:
    """Of vLLM: linear layers keep the weights that a sync writes into; docs/guides/vllm.md says why."""
    import vllm._custom_ops
    from vllm.model_executor.layers import utils

    vllm._custom_ops._supports_onednn = False
    utils.check_cpu_sgl_kernel = lambda *_: False


if os.environ.get("VERL_PLATFORM") == "cpu":
    start()

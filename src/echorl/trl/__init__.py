"""EchoRL in TRL: `EchoGRPOConfig` and `EchoGRPOTrainer`, to be used as TRL's `GRPOConfig` and `GRPOTrainer`."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from echorl.trl.versions import blaming_vllm, check_trl_version

if TYPE_CHECKING:
    from echorl.trl.config import EchoGRPOConfig
    from echorl.trl.trainer import EchoGRPOTrainer

__all__ = ["EchoGRPOConfig", "EchoGRPOTrainer"]


def __getattr__(name: str) -> Any:
    """Import the trainer when it is asked for, once TRL is known to fit, so that `versions` can be asked without it."""
    if name not in __all__:
        raise AttributeError(f"module 'echorl.trl' has no attribute {name!r}")
    check_trl_version()
    with blaming_vllm():
        return getattr(import_module("echorl.trl.config" if name == "EchoGRPOConfig" else "echorl.trl.trainer"), name)

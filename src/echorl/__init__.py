"""EchoRL (Bi et al., ICML 2026, arXiv 2605.31228) for RLVR: the pure functions. See `echorl.trl` for the trainer."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from echorl.core.config import EchoConfig
    from echorl.core.entropy import EntropyRecorder, logp_and_entropy, step_entropy
    from echorl.core.losses import as_advantages, echo_loss
    from echorl.core.mining import EchoClips, mine_echo_clips
    from echorl.core.steps import StepDelimiters, segment_steps

__version__ = "0.1.0"

__all__ = [
    "EchoClips",
    "EchoConfig",
    "EntropyRecorder",
    "StepDelimiters",
    "as_advantages",
    "echo_loss",
    "logp_and_entropy",
    "mine_echo_clips",
    "segment_steps",
    "step_entropy",
]

_MODULES = ("config", "entropy", "losses", "mining", "steps")


def __getattr__(name: str) -> Any:
    """Import a public name when it is asked for, so that `echorl --help` answers without torch."""
    if name not in __all__:
        raise AttributeError(f"module 'echorl' has no attribute {name!r}")
    modules = (import_module(f"echorl.core.{module}") for module in _MODULES)
    return next(getattr(module, name) for module in modules if hasattr(module, name))

"""EchoRL (Bi et al., ICML 2026, arXiv 2605.31228) for RLVR: the pure functions. See `echorl.trl` for the trainer."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from echorl.core.config import EchoConfig
    from echorl.core.entropy import EntropyRecorder, logp_and_entropy, step_entropy
    from echorl.core.losses import as_advantages, echo_loss
    from echorl.core.mining import EchoClips, mine_echo_clips
    from echorl.core.steps import StepDelimiters, segment_steps

__version__ = "0.1.0"

_HOMES = {
    "EchoClips": "mining",
    "EchoConfig": "config",
    "EntropyRecorder": "entropy",
    "StepDelimiters": "steps",
    "as_advantages": "losses",
    "echo_loss": "losses",
    "logp_and_entropy": "entropy",
    "mine_echo_clips": "mining",
    "segment_steps": "steps",
    "step_entropy": "entropy",
}
__all__ = list(_HOMES)


def __getattr__(name: str):
    """Import a function when it is asked for, so that `echorl --help` answers without torch."""
    if name not in _HOMES:
        raise AttributeError(f"module 'echorl' has no attribute {name!r}")
    return getattr(import_module(f"echorl.core.{_HOMES[name]}"), name)

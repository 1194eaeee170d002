"""Evaluation: completions are sampled and judged, and numbers get intervals."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from echorl.lab.evaluate.metrics import (
        Estimate,
        holm,
        item_majority,
        item_pass_at_k,
        mean_of_items,
        mean_of_runs,
        p_of_runs,
        paired_average,
        paired_runs,
        pass_at_1,
        standard_error,
    )
    from echorl.lab.evaluate.run import evaluate_model
    from echorl.lab.evaluate.sampling import Completions, ends_of, judge, sample
    from echorl.lab.options import Sampling

__all__ = [
    "Completions",
    "Estimate",
    "Sampling",
    "ends_of",
    "evaluate_model",
    "holm",
    "item_majority",
    "item_pass_at_k",
    "judge",
    "mean_of_items",
    "mean_of_runs",
    "p_of_runs",
    "paired_average",
    "paired_runs",
    "pass_at_1",
    "sample",
    "standard_error",
]

_MODULES = ("metrics", "run", "sampling")


def __getattr__(name: str) -> Any:
    """Import a public name when it is asked for, so that a benchmark's name is checked without torch."""
    if name not in __all__:
        raise AttributeError(f"module 'echorl.lab.evaluate' has no attribute {name!r}")
    modules = (import_module(f"{__name__}.{module}") for module in _MODULES)
    return next(getattr(module, name) for module in modules if hasattr(module, name))

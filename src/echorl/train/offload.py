"""The warning of gradient accumulation under DeepSpeed's CPU offload."""

from __future__ import annotations

from typing import Any


def offload_warning(plugin: Any, accumulation_steps: int) -> str | None:
    """Return a sentence where DeepSpeed keeps the optimizer on the CPU and gradients are accumulated, else None.

    Args:
        plugin: accelerate's `DeepSpeedPlugin`; None without DeepSpeed.
        accumulation_steps: micro-batches of an optimiser step.
    """
    if plugin is None or accumulation_steps == 1:
        return None
    if plugin.hf_ds_config.get_value("zero_optimization.offload_optimizer.device") != "cpu":
        return None
    return (
        "warning: DeepSpeed's CPU offload of the optimizer was found to lose micro-batches of a gradient accumulation, "
        f"here of {accumulation_steps} (arXiv 2604.23747): set gradient_accumulation_steps: 1, or train without the "
        "offload."
    )

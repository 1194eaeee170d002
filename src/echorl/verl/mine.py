"""From a scored batch of verl to EchoClips and metrics, by the functions of `core` that TRL's adapter uses, too."""

from __future__ import annotations

import torch
from torch import Tensor

from echorl.core.config import EchoConfig
from echorl.core.entropy import step_entropy
from echorl.core.mining import EchoClips, eligible_rollouts, entropy_threshold, mine_echo_clips, running_quantile
from echorl.core.statistics import KINDS
from echorl.core.steps import StepDelimiters, segment_steps
from echorl.verl.rollouts import Rollouts


def mine_rollouts(
    rollouts: Rollouts, config: EchoConfig, delimiters: StepDelimiters, *, floor: float | None = None, draw: int = 0
) -> tuple[EchoClips, Tensor]:
    """The batch's clips (`weights` float32 [N, T]) and the step ids int64 [N, T] that they were found with.

    Args:
        floor: the running quantile of step entropies, for `entropy_quantile`.
        draw: mixed into the random choices, so that they differ from batch to batch.

    Raises:
        RuntimeError: no pass gave the entropies.
    """
    step_ids = segment_steps(rollouts.token_ids, rollouts.mask, delimiters)
    clips = mine_echo_clips(
        _entropy(rollouts),
        step_ids,
        rollouts.success,
        rollouts.groups,
        config,
        has_verdict=rollouts.scored,
        threshold=floor,
        draw=draw,
    )
    return clips, step_ids


def next_floor(
    rollouts: Rollouts, config: EchoConfig, delimiters: StepDelimiters, before: float | None
) -> float | None:
    """The running quantile of the step entropies of all rollouts that can give a clip; None if none is asked for."""
    if config.entropy_quantile is None:
        return None
    possible = eligible_rollouts(rollouts.success, rollouts.groups, config, has_verdict=rollouts.scored)
    step_ids = segment_steps(rollouts.token_ids, rollouts.mask, delimiters)[possible]
    means = step_entropy(_entropy(rollouts)[possible], step_ids)
    return running_quantile(before, entropy_threshold(means, config.entropy_quantile))


def _entropy(rollouts: Rollouts) -> Tensor:
    if rollouts.entropy is None:
        raise RuntimeError("verl's old-log-prob pass left no field 'entropy', so EchoRL has nothing to rank steps by.")
    return rollouts.entropy


# In verl's loggers a name with "max", "min", "sum", "total" or "mean" in it is reduced accordingly over the updates of
# a step; all of these are averages.
def clip_metrics(rollouts: Rollouts, clips: EchoClips, step_ids: Tensor) -> dict[str, float]:
    """Clips of all-success and of other groups apart: what a clip is depends on the kind of its group."""
    kinds = rollouts.kinds.kind[rollouts.kinds.index]
    alone = kinds[clips.rollout] == KINDS.index("all_success")
    share = clips.length / (step_ids >= 0).sum(1)[clips.rollout].clamp(min=1)
    metrics = {}
    for name, part in (("all_success", alone), ("mixed", ~alone)):
        metrics[f"echo/clips/{name}"] = float(part.sum())
        if part.any():
            metrics[f"echo/clip_length/{name}"] = float(clips.length[part].float().mean())
            metrics[f"echo/clip_share/{name}"] = float(share[part].mean())
        known = part & clips.entropy.isfinite()  # whole rollouts (`full`) may have none, which is -inf
        if known.any():
            metrics[f"echo/clip_entropy/{name}"] = float(clips.entropy[known].mean())
    return metrics


def token_metrics(rollouts: Rollouts, delimiters: StepDelimiters) -> dict[str, float]:
    """The share of blank tokens and the mean entropy, over the tokens in the loss."""
    blank = delimiters.is_blank(rollouts.token_ids) & rollouts.mask
    entropy = _entropy(rollouts)
    known = rollouts.mask & entropy.isfinite()
    return {
        "echo/blank_share": float(blank.sum() / rollouts.mask.sum().clamp(min=1)),
        "echo/token_entropy": float(entropy[known].to(torch.float64).sum() / known.sum().clamp(min=1)),
    }

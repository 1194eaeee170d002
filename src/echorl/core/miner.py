"""`EchoMiner`: the EchoClips of one generation batch after another, and their metrics, in every adapter alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from echorl.core.communication import Communication, SingleProcess
from echorl.core.config import EchoConfig
from echorl.core.entropy import step_entropy, wide_dtype
from echorl.core.mining import (
    EchoClips,
    candidate_steps,
    choose_candidates,
    cut_clips,
    eligible_rollouts,
    entropy_threshold,
    needs_entropy,
    running_quantile,
)
from echorl.core.rollouts import Rollouts
from echorl.core.steps import StepDelimiters, segment_steps


@dataclass(frozen=True, eq=False)
class Mined:
    """The EchoClips of a generation batch.

    Attributes:
        clips: those of this process's B rollouts.
        step_ids: int64 [B, T], the steps that the rollouts were cut into.
        count: int64 scalar, what the echo's sum is divided by: the prompts (or clips) of all processes.
    """

    clips: EchoClips
    step_ids: Tensor
    count: Tensor


class EchoMiner:
    """Finds EchoClips by the settings of `config` and keeps the running quantile of step entropies.

    Args:
        delimiters: of the tokenizer; None where `config` mines nothing.

    Attributes:
        threshold: the running quantile of `entropy_quantile`; None before the first step that can give a clip.
    """

    def __init__(self, config: EchoConfig, delimiters: StepDelimiters | None) -> None:
        self.config, self.delimiters = config, delimiters
        self.threshold: float | None = None

    @property
    def needs_entropy(self) -> bool:
        """True where the choice of clips depends on entropies."""
        return self.config.mines and needs_entropy(self.config)

    def rows_to_score(self, rollouts: Rollouts) -> Tensor:
        """bool [B]: the rollouts that can give a clip; none where clips are not mined."""
        success, has_verdict = self._verdicts(rollouts)
        if not self.config.mines:
            return torch.zeros_like(success[rollouts.local])
        index = rollouts.groups.index
        return eligible_rollouts(success, index, self.config, has_verdict=has_verdict)[rollouts.local]

    def __call__(
        self,
        rollouts: Rollouts,
        entropy: Tensor,
        comm: Communication | None = None,
        *,
        draw: int = 0,
        first_row: int = 0,
    ) -> Mined:
        """Return the clips of this process's rollouts; processes exchange one number for each candidate step.

        Args:
            entropy: [B, T] token entropies in nats; NaN where unknown.
            draw: mixed into the random choices, so that they differ from batch to batch.
            first_row: rollouts of all processes in earlier rounds of sampling of this batch.
        """
        comm = comm or SingleProcess()
        config, index, local = self.config, rollouts.groups.index, rollouts.local
        step_ids = segment_steps(rollouts.token_ids, rollouts.in_loss, self._delimiters)
        candidates = candidate_steps(
            entropy,
            step_ids,
            config,
            row_ids=torch.arange(local.start, local.stop, device=step_ids.device) + first_row,
            threshold=self._next_threshold(rollouts, entropy, step_ids, comm),
            draw=draw,
        )
        success, has_verdict = self._verdicts(rollouts)
        scores = comm.gather(candidates.score.contiguous())
        chosen = choose_candidates(scores, success, index, config, has_verdict=has_verdict)
        clips = cut_clips(step_ids, candidates, chosen[local], index[local], config)
        count = (
            chosen.sum() if config.average_over == "clip" else torch.tensor(len(rollouts.groups), device=index.device)
        )
        return Mined(clips=clips, step_ids=step_ids, count=count)

    def _next_threshold(
        self, rollouts: Rollouts, entropy: Tensor, step_ids: Tensor, comm: Communication
    ) -> float | None:
        """Move the running quantile by the step entropies of all rollouts that can give a clip, and return it."""
        if self.config.entropy_quantile is None:
            return None
        rows = self.rows_to_score(rollouts)
        means = comm.gather_uneven(step_entropy(entropy[rows], step_ids[rows]).flatten(), -torch.inf)
        self.threshold = running_quantile(self.threshold, entropy_threshold(means, self.config.entropy_quantile))
        return self.threshold

    def _verdicts(self, rollouts: Rollouts) -> tuple[Tensor, Tensor]:
        """`success` and `has_verdict` of what may be mined: no text that the policy did not sample."""
        return rollouts.success & rollouts.from_policy, rollouts.has_verdict & rollouts.from_policy

    @property
    def _delimiters(self) -> StepDelimiters:
        if self.delimiters is None:
            raise ValueError("EchoMiner was made without delimiters: give StepDelimiters.from_tokenizer(tokenizer).")
        return self.delimiters

    def metrics(
        self, rollouts: Rollouts, entropy: Tensor, mined: Mined, comm: Communication | None = None
    ) -> dict[str, float]:
        """Return the metrics of a mined batch over all processes, the same on each."""
        comm = comm or SingleProcess()
        metrics = clip_metrics(rollouts, mined, comm)
        metrics |= token_metrics(rollouts, entropy, self._delimiters.is_blank(rollouts.token_ids), comm)
        return metrics if self.threshold is None else {**metrics, "echo/entropy_threshold": self.threshold}

    def state_dict(self) -> dict[str, Any]:
        return {"threshold": self.threshold}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.threshold = state["threshold"]


def clip_metrics(rollouts: Rollouts, mined: Mined, comm: Communication) -> dict[str, float]:
    """Return counts and means of the clips, of all-success groups and of others, whose clips mean something else."""
    clips, local = mined.clips, rollouts.local
    share = clips.length / (mined.step_ids >= 0).sum(1)[clips.rollout].clamp(min=1)
    all_success = rollouts.all_success[local][clips.rollout]
    is_finite = clips.entropy.isfinite()  # a whole rollout (`select="full"`) may have no entropy, which is -inf
    columns = (clips.length, share, clips.entropy.where(is_finite, 0.0), is_finite)
    sums = [torch.stack([part.sum(), *(x[part].sum() for x in columns)]) for part in (all_success, ~all_success)]
    metrics = {}
    for name, row in zip(("all_success", "mixed"), comm.sum(torch.stack(sums)).tolist(), strict=True):
        num, length, share_sum, entropy_sum, num_finite = row
        metrics[f"echo/clips/{name}"] = num
        if num:
            metrics[f"echo/clip_length/{name}"] = length / num
            metrics[f"echo/clip_share/{name}"] = share_sum / num
        if num_finite:
            metrics[f"echo/clip_entropy/{name}"] = entropy_sum / num_finite
    return metrics


def token_metrics(rollouts: Rollouts, entropy: Tensor, blank: Tensor, comm: Communication) -> dict[str, float]:
    """Return the share of blank tokens among the policy's tokens in the loss, and the mean of their finite entropies.

    `blank` is bool [B, T]. Rollouts of blank tokens alone count, too.
    """
    tokens = rollouts.in_loss & rollouts.from_policy[rollouts.local].unsqueeze(1)
    with_entropy = tokens & entropy.isfinite()
    total = entropy[with_entropy].to(wide_dtype(entropy.device)).sum()
    sums = comm.sum(torch.stack([(blank & tokens).sum(), tokens.sum(), total, with_entropy.sum()]))
    num_blank, num_tokens, entropy_sum, num_with_entropy = sums.tolist()
    metrics = {"echo/blank_share": num_blank / max(1.0, num_tokens)}
    return metrics | ({"echo/token_entropy": entropy_sum / num_with_entropy} if num_with_entropy else {})

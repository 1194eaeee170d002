"""Mining: from step entropies to EchoClips.

`mine_echo_clips` does it in one call. Where groups are spread over processes, its three parts are called one by one:
`candidate_steps` (on the rollouts of each process), `choose_candidates` (on the gathered scores, with the same result
on every process) and `cut_clips` (on the rollouts of each process).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from echorl.core.config import EchoConfig
from echorl.core.entropy import step_entropy, step_lengths
from echorl.core.groups import number_groups
from echorl.core.refusals import check_tensors
from echorl.core.steps import row_blocks

QUANTILE_DECAY = 0.9  # of the running quantile of step entropies, per generation batch (or round of one)


@dataclass(frozen=True, eq=False)
class EchoClips:
    """The EchoClips of a batch: `weights` for the loss, and one entry a clip (C of them, by rollout, then by step).

    Attributes:
        weights: float32 [B, T], 1/L on a clip's L tokens (or 1/max_completion_length), 0 elsewhere; overlaps add up.
        rollout: int64 [C], the row that holds the clip.
        step: int64 [C], the step that ends it.
        end: int64 [C], one past the position of its last token.
        length: int64 [C], L, its tokens (gaps in the mask do not count).
        entropy: float32 [C], the mean token entropy of `step`, in nats; -inf where none is known (`full`).
        group: [C], the group id of its rollout.
    """

    weights: Tensor
    rollout: Tensor
    step: Tensor
    end: Tensor
    length: Tensor
    entropy: Tensor
    group: Tensor

    def __len__(self) -> int:
        return self.rollout.numel()

    def longest(self) -> dict[int, tuple[int, int, float]]:
        """Return row -> (end, step, entropy) of the longest clip of each rollout that has one."""
        columns = (column.tolist() for column in (self.rollout, self.end, self.step, self.entropy))
        return {row: (end, step, entropy) for row, end, step, entropy in zip(*columns, strict=True)}


@dataclass(frozen=True, eq=False)
class StepCandidates:
    """The `top_k` steps of each rollout that could end a clip, best first; all [B, top_k].

    Attributes:
        score: float32, the larger the better, -inf where the rollout has no further candidate.
        step: int64 step numbers.
        entropy: float32 mean token entropies of these steps.
    """

    score: Tensor
    step: Tensor
    entropy: Tensor


def mine_echo_clips(
    entropy: Tensor,
    step_ids: Tensor,
    success: Tensor,
    group_ids: Tensor,
    config: EchoConfig | None = None,
    *,
    has_verdict: Tensor | None = None,
    threshold: float | None = None,
    draw: int = 0,
) -> EchoClips:
    """Find each prompt's EchoClip: s* = argmax of the mean entropy over all steps of its successful rollouts.

    The clip runs from the rollout's first token to the last token of s*. Ties go to the lowest row, then the earliest
    step. Groups without a success, or whose successes have no step, give no clip.

    Args:
        entropy: [B, T] token entropies in nats at the sampling temperature, any floating type.
        step_ids: int64 [B, T] from `segment_steps`. Set a row to -1 to keep it from giving a clip.
        success: bool [B], the verifier's verdict.
        group_ids: int [B], equal for the rollouts of one prompt; any values, any group sizes, any order.
        config: the settings; the paper's if not given.
        has_verdict: bool [B], false where no verifier gave a verdict: such rows do not count in their group.
        threshold: for `entropy_quantile`, the least step entropy (a running one). If not given, the quantile of all
            steps of this batch's rollouts that may give a clip.
        draw: mixed into the random choices, so that they differ from batch to batch.

    Returns:
        `EchoClips`; with no clip, `weights` is all zero and the other fields are empty.

    Raises:
        ValueError: an argument is no tensor, shapes do not fit, `success` is not bool (a reward is no verdict: -1 would
            count as a success), a group id is NaN, or a step number is below -1.

    >>> import torch
    >>> steps = torch.tensor([[0, 0, 1, 1], [0, 0, 0, 1]])
    >>> entropy = torch.tensor([[0.1, 0.1, 0.9, 0.5], [0.2, 0.2, 0.2, 3.0]])
    >>> clips = mine_echo_clips(entropy, steps, torch.tensor([True, False]), torch.tensor([7, 7]))
    >>> clips.weights, clips.end.tolist()
    (tensor([[0.2500, 0.2500, 0.2500, 0.2500],
            [0.0000, 0.0000, 0.0000, 0.0000]]), [4])
    """
    _check_batch(entropy, step_ids, success, group_ids)
    config = config or EchoConfig()
    if config.entropy_quantile is not None and threshold is None:
        eligible = eligible_rollouts(success, group_ids, config, has_verdict=has_verdict)
        threshold = entropy_threshold(step_entropy(entropy[eligible], step_ids[eligible]), config.entropy_quantile)
    candidates = candidate_steps(entropy, step_ids, config, threshold=threshold, draw=draw)
    chosen = choose_candidates(candidates.score, success, group_ids, config, has_verdict=has_verdict)
    return cut_clips(step_ids, candidates, chosen, group_ids, config)


def _check_batch(entropy: Tensor, step_ids: Tensor, success: Tensor, group_ids: Tensor) -> None:
    check_tensors(entropy=entropy, step_ids=step_ids, success=success, group_ids=group_ids)
    if success.dtype != torch.bool:
        raise ValueError(f"success is {success.dtype}, not bool: give a verdict a rollout, such as rewards >= 1.0.")
    shapes = [tuple(tensor.shape) for tensor in (entropy, step_ids, success, group_ids)]
    if len(shapes[0]) != 2 or shapes[1] != shapes[0] or shapes[2:] != [shapes[0][:1]] * 2:
        raise ValueError(
            f"entropy {shapes[0]}, step_ids {shapes[1]}, success {shapes[2]} and group_ids {shapes[3]} do not fit: "
            "give [B, T], [B, T], [B] and [B]."
        )


def candidate_steps(
    entropy: Tensor,
    step_ids: Tensor,
    config: EchoConfig,
    *,
    row_ids: Tensor | None = None,
    threshold: float | None = None,
    draw: int = 0,
) -> StepCandidates:
    """Return the best `top_k` steps of each rollout, with or without success. Shapes as in `mine_echo_clips`.

    Steps without a token of known (finite) entropy are no candidates, but for the last one of a whole rollout.

    Args:
        row_ids: int64 [B], the rows' numbers in the batch over all processes; feeds the random choices.
        threshold: for `entropy_quantile`, the least step entropy; any if not given.
    """
    means = step_entropy(entropy, step_ids)
    if row_ids is None:
        row_ids = torch.arange(means.shape[0], device=means.device)
    allowed = _allowed(means, step_ids, config, threshold)
    scores = _scores(means, config, row_ids, draw).masked_fill(~allowed, -torch.inf)
    return _best(scores, means, config.top_k)


def _allowed(means: Tensor, step_ids: Tensor, config: EchoConfig, threshold: float | None) -> Tensor:
    """bool [B, K]: the steps that may end a clip."""
    allowed = means.isfinite() if needs_entropy(config) else torch.ones_like(means, dtype=torch.bool)
    if config.min_step_tokens > 1:
        allowed &= step_lengths(step_ids, means.shape[1]) >= config.min_step_tokens
    if config.entropy_quantile is not None and threshold is not None:
        allowed &= means >= threshold
    if config.max_step_entropy is not None:
        allowed &= ~(means > config.max_step_entropy).any(1, keepdim=True)
    if config.select == "full":  # the rollout's last step, allowed or not, so that the clip is all of it
        exists = step_lengths(step_ids, means.shape[1]) > 0
        count = exists.cumsum(1)
        allowed = exists & (count == count[:, -1:]) & (exists & allowed).any(1, keepdim=True)
    return allowed


def needs_entropy(config: EchoConfig) -> bool:
    """Return whether the choice of clips depends on entropies: not where whole rollouts are chosen by chance."""
    return config.select != "full" or config.entropy_quantile is not None or config.max_step_entropy is not None


def entropy_threshold(means: Tensor, quantile: float) -> float:
    """Return the quantile of all finite step entropies [B, K]; -inf where there is none."""
    values = means[means.isfinite()]
    # torch.quantile refuses more than 2^24 values; kthvalue does not.
    rank = max(1, round(quantile * values.numel()))
    return float(values.kthvalue(rank).values) if values.numel() else -torch.inf


def running_quantile(previous: float | None, quantile: float) -> float | None:
    """Return the next running quantile, given the previous one and a batch's; each may be missing (None, -inf)."""
    if quantile == -torch.inf:
        return previous
    return quantile if previous is None else QUANTILE_DECAY * previous + (1 - QUANTILE_DECAY) * quantile


def _scores(means: Tensor, config: EchoConfig, row_ids: Tensor, draw: int) -> Tensor:
    """Return float32 [B, K], the scores by which `select` ranks the steps, the largest first."""
    if config.select == "max_entropy":
        return means
    if config.select == "min_entropy":
        return -means
    steps = torch.arange(means.shape[1], device=means.device)
    if config.select == "full":  # one candidate a rollout: chance decides between rollouts alone
        steps = torch.zeros_like(steps)
    return _uniform(row_ids.unsqueeze(1), steps, config.seed, draw)


def _uniform(rows: Tensor, steps: Tensor, seed: int, draw: int) -> Tensor:
    """float32 in [0, 1) from a hash of (seed, draw, row, step): no generator, so alike on every process and device."""
    bits = _mix(rows.to(torch.int64))  # mixed first: rows + steps would give (0, 1) and (1, 0) the same number
    for salt in (steps.to(torch.int64), seed, draw):
        bits = _mix(bits + salt)
    return (bits & 0xFFFFFF).float() / (1 << 24)


def _mix(bits: Tensor) -> Tensor:
    """One round of an integer hash (the finaliser of splitmix64, with int64's wrap-around)."""
    bits = bits * -0x61C8864680B583EB + 0x1B873593
    bits = (bits ^ (bits >> 30)) * -0x40A7B892E31B1A47
    bits = (bits ^ (bits >> 27)) * -0x6B2FB644ECCEEE15
    return bits ^ (bits >> 31)


def _best(scores: Tensor, means: Tensor, top_k: int) -> StepCandidates:
    missing = max(0, top_k - scores.shape[1])
    scores = torch.nn.functional.pad(scores, (0, missing), value=-torch.inf)
    means = torch.nn.functional.pad(means, (0, missing), value=-torch.inf)
    if top_k == 1:  # argmax gives the first of equal values
        step = scores.argmax(1, keepdim=True)
    else:
        step = scores.sort(dim=1, descending=True, stable=True).indices[:, :top_k]
    return StepCandidates(score=scores.gather(1, step), step=step, entropy=means.gather(1, step))


def choose_candidates(
    score: Tensor, success: Tensor, group_ids: Tensor, config: EchoConfig, *, has_verdict: Tensor | None = None
) -> Tensor:
    """Return bool [N, top_k], the candidates that become clips; `score` is of the rollouts of all processes."""
    eligible = eligible_rollouts(success, group_ids, config, has_verdict=has_verdict)
    score = score.masked_fill(~eligible.unsqueeze(1), -torch.inf)
    if config.clip_per == "rollout":
        return score > -torch.inf
    group, _ = number_groups(group_ids)
    return _top_of_groups(score, group, config.top_k)


def eligible_rollouts(
    success: Tensor, group_ids: Tensor, config: EchoConfig, *, has_verdict: Tensor | None = None
) -> Tensor:
    """Return V, bool [N], the rollouts that may give a clip: the successes, or those of all-success groups."""
    success = success.bool()
    if config.scope == "verified":
        return success
    group, _ = number_groups(group_ids)
    failed = ~success if has_verdict is None else ~success & has_verdict.bool()
    num_failed = torch.zeros_like(group).scatter_add_(0, group, failed.long())
    return success & (num_failed[group] == 0)


def _top_of_groups(score: Tensor, group: Tensor, top_k: int) -> Tensor:
    """bool [N, k]: the `top_k` largest finite scores of each group; ties go to the first in row order."""
    flat = score.flatten()
    owner = group.repeat_interleave(score.shape[1])
    order = flat.sort(descending=True, stable=True).indices
    order = order[owner[order].sort(stable=True).indices]
    sizes = torch.bincount(owner)
    starts = sizes.cumsum(0) - sizes
    rank = torch.arange(flat.numel(), device=flat.device) - starts[owner[order]]
    chosen = torch.zeros_like(flat, dtype=torch.bool)
    chosen[order] = rank < top_k
    return (chosen & (flat > -torch.inf)).view_as(score)


def cut_clips(
    step_ids: Tensor, candidates: StepCandidates, chosen: Tensor, group_ids: Tensor, config: EchoConfig
) -> EchoClips:
    """Turn the chosen candidates [B, top_k] of these rollouts into clips and weights. Empty where none is chosen."""
    rollout, slot = chosen.nonzero(as_tuple=True)
    last = int(candidates.step.max()) + 1 if len(rollout) else 1
    order = (rollout * last + candidates.step[rollout, slot]).argsort()
    rollout, slot = rollout[order], slot[order]
    step = candidates.step[rollout, slot]
    weights = torch.zeros(step_ids.shape, dtype=torch.float32, device=step_ids.device)
    length, end = torch.empty_like(step), torch.empty_like(step)
    positions = torch.arange(1, step_ids.shape[1] + 1, device=step_ids.device)
    for clips in row_blocks(len(step), step_ids.shape[1], step_ids.device):
        rows = step_ids[rollout[clips]]
        inside = (rows >= 0) & (rows <= step[clips].unsqueeze(1))
        length[clips], end[clips] = inside.sum(1), (inside * positions).amax(1)
        norm = length[clips].unsqueeze(1)
        if config.length_norm == "constant":
            norm = torch.full_like(norm, config.max_completion_length or 1)
        # index_put_, unlike index_add_, adds overlapping clips in the same order every time, on CUDA too.
        weights.index_put_((rollout[clips],), inside / norm, accumulate=True)
    return EchoClips(
        weights=weights,
        rollout=rollout,
        step=step,
        end=end,
        length=length,
        entropy=candidates.entropy[rollout, slot],
        group=group_ids[rollout],
    )

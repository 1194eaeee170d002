"""From a scored generation batch to `echo_weights` and metrics, over all processes; and an optimiser step's metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from echorl.core.entropy import step_entropy
from echorl.core.ledger import KINDS
from echorl.core.mining import EchoClips, candidate_steps, choose_candidates, cut_clips, entropy_threshold
from echorl.core.steps import segment_steps
from echorl.trl import gradients, rollouts
from echorl.trl.sources import GenerationCapture, read_entropies
from echorl.trl.verdicts import Verdicts, judge

if TYPE_CHECKING:
    from echorl.trl.trainer import EchoGRPOTrainer

FLOOR_DECAY = 0.9  # of the running quantile of step entropies, per generation batch


def annotate(trainer: EchoGRPOTrainer, out: dict[str, Any], capture: GenerationCapture) -> None:
    """Write the ledger and, unless coef is 0, add `echo_weights`, `echo_count` and `echo_informative` to TRL's batch.

    All three are tensors, there every time, so that TRL's shuffle and split carry them along.
    """
    if trainer.verifiers is None:
        return
    verdicts = _verdicts(trainer, out, capture)
    _record(trainer, verdicts, capture)
    if trainer.echo.coef == 0:
        return
    mine_rows = local_rows(trainer, out["completion_ids"].shape[0])
    step_ids = _step_ids(trainer, out)
    entropy, source = read_entropies(trainer, out, capture, _can_give_clip(trainer, verdicts)[mine_rows])
    clips, count = _mine(trainer, entropy, step_ids, verdicts, mine_rows)
    out["echo_weights"] = clips.weights
    out["echo_count"] = count.float()
    out["echo_informative"] = verdicts.informative[mine_rows]
    trainer.receipt.open(clips.weights, trainer.args.steps_per_generation)
    trainer.add_metric(f"entropy_source/{source}", 1.0)
    _log_clips(trainer, out, clips, step_ids, entropy, verdicts.kinds.kind[verdicts.kinds.group[mine_rows]])
    rollouts.dump_if_due(trainer, out, capture, verdicts, mine_rows, step_ids, entropy, clips)


def local_rows(trainer: EchoGRPOTrainer, size: int) -> slice:
    """This process's rows among the rollouts of all processes."""
    start = trainer.accelerator.process_index * size
    return slice(start, start + size)


def _verdicts(trainer: EchoGRPOTrainer, out: dict[str, Any], capture: GenerationCapture) -> Verdicts:
    rewards = capture.rewards
    if bool(rewards.isnan().all()):
        raise ValueError(
            f"reward function(s) {', '.join(trainer.reward_func_names)} returned None for every rollout of a batch: "
            "nothing can be learned; a verifier must return a number for the rows it knows."
        )
    total = (rewards * trainer.reward_weights.to(rewards.device)).nansum(1)
    total = total.masked_fill(rewards.isnan().all(1), torch.nan)
    summed = trainer.multi_objective_aggregation == "sum_then_normalize"
    kept = trainer.accelerator.gather(out["completion_mask"].any(1)) if trainer.mask_truncated_completions else None
    verdicts = judge(
        rewards,
        trainer.verifiers,
        success_reward=trainer.echo.success_reward,
        num_generations=trainer.num_generations,
        advantages_from=total if summed else rewards,
        kept=kept,
    )
    if not bool(verdicts.scored.any()):
        trainer.warn_once("unscored", "the named verifier(s) returned None for a whole batch: it gives no EchoClip.")
    return verdicts


def _record(trainer: EchoGRPOTrainer, verdicts: Verdicts, capture: GenerationCapture) -> None:
    lengths = torch.tensor(capture.lengths, device=verdicts.success.device)
    shares = trainer.ledger.record(verdicts.kinds, trainer.accelerator.gather(lengths))
    for name, share in shares.items():
        trainer.add_metric(name, share)
    trainer.add_metric("frac_degenerate", float(verdicts.kinds.degenerate.float().mean()))


def _can_give_clip(trainer: EchoGRPOTrainer, verdicts: Verdicts) -> Tensor:
    """bool [N]: successes, in all-success groups only if the scope says so."""
    if trainer.echo.scope == "verified":
        return verdicts.success
    return verdicts.success & (verdicts.kinds.kind == KINDS.index("all_success"))[verdicts.kinds.group]


def _step_ids(trainer: EchoGRPOTrainer, out: dict[str, Any]) -> Tensor:
    mask = out["completion_mask"] * out["tool_mask"] if "tool_mask" in out else out["completion_mask"]
    step_ids = segment_steps(out["completion_ids"], mask, trainer.delimiters)
    ratio = out.get("importance_sampling_ratio")
    if ratio is not None and ratio.shape[1] == 1:  # rows that the sequence-level correction has set to zero
        step_ids = step_ids.masked_fill(ratio == 0, -1)
    return step_ids


def _mine(
    trainer: EchoGRPOTrainer, entropy: Tensor, step_ids: Tensor, verdicts: Verdicts, mine_rows: slice
) -> tuple[EchoClips, Tensor]:
    """This process's clips, and what the loss is divided by (prompts or clips of all processes)."""
    config, gather = trainer.echo, trainer.accelerator.gather
    candidates = candidate_steps(
        entropy,
        step_ids,
        config,
        row_ids=torch.arange(mine_rows.start, mine_rows.stop, device=step_ids.device),
        threshold=_update_floor(trainer, entropy, step_ids),
        draw=trainer._step,
    )
    # One number a candidate crosses processes; the winner is then chosen everywhere alike.
    scores = gather(candidates.score.contiguous())
    chosen = choose_candidates(scores, verdicts.success, verdicts.groups, config, scored=verdicts.scored)
    clips = cut_clips(step_ids, candidates, chosen[mine_rows], verdicts.groups[mine_rows], config)
    return clips, chosen.sum() if config.average_over == "clip" else verdicts.groups[-1] + 1


def _update_floor(trainer: EchoGRPOTrainer, entropy: Tensor, step_ids: Tensor) -> float | None:
    """The running quantile of step entropies, over all processes' rollouts; the first batch starts it."""
    quantile = trainer.echo.entropy_quantile
    if quantile is None:
        return None
    means = step_entropy(entropy, step_ids).flatten()
    padded = trainer.accelerator.pad_across_processes(means, dim=0, pad_index=-torch.inf)
    now = entropy_threshold(trainer.accelerator.gather(padded), quantile)
    before = trainer.entropy_floor
    trainer.entropy_floor = now if before is None else FLOOR_DECAY * before + (1 - FLOOR_DECAY) * now
    trainer.add_metric("entropy_floor", trainer.entropy_floor)
    return trainer.entropy_floor


def _log_clips(
    trainer: EchoGRPOTrainer, out: dict[str, Any], clips: EchoClips, step_ids: Tensor, entropy: Tensor, kinds: Tensor
) -> None:
    """Clips of all-success and of other groups apart: what a clip is depends on the kind of its group."""
    inside = step_ids >= 0
    share = clips.length / inside.sum(1)[clips.rollout].clamp(min=1)
    alone = kinds[clips.rollout] == KINDS.index("all_success")
    parts = [alone, ~alone]
    sums = [torch.stack([p.sum(), *(x[p].sum() for x in (clips.length, share, clips.entropy))]) for p in parts]
    blank = trainer.delimiters.blank[out["completion_ids"].clamp(max=trainer.delimiters.blank.numel() - 1)] & inside
    finite = inside & entropy.isfinite()
    tokens = torch.stack([blank.sum(), inside.sum(), entropy[finite].float().sum(), finite.sum()])
    local = torch.cat([*sums, tokens]).double()
    totals = trainer.accelerator.reduce(local, reduction="sum").tolist()
    for name, (num, length, share_sum, entropy_sum) in (("all_success", totals[0:4]), ("mixed", totals[4:8])):
        trainer.add_metric(f"clips/{name}", num)
        if num:
            trainer.add_metric(f"clip_length/{name}", length / num)
            trainer.add_metric(f"clip_share/{name}", share_sum / num)
            trainer.add_metric(f"clip_entropy/{name}", entropy_sum / num)
    trainer.add_metric("blank_share", totals[8] / max(1.0, totals[9]))
    trainer.add_metric("token_entropy", totals[10] / max(1.0, totals[11]))


def close_window(trainer: EchoGRPOTrainer) -> None:
    """Metrics of an optimiser step, once its gradients are complete; sets `window_is_alone` for `when_alone`."""
    sums, echo_grads = trainer.window.close()
    nll, mass, informative = trainer.accelerator.reduce(sums, reduction="sum").tolist()
    trainer.window_is_alone = informative == 0
    trainer.add_metric("alone", float(trainer.window_is_alone))
    trainer.add_metric("coef", trainer.echo.coef_at(trainer.state.global_step))
    if mass:
        trainer.add_metric("nll", nll / mass)
    if echo_grads is not None:
        gradients.log_norms(trainer, echo_grads)
    if trainer.window_is_alone and mass and trainer.echo.when_alone == "allow":
        trainer.warn_once(
            "alone",
            "an optimiser step had no policy gradient: every group in it was degenerate, so its gradient is the echo's "
            "alone and an adaptive optimiser can make a full-size step of it at any echo_coef. See echo_when_alone.",
        )

"""From a scored generation batch to `echo_weights` and metrics, over all processes; and an optimiser step's metrics."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from echorl.core.entropy import step_entropy, wide_dtype
from echorl.core.ledger import KINDS
from echorl.core.mining import (
    EchoClips,
    candidate_steps,
    choose_candidates,
    cut_clips,
    eligible_rollouts,
    entropy_threshold,
    needs_entropy,
    running_floor,
)
from echorl.core.steps import segment_steps
from echorl.methods.base import Batch
from echorl.methods.rules import apply_advantages, apply_token_advantages, excluded_rows, rows_with_gradient
from echorl.trl import rollouts
from echorl.trl.parts.left_out import leave_out, log_advantages
from echorl.trl.sources import GenerationCapture, read_entropies
from echorl.trl.verdicts import Verdicts, judge
from echorl.trl.without_policy_gradient import other_gradients

if TYPE_CHECKING:
    from echorl.trl.trainer import EchoGRPOTrainer


def annotate(trainer: EchoGRPOTrainer, out: dict[str, Any], capture: GenerationCapture) -> None:
    """Write the ledger; where clips are mined, add `echo_weights`, `echo_count` and `echo_informative` to TRL's batch.

    All three are tensors, there every time, so that TRL's shuffle and split carry them along. The method's changes of
    the advantages, and what its part adds, come first; what leaves the policy loss, last.
    """
    own_rows = local_rows(trainer, out["completion_ids"].shape[0])
    verdicts = _verdicts(trainer, out, capture)
    batch = _batch(trainer, capture.rewards, verdicts)
    informative = _apply_method(trainer, out, batch, own_rows)
    trainer.add_metric("frac_degenerate", float(verdicts.kinds.degenerate.float().mean()))
    if trainer.verifiers is not None:
        _record(trainer, verdicts, out, capture)
    if trainer.wants_entropy:
        _use_entropies(trainer, out, capture, verdicts, batch, informative)
    if trainer.method.leaves_out:
        leave_out(trainer, out, excluded_rows(trainer.method, batch), own_rows)


def _use_entropies(
    trainer: EchoGRPOTrainer,
    out: dict[str, Any],
    capture: GenerationCapture,
    verdicts: Verdicts,
    batch: Batch,
    informative: Tensor,
) -> None:
    """What the method makes of token entropies, and the EchoClips."""
    own_rows = local_rows(trainer, len(informative))
    in_loss, minable = _in_loss(out), _without_demonstrations(trainer, verdicts)
    entropy, possible = _entropies(trainer, out, capture, minable, batch, own_rows)
    if trainer.method.needs_entropy:
        rows, before = batch.rows(own_rows), out["advantages"].unsqueeze(1)
        out["advantages"] = apply_token_advantages(trainer.method, out["advantages"], entropy, in_loss, rows)
        changed = (out["advantages"] != before) & (out["advantages"] != 0) & in_loss
        informative = informative | changed.any(1)
        means = (out["advantages"] * in_loss).sum(1) / in_loss.sum(1).clamp(min=1)
        log_advantages(trainer, trainer.accelerator.gather(means))
    if not trainer.echo.mines:
        return
    step_ids = segment_steps(out["completion_ids"], in_loss, trainer.delimiters)
    clips, count = _mine(trainer, entropy, step_ids, minable, own_rows, possible)
    out["echo_weights"] = clips.weights
    out["echo_count"] = count.float()
    scorable = ~capture.rewards[own_rows].isnan().all(1)
    out["echo_informative"] = informative.float() * (in_loss.any(1) & scorable)
    _show(trainer, rollouts.Mined(out, capture, verdicts, own_rows, step_ids, entropy, clips), in_loss)


def _entropies(
    trainer: EchoGRPOTrainer,
    out: dict[str, Any],
    capture: GenerationCapture,
    minable: Verdicts,
    batch: Batch,
    own_rows: slice,
) -> tuple[Tensor, Tensor]:
    """Entropies [B, T] of the rollouts that EchoRL or the method wants; and bool [B], those that can give a clip."""
    possible = torch.zeros_like(batch.success[own_rows])
    if trainer.echo.mines:
        possible = eligible_rollouts(minable.success, minable.groups, trainer.echo, scored=minable.scored)[own_rows]
    wanted = possible | trainer.method.entropy_rows(batch)[own_rows]
    needed = trainer.method.needs_entropy or needs_entropy(trainer.echo)
    needed = needed or rollouts.is_due(trainer)  # a dump shows them
    entropy, source = read_entropies(trainer, out, capture, wanted, needed=needed)
    trainer.add_metric(f"entropy_source/{source}", 1.0)
    return entropy, possible


def _show(trainer: EchoGRPOTrainer, mined: rollouts.Mined, in_loss: Tensor) -> None:
    """Metrics of the clips and tokens; dumps and tables where they are due."""
    verdicts, own_rows, step_ids = mined.verdicts, mined.own_rows, mined.step_ids
    _log_clips(trainer, mined.clips, step_ids, verdicts.kinds.kind[verdicts.kinds.group[own_rows]])
    own = in_loss & verdicts.written[own_rows].unsqueeze(1)
    _log_tokens(trainer, mined.out["completion_ids"], own, mined.entropy)
    rollouts.dump_if_due(trainer, mined)
    if trainer.log_completions:
        trainer.log_columns(rollouts.logged_rows(trainer._tokenizer, mined))


def local_rows(trainer: EchoGRPOTrainer, size: int) -> slice:
    """This process's rows among the rollouts of all processes."""
    start = trainer.accelerator.process_index * size
    return slice(start, start + size)


def _batch(trainer: EchoGRPOTrainer, rewards: Tensor, verdicts: Verdicts) -> Batch:
    """What a method's rules see of the rollouts of all processes."""
    total = (rewards * trainer.reward_weights.to(rewards.device)).nansum(1)
    total = total.masked_fill(rewards.isnan().all(1), torch.nan)
    return Batch(rewards=total, success=verdicts.success, scored=verdicts.scored, kinds=verdicts.kinds)


def _apply_method(trainer: EchoGRPOTrainer, out: dict[str, Any], batch: Batch, own_rows: slice) -> Tensor:
    """The method's own advantages in place of TRL's, where it has any; then the part's changes.

    Returns bool [B], this process's rollouts with a policy gradient.
    """
    given = trainer.accelerator.gather(out["advantages"])
    ruled = apply_advantages(trainer.method, given, batch)
    advantages = trainer.part.judged(ruled, batch)
    if advantages is not given:
        out["advantages"] = advantages[own_rows]
    log_advantages(trainer, advantages.masked_fill(excluded_rows(trainer.method, batch), 0.0))
    trainer.part.annotate(out)
    informative = rows_with_gradient(trainer.method, given, batch) if advantages is ruled else advantages != 0
    return informative[own_rows]


def _without_demonstrations(trainer: EchoGRPOTrainer, verdicts: Verdicts) -> Verdicts:
    """Verdicts in which a trace that the policy did not write has none, unless traces are to be mined."""
    if trainer.args.echo_mine_demonstrations:
        return verdicts
    written = verdicts.written
    return replace(verdicts, success=verdicts.success & written, scored=verdicts.scored & written)


def _verdicts(trainer: EchoGRPOTrainer, out: dict[str, Any], capture: GenerationCapture) -> Verdicts:
    kept = trainer.accelerator.gather(out["completion_mask"].any(1)) if trainer.mask_truncated_completions else None
    verdicts = judge(
        capture.rewards,
        trainer.verifiers or [],
        success_reward=trainer.echo.success_reward,
        num_generations=trainer.num_generations,
        advantages_from=_advantages_from(trainer, capture.rewards),
        written=trainer.accelerator.gather(trainer.part.sampled(out["completion_ids"].shape[0])),
        kept=kept,
    )
    if trainer.echo.mines and not bool(verdicts.scored.any()):
        _complain(trainer, capture.rewards)
    return verdicts


def _advantages_from(trainer: EchoGRPOTrainer, rewards: Tensor) -> Tensor:
    """[N, F'], NaN for None: what has to differ within a group for it to have a policy gradient."""
    weights = trainer.reward_weights.to(rewards.device)
    if trainer.multi_objective_aggregation != "sum_then_normalize":  # every function is normalised by itself
        return rewards[:, weights != 0]
    total = (rewards * weights).nansum(1)
    return total.masked_fill(rewards.isnan().all(1), torch.nan).unsqueeze(1)


def _complain(trainer: EchoGRPOTrainer, rewards: Tensor) -> None:
    """A batch without a verdict: an error if there never was one and nothing else is rewarded, else a warning, once."""
    if trainer.ledger.num_scored == 0 and bool(rewards.isnan().all()):
        raise ValueError(
            f"reward function(s) {', '.join(trainer.reward_func_names)} returned None for every rollout of a batch: "
            "nothing can be learned; a verifier must return a number for the rows it knows."
        )
    trainer.warn_once("unscored", "the named verifier(s) returned None for a whole batch: it gives no EchoClip.")


def _record(trainer: EchoGRPOTrainer, verdicts: Verdicts, out: dict[str, Any], capture: GenerationCapture) -> None:
    lengths = torch.tensor(trainer.part.spent(capture.lengths), device=verdicts.success.device)
    if "tool_mask" in out:  # a tool's output is not the policy's; rows masked as truncated count whole
        own = (out["completion_mask"] * out["tool_mask"]).sum(1)
        lengths = torch.where(own > 0, own, lengths)
    dropped = trainer.part.dropped(verdicts.kinds)
    shares = trainer.ledger.record(verdicts.kinds, trainer.accelerator.gather(lengths), dropped=dropped)
    for name, share in shares.items():
        trainer.add_metric(name, share)


def _in_loss(out: dict[str, Any]) -> Tensor:
    """bool [B, T]: the policy's own tokens that TRL's loss counts."""
    mask = out["completion_mask"] * out["tool_mask"] if "tool_mask" in out else out["completion_mask"]
    ratio = out.get("importance_sampling_ratio")
    if ratio is not None and ratio.shape[1] == 1:  # rows that the sequence-level correction has set to zero
        mask = mask * (ratio != 0)
    return mask.bool()


def _mine(
    trainer: EchoGRPOTrainer,
    entropy: Tensor,
    step_ids: Tensor,
    verdicts: Verdicts,
    own_rows: slice,
    possible: Tensor,
) -> tuple[EchoClips, Tensor]:
    """This process's clips, and what the loss is divided by (prompts or clips of all processes)."""
    config, gather = trainer.echo, trainer.accelerator.gather
    candidates = candidate_steps(
        entropy,
        step_ids,
        config,
        row_ids=torch.arange(own_rows.start, own_rows.stop, device=step_ids.device) + trainer.part.rows_before,
        threshold=_update_floor(trainer, entropy[possible], step_ids[possible]),
        draw=trainer._step,
    )
    # One number a candidate crosses processes; the winner is then chosen everywhere alike.
    scores = gather(candidates.score.contiguous())
    chosen = choose_candidates(scores, verdicts.success, verdicts.groups, config, scored=verdicts.scored)
    clips = cut_clips(step_ids, candidates, chosen[own_rows], verdicts.groups[own_rows], config)
    return clips, chosen.sum() if config.average_over == "clip" else verdicts.groups[-1] + 1


def _update_floor(trainer: EchoGRPOTrainer, entropy: Tensor, step_ids: Tensor) -> float | None:
    """The running quantile of the step entropies of all rollouts that can give a clip; the first batch starts it."""
    quantile = trainer.echo.entropy_quantile
    if quantile is None:
        return None
    means = step_entropy(entropy, step_ids).flatten()
    padded = trainer.accelerator.pad_across_processes(means, dim=0, pad_index=-torch.inf)
    now = entropy_threshold(trainer.accelerator.gather(padded), quantile)
    trainer.entropy_floor = running_floor(trainer.entropy_floor, now)
    trainer.add_metric("entropy_floor", trainer.entropy_floor)
    return trainer.entropy_floor


def _log_clips(trainer: EchoGRPOTrainer, clips: EchoClips, step_ids: Tensor, kinds: Tensor) -> None:
    """Clips of all-success and of other groups apart: what a clip is depends on the kind of its group."""
    share = clips.length / (step_ids >= 0).sum(1)[clips.rollout].clamp(min=1)
    alone = kinds[clips.rollout] == KINDS.index("all_success")
    known = clips.entropy.isfinite()
    columns = (clips.length, share, clips.entropy.where(known, 0.0), known)
    sums = [torch.stack([part.sum(), *(x[part].sum() for x in columns)]) for part in (alone, ~alone)]
    totals = trainer.accelerator.reduce(torch.stack(sums), reduction="sum").tolist()
    for name, (num, length, share_sum, entropy_sum, num_known) in zip(("all_success", "mixed"), totals, strict=True):
        trainer.add_metric(f"clips/{name}", num)
        if num:
            trainer.add_metric(f"clip_length/{name}", length / num)
            trainer.add_metric(f"clip_share/{name}", share_sum / num)
        if num_known:
            trainer.add_metric(f"clip_entropy/{name}", entropy_sum / num_known)


def _log_tokens(trainer: EchoGRPOTrainer, token_ids: Tensor, own: Tensor, entropy: Tensor) -> None:
    """The share of blank tokens, wholly blank rollouts included, and the mean entropy of the tokens that have one.

    `own` is bool [B, T], the tokens in the loss that the policy wrote.
    """
    blank = trainer.delimiters.is_blank(token_ids) & own
    known = own & entropy.isfinite()
    sums = torch.stack([blank.sum(), own.sum(), entropy[known].to(wide_dtype(entropy.device)).sum(), known.sum()])
    num_blank, num_tokens, entropy_sum, num_known = trainer.accelerator.reduce(sums, reduction="sum").tolist()
    trainer.add_metric("blank_share", num_blank / max(1.0, num_tokens))
    if num_known:
        trainer.add_metric("token_entropy", entropy_sum / num_known)


def close_window(trainer: EchoGRPOTrainer) -> None:
    """Metrics of an optimiser step, once its gradients are complete; sets `window_is_alone` for `SkipCallback`."""
    nll, mass, others = trainer.accelerator.reduce(trainer.window.close(), reduction="sum").tolist()
    trainer.window_is_alone = others == 0 and not other_gradients(trainer)
    trainer.add_metric("alone", float(trainer.window_is_alone))
    trainer.add_metric("coef", trainer.echo.coef_at(trainer.state.global_step))
    if mass:
        trainer.add_metric("nll", nll / mass)
    if trainer.window_is_alone and mass and trainer.echo.trains and trainer.echo.without_policy_gradient == "allow":
        trainer.warn_once(
            "alone",
            "an optimiser step had no policy gradient: every group in it was degenerate, so its gradient is the echo's "
            "alone and an adaptive optimiser can make a full-size step of it at any echo_coef. See "
            "echo_without_policy_gradient.",
        )

"""From a scored generation batch to `echo_weights` and metrics, over all processes; and an optimiser step's metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from echorl.core.rollouts import Rollouts
from echorl.methods.base import Batch
from echorl.methods.rules import apply_advantages, apply_token_advantages, excluded_rows, rows_with_gradient
from echorl.trl import rollouts as dump
from echorl.trl.parts.left_out import leave_out, log_advantages
from echorl.trl.sources import GenerationCapture, read_entropies
from echorl.trl.verdicts import verdicts
from echorl.trl.without_policy_gradient import other_gradients

if TYPE_CHECKING:
    from echorl.trl.trainer import EchoGRPOTrainer


def annotate(trainer: EchoGRPOTrainer, out: dict[str, Any], capture: GenerationCapture) -> None:
    """Write the statistics; where clips are mined, add `echo_weights`, `echo_count`, `echo_informative` to TRL's batch.

    All three are tensors, there every time, so that TRL's shuffle and split carry them along. The method's changes of
    the advantages, and what its part adds, come first; what leaves the policy loss, last.
    """
    rollouts = _rollouts(trainer, out, capture)
    batch = Batch(
        rewards=rollouts.rewards, success=rollouts.success, scored=rollouts.has_verdict, kinds=rollouts.groups
    )
    informative = _apply_method(trainer, out, batch, rollouts.local)
    if trainer.verifiers is not None:
        _record(trainer, rollouts, out, capture)
    else:
        trainer.add_metric("frac_degenerate", float(rollouts.groups.degenerate.float().mean()))
    if trainer.wants_entropy:
        _use_entropies(trainer, out, capture, rollouts, batch, informative)
    if trainer.method.leaves_out:
        leave_out(trainer, out, excluded_rows(trainer.method, batch), rollouts.local)


def _use_entropies(
    trainer: EchoGRPOTrainer,
    out: dict[str, Any],
    capture: GenerationCapture,
    rollouts: Rollouts,
    batch: Batch,
    informative: Tensor,
) -> None:
    """What the method makes of token entropies, and the EchoClips."""
    entropy = _entropies(trainer, out, capture, rollouts, batch)
    in_loss = rollouts.in_loss
    if trainer.method.needs_entropy:
        rows, before = batch.rows(rollouts.local), out["advantages"].unsqueeze(1)
        out["advantages"] = apply_token_advantages(trainer.method, out["advantages"], entropy, in_loss, rows)
        changed = (out["advantages"] != before) & (out["advantages"] != 0) & in_loss
        informative = informative | changed.any(1)
        means = (out["advantages"] * in_loss).sum(1) / in_loss.sum(1).clamp(min=1)
        log_advantages(trainer, trainer.accelerator.gather(means))
    if not trainer.echo.mines:
        return
    draw, first_row = trainer._step, trainer.part.rows_before
    mined = trainer.miner(rollouts, entropy, trainer.comm, draw=draw, first_row=first_row)
    out["echo_weights"] = mined.clips.weights
    out["echo_count"] = mined.count.float()
    scorable = ~capture.rewards[rollouts.local].isnan().all(1)
    out["echo_informative"] = informative.float() * (in_loss.any(1) & scorable)
    for name, value in trainer.miner.metrics(rollouts, entropy, mined, trainer.comm).items():
        trainer.add_metric(name.removeprefix("echo/"), value)
    table = dump.Scored(out, capture, rollouts, entropy, mined)
    dump.dump_if_due(trainer, table)
    if trainer.log_completions:
        trainer.log_columns(dump.logged_rows(trainer._tokenizer, table))


def _entropies(
    trainer: EchoGRPOTrainer, out: dict[str, Any], capture: GenerationCapture, rollouts: Rollouts, batch: Batch
) -> Tensor:
    """Entropies [B, T] of the rollouts that EchoRL or the method wants."""
    wanted = trainer.miner.rows_to_score(rollouts) | trainer.method.entropy_rows(batch)[rollouts.local]
    needed = trainer.method.needs_entropy or trainer.miner.needs_entropy
    needed = needed or dump.is_due(trainer)  # a dump shows them
    entropy, source = read_entropies(trainer, out, capture, wanted, needed=needed)
    trainer.add_metric(f"entropy_source/{source}", 1.0)
    return entropy


def local_rows(trainer: EchoGRPOTrainer, size: int) -> slice:
    """This process's rows among the rollouts of all processes."""
    start = trainer.accelerator.process_index * size
    return slice(start, start + size)


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


def _rollouts(trainer: EchoGRPOTrainer, out: dict[str, Any], capture: GenerationCapture) -> Rollouts:
    rewards = capture.rewards
    total = (rewards * trainer.reward_weights.to(rewards.device)).nansum(1)
    success, has_verdict = verdicts(rewards, trainer.verifiers or [], trainer.echo.success_reward)
    kept = trainer.accelerator.gather(out["completion_mask"].any(1)) if trainer.mask_truncated_completions else None
    size = out["completion_ids"].shape[0]
    rollouts = Rollouts.build(
        rewards=total.masked_fill(rewards.isnan().all(1), torch.nan),
        success=success,
        has_verdict=has_verdict,
        group_ids=torch.arange(len(success), device=success.device) // trainer.num_generations,
        token_ids=out["completion_ids"],
        in_loss=_in_loss(out),
        from_policy=trainer.accelerator.gather(trainer.part.sampled(size)),
        local=local_rows(trainer, size),
        compared=_advantages_from(trainer, rewards),
        kept=kept,
    )
    if trainer.echo.mines and not bool(has_verdict.any()):
        _complain(trainer, rewards)
    return rollouts


def _advantages_from(trainer: EchoGRPOTrainer, rewards: Tensor) -> Tensor:
    """[N, F'], NaN for None: what has to differ within a group for it to have a policy gradient."""
    weights = trainer.reward_weights.to(rewards.device)
    if trainer.multi_objective_aggregation != "sum_then_normalize":  # every function is normalised by itself
        return rewards[:, weights != 0]
    total = (rewards * weights).nansum(1)
    return total.masked_fill(rewards.isnan().all(1), torch.nan).unsqueeze(1)


def _complain(trainer: EchoGRPOTrainer, rewards: Tensor) -> None:
    """A batch without a verdict: an error if there never was one and nothing else is rewarded, else a warning, once."""
    if trainer.statistics.num_with_verdict == 0 and bool(rewards.isnan().all()):
        raise ValueError(
            f"reward function(s) {', '.join(trainer.reward_func_names)} returned None for every rollout of a batch: "
            "nothing can be learned; a verifier must return a number for the rows it knows."
        )
    trainer.warn_once("unscored", "the named verifier(s) returned None for a whole batch: it gives no EchoClip.")


def _record(trainer: EchoGRPOTrainer, rollouts: Rollouts, out: dict[str, Any], capture: GenerationCapture) -> None:
    lengths = torch.tensor(trainer.part.spent(capture.lengths), device=rollouts.success.device)
    if "tool_mask" in out:  # a tool's output is not the policy's; rows masked as truncated count whole
        own = (out["completion_mask"] * out["tool_mask"]).sum(1)
        lengths = torch.where(own > 0, own, lengths)
    groups = rollouts.groups
    tokens = groups.sum(trainer.accelerator.gather(lengths))
    columns = (groups.kind, groups.degenerate, tokens, trainer.part.dropped(groups))
    for name, share in trainer.statistics.record(*(column.tolist() for column in columns)).items():
        trainer.add_metric(name.removeprefix("echo/"), share)


def _in_loss(out: dict[str, Any]) -> Tensor:
    """bool [B, T]: the policy's own tokens that TRL's loss counts."""
    mask = out["completion_mask"] * out["tool_mask"] if "tool_mask" in out else out["completion_mask"]
    ratio = out.get("importance_sampling_ratio")
    if ratio is not None and ratio.shape[1] == 1:  # rows that the sequence-level correction has set to zero
        mask = mask * (ratio != 0)
    return mask.bool()


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

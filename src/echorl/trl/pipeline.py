"""The processing of a generation batch (or a round of one) between TRL's scoring and its micro-batches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import TrainerCallback

from echorl.core.miner import EchoMiner
from echorl.core.rollouts import Rollouts
from echorl.core.statistics import GroupStatistics
from echorl.core.steps import StepDelimiters
from echorl.methods import Method
from echorl.methods.rules import apply_advantages, apply_token_advantages, excluded_rows, rows_with_gradient
from echorl.trl.batch import Capture, Sampled
from echorl.trl.context import Context
from echorl.trl.dump import Annotated, EarlierDumps, RolloutDump, add_columns, logged_row
from echorl.trl.excluded import check_adaptive, check_excluded, exclude
from echorl.trl.loss import EchoTerm
from echorl.trl.methods.base import MethodHooks, make_hooks
from echorl.trl.metrics_file import MetricsFile
from echorl.trl.sources import read_entropies
from echorl.trl.statistics import StatisticsTable, TokenBudget, record
from echorl.trl.verifiers import Verifiers
from echorl.trl.without_policy_gradient import SkipCallback, check_skip


@dataclass
class Stations:
    """The objects that process a batch. Those with a `state_dict` hold the state of a run.

    Attributes:
        need_entropy: whether EchoRL or the method reads token entropies.
    """

    verifiers: Verifiers
    statistics: GroupStatistics
    hooks: MethodHooks
    miner: EchoMiner
    dump: RolloutDump
    echo: EchoTerm

    need_entropy: bool


def make_stations(method: Method, verifiers: Verifiers, context: Context) -> Stations:
    """Return the stations of a run.

    Raises:
        ValueError: settings that cannot be combined; the message names them and the way out.
    """
    args = context.args
    config = args.echo_config()
    check_excluded(args, method)
    delimiters = None
    if config.mines:
        check_skip(context)
        if args.use_vllm and "logprobs" in (args.generation_kwargs or {}):
            raise ValueError(
                "generation_kwargs['logprobs'] corrupts the importance ratios under vLLM (TRL would keep the log-prob "
                "of the most likely token, not of the sampled one): take it out."
            )
        delimiters = StepDelimiters.from_tokenizer(context.tokenizer).to(context.comm.device)
    elif args.echo_rollouts_every:
        context.log.warn_once(
            "no_dumps",
            f"echo_rollouts_every={args.echo_rollouts_every} stores nothing with echo_coef=0: echo_mine_only=True "
            "mines clips and stores rollouts without changing the training.",
        )
    hooks = make_hooks(method, context, verifiers)
    check_adaptive(args, hooks.excludes)
    return Stations(
        verifiers=verifiers,
        statistics=GroupStatistics(),
        hooks=hooks,
        miner=EchoMiner(config, delimiters),
        dump=RolloutDump(),
        echo=EchoTerm(config),
        need_entropy=config.mines or method.needs_entropy,
    )


def make_callbacks(stations: Stations, args: Any, micro_step: Callable[[], int]) -> list[TrainerCallback]:
    """Return the callbacks of a run; `micro_step` returns the number of micro-steps so far."""
    callbacks: list[TrainerCallback] = [EarlierDumps(), StatisticsTable(stations.statistics)]
    if args.max_rollout_tokens:
        callbacks.append(TokenBudget(stations.statistics, micro_step))
    config = stations.miner.config
    if config.without_policy_gradient == "skip" and config.trains:
        callbacks.append(SkipCallback(stations.echo.window))
    return [*callbacks, MetricsFile(Path(args.output_dir) / "metrics.jsonl")]


def process(out: dict[str, Any], capture: Capture, stations: Stations, context: Context) -> Sampled:
    """Return TRL's batch `out`, before its shuffle, with the method's advantages and the keys that the loss reads.

    Where clips are mined, `echo_weights`, `echo_count` and `echo_has_gradient` are added in every call.
    """
    rollouts = stations.verifiers.read(out, capture, context)
    capture.num_extra = capture.plan.ask(rollouts, capture) or capture.num_extra
    count_groups(out, rollouts, capture, stations, context)
    has_gradient = set_advantages(out, rollouts, capture, stations, context)
    if stations.need_entropy:
        entropy = read_entropy(out, rollouts, capture, stations, context)
        has_gradient = has_gradient | set_token_advantages(out, entropy, rollouts, stations, context)
        if stations.hooks.method.needs_entropy:
            out.update(stations.hooks.carried_by_entropy(out, entropy, rollouts, context))
        if stations.miner.config.mines:
            mine(out, entropy, has_gradient, rollouts, capture, stations, context)
    if stations.hooks.method.excludes:
        exclude(out, excluded_rows(stations.hooks.method, rollouts), rollouts.local, context)
    return Sampled(out, rollouts)


def count_groups(
    out: dict[str, Any], rollouts: Rollouts, capture: Capture, stations: Stations, context: Context
) -> None:
    """Add the groups to the statistics; warn of a batch without a verdict, or refuse it, and of no success so far."""
    if stations.miner.config.mines and not bool(rollouts.has_verdict.any()):
        _warn_of_no_verdict(rollouts.rewards, stations, context)
    if stations.verifiers.columns is None:  # no verifier is named and none is needed: the statistics stay empty
        context.log.update({"echo/frac_degenerate": float(rollouts.groups.degenerate.float().mean())})
        return
    record(stations.statistics, rollouts, stations.hooks.filtered_groups(rollouts), out, capture, context)
    if stations.miner.config.mines or stations.hooks.method.needs_verdicts:
        _warn_of_no_success(capture.rewards, stations, context)


def _warn_of_no_success(rewards: Tensor, stations: Stations, context: Context) -> None:
    """Warn once where the verifiers' rewards [N, F] differ and none has been a success: nothing can be learned."""
    verifiers = stations.verifiers
    values = rewards[:, verifiers.columns].nan_to_num(torch.inf).amin(1)  # a rollout needs every verdict that it has
    values = values[values.isfinite()]
    if len(values):
        least, largest = values.aminmax()
        text = stations.statistics.unreached(
            float(least), float(largest), verifiers.success_reward, "echo_success_reward"
        )
        if text is not None:
            context.log.warn_once("unreached", text)


def _warn_of_no_verdict(rewards: Tensor, stations: Stations, context: Context) -> None:
    """Warn once of a batch without a verdict.

    Raises:
        ValueError: no batch had a verdict so far, and this one has no reward.
    """
    if stations.statistics.num_with_verdict == 0 and bool(rewards.isnan().all()):
        raise ValueError(
            f"reward function(s) {', '.join(stations.verifiers.names)} returned None for every rollout of a batch, "
            "from which nothing can be learned: return a number for the rows that the function can verify."
        )
    text = "the named verifier(s) returned None for a whole batch: it gives no EchoClip."
    context.log.warn_once("unscored", text)


def set_advantages(
    out: dict[str, Any], rollouts: Rollouts, capture: Capture, stations: Stations, context: Context
) -> Tensor:
    """Replace TRL's advantages by the method's, which its rule and then its hooks return.

    Returns bool [B], this process's rollouts with a policy gradient.
    """
    method, hooks = stations.hooks.method, stations.hooks
    base = context.comm.gather(out["advantages"])
    ruled = apply_advantages(method, base, rollouts)
    advantages = hooks.advantages(ruled, rollouts, capture, context)
    if advantages is not base:
        out["advantages"] = advantages[rollouts.local]
    context.log.replace_advantages(advantages.masked_fill(excluded_rows(method, rollouts), 0.0))
    out.update(hooks.carried(out, rollouts, capture, context))
    has_gradient = rows_with_gradient(method, base, rollouts) if advantages is ruled else advantages != 0
    return has_gradient[rollouts.local]


def read_entropy(
    out: dict[str, Any], rollouts: Rollouts, capture: Capture, stations: Stations, context: Context
) -> Tensor:
    """Return the entropies [B, T] of the rollouts that EchoRL or the method reads."""
    method, miner = stations.hooks.method, stations.miner
    rows = miner.rows_to_score(rollouts) | method.entropy_rows(rollouts)[rollouts.local]
    needed = method.needs_entropy or miner.needs_entropy or stations.dump.is_due(context)  # a dump shows them
    entropy, source = read_entropies(out, capture, rows, context, needed=needed)
    context.log.update({f"echo/entropy_source/{source}": 1.0})
    return entropy


def set_token_advantages(
    out: dict[str, Any], entropy: Tensor, rollouts: Rollouts, stations: Stations, context: Context
) -> Tensor:
    """Put the method's advantages of single tokens, if it has any, into the batch.

    Returns bool [B], the rollouts to which they give a policy gradient.
    """
    method, in_loss = stations.hooks.method, rollouts.in_loss
    if not method.changes_tokens:
        return torch.zeros_like(in_loss[:, 0])
    before = out["advantages"].unsqueeze(1)
    out["advantages"] = apply_token_advantages(method, out["advantages"], entropy, rollouts)
    means = (out["advantages"] * in_loss).sum(1) / in_loss.sum(1).clamp(min=1)
    context.log.replace_advantages(context.comm.gather(means))
    return ((out["advantages"] != before) & (out["advantages"] != 0) & in_loss).any(1)


def mine(
    out: dict[str, Any],
    entropy: Tensor,
    has_gradient: Tensor,
    rollouts: Rollouts,
    capture: Capture,
    stations: Stations,
    context: Context,
) -> None:
    """Mine EchoClips, put their weights into the batch, and add them to metrics, dump and table."""
    miner = stations.miner
    mined = miner(rollouts, entropy, context.comm, draw=context.draw, first_row=capture.first_row)
    out["echo_weights"] = mined.clips.weights
    out["echo_count"] = mined.count.float()
    has_reward = ~rollouts.rewards[rollouts.local].isnan()
    out["echo_has_gradient"] = has_gradient.float() * (rollouts.in_loss.any(1) & has_reward)
    context.log.update(miner.metrics(rollouts, entropy, mined, context.comm))
    batch = Annotated(capture, rollouts, entropy, mined)
    if stations.dump.is_due(context):
        stations.dump.write(batch, context)
    if context.args.log_completions:
        add_columns([logged_row(batch, row, context.tokenizer) for row in range(len(batch.kinds))], context)

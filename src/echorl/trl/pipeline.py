"""The way of a generation batch (or a round of one) from TRL's scoring to its micro-batches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
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
from echorl.trl.dump import Annotated, RolloutDump, add_columns, logged_rows
from echorl.trl.excluded import check_excluded, exclude
from echorl.trl.loss import EchoTerm
from echorl.trl.methods.base import MethodHooks, make_hooks
from echorl.trl.sources import read_entropies
from echorl.trl.statistics import StatisticsTable, TokenBudget, record
from echorl.trl.verifiers import Verifiers
from echorl.trl.without_policy_gradient import SkipCallback, check_skip


@dataclass
class Stations:
    """The objects that a batch passes. What a run remembers lies in those with a `state_dict`."""

    verifiers: Verifiers
    statistics: GroupStatistics
    hooks: MethodHooks
    miner: EchoMiner
    dump: RolloutDump
    echo: EchoTerm

    @property
    def need_entropy(self) -> bool:
        """True where token entropies are read."""
        return self.miner.config.mines or self.hooks.method.needs_entropy


def make_stations(method: Method, verifiers: Verifiers, context: Context) -> Stations:
    """Return the stations of a run.

    Raises:
        ValueError: settings that do not go together; the message names them and the way out.
    """
    args = context.args
    config = args.echo_config()
    check_excluded(args, method)
    delimiters = None
    if config.mines:
        check_skip(context)
        if args.use_vllm and "logprobs" in (args.generation_kwargs or {}):
            raise ValueError(
                "generation_kwargs['logprobs'] corrupts the importance ratios under vLLM (TRL would keep the most "
                "likely token's log-prob, not the sampled one's): take it out."
            )
        delimiters = StepDelimiters.from_tokenizer(context.tokenizer).to(context.comm.device)
    return Stations(
        verifiers=verifiers,
        statistics=GroupStatistics(),
        hooks=make_hooks(method, context, verifiers),
        miner=EchoMiner(config, delimiters, mine_demonstrations=args.echo_mine_demonstrations),
        dump=RolloutDump(),
        echo=EchoTerm(config),
    )


def make_callbacks(stations: Stations, args: Any, micro_step: Callable[[], int]) -> list[TrainerCallback]:
    """Return the callbacks of a run; `micro_step` returns the number of micro-steps so far."""
    callbacks: list[TrainerCallback] = [StatisticsTable(stations.statistics)]
    if args.max_rollout_tokens:
        callbacks.append(TokenBudget(stations.statistics, micro_step))
    config = stations.miner.config
    if config.without_policy_gradient == "skip" and config.trains:
        callbacks.append(SkipCallback(stations.echo.window))
    return callbacks


def process(out: dict[str, Any], capture: Capture, stations: Stations, context: Context) -> Sampled:
    """Return TRL's batch `out`, before its shuffle, with the method's advantages and what the loss needs.

    Where clips are mined these are `echo_weights`, `echo_count` and `echo_has_gradient`, the same keys every time.
    """
    rollouts = stations.verifiers.read(out, capture, context)
    count_groups(out, rollouts, capture, stations, context)
    has_gradient = set_advantages(out, rollouts, capture, stations, context)
    if stations.need_entropy:
        entropy = read_entropy(out, rollouts, capture, stations, context)
        has_gradient = has_gradient | set_token_advantages(out, entropy, rollouts, stations, context)
        if stations.miner.config.mines:
            mine(out, entropy, has_gradient, rollouts, capture, stations, context)
    if stations.hooks.method.excludes:
        exclude(out, excluded_rows(stations.hooks.method, rollouts), rollouts.local, context)
    return Sampled(out, rollouts)


def count_groups(
    out: dict[str, Any], rollouts: Rollouts, capture: Capture, stations: Stations, context: Context
) -> None:
    """Add the groups to the statistics; refuse, or warn of, a batch without a verdict."""
    if stations.miner.config.mines and not bool(rollouts.has_verdict.any()):
        _complain(rollouts.rewards, stations, context)
    if stations.verifiers.columns is None:  # no verifier is named and none is needed: the statistics stay empty
        degenerate = rollouts.groups.degenerate.float()
        context.log.update({"echo/frac_degenerate": float(degenerate.mean())})
        return
    record(stations.statistics, rollouts, stations.hooks.filtered_groups(rollouts), out, capture, context)


def _complain(rewards: Tensor, stations: Stations, context: Context) -> None:
    """An error if there never was a verdict and nothing else is rewarded, else a warning, once."""
    if stations.statistics.num_with_verdict == 0 and bool(rewards.isnan().all()):
        raise ValueError(
            f"reward function(s) {', '.join(stations.verifiers.names)} returned None for every rollout of a batch: "
            "nothing can be learned; a verifier must return a number for the rows it knows."
        )
    text = "the named verifier(s) returned None for a whole batch: it gives no EchoClip."
    context.log.warn_once("unscored", text)


def set_advantages(
    out: dict[str, Any], rollouts: Rollouts, capture: Capture, stations: Stations, context: Context
) -> Tensor:
    """Put the method's advantages, by its rule and then by its hooks, in the place of TRL's.

    Returns bool [B], this process's rollouts with a policy gradient.
    """
    method, hooks = stations.hooks.method, stations.hooks
    given = context.comm.gather(out["advantages"])
    ruled = apply_advantages(method, given, rollouts)
    advantages = hooks.advantages(ruled, rollouts, capture, context)
    if advantages is not given:
        out["advantages"] = advantages[rollouts.local]
    context.log.replace_advantages(advantages.masked_fill(excluded_rows(method, rollouts), 0.0))
    out.update(hooks.carried(out, capture, context))
    has_gradient = rows_with_gradient(method, given, rollouts) if advantages is ruled else advantages != 0
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
    """Put the method's advantages of single tokens in the batch, if it has any.

    Returns bool [B], the rollouts to which they give a policy gradient.
    """
    method, in_loss = stations.hooks.method, rollouts.in_loss
    if not method.needs_entropy:
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
    """Find the EchoClips, put their weights in the batch, and show them in metrics, dump and table."""
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
        add_columns(logged_rows(batch, context.tokenizer), context)

"""Rounds of sampling: a generation batch with the accepted rollouts of several rounds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from echorl.core.losses import check_delivered, weight_mass
from echorl.core.refusals import refuse_if
from echorl.methods.base import Method
from echorl.trl.batch import CARRIED, Sampled
from echorl.trl.context import Context
from echorl.trl.excluded import count_tokens, masked, scale_to
from echorl.trl.methods.base import MethodHooks, Row, Sample
from echorl.trl.sampling.filtered_clips import make_shares, with_clips
from echorl.trl.sampling.round_metrics import RoundMetrics
from echorl.trl.sampling.rows import Rows, batch_of, even_out, join, num_rows, rows_of, select
from echorl.trl.verifiers import Verifiers


@dataclass(frozen=True, eq=False)
class Round:
    """A round of sampling.

    Attributes:
        sampled: its batch and its rollouts.
        rows: those of this process.
        accepted: bool [processes, rows a process], the rollouts with a place in the batch.
    """

    sampled: Sampled
    rows: Rows
    accepted: Tensor


class RoundsHooks(MethodHooks):
    """Samples in rounds and makes one batch of the rollouts accepted; a subclass returns the rows of each round.

    Places that stay empty are filled with other rollouts outside the loss's mask. Rollouts that are not accepted keep
    their EchoClips, in the batch (in a filled place) or beside it (see `filtered_clips`).
    """

    once: ClassVar[dict[str, Any]]
    """The method's options for a single round."""

    def __init__(self, method: Method, context: Context, verifiers: Verifiers) -> None:
        super().__init__(method, context, verifiers)
        self.excludes = True
        refuse_if(
            self.obstacles(context),
            f"method={context.args.method!r} samples in rounds, which cannot be combined with {{}}; or set "
            f"method_options={str(self.once).replace('{', '{{').replace('}', '}}')}.",
        )

    def obstacles(self, context: Context) -> dict[str, bool]:
        """Return the settings that cannot be combined with rounds of sampling, and whether the run has them."""
        args = context.args
        reentrant = args.gradient_checkpointing and bool(
            (args.gradient_checkpointing_kwargs or {}).get("use_reentrant")
        )
        return {
            "scale_rewards='batch', which would scale each round by itself (use 'group')": args.scale_rewards
            == "batch",
            "multi_objective_aggregation='normalize_then_sum', which would normalise each round by itself": (
                args.multi_objective_aggregation == "normalize_then_sum"
            ),
            "reentrant gradient checkpointing on several processes (set use_reentrant=False)": (
                reentrant and context.comm.num_ranks > 1 and args.echo_config().trains
            ),
        }

    def next_rows(self, rounds: list[Round], rows: list[Row], context: Context) -> list[Row]:
        """Return this process's rows of the next round, given those of the data set; empty: there is none."""
        raise NotImplementedError

    def metrics(self, rounds: list[Round], num_groups: int, context: Context) -> dict[str, float]:
        """Return the metrics of the batch of `num_groups` groups, once all rounds are over."""
        raise NotImplementedError

    def choose(self, rounds: list[Round], context: Context) -> list[Round]:
        """Return the rounds with the rollouts that get a place; here those of groups that are not filtered."""
        return rounds

    def collect(self, rows: list[Row], sample: Sample, context: Context) -> dict[str, Any]:
        metrics, rounds = RoundMetrics(context.log.metrics), list[Round]()
        while round_rows := self.next_rows(rounds, rows, context):
            sampled = sample(round_rows, first_row=sum(each.accepted.numel() for each in rounds))
            accepted = ~self.filtered_groups(sampled.rollouts)[sampled.rollouts.groups.index]
            rounds.append(Round(sampled, rows_of(sampled.batch), accepted.view(context.comm.num_ranks, -1)))
            metrics.take(accepted.numel())
        metrics.give_back()
        num_groups = len(rows) * context.comm.num_ranks // context.args.num_generations
        context.log.update({f"method/{name}": v for name, v in self.metrics(rounds, num_groups, context).items()})
        return self._assemble(self.choose(rounds, context), len(rows), context)

    def _assemble(self, rounds: list[Round], size: int, context: Context) -> dict[str, Any]:
        """Return the batch of `size` rows."""
        comm, pad = context.comm, context.tokenizer.pad_token_id
        everything = join([each.rows for each in rounds], pad)
        accepted = torch.cat([each.accepted for each in rounds], 1)
        kept = select(everything, accepted[comm.rank].nonzero().flatten())
        kept = even_out(kept, accepted.sum(1).tolist(), size, pad, comm)
        # Rollouts with a clip first: where they fill a place, their clip costs no additional forward.
        filtered, clips = (~accepted[comm.rank]).nonzero().flatten(), with_clips(everything)
        filtered = torch.cat([filtered[clips[filtered]], filtered[~clips[filtered]]])
        filling, beside = filtered[: size - num_rows(kept)], filtered[size - num_rows(kept) :]
        batch = join([kept, masked(select(everything, filling))], pad)
        scale_to(batch, int(accepted.sum()), accepted.shape[0] * size, context.args.loss_type)
        scalars = _join_scalars(rounds)
        scalars["num_items_in_batch"] = count_tokens(batch, comm)  # of the loss, after rows were masked
        if "echo_count" in scalars:
            outside = beside[clips[beside]]
            most = int(comm.gather(torch.tensor([len(outside)], device=outside.device)).max())
            steps = context.args.steps_per_generation
            self.filtered_clips.shares = make_shares(everything, outside, most, steps)
            masses = [weight_mass(everything["echo_weights"]), weight_mass(self.filtered_clips.weights(batch))]
            check_delivered(*comm.sum(torch.stack(masses)).tolist(), place="the batch of several rounds")
        return {**batch_of(batch), **scalars}


def _join_scalars(rounds: list[Round]) -> dict[str, Tensor]:
    """Return the 0-dimensional keys that are sums over the rounds."""
    batches = [each.sampled.batch for each in rounds]
    sums = [key for key, kind in CARRIED.items() if kind == "sum" and key in batches[0]]
    return {key: torch.stack([batch[key] for batch in batches]).sum() for key in sums}

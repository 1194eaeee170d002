"""Rounds of sampling: a generation batch is made of the rollouts of several, of which not all need a place in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from echorl.core.entropy import wide_dtype
from echorl.trl.parts.base import Part
from echorl.trl.parts.left_out import masked, scale_to, tokens_in_loss
from echorl.trl.parts.leftover import deal, make_leftovers, with_clips
from echorl.trl.parts.round_metrics import RoundMetrics
from echorl.trl.parts.rows import Rows, batch_of, even_out, join, num_rows, rows_of, select

if TYPE_CHECKING:
    from echorl.trl.trainer import EchoGRPOTrainer


@dataclass(frozen=True, eq=False)
class Round:
    """What a round sampled.

    Attributes:
        rows: of this process.
        accepted: bool [processes, rows a process].
        scalars: TRL's and EchoRL's 0-dimensional tensors.
    """

    rows: Rows
    accepted: Tensor
    scalars: dict[str, Tensor]


class Rounds(Part):
    """Samples in rounds and makes one batch of the rollouts accepted; which rows come next, a subclass says.

    Places that stay empty are filled with other rollouts outside the loss's mask. Rollouts that are not accepted keep
    their EchoClips, in the batch (in a filled place) or beside it (see `leftover`).
    """

    once: ClassVar[dict[str, Any]]
    """The method's options with which it samples once."""

    def __init__(self, trainer: EchoGRPOTrainer) -> None:
        super().__init__(trainer)
        self._check()
        self.kept_groups = torch.zeros(0, dtype=torch.bool)  # of the last round, over all processes
        self.leftovers: list[dict[str, Any] | None] | None = None

    # -- what is refused

    def obstacles(self) -> dict[str, bool]:
        """What does not go with rounds of sampling, and whether it is there."""
        trainer, args = self.trainer, self.trainer.args
        reentrant = args.gradient_checkpointing and bool(
            (args.gradient_checkpointing_kwargs or {}).get("use_reentrant")
        )
        return {
            "scale_rewards='batch', which would scale each round by itself (use 'group')": (
                trainer.scale_rewards == "batch"
            ),
            "multi_objective_aggregation='normalize_then_sum', which would normalise each round by itself": (
                trainer.multi_objective_aggregation == "normalize_then_sum"
            ),
            "reentrant gradient checkpointing on several processes (set use_reentrant=False)": (
                reentrant and trainer.accelerator.num_processes > 1 and trainer.echo.trains
            ),
        }

    def _check(self) -> None:
        """ValueError for the first obstacle that is there, with the way out."""
        for obstacle, present in self.obstacles().items():
            if present:
                raise ValueError(
                    f"method={self.trainer.args.method!r} samples in rounds, which does not go with {obstacle}; or set "
                    f"method_options={self.once}."
                )

    # -- rounds

    def collect(self, inputs: list[dict[str, Any]], sample: Callable[[list[dict[str, Any]]], dict[str, Any]]) -> Any:
        size, columns = len(inputs), list(inputs[0])
        metrics = RoundMetrics(self.trainer._metrics["train"])
        rounds: list[Round] = []
        inputs = self._first(inputs)
        while inputs:
            self.rows_before = sum(each.accepted.numel() for each in rounds)
            rounds.append(self._round(sample(inputs)))
            metrics.take(rounds[-1].accepted.numel())
            inputs = self._next(rounds, size, columns)
        metrics.give_back()
        self._log(rounds, size)
        return self._assemble(rounds, size)

    def _round(self, out: dict[str, Any]) -> Round:
        processes, generations = self.trainer.accelerator.num_processes, self.trainer.num_generations
        accepted = self.kept_groups.repeat_interleave(generations).view(processes, -1)
        scalars = {key: value for key, value in out.items() if isinstance(value, Tensor) and value.dim() == 0}
        return Round(rows=rows_of(out), accepted=accepted, scalars=scalars)

    def _first(self, inputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """This process's rows of the first round."""
        return inputs

    def _next(self, rounds: list[Round], size: int, columns: list[str]) -> list[dict[str, Any]]:
        """This process's rows of the next round; empty: there is none."""
        raise NotImplementedError

    def _log(self, rounds: list[Round], size: int) -> None:
        """Metrics of the batch, once all rounds are over."""
        raise NotImplementedError

    # -- the batch

    def _assemble(self, rounds: list[Round], size: int) -> dict[str, Any]:
        pad = self.trainer._tokenizer.pad_token_id
        process = self.trainer.accelerator.process_index
        everything = join([each.rows for each in rounds], pad)
        accepted = torch.cat([each.accepted for each in rounds], 1)
        kept = select(everything, accepted[process].nonzero().flatten())
        kept = even_out(kept, accepted.sum(1).tolist(), size, process, pad)
        # Those with a clip first: where they fill a place, their clip costs no forward of its own.
        dropped, clips = (~accepted[process]).nonzero().flatten(), with_clips(everything)
        dropped = torch.cat([dropped[clips[dropped]], dropped[~clips[dropped]]])
        filled, left = dropped[: size - num_rows(kept)], dropped[size - num_rows(kept) :]
        batch = join([kept, masked(select(everything, filled))], pad)
        scale_to(batch, int(accepted.sum()), accepted.shape[0] * size, self.trainer.loss_type)
        scalars = self._scalars(rounds, batch)
        if "echo_count" in scalars:
            self._leave(everything, left[clips[left]])
            self._check_mass(everything, batch)
        return {**batch_of(batch), **scalars}

    def _scalars(self, rounds: list[Round], batch: Rows) -> dict[str, Tensor]:
        """Tokens in the loss, counted again; the prompts (or clips) that the echo's mean runs over, of all rounds."""
        scalars = {"num_items_in_batch": tokens_in_loss(self.trainer, batch)}
        if "echo_count" in rounds[0].scalars:
            scalars["echo_count"] = torch.stack([each.scalars["echo_count"] for each in rounds]).sum()
        return scalars

    # -- clips of dropped groups that fill no place

    def _leave(self, everything: Rows, clips: Tensor) -> None:
        count = int(self.trainer.accelerator.gather(torch.tensor([len(clips)], device=clips.device)).max())
        self.leftovers = make_leftovers(everything, clips, count, self.trainer.args.steps_per_generation)

    def echo_weights(self, out: dict[str, Any]) -> Tensor:
        more = [leftover["weights"].flatten() for leftover in self.leftovers or [] if leftover is not None]
        return torch.cat([out["echo_weights"].flatten(), *more])

    def _check_mass(self, everything: Rows, batch: Rows) -> None:
        """RuntimeError if a clip was lost between the rounds and the batch."""
        pair = [everything["echo_weights"], self.echo_weights(batch)]
        sums = torch.stack([weights.to(wide_dtype(weights.device)).sum() for weights in pair])
        mined, there = self.trainer.accelerator.reduce(sums, reduction="sum").tolist()
        if abs(mined - there) > 1e-5 * max(1.0, mined):
            raise RuntimeError(f"of a weight mass of {mined:.6g} that was mined the batch holds only {there:.6g}.")

    def deal(self, micro_batches: list[dict[str, Any]]) -> None:
        if self.leftovers is not None:
            deal(self.leftovers, micro_batches)
            self.leftovers = None

"""DAPO's part: groups whose verdicts do not differ make way for others, sampled in further rounds."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from datasets import IterableDataset
from torch import Tensor

from echorl.core.entropy import wide_dtype
from echorl.core.ledger import KINDS, GroupKinds
from echorl.trl.parts.base import Part
from echorl.trl.parts.left_out import MEAN_OVER_ROWS, masked, scale_to, tokens_in_loss
from echorl.trl.parts.leftover import deal, make_leftovers, with_clips
from echorl.trl.parts.round_metrics import RoundMetrics
from echorl.trl.parts.rows import Rows, batch_of, even_out, join, num_rows, rows_of, select
from echorl.trl.parts.stream import PromptStream

if TYPE_CHECKING:
    from echorl.trl.trainer import EchoGRPOTrainer

ACCEPTED = ("mixed", "uniform_reward")
"""The kinds of group whose verdicts differ: accuracy neither 0 nor 1, whatever other rewards say."""


def groups_to_draw(missing: int, num_generations: int, num_processes: int) -> int:
    """The most groups, at most those missing, whose rollouts can be dealt evenly to the processes.

    No more, so that none of the accepted ones is too many; on a few processes that is all or nearly all of them.

    >>> [groups_to_draw(5, 8, processes) for processes in (1, 2, 8, 16, 32)]
    [5, 5, 5, 4, 4]
    """
    unit = num_processes // math.gcd(num_processes, num_generations)
    return missing - missing % unit


def groups_in_turn(prompts: list[int], num_generations: int, num_processes: int) -> list[int]:
    """The prompts, and as many of them again from the first on as make their rollouts even for the processes.

    >>> groups_in_turn([3, 5, 6], 2, 4), groups_in_turn([7], 1, 4)
    ([3, 5, 6, 3], [7, 7, 7, 7])
    """
    unit = num_processes // math.gcd(num_processes, num_generations)
    return [prompts[place % len(prompts)] for place in range(-(-len(prompts) // unit) * unit)]


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


class DynamicSampling(Part):
    """Samples until every place of the batch holds a rollout of a group whose verdicts differ, or `max_rounds` is over.

    The first round takes the loader's prompts, each further one as many as are missing, from a stream of its own; so no
    accepted group is ever thrown away. Places that stay empty are filled with dropped rollouts outside the loss's mask.
    Dropped groups keep their EchoClips, in the batch (in a filled place) or beside it (see `leftover`).
    """

    draws_others = True
    """Whether further rounds take other prompts than the batch's."""

    def __init__(self, trainer: EchoGRPOTrainer) -> None:
        super().__init__(trainer)
        check_settings(trainer, draws_others=self.draws_others)
        self.stream = PromptStream(len(trainer.train_dataset), trainer.args.seed) if self.draws_others else None
        self.kept_groups = torch.zeros(0, dtype=torch.bool)  # of the last round, over all processes
        self.leftovers: list[dict[str, Any] | None] | None = None

    # -- rounds

    def collect(self, inputs: list[dict[str, Any]], sample: Callable[[list[dict[str, Any]]], dict[str, Any]]) -> Any:
        size, columns = len(inputs), list(inputs[0])
        metrics = RoundMetrics(self.trainer._metrics["train"])
        rounds: list[Round] = []
        while inputs:
            self.rows_before = sum(each.accepted.numel() for each in rounds)
            rounds.append(self._round(sample(inputs)))
            metrics.take(rounds[-1].accepted.numel())
            inputs = self._next(rounds, size, columns)
        metrics.give_back()
        self._log(rounds, size)
        return self._assemble(rounds, size)

    def dropped(self, kinds: GroupKinds) -> Tensor:
        codes = torch.tensor([KINDS.index(name) for name in ACCEPTED], device=kinds.kind.device)
        self.kept_groups = torch.isin(kinds.kind, codes)
        return ~self.kept_groups

    def _round(self, out: dict[str, Any]) -> Round:
        processes, generations = self.trainer.accelerator.num_processes, self.trainer.num_generations
        accepted = self.kept_groups.repeat_interleave(generations).view(processes, -1)
        scalars = {key: value for key, value in out.items() if isinstance(value, Tensor) and value.dim() == 0}
        return Round(rows=rows_of(out), accepted=accepted, scalars=scalars)

    def _next(self, rounds: list[Round], size: int, columns: list[str]) -> list[dict[str, Any]]:
        """This process's rows of the next round; empty: there is none."""
        if len(rounds) >= self.trainer.method.max_rounds:
            return []
        processes, generations = self.trainer.accelerator.num_processes, self.trainer.num_generations
        drawn = groups_to_draw(self._missing(rounds, size), generations, processes)
        prompts = self.stream.draw(drawn)
        here = drawn * generations // processes
        first = self.trainer.accelerator.process_index * here
        examples = [self.trainer.train_dataset[prompts[place // generations]] for place in range(first, first + here)]
        return [{key: value for key, value in example.items() if key in columns} for example in examples]

    def _missing(self, rounds: list[Round], size: int) -> int:
        """Groups, over all processes."""
        places = size * self.trainer.accelerator.num_processes
        return (places - sum(int(each.accepted.sum()) for each in rounds)) // self.trainer.num_generations

    def _log(self, rounds: list[Round], size: int) -> None:
        sampled = sum(each.accepted.numel() for each in rounds) // self.trainer.num_generations
        dropped = sum(int((~each.accepted).sum()) for each in rounds) // self.trainer.num_generations
        counts = {"rounds": len(rounds), "num_sampled_prompts": sampled, "dropped": dropped}
        for name, count in {**counts, "filled": self._missing(rounds, size)}.items():
            self.trainer.add_metric(name, float(count), family="method")

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

    # -- state

    def state_dict(self) -> dict[str, Any]:
        return {} if self.stream is None else {"drawn": self.stream.drawn}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if self.stream is not None:
            self.stream.drawn = state.get("drawn", 0)


WAYS_OUT = {"dapo": {"dynamic_sampling": False}, "reinforce_ada": {"max_rounds": 1}}
"""Method -> the options with which it samples once."""


def check_settings(trainer: EchoGRPOTrainer, *, draws_others: bool) -> None:
    """Refuse what does not go with rounds of sampling.

    Raises:
        ValueError: names the setting that stands in the way, and the way out.
    """
    args, rows = trainer.args, trainer.train_dataset
    checkpointing = args.gradient_checkpointing and bool(
        (args.gradient_checkpointing_kwargs or {}).get("use_reentrant")
    )
    obstacles = {
        "a training set without random access (load its rows as a Dataset)": (
            draws_others and isinstance(rows, IterableDataset)
        ),
        "scale_rewards='batch', which would scale each round by itself (use 'group')": trainer.scale_rewards == "batch",
        "multi_objective_aggregation='normalize_then_sum', which would normalise each round by itself": (
            trainer.multi_objective_aggregation == "normalize_then_sum"
        ),
        f"beta={args.beta} and loss_type={trainer.loss_type!r}, a mean over rows that would count the places that stay "
        "empty in the KL (use 'dapo', or beta 0)": args.beta != 0.0 and trainer.loss_type in MEAN_OVER_ROWS,
        "reentrant gradient checkpointing on several processes (set use_reentrant=False)": (
            checkpointing and trainer.accelerator.num_processes > 1 and trainer.echo.coef > 0
        ),
    }
    for obstacle, present in obstacles.items():
        if present:
            raise ValueError(
                f"method={args.method!r} samples in rounds, which does not go with {obstacle}; or set method_options="
                f"{WAYS_OUT[args.method]}."
            )

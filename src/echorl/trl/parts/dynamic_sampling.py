"""DAPO's part: groups whose verdicts do not differ make way for others, sampled in further rounds."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

from datasets import IterableDataset
from torch import Tensor

from echorl.core.groups import Groups
from echorl.trl.parts.left_out import MEAN_OVER_ROWS
from echorl.trl.parts.rounds import Round, Rounds
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


class DynamicSampling(Rounds):
    """Samples until every place of the batch holds a rollout of a group whose verdicts differ, or `max_rounds` is over.

    The first round takes the loader's prompts, each further one as many as are missing, from a stream of its own; so no
    accepted group is ever thrown away.
    """

    once: ClassVar = {"dynamic_sampling": False}

    def __init__(self, trainer: EchoGRPOTrainer) -> None:
        super().__init__(trainer)
        self.stream = PromptStream(len(trainer.train_dataset), trainer.args.seed)

    def obstacles(self) -> dict[str, bool]:
        beta, loss_type = self.trainer.args.beta, self.trainer.loss_type
        return {
            "a training set without random access (load its rows as a Dataset)": (
                isinstance(self.trainer.train_dataset, IterableDataset)
            ),
            **super().obstacles(),
            f"beta={beta} and loss_type={loss_type!r}, a mean over rows that would count the places that stay empty in "
            "the KL (use 'dapo', or beta 0)": beta != 0.0 and loss_type in MEAN_OVER_ROWS,
            "loss_type='bnpo', a mean over each micro-batch: those that hold nothing but places that stay empty would "
            "still count (use 'dapo')": loss_type == "bnpo",
        }

    def dropped(self, groups: Groups) -> Tensor:
        self.kept_groups = groups.of_kind(*ACCEPTED)
        return ~self.kept_groups

    def _next(self, rounds: list[Round], size: int, columns: list[str]) -> list[dict[str, Any]]:
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

    def state_dict(self) -> dict[str, Any]:
        return {"drawn": self.stream.drawn}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.stream.drawn = state.get("drawn", 0)

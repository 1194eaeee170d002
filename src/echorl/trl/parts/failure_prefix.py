"""Groups that begin within a rollout of an earlier visit to their prompt; one is stored for each, on all processes."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from accelerate.utils import gather_object
from torch import Tensor

from echorl.methods.base import Batch
from echorl.trl.parts.base import COMPLETION_IDS, Generated
from echorl.trl.parts.memory import RowKeys
from echorl.trl.parts.prefixed import Prefixed

if TYPE_CHECKING:
    from echorl.trl.trainer import EchoGRPOTrainer


@dataclass
class Stored:
    """A rollout's tokens, the share of them to begin with, and the optimiser step it was sampled at."""

    tokens: list[int]
    share: float
    born: int


class FailurePrefix(Prefixed):
    """Begins groups with what is stored for their prompts: the first failure of a group that was nearly all right."""

    def __init__(self, trainer: EchoGRPOTrainer) -> None:
        super().__init__(trainer)
        self.rows = RowKeys(trainer)
        self.stored: dict[int, Stored] = {}
        self.keys: list[int] = []  # of the groups of all processes
        self.lengths: list[int] = []  # of their prefixes
        self.completions: list[list[int]] = []

    @property
    def first(self) -> int:
        """The number of this process's first rollout among all."""
        return self.trainer.accelerator.process_index * len(self.prefixes)

    def begin(self, inputs: list[dict[str, Any]]) -> None:
        self.keys = self.rows.of_groups(inputs)
        groups = [self._prefix(key) for key in self.keys]
        self.lengths = [len(prefix) for prefix in groups]
        first, size = self.trainer.accelerator.process_index * len(inputs), self.trainer.num_generations
        self.prefixes = [groups[(first + row) // size] for row in range(len(inputs))]
        used = sum(map(bool, self.lengths))
        self.trainer.add_metric("prefixed", used / len(groups), family="method")
        if used:
            self.trainer.add_metric("prefix_tokens", sum(self.lengths) / used, family="method")

    def _prefix(self, key: int) -> list[int]:
        """The beginning of what is stored, unless it is too old or used up."""
        stored, method = self.stored.get(key), self.trainer.method
        if stored is None:
            return []
        if not 0 < stored.share <= 1 or self._is_too_old(stored):
            del self.stored[key]
            return []
        limit = method.max_tokens or self.trainer.max_completion_length // 2
        return stored.tokens[: min(round(stored.share * len(stored.tokens)), limit)]

    def _is_too_old(self, stored: Stored) -> bool:
        """Whether its age alone drops it; says so once."""
        limit = self.trainer.method.max_age
        if limit is None or self.trainer.state.global_step - stored.born <= limit:
            return False
        self.trainer.warn_once(
            "too_old",
            f"max_age={limit} drops stored prefixes that are older than {limit} optimiser steps: where an epoch has "
            "more, hardly one is ever used. Leave it at None, or give more.",
        )
        return True

    def generated(self, generated: Generated) -> Generated:
        self.completions = [list(ids) for ids in generated[COMPLETION_IDS]]
        return super().generated(generated)

    def judged(self, advantages: Tensor, batch: Batch) -> Tensor:
        right, judged = (count.tolist() for count in batch.counts)
        for group, key in enumerate(self.keys):
            if self.lengths[group]:
                stored = self.stored[key]
                stored.share = self.trainer.method.moved(stored.share, right[group], judged[group])
        self._keep(self._failures(batch))
        return advantages

    def _failures(self, batch: Batch) -> list[tuple[int, list[int]]]:
        """This process's failures of plain groups that were nearly all right: (rollout's number among all, tokens)."""
        right, judged = batch.counts
        saturated = (right < judged) & (right >= self.trainer.method.saturated * judged)
        wanted = (saturated[batch.groups] & batch.scored & ~batch.success).tolist()
        rows = [(self.first + row, ids) for row, ids in enumerate(self.completions) if not self.prefixes[row]]
        # One token at least is left to the policy.
        return [(place, ids[:-1]) for place, ids in rows if wanted[place] and len(ids) > 1]

    def _keep(self, found: list[tuple[int, list[int]]]) -> None:
        """Store what all processes found; of several failures of one prompt the first counts."""
        step, size, share = self.trainer.state.global_step, self.trainer.num_generations, self.trainer.method.share
        for place, ids in sorted(gather_object(found), reverse=True):
            self.stored[self.keys[place // size]] = Stored(tokens=list(ids), share=share, born=step)

    def state_dict(self) -> dict[str, Any]:
        stored = {key: asdict(each) for key, each in self.stored.items()}
        return {"rows": self.rows.fingerprint, "stored": stored}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if state:
            self.rows.check(state["rows"])
            self.stored = {key: Stored(**each) for key, each in state["stored"].items()}

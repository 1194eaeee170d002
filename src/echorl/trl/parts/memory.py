"""What is remembered of prompts across their visits: SPO's tracked success rates."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from datasets import Dataset
from torch import Tensor

from echorl.methods.base import Batch
from echorl.trl.parts.base import Part
from echorl.trl.parts.demonstrations import column_names
from echorl.trl.parts.row_keys import row_key, rows_fingerprint

if TYPE_CHECKING:
    from echorl.trl.trainer import EchoGRPOTrainer

Entry = tuple[float, float]


class RowKeys:
    """Keys of training rows, the same on every process; and whether a checkpoint's are of the same rows."""

    def __init__(self, trainer: EchoGRPOTrainer) -> None:
        self.trainer = trainer

    @cached_property
    def fingerprint(self) -> str:
        return rows_fingerprint(self.trainer.train_dataset)

    def of_groups(self, inputs: list[dict[str, Any]]) -> list[int]:
        """One key a group, of all processes' rows."""
        own = torch.tensor([row_key(example) for example in inputs], device=self.trainer.accelerator.device)
        return self.trainer.accelerator.gather(own)[:: self.trainer.num_generations].tolist()

    def check(self, fingerprint: str) -> None:
        """ValueError if what was remembered is of other rows."""
        if fingerprint != self.fingerprint:
            raise ValueError(
                f"the memory of method={self.trainer.args.method!r} in this checkpoint is of other training rows: "
                "resume with the rows that the run began with, or start a new run from the checkpoint's weights."
            )


class TrackedRate(Part):
    """SPO's: counts of successes and failures on earlier visits, and before the first one as the method says.

    They are the same on every process; saved with the checkpoint, for the same training rows alone.
    """

    def __init__(self, trainer: EchoGRPOTrainer) -> None:
        super().__init__(trainer)
        self.rows = RowKeys(trainer)
        self.entries: dict[int, Entry] = {}
        self.keys: list[int] = []  # of the groups of all processes, in order
        self.starts: dict[int, Entry] = {}  # of the groups of all processes, where the rows tell
        self.offline = trainer.method.offline
        if self.offline is not None:
            self._check_offline()

    def _check_offline(self) -> None:
        rows = self.trainer.train_dataset
        names = column_names(rows)
        if self.offline not in names:
            raise ValueError(
                f"method='spo' has offline={self.offline!r}, which is no column of the training rows (there are: "
                f"{', '.join(names) or 'none'}): name a column with a list of rewards a row, or leave offline out."
            )
        if self.trainer.args.remove_unused_columns:
            raise ValueError(
                f"remove_unused_columns=True would take the column {self.offline!r} out of the rows, and method='spo' "
                "reads it: set it to False."
            )
        if isinstance(rows, Dataset):
            for number, rewards in enumerate(rows[self.offline]):
                self._start(rewards, f"training row {number}")

    def _start(self, rewards: Any, place: str) -> Entry:
        """The counts before a prompt's first visit."""
        if not isinstance(rewards, list | None) or not all(
            isinstance(reward, (int, float)) for reward in rewards or []
        ):
            raise ValueError(
                f"{place}: {self.offline}={rewards!r} is no list of numbers: write the rewards of the row's rollouts, "
                "or null where there are none."
            )
        successes = sum(reward >= self.trainer.echo.success_reward for reward in rewards or [])
        return self.trainer.method.before(successes, len(rewards or []) - successes)

    def begin(self, inputs: list[dict[str, Any]]) -> None:
        self.keys = self.rows.of_groups(inputs)
        if self.offline is None:
            return
        starts = [self._start(example[self.offline], "a training row") for example in inputs]
        gathered = self.trainer.accelerator.gather(torch.tensor(starts, device=self.trainer.accelerator.device))
        pairs = gathered[:: self.trainer.num_generations].tolist()
        self.starts = {key: (first, second) for key, (first, second) in zip(self.keys, pairs, strict=True)}

    def judged(self, advantages: Tensor, batch: Batch) -> Tensor:
        rates = [a / (a + c) if a + c else torch.nan for a, c in map(self._entry, self.keys)]
        known = torch.tensor(rates, dtype=batch.rewards.dtype, device=batch.rewards.device)
        self._log(known)
        self._visit(batch)
        return self.trainer.method.against(known[batch.groups], batch)

    def _entry(self, key: int) -> Entry:
        return self.entries.get(key) or self.starts.get(key) or self.trainer.method.before()

    def _log(self, rates: Tensor) -> None:
        visited = torch.tensor([key in self.entries for key in self.keys], device=rates.device) & ~rates.isnan()
        self.trainer.add_metric("tracked", float(visited.float().mean()), family="method")
        if visited.any():
            self.trainer.add_metric("tracked_rate", float(rates[visited].mean()), family="method")

    def _visit(self, batch: Batch) -> None:
        right, judged = batch.counts
        for key, successes, number in zip(self.keys, right.tolist(), judged.tolist(), strict=True):
            self.entries[key] = self.trainer.method.after(self._entry(key), successes, number - successes)

    def state_dict(self) -> dict[str, Any]:
        keys = torch.tensor(list(self.entries), dtype=torch.int64)
        values = torch.tensor(list(self.entries.values()), dtype=torch.float64).reshape(-1, 2)
        return {"rows": self.rows.fingerprint, "keys": keys, "values": values}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if not state:
            return
        self.rows.check(state["rows"])
        pairs = zip(state["keys"].tolist(), state["values"].tolist(), strict=True)
        self.entries = {key: (first, second) for key, (first, second) in pairs}

"""Hooks that remember something of each prompt from visit to visit."""

from __future__ import annotations

from typing import Any

from echorl.methods.base import Method
from echorl.trl.batch import Plan
from echorl.trl.context import Context
from echorl.trl.methods.base import MethodHooks, Row
from echorl.trl.sampling.row_keys import RowKeys, group_keys
from echorl.trl.verifiers import Verifiers


class MemoryHooks(MethodHooks):
    """Remembers `entries`, key of a training row -> plain values, the same on every process.

    A checkpoint holds them for a resume with the same training rows.
    """

    def __init__(self, method: Method, context: Context, verifiers: Verifiers) -> None:
        super().__init__(method, context, verifiers)
        self.rows = RowKeys(context.rows, context.args.method)
        self.entries: dict[int, Any] = {}

    def plan(self, rows: list[Row], context: Context) -> Plan:
        return Plan(keys=group_keys(rows, context))

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "rows": self.rows.fingerprint, "entries": self.entries}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        if state:
            self.rows.check(state["rows"])
            self.entries = state["entries"]

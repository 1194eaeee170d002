"""Hooks of `failure_prefix`: groups that begin with a given text, or with part of a rollout of an earlier visit."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from echorl.core.rollouts import Rollouts
from echorl.methods.base import Method
from echorl.tasks.rows import READERS
from echorl.trl.batch import Capture, Plan
from echorl.trl.context import Context
from echorl.trl.methods.base import MethodHooks, Row
from echorl.trl.sampling.demonstrations import check_column, require_column
from echorl.trl.sampling.prefixes import check_prefixes
from echorl.trl.sampling.row_keys import RowKeys, group_keys
from echorl.trl.verifiers import Verifiers


@dataclass
class Stored:
    """A rollout's tokens, and the share of them to begin with."""

    tokens: list[int]
    share: float


@dataclass(kw_only=True)
class PrefixPlan(Plan):
    """Attributes:
    lengths: one for each group of all processes, the length of its prefix.
    """

    lengths: list[int]


class GivenPrefixHooks(MethodHooks):
    """Begins the rollouts of a row with the text that a column, or a file, has for it."""

    def __init__(self, method: Method, context: Context, verifiers: Verifiers) -> None:
        super().__init__(method, context, verifiers)
        check_prefixes(context)
        source = self.method.prefixes
        self.texts = read_prefixes(Path(source)) if source.endswith(".jsonl") else None
        if self.texts is None:
            advice = "name the column with the beginnings, or a .jsonl file, or set online=true"
            require_column("prefixes", source, context, advice)
            check_column(source, context, self._check)

    def _check(self, prefix: Any, place: str) -> None:
        if not isinstance(prefix, str | None):
            raise ValueError(f"{place}: {self.method.prefixes}={prefix!r} is no text: write the beginning, or null.")

    def _text(self, example: Row) -> str:
        if self.texts is None:
            return example[self.method.prefixes] or ""
        return self.texts.get(_key(example["prompt"]), "")

    def plan(self, rows: list[Row], context: Context) -> Plan:
        prefixes = [context.tokenizer(self._text(row), add_special_tokens=False)["input_ids"] for row in rows]
        lengths = context.comm.gather(torch.tensor([len(prefix) for prefix in prefixes], device=context.comm.device))
        _log(lengths[:: context.args.num_generations].tolist(), context)
        return Plan(prefixes=prefixes)


def read_prefixes(path: Path) -> dict[str, str]:
    """Return the beginnings of a file, by their prompts.

    Raises:
        ValueError: there is no such file, or a row is no object with 'prompt' and the text 'failure_prefix'.
    """
    if not path.is_file():
        raise ValueError(f"prefixes={str(path)!r}: there is no such file; a path is relative to the working directory.")
    texts = {}
    for number, row in enumerate(READERS[".jsonl"](path), 1):
        if "prompt" not in row or not isinstance(row.get("failure_prefix"), str):
            raise ValueError(f"{path}, row {number}: write an object with 'prompt' and the text 'failure_prefix'.")
        texts[_key(row["prompt"])] = row["failure_prefix"]
    return texts


def _key(prompt: Any) -> str:
    return json.dumps(prompt, sort_keys=True)


def _log(lengths: list[int], context: Context) -> None:
    """Log the share of groups with a prefix, and its mean length."""
    used = sum(map(bool, lengths))
    context.log.update({"method/prefixed": used / len(lengths)})
    if used:
        context.log.update({"method/prefix_tokens": sum(lengths) / used})


class StoredFailureHooks(MethodHooks):
    """Begins groups with a part of their prompt's stored rollout: the first failure of a group that nearly all solved.

    One rollout is stored for each prompt, the same on all processes.
    """

    def __init__(self, method: Method, context: Context, verifiers: Verifiers) -> None:
        super().__init__(method, context, verifiers)
        check_prefixes(context)
        self.rows = RowKeys(context.rows, context.args.method)
        self.stored: dict[int, Stored] = {}

    def plan(self, rows: list[Row], context: Context) -> PrefixPlan:
        keys = group_keys(rows, context)
        groups = [self._prefix(key, context) for key in keys]
        first, size = context.comm.rank * len(rows), context.args.num_generations
        lengths = [len(prefix) for prefix in groups]
        _log(lengths, context)
        prefixes = [groups[(first + row) // size] for row in range(len(rows))]
        return PrefixPlan(prefixes=prefixes, keys=keys, lengths=lengths)

    def _prefix(self, key: int, context: Context) -> list[int]:
        """Return the share of the stored rollout, or [] where there is none or its share has left (0, 1]."""
        stored = self.stored.get(key)
        if stored is None:
            return []
        if not 0 < stored.share <= 1:
            del self.stored[key]
            return []
        limit = self.method.max_tokens or context.args.max_completion_length // 2
        return stored.tokens[: min(round(stored.share * len(stored.tokens)), limit)]

    def advantages(self, advantages: Tensor, rollouts: Rollouts, capture: Capture, context: Context) -> Tensor:
        """Return the advantages unchanged; change the shares of groups with a prefix, and store new failures."""
        plan: Any = capture.plan
        num_success, num_verdicts = rollouts.num_success.tolist(), rollouts.num_verdicts.tolist()
        for group, key in enumerate(plan.keys):
            if plan.lengths[group]:
                stored = self.stored[key]
                stored.share = self.method.moved(stored.share, num_success[group], num_verdicts[group])
        self._store(self._failures(rollouts, capture), plan.keys, context)
        return advantages

    def _failures(self, rollouts: Rollouts, capture: Capture) -> list[tuple[int, list[int]]]:
        """Return (row of all processes, tokens) of this process's failures in saturated groups without a prefix."""
        num_success, num_verdicts = rollouts.num_success, rollouts.num_verdicts
        saturated = (num_success < num_verdicts) & (num_success >= self.method.saturated * num_verdicts)
        is_failure = (saturated[rollouts.groups.index] & rollouts.has_verdict & ~rollouts.success).tolist()
        first, pairs = rollouts.local.start, zip(capture.plan.prefixes or [], capture.completion_ids, strict=True)
        plain = [(first + row, list(ids)) for row, (prefix, ids) in enumerate(pairs) if not prefix]
        # The policy samples at least one token.
        return [(place, ids[:-1]) for place, ids in plain if is_failure[place] and len(ids) > 1]

    def _store(self, failures: list[tuple[int, list[int]]], keys: list[int], context: Context) -> None:
        """Store the failures of all processes; of several of one prompt the first counts."""
        size = context.args.num_generations
        for place, ids in sorted(context.comm.gather_objects(failures), reverse=True):
            self.stored[keys[place // size]] = Stored(tokens=ids, share=self.method.share)

    def state_dict(self) -> dict[str, Any]:
        stored = {key: asdict(each) for key, each in self.stored.items()}
        return {"rows": self.rows.fingerprint, "stored": stored}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if state:
            self.rows.check(state["rows"])
            self.stored = {key: Stored(**each) for key, each in state["stored"].items()}

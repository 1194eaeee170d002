"""`echorl mine`: EchoClips of stored rollouts, scored part by part; a part that is there is not made again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from echorl.core.config import EchoConfig
from echorl.core.options import check_options
from echorl.core.steps import StepDelimiters
from echorl.lab.evaluate.checkpoint import Checkpoint
from echorl.lab.jobs import View
from echorl.lab.mine.clips import clip_rows, combine, count
from echorl.lab.mine.folder import MinedFolder, Part
from echorl.lab.mine.rows import read_rollouts
from echorl.lab.mine.scorer import Reading, Scorer, rendered_prompts, tokenize
from echorl.lab.mine.spool import Spool
from echorl.lab.mine.summary import Summary
from echorl.lab.options import Columns, Mining
from echorl.models.loading import tokenizer_of
from echorl.support.stored import scratch_in


@dataclass(frozen=True, kw_only=True)
class Plan(Mining):
    """What to mine, and how.

    Attributes:
        files: JSONL or parquet, in order.
        columns: what the user says of their columns.
        reading: how rollouts become tokens.
        echo: what is a clip.
    """

    files: Sequence[Path]
    columns: Columns
    reading: Reading
    echo: EchoConfig

    def __post_init__(self) -> None:
        check_options(self)


def mine(folder: Path, plan: Plan, checkpoint: Checkpoint, start: Callable[[], Any], view: View) -> dict[str, Any]:
    """Mine all rollouts into `folder`; what an earlier call with the same settings left there is used.

    Args:
        start: loads the model; called only if something is to be scored.

    Returns:
        The summary.

    Raises:
        ValueError: a file, a row or the model cannot be used, or the folder holds something else.
    """
    store = MinedFolder(folder)
    store.check()
    delimiters = StepDelimiters.from_tokenizer(checkpoint.processing_class)
    rollouts = read_rollouts(plan.files, plan.columns, view.begin("reading rollouts", None))
    rollouts = rendered_prompts(rollouts, checkpoint.processing_class, plan.reading.chat)
    with scratch_in(folder) as path:
        spool = Spool(path, rollouts)
        key = _settings(plan, checkpoint, spool)
        store.claim(key)
        found = store.summary(key)
        if found is None:
            _score_parts(store, spool, key, _Miner(plan, checkpoint, delimiters, start), view)
            found = _finish(store, len(spool.parts(plan.batch_size)), key, plan.format)
    store.clean()
    return found


def _settings(plan: Plan, checkpoint: Checkpoint, spool: Spool) -> dict[str, Any]:
    """What the clips depend on; a second call has to have the same."""
    own = {name: value for name, value in vars(plan).items() if name not in ("files", "columns", "reading", "echo")}
    own = {**own, **asdict(plan.reading), **{f"echo_{name}": value for name, value in vars(plan.echo).items()}}
    return {"model": checkpoint.fingerprint(), "rollouts": spool.digest, **own}


def _score_parts(store: MinedFolder, spool: Spool, key: Mapping[str, Any], miner: _Miner, view: View) -> None:
    advance = view.begin("mining rollouts", len(spool))
    for index, rows in enumerate(spool.parts(miner.plan.batch_size)):

        def make(index: int = index, rows: slice = rows) -> Part:
            return miner.part(spool, index, rows)

        store.part(index, key, make)
        advance(rows.stop)


def _finish(store: MinedFolder, num_parts: int, key: Mapping[str, Any], format: str) -> dict[str, Any]:
    summary = Summary()
    for part in store.parts(num_parts, key):
        summary.add(part)
    rows = (row for part in store.parts(num_parts, key) for row in part["clips"])
    store.finish(rows, format)
    found = summary.result()
    store.write_summary(key, found)
    return found


class _Miner:
    """Makes parts; the model is loaded for the first one."""

    def __init__(
        self, plan: Plan, checkpoint: Checkpoint, delimiters: StepDelimiters, start: Callable[[], Any]
    ) -> None:
        self.plan, self.checkpoint, self.delimiters = plan, checkpoint, delimiters
        self._start = start

    @cached_property
    def scorer(self) -> Scorer:
        return Scorer(self._start(), temperature=self.plan.temperature, tokens_at_once=self.plan.tokens_at_once)

    def part(self, spool: Spool, index: int, rows: slice) -> Part:
        """Score and mine some whole groups."""
        rollouts, group = spool.read(rows)
        tokens = tokenize(rollouts, self.checkpoint.processing_class, self.plan.reading)
        longest = self.plan.reading.max_length
        fits = [longest is None or len(one) <= longest for one in tokens]
        short = [one for one, ok in zip(tokens, fits, strict=True) if ok]
        entropies = iter(self.scorer.entropies(short))
        every = [next(entropies) if ok else _nothing(len(one.response)) for one, ok in zip(tokens, fits, strict=True)]
        scored = combine(rollouts, tokens, group, every, fits, self.delimiters, self.plan.echo.success_reward)
        clips = clip_rows(scored, tokenizer_of(self.checkpoint.processing_class), self.plan.echo, draw=index)
        return {"clips": clips, "counts": count(scored, fits)}


def _nothing(length: int) -> Any:
    import torch

    return torch.full((length,), torch.nan)

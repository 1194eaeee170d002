"""`echorl mine`: EchoClips of stored rollouts, scored part by part; finished parts are kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from echorl.core.config import EchoConfig
from echorl.core.options import check_options
from echorl.core.steps import StepDelimiters
from echorl.lab.evaluate.checkpoint import Checkpoint
from echorl.lab.jobs import View
from echorl.lab.mine.clips import clip_rows, count, mine_part
from echorl.lab.mine.clips_file import write_clips
from echorl.lab.mine.rows import read_rollouts
from echorl.lab.mine.scorer import Reading, Scorer, check_prompts, tokenize
from echorl.lab.mine.spool import Spool
from echorl.lab.mine.summary import Summary
from echorl.lab.options import Columns, Mining
from echorl.models.loading import tokenizer_of
from echorl.support.files import scratch_in, stored, write_value
from echorl.support.folder import Parts, ResultFolder, json_parts

SUMMARY = "summary.json"
Part = dict[str, Any]
"""{"clips": rows, "counts": of `clips.count`}"""


@dataclass(frozen=True, kw_only=True)
class Plan(Mining):
    """Settings of `echorl mine`.

    Attributes:
        files: JSONL or parquet, in order.
        columns: names of their columns.
        reading: settings of the tokens.
        echo: settings of the clips.
    """

    files: Sequence[Path]
    columns: Columns
    reading: Reading
    echo: EchoConfig

    def __post_init__(self) -> None:
        check_options(self)


def mine(folder: Path, plan: Plan, checkpoint: Checkpoint, start: Callable[[], Any], view: View) -> dict[str, Any]:
    """Mine all rollouts into `folder`; parts that an earlier call with the same settings left there are used.

    Args:
        start: loads the model; called only if a part is to be scored.

    Returns:
        The summary.

    Raises:
        ValueError: a file, a row or the model cannot be used, or the folder holds something else.
    """
    results, parts = ResultFolder(folder, "mine", holds="clips made"), json_parts(folder / "parts")
    results.check_owner()
    delimiters = StepDelimiters.from_tokenizer(checkpoint.processing_class)
    rollouts = read_rollouts(plan.files, plan.columns, view.begin("reading rollouts", None))
    rollouts = check_prompts(rollouts, checkpoint.processing_class, plan.reading.chat)
    with scratch_in(folder) as path:
        spool = Spool(path, rollouts)
        settings = _settings(plan, checkpoint, spool)
        results.claim(settings)
        summary = stored(folder / SUMMARY, settings)
        if summary is None:
            count = _score_parts(parts, spool, settings, _Miner(plan, checkpoint, delimiters, start), view)
            summary = _finish(folder, plan.format, lambda: (parts.load(index) for index in range(count)))
            write_value(folder / SUMMARY, settings, summary)
    parts.remove()
    return summary


def _settings(plan: Plan, checkpoint: Checkpoint, spool: Spool) -> dict[str, Any]:
    """Return the settings that the clips depend on, which a second call must repeat."""
    return {
        "model": checkpoint.fingerprint(),
        "rollouts": spool.digest,
        **{field.name: getattr(plan, field.name) for field in fields(Mining)},
        **asdict(plan.reading),
        **{f"echo_{name}": value for name, value in vars(plan.echo).items()},
    }


def _score_parts(parts: Parts, spool: Spool, settings: dict[str, Any], miner: _Miner, view: View) -> int:
    """Make the parts that are missing, and return the number of parts."""
    advance, slices = view.begin("mining rollouts", len(spool)), spool.parts(miner.plan.batch_size)
    for index, rows in enumerate(slices):
        parts.ensure(index, settings, partial(miner.part, spool, index, rows))
        advance(rows.stop)
    return len(slices)


def _finish(folder: Path, format: str, load: Callable[[], Iterator[Part]]) -> dict[str, Any]:
    """Write all clips, and return the summary. One part is in memory at a time."""
    summary = Summary()
    for part in load():
        summary.add(part)
    write_clips(folder, (row for part in load() for row in part["clips"]), format)
    return summary.result()


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
        rollouts, groups = spool.read(rows)
        reading, processing_class = self.plan.reading, self.checkpoint.processing_class
        tokens = tokenize(rollouts, processing_class, reading)
        entropies = [entropy for _, entropy in self.scorer.scores(tokens, reading.max_length)]
        scored = [reading.max_length is None or len(each) <= reading.max_length for each in tokens]
        part = mine_part(rollouts, tokens, groups, entropies, scored, self.plan.echo, self.delimiters, draw=index)
        return {"clips": clip_rows(part, tokenizer_of(processing_class)), "counts": count(part)}

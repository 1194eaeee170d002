"""Rollouts for a page's gallery: whole groups from training dumps, clips from `echorl mine`, as JSON for a script."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from echorl.core.statistics import MEANING
from echorl.lab.checked import Maybe, check
from echorl.lab.report.gallery import EDGES, Exhibit, Rollout, Row, Step, choose_exhibits, make_rollout
from echorl.support.texts import parse_json
from echorl.support.visible import prompt_text, visible

NATS = Maybe(float)
DUMP = {
    "step": int, "group": int, "kind": str, "success": bool, "written_by_policy?": Maybe(bool), "prompt": str,
    "completion": str, "tokens": [str], "entropy": [NATS], "step_ids": [int], "clip_step": int, "clip_entropy": NATS,
}  # fmt: skip
"""What a report reads of a row of a run's dump."""
CLIP = {
    "kind": str, "file": str, "line": int, "successes": int, "group_size": int, "response": str, "step": int,
    "step_entropy": float, "others": [{"file": str, "line": int, "step": int, "entropy": float}],
}  # fmt: skip
"""What a report reads of a row of `echorl mine`'s clips, besides the prompt and what older versions lack."""
TOKENS = {"tokens": [str], "entropy": [NATS], "step_ids": [int]}
HALF = "{path} is no whole dump and was left out; the run may be writing it."
Shown = dict[str, Any]
"""A group as the script reads it: {"run", "kind", "step", "name", "prompt", "rollouts"}."""


@dataclass(frozen=True)
class Found:
    """Groups to show, how many rollouts there are in all, notes on unreadable files, and a few clips for a picture."""

    groups: Sequence[Shown]
    total: int
    notes: Sequence[str] = ()
    exhibits: Sequence[Exhibit] = ()

    @property
    def num_rollouts(self) -> int:
        return sum(len(group["rollouts"]) for group in self.groups)


def from_dumps(folder: Path, limit: int) -> Found:
    """Groups of a run's `rollouts/*.parquet`, at most about `limit` rollouts: of dumps spread evenly over the run.

    A dump that is not whole, since the run is writing it, or that another program wrote, is left out with a note.
    Empty where there is no dump.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    steps: dict[str, list[Path]] = {}
    sizes: dict[str, int] = {}
    notes: list[str] = []
    for path in sorted(folder.glob("*.parquet")):
        try:
            num_rows = pq.read_metadata(path).num_rows
        except (pa.ArrowException, OSError):
            notes.append(HALF.format(path=path))
            continue
        step = path.name.partition("-process-")[0]
        steps.setdefault(step, []).append(path)
        sizes[step] = sizes.get(step, 0) + num_rows
    chosen = spread(list(sizes.items()), limit)
    rows = (row for step in chosen for path in steps[step] for row in _read_dump(path, notes))
    groups = list(_within(_groups(rows), limit))
    exhibits = choose_exhibits(row for group in groups for row in group)
    return Found([_group_of_dump(group) for group in groups], sum(sizes.values()), notes, exhibits)


def _read_dump(path: Path, notes: list[str]) -> list[Row]:
    """A dump's rows; none, and a note, where they are not those of a dump."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        rows = pq.read_table(path).to_pylist()
    except (pa.ArrowException, OSError, ValueError):  # the last: text that is not UTF-8
        notes.append(HALF.format(path=path))
        return []
    try:
        for row in rows:
            check(row, DUMP)
            _check_lengths(row)
            if row["clip_step"] >= 0 and (row["clip_entropy"] is None or not row["tokens"]):
                raise ValueError("a clip has no entropy or no token")
    except ValueError as error:
        notes.append(f"{path} is no dump of a run ({error}) and was left out.")
        return []
    return rows


def _check_lengths(row: Row) -> None:
    if not len(row["tokens"]) == len(row["entropy"]) == len(row["step_ids"]):
        raise ValueError("tokens, entropy and step_ids have different lengths")


def spread(sizes: Sequence[tuple[str, int]], limit: int) -> list[str]:
    """Names, evenly from first to last, whose sizes add up to no more than the limit; else the last one alone.

    >>> spread([("a", 4), ("b", 4), ("c", 4), ("d", 4), ("e", 4)], 12)
    ['a', 'c', 'e']
    """
    least = min((size for _, size in sizes), default=1)
    for count in range(min(len(sizes), limit // max(1, least)), 1, -1):
        chosen = [sizes[round(i * (len(sizes) - 1) / (count - 1))] for i in range(count)]
        if sum(size for _, size in chosen) <= limit:
            return [name for name, _ in chosen]
    return [name for name, _ in sizes[-1:]]


def _within(groups: Iterable[list[Row]], limit: int) -> Iterator[list[Row]]:
    """Whole groups until there are `limit` rollouts; the first one in any case."""
    count = 0
    for group in groups:
        if count and count + len(group) > limit:
            return
        count += len(group)
        yield group


def _groups(rows: Iterable[Row]) -> Iterator[list[Row]]:
    groups: dict[tuple[int, int], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["step"], row["group"]), []).append(row)
    yield from groups.values()


def _group_of_dump(rows: Sequence[Row]) -> Shown:
    first = rows[0]
    return {
        "run": 0,
        "kind": first["kind"],
        "step": first["step"],
        "name": f"group {first['group'] + 1}",
        "prompt": visible(prompt_text(first["prompt"])),
        "rollouts": [
            _shown(make_rollout(row, number), row["clip_entropy"] if row["clip_step"] >= 0 else None)
            for number, row in enumerate(rows, 1)
        ],
    }


def from_clips(path: Path, limit: int) -> Found:
    """The clips of `echorl mine`, at most `limit`, evenly from first to last; the clip's rollout alone is there."""
    total = sum(1 for _ in _read_clips(path))
    stride = max(1, math.ceil(total / limit))
    rows = itertools.islice(_read_clips(path), 0, None, stride)
    notes = []
    groups = [_group_of_clip(row) for row in rows if "tokens" in row]
    if total and not groups:
        notes.append(
            f"{path} has no token entropies: an older version of echorl mined it; mine again to see the clips."
        )
    return Found(groups, total, notes)


def _read_clips(path: Path) -> Iterator[Row]:
    """The clips, checked.

    Raises:
        ValueError: the file cannot be read, or a row is not a clip's; the message names the file and the row.
    """
    rows = _read_clips_jsonl(path) if path.suffix == ".jsonl" else _read_clips_parquet(path)
    try:
        for number, row in enumerate(rows, 1):
            check(row, {**CLIP, **(TOKENS if "tokens" in row else {})}, f"row {number}")
            if "tokens" in row:
                _check_lengths(row)
            yield row
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise ValueError(f"{path} was not written by `echorl mine`, or is damaged ({why}): mine again.") from None


def _read_clips_jsonl(path: Path) -> Iterator[Row]:
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            try:
                row = parse_json(line)
                check(row, dict)
            except ValueError as error:
                raise ValueError(f"row {number}: {error}") from None
            yield row


def _read_clips_parquet(path: Path) -> Iterator[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(1000):
                for row in batch.to_pylist():
                    yield {**row, **{name: parse_json(str(row[name])) for name in _LISTS if name in row}}
    except pa.ArrowException as error:
        raise ValueError(" ".join(str(error).split())) from None


_LISTS = ("others", "tokens", "entropy", "step_ids")
"""Columns that parquet holds as JSON text."""


def _group_of_clip(row: Row) -> Shown:
    entropy = [math.nan if value is None else value for value in row["entropy"]]
    own = {**row, "completion": row["response"], "entropy": entropy, "success": True, "clip_step": row["step"]}
    others = [[visible(_of_candidate(other)), _milli(other["entropy"])] for other in row["others"]]
    prompt = row["prompt"] if isinstance(row.get("prompt"), str) else json.dumps(row.get("prompt"))
    return {
        "run": 0,
        "kind": row["kind"],
        "step": None,
        "name": visible(f"{Path(row['file']).name}:{row['line']}, {row['successes']} of {row['group_size']} right"),
        "prompt": visible(prompt_text(prompt)),
        "rollouts": [_shown(make_rollout(own, 1), row["step_entropy"], others)],
    }


def _of_candidate(other: Mapping[str, Any]) -> str:
    return f"{Path(other['file']).name}:{other['line']}, step {other['step'] + 1}"


def _shown(rollout: Rollout, clip: float | None, others: Sequence[Any] = ()) -> dict[str, Any]:
    return {
        "ok": rollout.success,
        "demonstration": rollout.demonstration,
        "clip": None if clip is None else _milli(clip),
        "length": sum(len(step.tokens) for step in rollout.steps),
        "steps": [_step(step) for step in rollout.steps],
        "others": others,
    }


def _step(step: Step) -> dict[str, Any]:
    return {
        "number": step.number,
        "clip": 2 if step.ends_clip else int(step.in_clip),
        "mean": _milli(step.entropy),
        "texts": [token.text for token in step.tokens],
        "nats": [_milli(token.entropy) for token in step.tokens],
        "special": [i for i, token in enumerate(step.tokens) if token.special],
    }


def _milli(value: float) -> int | None:
    """Thousandths of a nat, which are short in JSON; None for what is no number."""
    return round(1000 * value) if value is not None and math.isfinite(value) else None


def gallery_json(runs: Sequence[tuple[str, Sequence[Shown]]]) -> str:
    """Return the data of the page's script: (name, groups) of each run. Nothing in it can end its element."""
    groups = [{**group, "run": i} for i, (_, own) in enumerate(runs) for group in own]
    data = {"runs": [name for name, _ in runs], "edges": EDGES, "kinds": MEANING, "groups": groups}
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")

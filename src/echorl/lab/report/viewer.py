"""Rollouts for a page's gallery, whole groups of training dumps or clips of `echorl mine`, as JSON for a script."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from echorl.core.statistics import MEANING
from echorl.lab.checked import Maybe, check
from echorl.lab.report.gallery import EDGES, Exhibit, Rollout, Row, by_group, choose_exhibits, make_rollout
from echorl.support.errors import located
from echorl.support.texts import parse_json
from echorl.support.visible import prompt_text, visible

NATS = Maybe(float)
DUMP = {
    "step": int, "group": int, "kind": str, "success": bool, "written_by_policy?": Maybe(bool), "prompt": str,
    "completion": str, "tokens": [str], "entropy": [NATS], "step_ids": [int], "clip_step": int, "clip_entropy": NATS,
}  # fmt: skip
"""The columns of a run's dump that a report reads."""
CLIP = {
    "kind": str, "file": str, "line": int, "successes": int, "group_size": int, "response": str, "step": int,
    "step_entropy": float, "others": [{"file": str, "line": int, "step": int, "entropy": float}],
    "tokens": [str], "entropy": [NATS], "step_ids": [int],
}  # fmt: skip
"""The columns of clips of `echorl mine` that a report reads, besides the prompt."""
HALF = "{path} is no whole dump and was left out; the run may be writing it."
JSON_COLUMNS = ("others", "tokens", "entropy", "step_ids")
"""Columns that parquet holds as JSON text."""
Group = dict[str, Any]
"""A group as the script reads it: {"run", "kind", "step", "name", "prompt", "rollouts"}."""


@dataclass(frozen=True)
class GalleryRun:
    """Groups of a run to show, the number of all its rollouts, notes on unreadable files, and clips for a picture."""

    groups: Sequence[Group]
    total: int
    notes: Sequence[str] = ()
    exhibits: Sequence[Exhibit] = ()

    @property
    def num_rollouts(self) -> int:
        return sum(len(group["rollouts"]) for group in self.groups)


def from_dumps(folder: Path, limit: int) -> GalleryRun:
    """Return groups of a run's `rollouts/*.parquet`, at most about `limit` rollouts, from dumps spread over the run.

    A dump that is not whole, since the run is writing it, or that another program wrote, is left out with a note.
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
    groups: list[list[Row]] = []
    for group in by_group(row for step in chosen for path in steps[step] for row in _read_dump(path, notes)):
        if groups and sum(map(len, groups)) + len(group) > limit:
            break
        groups.append(group)
    exhibits = choose_exhibits(row for group in groups for row in group)
    return GalleryRun([_group_of_dump(group) for group in groups], sum(sizes.values()), notes, exhibits)


def _read_dump(path: Path, notes: list[str]) -> list[Row]:
    """Return a dump's rows; of a file that is no whole dump none, with a note."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        rows = pq.read_table(path).to_pylist()
    except (pa.ArrowException, OSError, ValueError):  # ValueError: text that is not UTF-8
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
    """Return names, evenly from first to last, whose sizes add up to the limit at most; else the last name alone.

    >>> spread([("a", 4), ("b", 4), ("c", 4), ("d", 4), ("e", 4)], 12)
    ['a', 'c', 'e']
    """
    least = min((size for _, size in sizes), default=1)
    for count in range(min(len(sizes), limit // max(1, least)), 1, -1):
        chosen = [sizes[round(i * (len(sizes) - 1) / (count - 1))] for i in range(count)]
        if sum(size for _, size in chosen) <= limit:
            return [name for name, _ in chosen]
    return [name for name, _ in sizes[-1:]]


def _group_of_dump(rows: Sequence[Row]) -> Group:
    first = rows[0]
    return {
        "run": 0,
        "kind": first["kind"],
        "step": first["step"],
        "name": f"group {first['group'] + 1}",
        "prompt": visible(prompt_text(first["prompt"])),
        "rollouts": [
            _rollout(make_rollout(row, number), row["clip_entropy"] if row["clip_step"] >= 0 else None)
            for number, row in enumerate(rows, 1)
        ],
    }


def from_clips(path: Path, limit: int) -> GalleryRun:
    """Return the clips of `echorl mine`, at most `limit`, evenly from first to last, each with its rollout alone."""
    total = sum(1 for _ in _read_clips(path))
    stride = max(1, math.ceil(total / limit))
    return GalleryRun([_group_of_clip(row) for i, row in enumerate(_read_clips(path)) if i % stride == 0], total, [])


def _read_clips(path: Path) -> Iterator[Row]:
    """Yield the clips of a file.

    Raises:
        ValueError: the file cannot be read, or a row is not a clip's; the message names the file and the row.
    """
    rows = _read_clips_jsonl(path) if path.suffix == ".jsonl" else _read_clips_parquet(path)
    try:
        for number, row in enumerate(rows, 1):
            check(row, CLIP, f"row {number}")
            _check_lengths(row)
            yield row
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ValueError(f"{path} was not written by `echorl mine`, or is damaged ({reason}): mine again.") from None


def _read_clips_jsonl(path: Path) -> Iterator[Row]:
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            with located(f"row {number}"):
                row = parse_json(line)
                check(row, dict)
            yield row


def _read_clips_parquet(path: Path) -> Iterator[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(1000):
                for row in batch.to_pylist():
                    yield {**row, **{name: parse_json(str(row[name])) for name in JSON_COLUMNS if name in row}}
    except pa.ArrowException as error:
        raise ValueError(" ".join(str(error).split())) from None


def _group_of_clip(row: Row) -> Group:
    rollout = make_rollout({**row, "completion": row["response"], "success": True, "clip_step": row["step"]}, 1)
    candidates = [
        [visible(f"{Path(each['file']).name}:{each['line']}, step {each['step'] + 1}"), _milli(each["entropy"])]
        for each in row["others"]
    ]
    prompt = row["prompt"] if isinstance(row.get("prompt"), str) else json.dumps(row.get("prompt"))
    return {
        "run": 0,
        "kind": row["kind"],
        "step": None,
        "name": visible(f"{Path(row['file']).name}:{row['line']}, {row['successes']} of {row['group_size']} right"),
        "prompt": visible(prompt_text(prompt)),
        "rollouts": [_rollout(rollout, row["step_entropy"], candidates)],
    }


def _rollout(rollout: Rollout, clip: float | None, candidates: Sequence[Any] = ()) -> dict[str, Any]:
    """Return a rollout as the script reads it; `candidates` are the others of its group, with entropies."""
    steps = [
        {
            "number": step.number,
            "clip": 2 if step.ends_clip else int(step.in_clip),
            "mean": _milli(step.entropy),
            "texts": [token.text for token in step.tokens],
            "nats": [_milli(token.entropy) for token in step.tokens],
            "special": [i for i, token in enumerate(step.tokens) if token.special],
        }
        for step in rollout.steps
    ]
    return {
        "ok": rollout.success,
        "demonstration": rollout.demonstration,
        "clip": None if clip is None else _milli(clip),
        "length": sum(len(step.tokens) for step in rollout.steps),
        "steps": steps,
        "others": candidates,
    }


def _milli(value: float) -> int | None:
    """Return thousandths of a nat, which are short in JSON; None for NaN."""
    return round(1000 * value) if math.isfinite(value) else None


def gallery_json(runs: Sequence[tuple[str, Sequence[Group]]]) -> str:
    """Return the data of the page's script: (name, groups) of each run. Nothing in it can end its element."""
    groups = [{**group, "run": i} for i, (_, groups_of_run) in enumerate(runs) for group in groups_of_run]
    data = {"runs": [name for name, _ in runs], "edges": EDGES, "kinds": MEANING, "groups": groups}
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")

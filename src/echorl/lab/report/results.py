"""`echorl mine` and `echorl eval` in a report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from echorl.lab.checked import Each, Maybe, read_object
from echorl.lab.report.page import Table
from echorl.lab.report.sources import Source, name_of

_SPREAD = Maybe(dict.fromkeys(("mean", "q10", "q50", "q90"), float))
_CLIPS = {
    "relative_end": _SPREAD, "ends_in_first_step": float, "ends_in_last_step": float, "step_entropy": _SPREAD,
    "other_steps_entropy": _SPREAD, "length": _SPREAD,
}  # fmt: skip
MINED = {
    "groups": int, "rollouts": int, "share_of_groups": float, "degenerate": float, "steps": _SPREAD,
    "blank_share": Maybe(float),
    "step_entropy_right": Maybe(float), "step_entropy_wrong": Maybe(float), "clips": {"count": int},
}  # fmt: skip
"""What a report reads of a kind of group in a summary.json."""
_INTERVAL = {"value": float, "low": Maybe(float), "high": Maybe(float)}
BENCHMARK = {
    "items": int, "samples": int, "measures": Each(_INTERVAL), "mean_tokens": float, "truncated": float,
    "no_answer": float,
}  # fmt: skip
AVERAGE = {**_INTERVAL, "benchmarks": [str]}


def read_mined(folder: Path) -> Source:
    """summary.json as a table by kind of group, and the clips.

    Raises:
        ValueError: the summary is not `echorl mine`'s.
    """
    from echorl.core.statistics import KINDS, MEANING
    from echorl.lab.mine.summary import table_rows

    kinds = {"all": MINED, **{f"{kind}?": MINED for kind in KINDS}}
    found = _required(folder / "summary.json", {"value": kinds}, "mine")["value"]
    found = {name: found[name] for name in ("all", *KINDS) if name in found}
    with_clips = [name for name, row in found.items() if row["clips"]["count"]]
    _required(folder / "summary.json", {"value": {name: {"clips": _CLIPS} for name in with_clips}}, "mine")
    total = found["all"]
    lead = f"{total['rollouts']} rollouts in {total['groups']} groups, {total['degenerate']:.1%} of them degenerate."
    groups = [
        [f"{kind}: {MEANING[kind]}", f"{row['groups']:,}", f"{row['share_of_groups']:.1%}"]
        for kind, row in found.items()
        if kind != "all"
    ]
    tables = [Table("Groups", ["kind", "groups", "share"], groups)]
    if with_clips:
        tables.append(Table("Clips", ["", *(name.replace("_", "-") for name in with_clips)], table_rows(found)))
    clips = next((path for path in (folder / "clips.jsonl", folder / "clips.parquet") if path.is_file()), None)
    return Source(folder=folder, title=f"Mined: {name_of(folder)}", lead=[lead], tables=tables, clips=clips)


def _required(path: Path, shape: Any, command: str) -> dict[str, Any]:
    """The object in a JSON file that was there when the kind of folder was told."""
    found = read_object(path, shape, f"echorl {command}")
    if found is None:
        raise ValueError(f"{path} was deleted while it was read: give another folder.")
    return found


def read_evaluation(folder: Path) -> Source:
    """results.json of `echorl eval`: a row a benchmark, and the averages.

    Raises:
        ValueError: the file is not `echorl eval`'s.
    """
    from echorl.lab.evaluate.summary import DISTRIBUTIONS
    from echorl.lab.evaluate.table import HEAD, measures_of, results_rows

    path = folder / "results.json"
    averages = {f"{kind}?": AVERAGE for kind in DISTRIBUTIONS}
    found = _required(path, {"model": Maybe(str), "benchmarks": Each(BENCHMARK), "averages": averages}, "eval")
    needed = {name: {"measures": dict.fromkeys(measures_of(row), dict)} for name, row in found["benchmarks"].items()}
    found = _required(path, {"benchmarks": needed}, "eval")
    found["averages"] = {kind: row for kind, row in found["averages"].items() if kind in DISTRIBUTIONS}
    note = "In %. Intervals are clustered by item; k: samples an item."
    table = Table("Benchmarks", HEAD, results_rows(found), note)
    return Source(folder=folder, title=f"Evaluation of {found['model']}", tables=[table])

"""`echorl mine` and `echorl eval` in a report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from echorl.lab.checked import Each, Maybe, read_object
from echorl.lab.report.page import Table
from echorl.lab.report.sources import Source, name_of

_SPREAD = Maybe({**dict.fromkeys(("mean", "q10", "q50", "q90"), float), "values?": [float]})
_CLIPS = {
    "relative_end": _SPREAD, "ends_in_first_step": float, "ends_in_last_step": float, "step_entropy": _SPREAD,
    "other_steps_entropy": _SPREAD, "length": _SPREAD,
}  # fmt: skip
MINED = {
    "groups": int, "rollouts": int, "share_of_groups": float, "degenerate": float, "steps": _SPREAD,
    "blank_share": Maybe(float),
    "step_entropy_right": Maybe(float), "step_entropy_wrong": Maybe(float), "clips": {"count": int},
}  # fmt: skip
"""The part of a kind of group in a summary.json that a report reads."""
_INTERVAL = {"value": float, "low": Maybe(float), "high": Maybe(float)}
BENCHMARK = {
    "items": int, "samples": int, "measures": Each(_INTERVAL), "mean_tokens": float, "truncated": float,
    "no_answer": float,
}  # fmt: skip
AVERAGE = {**_INTERVAL, "benchmarks": [str]}


def read_mined(folder: Path) -> Source:
    """Return the table of a summary.json by kind of group, and the clips.

    Raises:
        ValueError: the summary is not `echorl mine`'s.
    """
    from echorl.core.statistics import KINDS, MEANING
    from echorl.lab.mine.summary import ALL, FEW_NOTE, has_few, headline, table_rows

    kinds = {ALL: {**MINED, "unusual_rewards": [str]}, **{f"{kind}?": MINED for kind in KINDS}}
    summary = _read(folder / "summary.json", {"value": kinds}, "mine")["value"]
    by_kind = {name: summary[name] for name in ("all", *KINDS) if name in summary}
    with_clips = [name for name, row in by_kind.items() if row["clips"]["count"]]
    _read(folder / "summary.json", {"value": {name: {"clips": _CLIPS} for name in with_clips}}, "mine")
    groups = [
        [f"{kind}: {MEANING[kind]}", f"{row['groups']:,}", f"{row['share_of_groups']:.1%}"]
        for kind, row in by_kind.items()
        if kind != "all"
    ]
    tables = [Table("Groups", ["kind", "groups", "share"], groups)]
    if with_clips:
        head = ["", *(name.replace("_", "-") for name in with_clips)]
        tables.append(Table("Clips", head, table_rows(by_kind), FEW_NOTE if has_few(by_kind) else ""))
    clips = next((path for path in (folder / "clips.jsonl", folder / "clips.parquet") if path.is_file()), None)
    return Source(folder=folder, title=f"Mined: {name_of(folder)}", lead=headline(by_kind), tables=tables, clips=clips)


def _read(path: Path, shape: Any, command: str) -> dict[str, Any]:
    value = read_object(path, shape, f"echorl {command}")
    assert value is not None, "the file marks the folder"
    return value


def read_evaluation(folder: Path) -> Source:
    """Return the table of `echorl eval`: a row a benchmark, and the averages.

    Raises:
        ValueError: the file is not `echorl eval`'s.
    """
    from echorl.lab.evaluate.summary import DISTRIBUTIONS
    from echorl.lab.evaluate.table import HEAD, measures_of, results_rows

    path = folder / "results.json"
    averages = {f"{kind}?": AVERAGE for kind in DISTRIBUTIONS}
    results = _read(path, {"model": Maybe(str), "benchmarks": Each(BENCHMARK), "averages": averages}, "eval")
    samples = {name: row["samples"] for name, row in results["benchmarks"].items()}
    shown = {name: {"measures": dict.fromkeys(measures_of(k), dict)} for name, k in samples.items()}
    _read(path, {"benchmarks": shown}, "eval")
    results["averages"] = {kind: row for kind, row in results["averages"].items() if kind in DISTRIBUTIONS}
    note = "In %. Intervals are clustered by item; k: samples an item."
    table = Table("Benchmarks", HEAD, results_rows(results), note)
    return Source(folder=folder, title=f"Evaluation of {results['model']}", tables=[table])

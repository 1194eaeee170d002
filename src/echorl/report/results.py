"""`echorl mine`, `eval` and `quickstart` in a report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from echorl.report.page import Table
from echorl.report.sources import Source, name_of
from echorl.report.training import TrainingRun, read_run
from echorl.stored import read_json


def read_mined(folder: Path) -> Source:
    """summary.json as a table by kind of group, and the clips.

    Raises:
        ValueError: the summary is not `echorl mine`'s.
    """
    from echorl.analysis.mine_summary import table_rows
    from echorl.core.ledger import MEANING

    found = (read_json(folder / "summary.json") or {}).get("value")
    if not isinstance(found, dict) or "all" not in found:
        raise ValueError(f"{folder / 'summary.json'} was not written by `echorl mine`: give another folder.")
    total = found["all"]
    lead = f"{total['rollouts']} rollouts in {total['groups']} groups, {total['degenerate']:.1%} of them degenerate."
    kinds = [kind for kind in found if kind != "all"]
    groups = [[f"{k}: {MEANING[k]}", f"{found[k]['groups']:,}", f"{found[k]['share_of_groups']:.1%}"] for k in kinds]
    with_clips = [name for name in found if found[name]["clips"]["count"]]
    tables = [Table("Groups", ["kind", "groups", "share"], groups)]
    if with_clips:
        tables.append(Table("Clips", ["", *(name.replace("_", "-") for name in with_clips)], table_rows(found)))
    clips = next((path for path in (folder / "clips.jsonl", folder / "clips.parquet") if path.is_file()), None)
    return Source(folder=folder, title=f"Mined: {name_of(folder)}", lead=[lead], tables=tables, clips=clips)


def read_evaluation(folder: Path) -> Source:
    """results.json of `echorl eval`: a row a benchmark, and the averages."""
    from echorl.evaluate.table import HEAD, results_rows

    found = read_json(folder / "results.json")
    assert found is not None, "seen before"
    note = "In %. Intervals are clustered by item; k: samples an item."
    table = Table("Benchmarks", HEAD, results_rows(found), note)
    return Source(folder=folder, title=f"Evaluation of {found['model']}", tables=[table])


def read_quickstart(folder: Path) -> Source:
    """The quickstart's findings and tables, and its two runs."""
    from echorl.quickstart.draw import make_tables
    from echorl.quickstart.study import ARMS, LABELS
    from echorl.quickstart.summary import findings

    found = read_json(folder / "results.json")
    assert found is not None, "seen before"
    runs, notes = [], []
    for arm in ARMS:
        run, own = read_run(folder / arm)
        runs.append(TrainingRun(folder / arm, run.rows, _settings(folder / arm), LABELS[arm]))
        notes += own
    summary = found["value"]
    return Source(
        folder=folder,
        title=f"Quickstart: {name_of(folder)}",
        findings=findings(summary),
        tables=make_tables(summary),
        runs=runs,
        notes=notes,
    )


def _settings(arm: Path) -> dict[str, Any]:
    """The study's, which have a seed, from an arm's mark."""
    key = (read_json(arm / "arm.json") or {}).get("key", {})
    return {**key.get("settings", {}), "coef": json.dumps(key.get("coef"))}

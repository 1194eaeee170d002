"""An audit: a log is read, measured and searched, and the results are written to a folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from echorl.lab.audit.export import export
from echorl.lab.audit.measure import measure
from echorl.lab.audit.read import Log, read_log
from echorl.lab.audit.suspects import Suspects, find_suspects
from echorl.lab.jobs import View
from echorl.lab.options import Columns
from echorl.support.files import write_json
from echorl.support.folder import ResultFolder

RESULTS, SUSPECTS, PAGE = "audit.json", "suspects.jsonl", "page.html"
"""The files of an audit."""


@dataclass(frozen=True, kw_only=True)
class AuditPlan:
    """Settings of an audit: files and folders of the log, its columns, and the least reward of a right rollout."""

    places: Sequence[Path]
    columns: Columns
    success_reward: float


def audit(folder: Path, plan: AuditPlan, view: View) -> dict[str, Any]:
    """Audit a log into `folder`, in place of what an earlier audit of this log left there. Returns the results.

    Raises:
        ValueError: the log cannot be used, or the folder holds something else, such as the audit of another log.
    """
    results_folder = ResultFolder(folder, "audit", holds="the audit of another log")
    results_folder.check_owner()
    log = read_log(plan.places, plan.columns, plan.success_reward, view.begin("reading the log", None))
    results_folder.claim({"log": _paths(plan.places)})
    view.begin("measuring groups", None)
    suspects = find_suspects(log.groups, log.evidence)
    results = measure(log.groups, suspects, _describe(log, plan))
    view.begin("drawing the page", None)
    write_results(folder, results, log, suspects)
    return results


def _describe(log: Log, plan: AuditPlan) -> dict[str, Any]:
    return {
        "places": [str(place) for place in plan.places],
        "files": [str(path) for path in log.files],
        "columns": log.columns.described(),
        "notes": log.notes,
    }


def _paths(places: Sequence[Path]) -> list[str]:
    return [str(place.resolve()) for place in places]


def write_results(folder: Path, results: dict[str, Any], log: Log, suspects: Suspects) -> None:
    """Write the suspects, the page and the numbers, each in one move; the numbers last."""
    from echorl.lab.audit.page import make_page
    from echorl.lab.report.page import write

    export(suspects, log, folder / SUSPECTS)
    write(make_page(results), folder / PAGE)
    write_json(folder / RESULTS, results)

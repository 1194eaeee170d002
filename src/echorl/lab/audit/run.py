"""An audit: a log is read, measured and searched, and the results are written to a folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from echorl.lab.audit.advice import advise
from echorl.lab.audit.groups import GroupTable
from echorl.lab.audit.losses import measure_losses, recent_groups
from echorl.lab.audit.rates import count_successes, usual_size
from echorl.lab.audit.read import Log, read_log
from echorl.lab.audit.sizes import measure_sizes
from echorl.lab.audit.summary import sentences
from echorl.lab.audit.suspects import Suspects, export, find_suspects
from echorl.lab.jobs import View
from echorl.lab.options import Columns
from echorl.support.files import write_json
from echorl.support.folder import ResultFolder

RESULTS, SUSPECTS, PAGE = "audit.json", "suspects.jsonl", "page.html"
"""The files of an audit."""


@dataclass(frozen=True, kw_only=True)
class AuditPlan:
    """Settings of an audit: files and folders of the log, its columns, and the reward from which on a rollout is right."""

    places: Sequence[Path]
    columns: Columns
    success_reward: float


def audit(folder: Path, plan: AuditPlan, view: View) -> dict[str, Any]:
    """Audit a log into `folder`, in place of what an earlier audit of this log left there. Returns the results.

    Raises:
        ValueError: the log cannot be used, or the folder holds something else, such as the audit of another log.
    """
    ResultFolder(folder, "audit", holds="the audit of another log").claim({"log": _paths(plan.places)})
    log = read_log(plan.places, plan.columns, plan.success_reward, view.begin("reading the log", None))
    view.begin("measuring groups", None)
    suspects = find_suspects(log.groups, log.evidence)
    results = measure(log, suspects, _paths(plan.places))
    view.begin("drawing the page", None)
    write_results(folder, results, log, suspects)
    return results


def measure(log: Log, suspects: Suspects, places: Sequence[str]) -> dict[str, Any]:
    """Return everything that an audit tells of a log, ready for JSON."""
    groups, recent = log.groups, recent_groups(log.groups)
    losses, sizes, size = measure_losses(groups), measure_sizes(recent), usual_size(groups)
    lost = losses.recent.groups
    advice = advise({kind: lost[part].value for kind, part in ADVISED.items()})
    results = {
        "echorl": "audit",
        "log": {"places": list(places), "files": [str(path) for path in log.files], **_describe(groups, log)},
        "losses": asdict(losses),
        "successes": {part: count_successes(each, size) for part, each in (("whole", groups), ("recent", recent))},
        "sizes": None if sizes is None else asdict(sizes),
        "suspects": {**asdict(suspects), "lines": suspects.lines()},
        "advice": [{**asdict(each), "sentence": each.sentence} for each in advice],
    }
    return {**results, "summary": sentences(results)}


ADVISED = {
    "all_success": "all_success_no_gradient",
    "all_fail": "all_fail_no_gradient",
    "uniform_reward": "uniform_reward",
}
"""Kind of group -> the part of the log that is of this kind and gives no gradient."""


def _describe(groups: GroupTable, log: Log) -> dict[str, Any]:
    return {
        "groups": len(groups),
        "rollouts": int(groups.size.sum()),
        "prompts": len(set(groups.prompt.tolist())),
        "unit": groups.unit,
        "has_texts": bool((groups.num_texts >= 0).any()),
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

"""`echorl audit` in a report: its sentences, pictures and tables."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from echorl.lab.audit.advice import KINDS
from echorl.lab.audit.losses import PARTS
from echorl.lab.audit.page import sections
from echorl.lab.checked import Each, Maybe, read_object
from echorl.lab.report.sources import Source, name_of

_ESTIMATE = {"value": float, "low": Maybe(float), "high": Maybe(float)}
_PARTS = dict.fromkeys(PARTS, _ESTIMATE)
_SHARES = {
    **dict.fromkeys(("first_step", "last_step"), Maybe(int)),
    **dict.fromkeys(("num_groups", "num_prompts", "num_rollouts"), int),
    "groups": _PARTS, "rollouts": _PARTS, "lengths": Maybe(_PARTS),
}  # fmt: skip
_BATCH = {"groups": float, "with_gradient": _ESTIMATE, "low_decile": int, "empty_steps": int, "num_steps": int}
_TREND = {"per_100_steps": _ESTIMATE, "reaches": [{"share": float, "step": _ESTIMATE}]}
_RULE = {
    "streak": int, "num_groups": int, "groups": _ESTIMATE, "length": Maybe(_ESTIMATE), "with_gradient": Maybe(_ESTIMATE)
}  # fmt: skip
_SUSPECT = {"kind": str, "why": str, "text": Maybe(str), "response": Maybe(str), "places": [[int]]}
AUDIT = {
    "summary": [str],
    "log": {"unit": str, "files": [str], "columns": Each(str), "notes": [str]},
    "losses": {
        "whole": _SHARES, "recent": _SHARES, "curve": [_SHARES], "recent_batch": Maybe(_BATCH), "trend": Maybe(_TREND),
    },
    "successes": {"whole": [int], "recent": [int]},
    "sizes": Maybe({"logged_size": int, "shares": [{"size": int, "same": _ESTIMATE, "extrapolated": bool}]}),
    "sampling": Maybe({"batch": int, "groups": Maybe(_ESTIMATE), "rounds": Maybe(_ESTIMATE)}),
    "skipping": {"rules": [_RULE], "reason": Maybe(str)},
    "suspects": {"counts": Each(int), "doubt": str, "listed": [_SUSPECT]},
    "advice": [{"kind": str, "sentence": str}],
}  # fmt: skip
"""The part of an audit.json that a report reads."""


def read_audit(folder: Path) -> Source:
    """Return the sentences, the pictures and the tables of an audit.json.

    Raises:
        ValueError: the file is not `echorl audit`'s.
    """
    audit = read_object(folder / "audit.json", AUDIT, "echorl audit")
    assert audit is not None, "the file marks the folder"
    places = [place for each in audit["suspects"]["listed"] for place in each["places"]]
    if any(len(place) != 2 or not 0 <= place[0] < len(audit["log"]["files"]) for place in places):
        raise ValueError(f"{folder}/audit.json names rows of a file that it does not list: run `echorl audit` again.")
    if any(each["kind"] not in KINDS for each in audit["advice"]):
        raise ValueError(f"{folder}/audit.json has advice on an unknown kind of group: run `echorl audit` again.")
    first, *parts = sections(audit)
    tables = [replace(table, title=table.title or part.title) for part in parts for table in part.tables]
    return Source(
        folder=folder,
        title=f"Audit: {name_of(folder)}",
        findings=first.findings,
        charts=first.charts,
        tables=tables,
    )

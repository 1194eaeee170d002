"""`echorl probe` and `echorl analyze` in a report: their tables, charts and sentences."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from echorl.lab.checked import Each, Maybe, read_object
from echorl.lab.report.charts import Chart, Intervals
from echorl.lab.report.page import Table
from echorl.lab.report.sources import ANALYSES, Source, name_of

Z = 1.96
"""Standard errors on either side of a value in an interval."""
COSINES = {"pass_at_1": "pass@1", "length": "length", "entropy": "entropy"}
HEAD = (
    "rule", "groups", "acts on", "signal's share", "z",
    *(f"cosine with {name}" for name in COSINES.values()),
    "coefficient for 1 / 10 / 100 % of the policy gradient", "signal per noise", "rollouts saved",
)  # fmt: skip


_MEASURE = {"value": Maybe(float), "se": Maybe(float), "z": Maybe(float)}
RULE = {
    "label": str, "groups": str, "acts_on": Maybe(float), "signal_share": _MEASURE,
    "cosine": dict.fromkeys(COSINES, _MEASURE),
    "coef_at": dict.fromkeys(("0.01", "0.1", "1"), Maybe(float)), "signal_per_noise": _MEASURE, "saves": _MEASURE,
}  # fmt: skip
PROBE = {
    "model": str, "sizes": dict.fromkeys(("rollouts", "prompts", "prompts_per_batch"), int),
    "groups": Each(Maybe(float)),
    "pass_at_1": {"value": Maybe(float), "se": Maybe(float)}, "policy_gradient?": Maybe(RULE), "rules": [RULE],
    "bound": float, "verdict": [str],
}  # fmt: skip
"""What a report reads of a probe.json."""
_SIDE = Maybe([Maybe(float)])
CURVE = {
    "title": str, "x_label": str, "y_label": str,
    "lines": [{"label": str, "x": [float], "y": [Maybe(float)], "low?": _SIDE, "high?": _SIDE}],
}  # fmt: skip
TABLE = {"title": str, "head": [str], "rows": [[str]], "note?": Maybe(str)}
ANALYSIS = {
    "echorl": str, "model": str, "sizes": dict, "findings": [str], "tables": [TABLE], "curves": [CURVE],
}  # fmt: skip
"""What a report reads of an analysis."""


def read_probe(folder: Path) -> Source:
    """probe.json: a row a rule, cosines and savings with their intervals, and the verdict."""
    found = read_object(folder / "probe.json", PROBE, "echorl probe")
    assert found is not None, "seen before"
    rows = [row for row in (found.get("policy_gradient"), *found["rules"]) if row]
    sizes, solved = found["sizes"], found["pass_at_1"]
    shares = ", ".join(f"{_number(share, '.0%')} {kind.replace('_', '-')}" for kind, share in found["groups"].items())
    lead = (
        f"{sizes['rollouts']} rollouts of {sizes['prompts']} prompts. Groups: {shares}. "
        f"pass@1 {_number(solved['value'], '.1%')} (standard error {_number(solved['se'], '.1%')})."
    )
    note = (
        f"In brackets: standard errors (jack-knife over prompts). Signal's share: of the gradient of a batch of "
        f"{sizes['prompts_per_batch']} prompts. What groups withhold from the gradient of pass@1 is worth at most "
        f"{found['bound']:.1%} of the rollouts."
    )
    table = Table("Every rule's gradient", HEAD, [_probe_row(row) for row in rows], note)
    charts = [
        _probe_chart(rows, "Cosine with the gradient of pass@1", lambda row: row["cosine"]["pass_at_1"]),
        _probe_chart(rows, "Share of rollouts saved by the best mixture", lambda row: row["saves"]),
    ]
    return Source(
        folder=folder,
        title=f"Probe of {found['model']}",
        lead=[lead],
        findings=found["verdict"],
        charts=[chart for chart in charts if chart.rows],
        tables=[table],
    )


def _probe_row(row: Mapping[str, Any]) -> list[str]:
    share, coefficients = row["signal_share"], row["coef_at"]
    return [
        row["label"],
        row["groups"].replace("_", "-"),
        _number(row["acts_on"], ".0%"),
        _measure(share, ".1%"),
        _number(share["z"], "+.1f"),
        *(_measure(row["cosine"][name], "+.2f") for name in COSINES),
        " / ".join(_number(coefficients[name], ".2g") for name in ("0.01", "0.1", "1")),
        _measure(row["signal_per_noise"], ".2g"),
        _measure(row["saves"], ".1%"),
    ]


def _measure(measure: Mapping[str, Any], form: str) -> str:
    if measure["value"] is None:
        return "–"
    error = "" if measure["se"] is None else f" ({format(measure['se'], form).lstrip('+')})"
    return format(measure["value"], form) + error


def _number(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)


def _probe_chart(rows: list[dict[str, Any]], title: str, measure: Any) -> Intervals:
    shown = [
        (f"{row['label']}, {row['groups'].replace('_', '-')}", found["value"], *_bounds(found))
        for row in rows
        if (found := measure(row))["value"] is not None
    ]
    return Intervals(title, f"value with {Z} standard errors", shown)


def _bounds(measure: Mapping[str, Any]) -> tuple[float | None, float | None]:
    if measure["se"] is None:
        return None, None
    return measure["value"] - Z * measure["se"], measure["value"] + Z * measure["se"]


def read_analyses(folder: Path) -> Source:
    """entropy.json and deletion.json, whichever is there: tables, curves and sentences as they are."""
    found = [read_object(folder / name, ANALYSIS, "echorl analyze") for name in ANALYSES]
    parts = [one for one in found if one is not None]
    if any(_uneven(one) for one in parts):
        raise ValueError(f"{folder} holds an analysis with rows or lines of other lengths than their heads or places.")
    tables = [Table(t["title"], t["head"], t["rows"], t.get("note") or "") for one in parts for t in one["tables"]]
    return Source(
        folder=folder,
        title=f"Analysis of {parts[0]['model']}: {name_of(folder)}",
        lead=[f"{one['echorl'].removeprefix('analyze ').capitalize()}: {_sizes(one['sizes'])}." for one in parts],
        findings=[sentence for one in parts for sentence in one["findings"]],
        charts=[Chart.from_json(curve) for one in parts for curve in one["curves"]],
        tables=tables,
    )


def _uneven(part: Mapping[str, Any]) -> bool:
    """Return whether a table's rows are not as long as its head, or a line has not as many values as places."""
    if any(not table["head"] or {len(row) for row in table["rows"]} - {len(table["head"])} for table in part["tables"]):
        return True
    lines = [line for curve in part["curves"] for line in curve["lines"]]
    sides = [(line, line[name]) for line in lines for name in ("y", "low", "high") if line.get(name)]
    return any(len(side) != len(line["x"]) for line, side in sides)


def _sizes(sizes: Mapping[str, Any]) -> str:
    return ", ".join(f"{value} {name.replace('_', ' ')}" for name, value in sizes.items())

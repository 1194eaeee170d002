"""`echorl probe` and `echorl analyze` in a report: their tables, charts and sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from echorl.lab.checked import Each, Maybe, read_object
from echorl.lab.probe.verdict import cosine_note
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
"""The part of a probe.json that a report reads."""
_SIDE = Maybe([Maybe(float)])
CURVE = {
    "title": str, "x_label": str, "y_label": str,
    "lines": [{"label": str, "x": [float], "y": [Maybe(float)], "low?": _SIDE, "high?": _SIDE}],
}  # fmt: skip
TABLE = {"title": str, "head": [str], "rows": [[str]], "note?": Maybe(str)}
ANALYSIS = {
    "echorl": str, "model": str, "sizes": dict, "findings": [str], "tables": [TABLE], "curves": [CURVE],
}  # fmt: skip
"""The part of an analysis that a report reads."""


def read_probe(folder: Path) -> Source:
    """Return a table of a row a rule, charts of cosines and savings with their intervals, and the verdict."""
    probe = read_object(folder / "probe.json", PROBE, "echorl probe")
    assert probe is not None, "the file marks the folder"
    rows = [row for row in (probe.get("policy_gradient"), *probe["rules"]) if row]
    sizes, solved = probe["sizes"], probe["pass_at_1"]
    shares = ", ".join(f"{_number(share, '.0%')} {kind.replace('_', '-')}" for kind, share in probe["groups"].items())
    lead = (
        f"{sizes['rollouts']} rollouts of {sizes['prompts']} prompts. Groups: {shares}. "
        f"pass@1 {_number(solved['value'], '.1%')} (standard error {_number(solved['se'], '.1%')})."
    )
    note = (
        f"In brackets: standard errors (jack-knife over prompts). Signal's share: of the gradient of a batch of "
        f"{sizes['prompts_per_batch']} prompts. A rule that recovers the gradient of pass@1 which groups withhold can "
        f"save at most {probe['bound']:.1%} of the rollouts. {cosine_note(probe)}"
    ).rstrip()
    table = Table("Every rule's gradient", HEAD, [_probe_row(row) for row in rows], note)
    labels = [f"{row['label']}, {row['groups'].replace('_', '-')}" for row in rows]
    charts = [
        _probe_chart("Cosine with the gradient of pass@1", labels, [row["cosine"]["pass_at_1"] for row in rows]),
        _probe_chart("Share of rollouts saved by the best mixture", labels, [row["saves"] for row in rows]),
    ]
    return Source(
        folder=folder,
        title=f"Probe of {probe['model']}",
        lead=[lead],
        findings=probe["verdict"],
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


def _probe_chart(title: str, labels: Sequence[str], measures: Sequence[Mapping[str, Any]]) -> Intervals:
    rows: list[tuple[str, float, float | None, float | None]] = []
    for label, measure in zip(labels, measures, strict=True):
        value, error = measure["value"], measure["se"]
        if value is not None:
            rows.append((label, value, *((None, None) if error is None else (value - Z * error, value + Z * error))))
    return Intervals(title, f"value with {Z} standard errors", rows)


def read_analyses(folder: Path) -> Source:
    """Return the tables, curves and sentences of entropy.json and deletion.json."""
    analyses = [read_object(folder / name, ANALYSIS, "echorl analyze") for name in ANALYSES]
    parts = [analysis for analysis in analyses if analysis is not None]
    if any(map(_uneven, parts)):
        raise ValueError(
            f"{folder} holds an analysis whose rows or lines have other lengths than heads or x axes: analyze again."
        )
    tables = [Table(t["title"], t["head"], t["rows"], t.get("note") or "") for part in parts for t in part["tables"]]
    return Source(
        folder=folder,
        title=f"Analysis of {parts[0]['model']}: {name_of(folder)}",
        lead=[f"{part['echorl'].removeprefix('analyze ').capitalize()}: {_sizes(part['sizes'])}." for part in parts],
        findings=[sentence for part in parts for sentence in part["findings"]],
        charts=[Chart.from_json(curve) for part in parts for curve in part["curves"]],
        tables=tables,
    )


def _uneven(part: Mapping[str, Any]) -> bool:
    """Return whether a row is not as long as its table's head, or a line has another number of values than places."""
    if any(not table["head"] or {len(row) for row in table["rows"]} - {len(table["head"])} for table in part["tables"]):
        return True
    lines = [line for curve in part["curves"] for line in curve["lines"]]
    sides = [(line, line[name]) for line in lines for name in ("y", "low", "high") if line.get(name)]
    return any(len(side) != len(line["x"]) for line, side in sides)


def _sizes(sizes: Mapping[str, Any]) -> str:
    return ", ".join(f"{value} {name.replace('_', ' ')}" for name, value in sizes.items())

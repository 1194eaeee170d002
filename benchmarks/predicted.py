"""Comparison of a probe's predictions with the gains of the arms, and their rank correlations."""

from __future__ import annotations

import random
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from benchmarks.scatter import Dots, Scatter
from echorl.lab.checked import Maybe, is_drawable, read_object
from echorl.lab.evaluate.metrics import mean_of_runs
from echorl.lab.report.page import Section, Table
from echorl.lab.report.verdicts import PASS, parts_of

VANISHING = 1e-9
"""A stored EchoRL coefficient up to this value only switched its mining on."""
RESAMPLES = 1000
LEAST = 4
"""Smallest number of rules for a rank correlation, since arms of one rule in a study share their prediction."""
BY_METHOD: Mapping[str, tuple[str, str]] = {
    "positive_nll": ("full", "verified"),
    "spo": ("tracked", "all_success"),
    "agpo": ("full", "all_success"),
}
"""Method -> the rule of `echorl probe` and the groups that correspond to its treatment of solved prompts."""
BY_SELECTION = {"max_entropy": "echo", "full": "full", "random": "random"}
PREDICTORS = ("cosine with pass@1", "rollouts saved", "worth of a step")
NOTE = (
    "Cosine: of the rule's mean gradient with that of pass@1. Saved: the most, at the best coefficient. Worth: of a "
    "step with the term at the arm's own coefficient, in prompts, less 1. Rank correlations are Spearman's; their "
    "intervals come from a bootstrap over rules (with all their arms) and seeds; under four rules there is none. In "
    "the pictures arms with one prediction stand side by side."
)

PROBE = {
    "rules": [
        {
            "rule": str,
            "groups": str,
            "label": str,
            "cosine": {"pass_at_1": {"value": Maybe(float)}},
            "saves": {"value": Maybe(float)},
            "beside_loss?": Maybe(dict.fromkeys(("mean", "shared", "noise"), float)),
        }
    ]
}
"""Schema of the part of a probe.json that is read."""


@dataclass(frozen=True)
class Point:
    """An arm of a comparison: the probe's predictions for its rule, and its gains in each test, in points a seed."""

    study: str
    probe: str
    arm: str
    rule: str
    predicted: Mapping[str, float | None]
    gains: Mapping[str, Sequence[float]]


def read_points(folder: Path, name: str, results: Mapping[str, Any]) -> list[Point]:
    """The arms with the predictions of each `probe*/probe.json`; an empty list without probes, or with one seed."""
    methods = results.get("methods") or {}
    parts = [part for part in parts_of(results) if PASS in results["tests"][part]]
    if not methods or not parts:
        return []
    shown = [arm for arm in methods if all(arm in results["tests"][part][PASS] for part in parts)]
    gains = {arm: {part: _gains(results["tests"][part][PASS], methods, arm) for part in parts} for arm in shown}
    points = []
    for path in sorted(folder.glob("probe*/probe.json")):
        probe = read_object(path, PROBE, "echorl probe") or {}
        rows = {(row["rule"], row["groups"]): row for row in probe.get("rules", [])}
        for arm in shown:
            row = rows.get(rule_of(methods[arm]) or ("", ""))
            values = gains[arm].values()
            if row is not None and all(len(seeds) > 1 and all(map(is_drawable, seeds)) for seeds in values):
                predicted = _predicted(row, methods[arm])
                points.append(Point(name, path.parent.name, arm, _label(row), predicted, gains[arm]))
    return points


def rule_of(options: Mapping[str, Any]) -> tuple[str, str] | None:
    """Rule and groups of an arm with a term; None if the probe has no such rule.

    >>> rule_of({"method": "luffy", "echo_coef": 0.001})
    ('echo', 'verified')
    """
    if (method := options["method"]) in BY_METHOD:
        return BY_METHOD[method]
    rule = BY_SELECTION.get(options.get("echo_select", "max_entropy"))
    return (rule, "verified") if rule and options["echo_coef"] > VANISHING else None


def _has_term(options: Mapping[str, Any]) -> bool:
    return options["method"] in BY_METHOD or options["echo_coef"] > VANISHING


def _label(row: Mapping[str, Any]) -> str:
    return f"{row['label']}, {row['groups'].replace('_', '-')}"


def _predicted(row: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, float | None]:
    values = (row["cosine"]["pass_at_1"]["value"], row["saves"]["value"], _worth(row.get("beside_loss"), options))
    return {name: value if is_drawable(value) else None for name, value in zip(PREDICTORS, values, strict=True)}


def _worth(beside: Mapping[str, float] | None, options: Mapping[str, Any]) -> float | None:
    """(1 + c mean)^2 / (1 + 2c shared + c^2 noise) - 1, the square with its sign; None without a coefficient."""
    c = options["echo_coef"]
    if beside is None or c <= VANISHING:
        return None
    along, size = 1 + c * beside["mean"], 1 + 2 * c * beside["shared"] + c**2 * beside["noise"]
    return along * abs(along) / size - 1 if size else None


def _gains(rows: Mapping[str, Any], methods: Mapping[str, Any], arm: str) -> list[float]:
    """Differences to the arm without a term, a seed each, since the reference of an arm may have a term itself."""
    base = rows[arm].get("reference")
    while base is not None and _has_term(methods[base]):
        base = rows[base].get("reference")
    return [] if base is None else [a - b for a, b in zip(rows[arm]["values"], rows[base]["values"], strict=True)]


def spearman(x: Sequence[float], y: Sequence[float]) -> float | None:
    """Return Spearman's rank correlation; None where one of the two does not vary.

    >>> round(spearman([1, 2, 3, 4], [10, 20, 20, 40]), 4)
    0.9487
    """
    if len(set(x)) < 2 or len(set(y)) < 2:
        return None
    return float(spearmanr(np.round(x, 9), np.round(y, 9)).statistic)  # equal counts differ in a mean's last bit


def rank_correlation(points: Sequence[Point], name: str, test: str) -> tuple[float, float, float] | None:
    """Rank correlation of a prediction with the mean gains over seeds, and the ends of its interval.

    The result is None for fewer than `LEAST` rules, or without variation. Arms with one rule in a study have one
    prediction, and all arms of a study have its seeds. So the bootstrap draws rules with all their arms, and a study's
    seeds for all of them together.
    """
    arms = [point for point in points if point.predicted[name] is not None]
    x, y = [point.predicted[name] for point in arms], [statistics.fmean(point.gains[test]) for point in arms]
    rho = spearman(x, y)
    rules = list({(point.study, point.rule): None for point in arms})
    if len(rules) < LEAST or rho is None:
        return None
    arms_by_rule = [[point for point in arms if (point.study, point.rule) == rule] for rule in rules]
    rng = random.Random(0)
    draws = (_resampled(arms_by_rule, name, test, rng) for _ in range(RESAMPLES))
    drawn = [value for value in draws if value is not None]
    cuts = statistics.quantiles(drawn, n=40)
    return rho, cuts[0], cuts[-1]


def _resampled(arms_by_rule: Sequence[Sequence[Point]], name: str, test: str, rng: random.Random) -> float | None:
    arms = [point for rule in rng.choices(arms_by_rule, k=len(arms_by_rule)) for point in rule]
    seeds = {point.study: len(point.gains[test]) for point in arms}
    draws = {study: rng.choices(range(number), k=number) for study, number in seeds.items()}
    means = [statistics.fmean(point.gains[test][seed] for seed in draws[point.study]) for point in arms]
    return spearman([point.predicted[name] for point in arms], means)


def make_sections(points: Sequence[Point]) -> tuple[list[Scatter], list[Section]]:
    """Charts of the first probe's predictions, and a section with all correlations and points; none without points."""
    if not points or not _tests(points):
        return [], []
    probes = list(dict.fromkeys(point.probe for point in points))
    first = [point for point in points if point.probe == probes[0]]
    drawn = [chart for chart in (_chart(first, name) for name in PREDICTORS) if chart.names]
    section = Section(
        title="Did the probe tell which arm gains?",
        charts=drawn,
        tables=[_correlations(points, probes), _points_table(points)],
    )
    return drawn, [section]


def _tests(points: Sequence[Point]) -> list[str]:
    """Tests that all studies have."""
    return [test for test in points[0].gains if all(test in point.gains for point in points)]


def _correlations(points: Sequence[Point], probes: Sequence[str]) -> Table:
    tests = _tests(points)
    parts = {probe: [point for point in points if point.probe == probe] for probe in probes}
    rows = [
        [probe, name, *_counts(part, name), *_rhos(part, name, tests)]
        for probe, part in parts.items()
        for name in PREDICTORS
    ]
    return Table("Prediction and gain: rank correlation", ["probe", "prediction", "arms", "rules", *tests], rows, NOTE)


def _counts(points: Sequence[Point], name: str) -> list[str]:
    arms = [point for point in points if point.predicted[name] is not None]
    return [str(len(arms)), str(len({(point.study, point.rule) for point in arms}))]


def _rhos(points: Sequence[Point], name: str, tests: Sequence[str]) -> list[str]:
    return [_cell(rank_correlation(points, name, test)) for test in tests]


def _cell(rho: tuple[float, float, float] | None) -> str:
    return "–" if rho is None else f"{rho[0]:+.2f} [{rho[1]:+.2f}, {rho[2]:+.2f}]"


def _points_table(points: Sequence[Point]) -> Table:
    tests = _tests(points)
    head = ["study", "probe", "arm", "rule", *PREDICTORS, *(f"gain, {test}" for test in tests)]
    return Table("Prediction and gain: the arms", head, [_point_row(point, tests) for point in points])


def _point_row(point: Point, tests: Sequence[str]) -> list[str]:
    forms = dict(zip(PREDICTORS, ("+.2f", ".1%", "+.2%"), strict=True))
    predictions = [
        "–" if (value := point.predicted[name]) is None else format(value, form) for name, form in forms.items()
    ]
    gains = [mean_of_runs(point.gains[test]) for test in tests]
    return [
        point.study,
        point.probe,
        point.arm,
        point.rule,
        *predictions,
        *(f"{gain.value:+.1f} [{gain.low:+.1f}, {gain.high:+.1f}]" for gain in gains),
    ]


def _chart(points: Sequence[Point], name: str) -> Scatter:
    arms = [(x, point) for point in points if (x := point.predicted[name]) is not None]
    one_study = len({point.study for point in points}) == 1
    dots = []
    for look, test in enumerate(_tests(points)):
        gains = [mean_of_runs(point.gains[test]) for _, point in arms]
        values, low, high = ([getattr(gain, end) for gain in gains] for end in ("value", "low", "high"))
        dots.append(Dots(test, look, values, low, high))
    return Scatter(
        f"Gain against the probe: {name}",
        name,
        [x for x, _ in arms],
        [point.arm if one_study else f"{point.arm}, {point.study}" for _, point in arms],
        dots,
        "gain in points, 95 % over seeds",
    )

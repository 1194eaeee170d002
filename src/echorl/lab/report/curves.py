"""Logged metrics as curves, a line an arm with its seeds as a band; and tables of groups, tokens and runs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from echorl.core.statistics import KINDS, MEANING
from echorl.lab.checked import is_drawable
from echorl.lab.report.charts import Chart, Line
from echorl.lab.report.page import Table
from echorl.lab.report.panels import GroupAreas
from echorl.lab.report.plots import smooth
from echorl.lab.report.training import Arm, TrainingRun, place_of

POINTS = 300
"""The most points of a line."""
AXES = {"step": ("step", "training step"), "tokens": ("echo/rollout_tokens", "rollout tokens")}
"""Choice of the x axis -> (metric, name)."""
TOKENS, NUM_GROUPS = AXES["tokens"][0], "echo/rollout_groups"
"""Totals of a run so far: response tokens and groups."""


@dataclass(frozen=True)
class Metric:
    """A logged number and the form of its curve; a number that is not logged in every step is not smoothed."""

    key: str
    title: str
    percent: bool = False
    log: bool = False
    smooth: bool = True


GROUPS = {
    **{f"echo/groups/{kind}": f"{kind.replace('_', '-')} groups" for kind in KINDS},
    "echo/tokens/all_success": "tokens spent on all-success groups",
}
"""Logged share -> its name in a table."""

METRICS = (
    Metric("reward", "Reward of the training rollouts"),
    Metric("eval_reward", "Reward in evaluation (pass@1 where it is 0 or 1)", smooth=False),
    Metric("echo/groups/all_success", "All-success groups", percent=True),
    Metric("echo/groups/all_fail", "All-fail groups", percent=True),
    Metric("echo/frac_degenerate", "Groups with equal rewards", percent=True),
    Metric("grad_norm", "Gradient norm, whole loss", log=True),
    Metric("completions/mean_length", "Response length, tokens"),
    Metric("completions/clipped_ratio", "Rollouts cut off", percent=True),
    Metric("echo/blank_share", "Blank tokens", percent=True),
    Metric("entropy", "Token entropy, nats"),
    Metric("echo/nll", "Echo's NLL a token, nats"),
    Metric("echo/clip_entropy/all_success", "Last step of clips, all-success groups, nats"),
    Metric("echo/clip_entropy/mixed", "Last step of clips, other groups, nats"),
    Metric("eval_completions/mean_length", "Response length in evaluation, tokens", smooth=False),
)
"""Metrics of a report's curves."""


def make_charts(arms: Sequence[Arm], *, over: str = "step") -> list[Chart]:
    """Return a chart for every metric that a run has logged; `over` names one of `AXES`."""
    key, name = AXES[over]
    charts = []
    for metric in METRICS:
        lines = [
            band([series(run, metric, key) for run in arm.runs], label=arm.label, look=look)
            for look, arm in enumerate(arms)
        ]
        shown = [line for line in lines if line.x]
        if shown:
            charts.append(Chart(metric.title, name, shown, percent=metric.percent, log=metric.log))
    return charts


def group_areas(arm: Arm, *, over: str = "step") -> GroupAreas | None:
    """Return the shares of an arm's groups by kind, the mean of its runs; None where none was logged."""
    key, name = AXES[over]
    metrics = {kind: Metric(f"echo/groups/{kind}", kind) for kind in KINDS}
    lines = {
        kind: band([series(run, metric, key) for run in arm.runs], label=kind, look=0)
        for kind, metric in metrics.items()
    }
    places = [line.x for line in lines.values() if line.x]
    if not places or any(x != places[0] for x in places):
        return None
    shares = {kind: line.y for kind, line in lines.items() if line.x}
    return GroupAreas(f"Groups of rollouts, {arm.label}", name, places[0], shares)


def groups_table(arms: Sequence[Arm]) -> list[Table]:
    """Return the change of the groups in training, a row a kind, a column an arm's first seed; [] if not logged."""
    rows = []
    for key, name in GROUPS.items():
        values = [[row[key] for row in arm.runs[0].rows if is_drawable(row.get(key))] for arm in arms]
        if any(map(any, values)):
            rows.append([name, *map(_first_to_last, values)])
    note = "Means over the first and over the last fifth of the logged steps, of the first seed."
    return [Table("How the groups changed in training", ["", *(arm.label for arm in arms)], rows, note)] if rows else []


def _first_to_last(values: Sequence[float]) -> str:
    """Return the means of the first and the last fifth, such as `27% → 45%`."""
    if not values:
        return "–"
    size = max(1, len(values) // 5)
    first, last = (sum(part) / size for part in (values[:size], values[-size:]))
    return f"{first:.0%} → {last:.0%}"


def series(run: TrainingRun, metric: Metric, over: str) -> tuple[list[float], list[float]]:
    """Return (x, y) of one run, finite and in order; y is smoothed over a tenth of the run if the metric says so."""
    points: list[tuple[float, float]] = []
    place = -math.inf
    for row in run.rows:
        place = max(place, _number(row.get(over), place))  # a line of an evaluation has no rollout tokens
        value = _number(row.get(metric.key), math.nan)
        if math.isfinite(value) and math.isfinite(place):
            points.append((place, value))
    x, y = [place for place, _ in points], [value for _, value in points]
    return x, smooth(y, max(1, len(y) // 10)) if metric.smooth else y


def _number(value: Any, otherwise: float) -> float:
    return float(value) if is_drawable(value) else otherwise


def band(runs: Sequence[tuple[Sequence[float], Sequence[float]]], *, label: str, look: int) -> Line:
    """Return the mean of runs, with the lowest and the highest as its band, over the range of all of them.

    Runs with different places are interpolated. A run without a value is left out. The line is empty without a run or a
    common range, and a single run has no band.
    """
    import numpy as np

    runs = [(x, y) for x, y in runs if x]
    places = sorted({place for x, _ in runs for place in x if all(other[0] <= place <= other[-1] for other, _ in runs)})
    if not places:
        return Line(label, look, (), ())
    if len(places) > POINTS:
        places = [places[round(i * (len(places) - 1) / (POINTS - 1))] for i in range(POINTS)]
    values = np.stack([np.interp(places, x, y) for x, y in runs])
    sides = (values.min(0).tolist(), values.max(0).tolist()) if len(runs) > 1 else ((), ())
    return Line(label, look, places, values.mean(0).tolist(), *sides)


def runs_table(arms: Sequence[Arm]) -> Table:
    """Return the table of the curves' runs: arm, folders (but for a comparison), seeds, steps and rollout tokens."""
    rows = []
    for arm in arms:
        steps = [max(int(row["step"]) for row in run.rows) for run in arm.runs]
        logged = [[int(row[TOKENS]) for row in run.rows if is_drawable(row.get(TOKENS))] for run in arm.runs]
        tokens = [values[-1] for values in logged if values]
        folders = ", ".join(place_of(run) for run in arm.runs if not run.arm)
        rows.append([arm.label, folders, ", ".join(run.seed for run in arm.runs), _span(steps), _span(tokens)])
    head = ["", "folders", "seeds", "steps", "rollout tokens"]
    if not any(row[1] for row in rows):
        head, *rows = ([first, *rest] for first, _, *rest in [head, *rows])
    return Table("The runs", head, rows)


def _span(values: Sequence[int]) -> str:
    """Return the range of whole numbers, such as `20` or `18 to 20`."""
    if not values:
        return "–"
    low, high = min(values), max(values)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def statistics_tables(arms: Sequence[Arm]) -> list[Table]:
    """Return the share of groups of each kind, their tokens, and the share of these, added up over runs.

    Groups and tokens by kind are the logged shares times the groups and tokens since the line before.
    """
    logged = {arm.label: [sums for run in arm.runs if (sums := _statistics(run)) is not None] for arm in arms}
    logged = {label: runs for label, runs in logged.items() if runs}
    kinds = [kind for kind in KINDS if any(groups[kind] for runs in logged.values() for groups, _ in runs)]
    rows = [[label, *(_statistics_cell(runs, kind) for kind in kinds)] for label, runs in logged.items()]
    meanings = "; ".join(f"{kind.replace('_', '-')}: {MEANING[kind]}" for kind in kinds)
    note = f"Share of the groups · response tokens (their share), seeds added up. {meanings[:1].upper()}{meanings[1:]}."
    return [Table("Where the rollouts went", ["", *(k.replace("_", "-") for k in kinds)], rows, note)] if rows else []


def _statistics_cell(runs: Sequence[tuple[dict[str, float], dict[str, float]]], kind: str) -> str:
    """Return share and tokens such as `64.1% · 43,350 (73.5%)`."""
    share = sum(groups[kind] for groups, _ in runs) / len(runs)
    tokens = sum(by_kind[kind] for _, by_kind in runs)
    total = sum(sum(by_kind.values()) for _, by_kind in runs)
    return f"{share:.1%} · {tokens:,.0f} ({tokens / total if total else 0:.1%})"


def _statistics(run: TrainingRun) -> tuple[dict[str, float], dict[str, float]] | None:
    """Return kind -> share of groups, and kind -> tokens; None where none was logged.

    A logged share counts as many times as there were groups since the line before; without a count of groups once.
    """
    names = (f"echo/groups/{KINDS[0]}", TOKENS)
    lines = [row for row in run.rows if all(is_drawable(row.get(name)) for name in names)]
    if not lines:
        return None
    totals = [(_number(row.get(NUM_GROUPS), number), row[TOKENS]) for number, row in enumerate(lines, 1)]
    counts = [(groups - g, tokens - t) for (groups, tokens), (g, t) in zip(totals, [(0, 0), *totals], strict=False)]
    groups = {k: _weighted(lines, f"echo/groups/{k}", [count for count, _ in counts]) / totals[-1][0] for k in KINDS}
    return groups, {k: _weighted(lines, f"echo/tokens/{k}", [count for _, count in counts]) for k in KINDS}


def _weighted(rows: Sequence[Mapping[str, Any]], name: str, counts: Sequence[float]) -> float:
    """Return the sum of a metric of these rows times their counts."""
    return sum(_number(row.get(name), 0.0) * count for row, count in zip(rows, counts, strict=True))

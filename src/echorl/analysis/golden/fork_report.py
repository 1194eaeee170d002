"""Forks summed up: are the steps of high entropy risky, or harmless choices?"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from echorl.analysis.golden.curves import percents
from echorl.analysis.golden.entropy import interval, show
from echorl.analysis.golden.forks import ENDS, HIGH, LOW, Parts
from echorl.evaluate import mean_of_runs

RISKY = 0.1
"""A share of the outcome's variance from which on a step counts as risky, and below which as harmless."""
BINS = 4
NAMES = {HIGH: "highest entropy", LOW: "lowest entropy"}


@dataclass(frozen=True, kw_only=True)
class Point:
    """What became of a fork: its prompt and rollout, its step, the different draws of it, and the parts."""

    item: str
    rollout: str
    end: str
    entropy: float
    place: float
    tokens: int
    variants: int
    parts: Parts


def decided(points: Sequence[Point]) -> dict[str, float | None]:
    """The share of the outcome's variance that the draw of the step decides, with a 95 % interval over prompts.

    The sum of `between` over that of `total`; the interval is Student's over the jack-knife's pseudo-values, a prompt
    left out at a time. None where nothing varies, no interval with a single prompt.
    """
    prompts: dict[str, tuple[float, float]] = {}
    for point in points:
        between, total = prompts.get(point.item, (0.0, 0.0))
        prompts[point.item] = (between + point.parts.between, total + point.parts.total)
    sums = [math.fsum(pair[i] for pair in prompts.values()) for i in range(2)]
    if not sums[1] > 0:
        return {"value": None, "low": None, "high": None}
    whole, number = sums[0] / sums[1], len(prompts)
    left = [(sums[0] - between) / (sums[1] - total) for between, total in prompts.values() if sums[1] > total]
    if number < 2 or len(left) < number:
        return {"value": whole, "low": None, "high": None}
    found = mean_of_runs([number * whole - (number - 1) * one for one in left])
    return {"value": whole, "low": found.low - found.value + whole, "high": found.high - found.value + whole}


def risk(points: Sequence[Point]) -> float:
    """Root mean square change of the success probability by the draw of the step, in points."""
    return 100 * math.sqrt(max(0.0, math.fsum(point.parts.between for point in points) / len(points)))


def report(points: Sequence[Point], sizes: Mapping[str, int]) -> dict[str, Any]:
    """{"sizes", "tables", "curves", "findings", "value"}, ready for JSON."""
    ends = {end: _of_end([point for point in points if point.end == end]) for end in ENDS}
    value = {"ends": ends, "points": [asdict(point) for point in points]}
    return {
        "sizes": {**sizes, "prompts": len({point.item for point in points}), "forks": len(points)},
        "tables": [_table(ends)],
        "curves": [_curve(points)],
        "findings": [_finding(end, ends[end]) for end in ENDS],
        "value": value,
    }


MEASURES: Mapping[str, Callable[[Point], float]] = {
    "step entropy, nats": lambda point: point.entropy,
    "different draws": lambda point: float(point.variants),
    "success": lambda point: point.parts.success,
    "place (0 to 1)": lambda point: point.place,
    "tokens": lambda point: float(point.tokens),
    "variance of the success probability": lambda point: point.parts.between,
}


def _over_prompts(points: Sequence[Point], of: Callable[[Point], float]) -> dict[str, float | None]:
    """The mean over prompts, of a prompt's forks first."""
    prompts: dict[str, list[float]] = {}
    for point in points:
        prompts.setdefault(point.item, []).append(of(point))
    return interval([math.fsum(own) / len(own) for own in prompts.values()])


def _of_end(points: Sequence[Point]) -> dict[str, Any]:
    measures = {name: _over_prompts(points, of) for name, of in MEASURES.items()}
    return {"measures": measures, "decided": decided(points), "risk": risk(points)}


def _table(ends: Mapping[str, Any]) -> dict[str, Any]:
    rows = [[name, *(show(ends[end]["measures"][name]) for end in ENDS)] for name in MEASURES]
    rows.append(["its share of the outcome's variance, %", *(_share(ends[end]["decided"]) for end in ENDS)])
    rows.append(["rms change of the success probability, points", *(f"{ends[end]['risk']:.1f}" for end in ENDS)])
    note = "Means over prompts (of a prompt's rollouts first) with 95 % intervals over prompts."
    return {"title": "Steps drawn again", "head": ["", *NAMES.values()], "rows": rows, "note": note}


def _share(found: Mapping[str, float | None]) -> str:
    if found["value"] is None:
        return "-"
    return f"{100 * found['value']:.1f}" if found["low"] is None else percents(found)  # type: ignore[arg-type]


def _curve(points: Sequence[Point]) -> dict[str, Any]:
    """The variance between draws in bins of the step's entropy, with as many forks in each.

    Not its share: where little is left to be decided, the last step decides all of it.
    """
    ordered = sorted(points, key=lambda point: point.entropy)
    size = max(1, -(-len(ordered) // BINS))
    bins = [ordered[start : start + size] for start in range(0, len(ordered), size)]
    found = [_over_prompts(own, lambda point: point.parts.between) for own in bins]
    x = [math.fsum(point.entropy for point in own) / len(own) for own in bins]
    names = {"y": "value", "low": "low", "high": "high"}
    line = {"label": "all forks", "x": x, **{part: [one[name] for one in found] for part, name in names.items()}}
    title, y_label = "How much hangs on a step?", "variance of the success probability"
    return {"title": title, "x_label": "step entropy, nats", "y_label": y_label, "lines": [line]}


def _finding(end: str, found: Mapping[str, Any]) -> str:
    share = found["decided"]
    start = f"Steps of {NAMES[end]}"
    if share["low"] is None:
        return f"{start}: too few forks whose outcome varies to say anything; take more prompts."
    verdict = "risky" if share["low"] > RISKY else "harmless choices" if share["high"] < RISKY else "not settled"
    return (
        f"{start}: {verdict}. Which one is drawn decides {percents(share)} % of the outcome's variance and moves the "
        f"success probability by {found['risk']:.1f} points (root mean square); {100 * RISKY:.0f} % is the border."
    )

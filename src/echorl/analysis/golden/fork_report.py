"""Forks summed up: are the steps of high entropy risky, or harmless choices?"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from echorl.analysis.golden.curves import percents
from echorl.analysis.golden.entropy import interval, show
from echorl.analysis.golden.fork_estimates import Numbers, Point, difference, estimate, risk, share
from echorl.analysis.golden.forks import ENDS, HIGH, LOW

RISKY = 0.1
"""Of the outcome's variance: steps that surely decide more are risky, those that surely decide less are harmless."""
BINS = 5
NAMES = {HIGH: "highest entropy", LOW: "lowest entropy"}
MEASURES: Mapping[str, tuple[str, Callable[[Point], float]]] = {
    "entropy": ("entropy of the step, nats", lambda point: point.entropy),
    "variants": ("different steps among the draws", lambda point: float(point.variants)),
    "success": ("success probability", lambda point: point.parts.success),
    "open": ("outcome's variance that is still open there", lambda point: point.parts.total),
    "place": ("share of the tokens before the answer that stand before it", lambda point: point.place),
    "tokens": ("tokens of the step", lambda point: float(point.tokens)),
}
DECIDED = {"share": share, "risk": risk}
TEXTS = {
    "share": "outcome's variance that the draw decides, %",
    "risk": "rms change of the success probability, points",
}


def report(points: Sequence[Point], draws: int, sizes: Mapping[str, int]) -> dict[str, Any]:
    """{"sizes", "tables", "curves", "findings", "value"}, ready for JSON; `sizes` are told, too.

    `points` are two a rollout, at its step of highest and of lowest entropy, `draws` the draws of each.
    """
    found = summarize(points)
    counts = {"prompts": found["prompts"], "forks": len(points), "draws": len(points) * draws}
    return {
        "sizes": {**counts, **sizes},
        "tables": [_table(found)],
        "curves": [_curve(points)],
        "findings": [*(_finding(end, found, draws) for end in ENDS), _compared(found)],
        "value": {**found, "forks": [asdict(point) for point in points]},
    }


def summarize(points: Sequence[Point]) -> dict[str, Any]:
    """Both kinds of steps, and the high less the low.

    Returns:
        {"prompts": N, "high", "low", "difference": {"share", "risk", and each of MEASURES: {"value", "low", "high"}}}.
        Measures are means over prompts (of a prompt's rollouts first), with Student's intervals; share and risk are of
        the sums over all forks, with bootstrap intervals over prompts.
    """
    sides = {end: [point for point in points if point.end == end] for end in ENDS}
    means = {end: {name: _by_prompt(own, of) for name, (_, of) in MEASURES.items()} for end, own in sides.items()}
    found: dict[str, Any] = {"prompts": len({point.item for point in points})}
    for end, own in sides.items():
        decided = {name: estimate(function, own) for name, function in DECIDED.items()}
        found[end] = {**decided, **{name: interval(values) for name, values in means[end].items()}}
    pairs = {name: zip(means[HIGH][name], means[LOW][name], strict=True) for name in MEASURES}
    found["difference"] = {
        **{name: difference(function, sides[HIGH], sides[LOW]) for name, function in DECIDED.items()},
        **{name: interval([high - low for high, low in pair]) for name, pair in pairs.items()},
    }
    return found


def _by_prompt(points: Sequence[Point], of: Callable[[Point], float]) -> list[float]:
    rows: dict[str, list[float]] = {}
    for point in points:
        rows.setdefault(point.item, []).append(of(point))
    return [math.fsum(own) / len(own) for own in rows.values()]


def _table(found: Mapping[str, Any]) -> dict[str, Any]:
    sides = [found[HIGH], found[LOW]]
    rows = [
        [text, *(_decided(name, side[name]) for side in sides), _decided(name, found["difference"][name], "+")]
        for name, text in TEXTS.items()
    ]
    rows += [
        [text, *(show(side[name]) for side in sides), show(found["difference"][name], "+")]
        for name, (text, _) in MEASURES.items()
    ]
    return {
        "title": f"Steps drawn again, {found['prompts']} prompts",
        "head": ["", *(f"step of {NAMES[end]}" for end in ENDS), "difference, paired"],
        "rows": rows,
        "note": "With 95 % intervals over prompts. The first two rows are of sums over all forks, the others are means "
        "over prompts (of a prompt's rollouts first).",
    }


def _decided(name: str, row: Numbers, sign: str = "") -> str:
    """A share in %, or a risk in points.

    >>> _decided("risk", {"value": 12.5, "low": 10.0, "high": 15.0}), _decided("share", {"value": None})
    ('12.5 [10.0, 15.0]', '-')
    """
    unit = 1 if name == "share" else 100  # of `percents`, which multiplies by 100
    shown = {bound: value / unit for bound, value in row.items() if value is not None}
    if "low" in shown:
        return percents(shown, sign)
    return f"{100 * shown['value']:{sign}.1f}" if shown else "-"


def _curve(points: Sequence[Point]) -> dict[str, Any]:
    """The risk against the entropy of the step, over all forks in bins of equally many.

    Not the share: where little is left to be decided, the last step decides all of it.
    """
    ordered = sorted(points, key=lambda point: point.entropy)
    size = -(-len(ordered) // min(BINS, len(ordered)))
    bins = [ordered[start : start + size] for start in range(0, len(ordered), size)]
    x = [math.fsum(point.entropy for point in own) / len(own) for own in bins]
    rows = [estimate(risk, own) for own in bins]
    names = {"y": "value", "low": "low", "high": "high"}
    line = {"label": "all forks", "x": x, **{part: [row[name] for row in rows] for part, name in names.items()}}
    title, y_label = "How much hangs on a step?", "change of the success probability, points"
    return {"title": title, "x_label": "entropy of the step, nats", "y_label": y_label, "lines": [line]}


def verdict(row: Numbers) -> str:
    """What a share's interval says.

    >>> verdict({"value": 0.3, "low": 0.2, "high": 0.4}), verdict({"value": 0.0, "low": -0.02, "high": 0.05})
    ('risky', 'harmless')
    """
    low, high = row["low"], row["high"]
    if low is None or high is None:
        return "not settled, since too few outcomes vary"
    return "risky" if low > RISKY else "harmless" if high < RISKY else "not settled"


def _finding(end: str, found: Mapping[str, Any], draws: int) -> str:
    own, border = found[end], f"{100 * RISKY:.0f} %"
    return (
        f"Steps of {NAMES[end]} ({found['prompts']} prompts): {verdict(own['share'])}. Which one is drawn decides "
        f"{_decided('share', own['share'])} % of the outcome's variance ({own['open']['value']:.3f} there) and moves "
        f"the success probability by {_decided('risk', own['risk'])} points (root mean square); "
        f"{own['variants']['value']:.1f} of {draws} draws differ. Risky: the interval of the share is above {border}; "
        "harmless: below."
    )


def _compared(found: Mapping[str, Any]) -> str:
    row = found["difference"]["share"]
    low, high = row["low"], row["high"]
    if low is None or high is None:
        word = "nothing can be said of the difference, since too few outcomes vary"
    else:
        word = "more" if low > 0 else "less" if high < 0 else "no difference that these prompts can show"
    return (
        f"Steps of highest entropy less those of lowest: {_decided('share', row, '+')} points of the outcome's "
        f"variance decided ({word}), {_decided('risk', found['difference']['risk'], '+')} points of risk."
    )

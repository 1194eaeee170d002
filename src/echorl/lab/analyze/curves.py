"""Accuracy against what was deleted: curves, areas under them, and paired differences between the orders."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from echorl.lab.analyze.deletion import Outcome
from echorl.lab.analyze.steps import FRONT_FIRST, HIGH_FIRST, LOW_FIRST, ORDERS, PERCENTS, RANDOM, area
from echorl.lab.analyze.traces import EXPERT, RIGHT
from echorl.lab.evaluate.metrics import mean_of_items, paired_average

LABELS = {
    HIGH_FIRST: "high entropy first",
    LOW_FIRST: "low entropy first",
    RANDOM: "at random",
    FRONT_FIRST: "from the front",
}
NAMES = {RIGHT: "own right rollouts", EXPERT: "demonstrations"}
AREAS = {"steps": "share of the steps", "tokens": "share of their tokens"}
CONTRASTS = ((HIGH_FIRST, LOW_FIRST), (HIGH_FIRST, RANDOM), (LOW_FIRST, RANDOM), (HIGH_FIRST, FRONT_FIRST))
SHARES = [percent / 100 for percent in PERCENTS]
Values = dict[str, list[list[float]]]


def summarize(outcomes: Sequence[Outcome], kind: str) -> dict[str, Any] | None:
    """Return the results of the traces of this kind; None where there are none.

    Returns:
        {"prompts", "traces", "orders": {order: {"success": [estimate for each of PERCENTS], "tokens", "shown": [means],
        "area": {"steps", "tokens": estimate}}}, "contrasts": [{"first", "second", "steps", "tokens": estimate of the
        first's area less the second's}]}. An estimate is {"value", "low", "high"}, its 95 % interval over prompts: a
        prompt's traces are averaged first. Areas are mean accuracies over the whole of a curve.
    """
    prompts: dict[str, list[Outcome]] = {}
    for one in outcomes:
        if one.kind == kind:
            prompts.setdefault(one.item, []).append(one)
    if not prompts:
        return None
    groups = list(prompts.values())
    areas = {order: {axis: [_area(own, order, axis) for own in groups] for axis in AREAS} for order in ORDERS}
    return {
        "prompts": len(groups),
        "traces": sum(map(len, groups)),
        "orders": {order: _of_order(groups, order, areas[order]) for order in ORDERS},
        "contrasts": [_contrast(areas, *pair) for pair in CONTRASTS],
    }


def _area(own: Sequence[Outcome], order: str, axis: str) -> float:
    """Mean over a prompt's traces of the area under the success of each, against its steps or its tokens."""
    xs = [SHARES if axis == "steps" else one.tokens[order] for one in own]
    return _mean([area(x, one.success[order]) for x, one in zip(xs, own, strict=True)])


def _of_order(groups: Sequence[Sequence[Outcome]], order: str, areas: Mapping[str, list[float]]) -> dict[str, Any]:
    def at(what: str, i: int) -> list[float]:
        return [_mean([getattr(one, what)[order][i] for one in own]) for own in groups]

    places = range(len(PERCENTS))
    return {
        "success": [dict(vars(mean_of_items(at("success", i)))) for i in places],
        "tokens": [_mean(at("tokens", i)) for i in places],
        "shown": [_mean(at("shown", i)) for i in places],
        "area": {axis: dict(vars(mean_of_items(values))) for axis, values in areas.items()},
    }


def _contrast(areas: Mapping[str, Mapping[str, list[float]]], first: str, second: str) -> dict[str, Any]:
    found = {axis: dict(vars(paired_average([(areas[second][axis], areas[first][axis])]))) for axis in AREAS}
    return {"first": first, "second": second, **found}


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def report(outcomes: Sequence[Outcome], sizes: Mapping[str, int]) -> dict[str, Any]:
    """{"sizes", "tables", "curves", "findings", "value"}, ready for JSON; `sizes` are told, too."""
    kinds = {kind: found for kind in (RIGHT, EXPERT) if (found := summarize(outcomes, kind))}
    own = {f"{name}_{kind}": kinds[kind][name] for kind in kinds for name in ("prompts", "traces")}
    return {
        "sizes": {**own, **sizes},
        "tables": [table for kind in kinds for table in tables(kind, kinds[kind])],
        "curves": [curve for kind in kinds for curve in curves(kind, kinds[kind])],
        "findings": [sentence for kind in kinds for sentence in findings(kind, kinds[kind])],
        "value": {"kinds": kinds, "traces": [asdict(one) for one in outcomes]},
    }


def tables(kind: str, found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Accuracy at each share, and the areas with their differences."""
    title = f"{NAMES[kind]}: {found['traces']} of {found['prompts']} prompts".capitalize()
    visible = f"{title}: what else goes"
    return [_shares_table(title, found), _others_table(visible, found), _areas_table(title, found)]


def _shares_table(title: str, found: Mapping[str, Any]) -> dict[str, Any]:
    orders = [found["orders"][order] for order in ORDERS]
    rows = [[f"{percent} %", *(percents(own["success"][i]) for own in orders)] for i, percent in enumerate(PERCENTS)]
    head = ["steps deleted", *(LABELS[order] for order in ORDERS)]
    return {"title": title, "head": head, "rows": rows, "note": "Accuracy in % with 95 % intervals over prompts."}


def _others_table(title: str, found: Mapping[str, Any]) -> dict[str, Any]:
    orders = [found["orders"][order] for order in ORDERS]
    rows = [
        [f"{percent} %", *(f"{100 * own['tokens'][i]:.0f} / {100 * own['shown'][i]:.0f}" for own in orders)]
        for i, percent in enumerate(PERCENTS)
    ]
    head = ["steps deleted", *(LABELS[order] for order in ORDERS)]
    note = "Tokens deleted in % of those before the answer / solutions in % whose answer still stands in what is left."
    return {"title": title, "head": head, "rows": rows, "note": note}


def _areas_table(title: str, found: Mapping[str, Any]) -> dict[str, Any]:
    rows = [[LABELS[order], *(percents(found["orders"][order]["area"][axis]) for axis in AREAS)] for order in ORDERS]
    for row in found["contrasts"]:
        name = f"{LABELS[row['first']]} less {LABELS[row['second']]}"
        rows.append([name, *(percents(row[axis], "+") for axis in AREAS)])
    return {
        "title": f"{title}, over the whole curve",
        "head": ["accuracy averaged over the", *AREAS.values()],
        "rows": rows,
        "note": "In %, and differences in points, paired by solution, with 95 % intervals over prompts.",
    }


def percents(row: Mapping[str, float], sign: str = "") -> str:
    """An estimate in percent.

    >>> percents({"value": 0.5, "low": 0.25, "high": 0.755})
    '50.0 [25.0, 75.5]'
    """
    value, low, high = (f"{100 * row[name]:{sign}.1f}" for name in ("value", "low", "high"))
    return f"{value} [{low}, {high}]"


def curves(kind: str, found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Accuracy against the steps and against the tokens deleted, and whether the answer is still to be seen."""
    name, orders = NAMES[kind], found["orders"]

    def lines(axis: str) -> list[dict[str, Any]]:
        return [
            {
                "label": LABELS[order],
                "x": SHARES if axis == "steps" else orders[order]["tokens"],
                "y": [row["value"] for row in orders[order]["success"]],
                "low": [row["low"] for row in orders[order]["success"]],
                "high": [row["high"] for row in orders[order]["success"]],
            }
            for order in ORDERS
        ]

    visible = [
        {"label": LABELS[order], "x": SHARES, "y": orders[order]["shown"], "low": None, "high": None}
        for order in ORDERS
    ]
    by = [
        (axis, {"title": name.capitalize(), "x_label": f"{text} deleted", "y_label": "accuracy"})
        for axis, text in AREAS.items()
    ]
    return [
        *({**labels, "lines": lines(axis)} for axis, labels in by),
        {
            "title": f"{name}: answer still visible".capitalize(),
            "x_label": "share of the steps deleted",
            "y_label": "share of the solutions",
            "lines": visible,
        },
    ]


def findings(kind: str, found: Mapping[str, Any]) -> list[str]:
    """Sentences that follow from `summarize`."""
    name, orders = NAMES[kind].capitalize(), found["orders"]
    first, last = (percents(orders[RANDOM]["success"][i]) for i in (0, -1))
    sentences = [
        f"{name} ({found['traces']} of {found['prompts']} prompts): from all steps but the answer the policy gets "
        f"{first} % right, from the prompt alone {last} %."
    ]
    for row in found["contrasts"]:
        if row["first"] == HIGH_FIRST:
            names = f"{LABELS[row['first']]} less {LABELS[row['second']]}"
            sentences.append(f"{name}: accuracy with steps deleted {names}: {_verdict(row)}.")
    seen = ", ".join(f"{100 * area(SHARES, orders[order]['shown']):.0f} % {LABELS[order]}" for order in ORDERS)
    sentences.append(
        f"{name}: averaged over the shares the answer stands in what is left in {seen}: where these differ, an order "
        "may cost accuracy because it takes the answer away, not because it takes uncertain steps."
    )
    return sentences


def _verdict(row: Mapping[str, Any]) -> str:
    parts = []
    for axis, text in AREAS.items():
        low, high = row[axis]["low"], row[axis]["high"]
        word = "fewer right" if high < 0 else "more right" if low > 0 else "no difference that these prompts can show"
        parts.append(f"{percents(row[axis], '+')} points over the {text} ({word})")
    return "; ".join(parts)

"""Accuracy against the share of deleted steps: curves, areas under them, and paired differences between orders."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from statistics import fmean
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
COLUMNS = {"y": "value", "low": "low", "high": "high"}
"""Part of a line of a chart -> part of an estimate."""
SHARES = [percent / 100 for percent in PERCENTS]


def summarize(outcomes: Sequence[Outcome], kind: str) -> dict[str, Any] | None:
    """Return the results of the traces of this kind; None where there are none.

    Returns:
        {"prompts", "traces", "orders": {order: {"success": [estimate for each of PERCENTS], "tokens", "shown": [means],
        "area": {"steps", "tokens": estimate}}}, "contrasts": [{"first", "second", "steps", "tokens": estimate of the
        first's area minus the second's}]}. An estimate is {"value", "low", "high"}, its 95 % interval over prompts: a
        prompt's traces are averaged first. Areas are mean accuracies over the whole of a curve.
    """
    prompts: dict[str, list[Outcome]] = defaultdict(list)
    for each in outcomes:
        if each.kind == kind:
            prompts[each.item].append(each)
    if not prompts:
        return None
    groups = list(prompts.values())
    areas = {order: {axis: [_area(group, order, axis) for group in groups] for axis in AREAS} for order in ORDERS}
    return {
        "prompts": len(groups),
        "traces": sum(map(len, groups)),
        "orders": {order: _sum_up_order(groups, order, areas[order]) for order in ORDERS},
        "contrasts": [
            {
                "first": first,
                "second": second,
                **{axis: asdict(paired_average([(areas[second][axis], areas[first][axis])])) for axis in AREAS},
            }
            for first, second in CONTRASTS
        ],
    }


def _area(group: Sequence[Outcome], order: str, axis: str) -> float:
    """Return the mean over a prompt's traces of the area under the success of each, against its steps or its tokens."""
    return fmean(area(SHARES if axis == "steps" else each.tokens[order], each.success[order]) for each in group)


def _sum_up_order(groups: Sequence[Sequence[Outcome]], order: str, areas: Mapping[str, list[float]]) -> dict[str, Any]:
    def means(name: str) -> list[list[float]]:
        """Return for each of PERCENTS the means over the traces of each prompt."""
        return [
            [fmean(getattr(each, name)[order][i] for each in group) for group in groups] for i in range(len(SHARES))
        ]

    return {
        "success": [asdict(mean_of_items(values)) for values in means("success")],
        "tokens": [fmean(values) for values in means("tokens")],
        "shown": [fmean(values) for values in means("shown")],
        "area": {axis: asdict(mean_of_items(values)) for axis, values in areas.items()},
    }


def report(outcomes: Sequence[Outcome], sizes: Mapping[str, int]) -> dict[str, Any]:
    """Return {"sizes", "tables", "curves", "findings", "value"}, ready for JSON; `sizes` are further sizes."""
    kinds = {kind: results for kind in (RIGHT, EXPERT) if (results := summarize(outcomes, kind))}
    counts = {f"{name}_{kind}": kinds[kind][name] for kind in kinds for name in ("prompts", "traces")}
    return {
        "sizes": {**counts, **sizes},
        "tables": [table for kind in kinds for table in tables(kind, kinds[kind])],
        "curves": [curve for kind in kinds for curve in curves(kind, kinds[kind])],
        "findings": [sentence for kind in kinds for sentence in findings(kind, kinds[kind])],
        "value": {"kinds": kinds, "traces": [asdict(each) for each in outcomes]},
    }


def tables(kind: str, results: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return tables of accuracy at each share, of the tokens deleted and answers visible, and of areas."""
    title = f"{NAMES[kind]}: {results['traces']} of {results['prompts']} prompts".capitalize()
    head = ["steps deleted", *LABELS.values()]
    orders = [results["orders"][order] for order in LABELS]

    def rows(cell: Callable[[Mapping[str, Any], int], str]) -> list[list[str]]:
        return [[f"{percent} %", *(cell(order, i) for order in orders)] for i, percent in enumerate(PERCENTS)]

    areas = [[LABELS[order], results["orders"][order]["area"]] for order in LABELS]
    contrasts = [[_contrast_name(row), row] for row in results["contrasts"]]
    return [
        {
            "title": title,
            "head": head,
            "rows": rows(lambda order, i: percents(order["success"][i])),
            "note": "Accuracy in % with 95 % intervals over prompts.",
        },
        {
            "title": f"{title}: tokens and answers",
            "head": head,
            "rows": rows(lambda order, i: f"{100 * order['tokens'][i]:.0f} / {100 * order['shown'][i]:.0f}"),
            "note": "Tokens deleted in % of those before the answer / solutions in % whose answer still stands in the "
            "steps that are kept.",
        },
        {
            "title": f"{title}, over the whole curve",
            "head": ["accuracy averaged over the", *AREAS.values()],
            "rows": [
                [name, *(percents(values[axis], sign) for axis in AREAS)]
                for sign, named in (("", areas), ("+", contrasts))
                for name, values in named
            ],
            "note": "In %, and differences in points, paired by solution, with 95 % intervals over prompts.",
        },
    ]


def _contrast_name(row: Mapping[str, Any]) -> str:
    return f"{LABELS[row['first']]} minus {LABELS[row['second']]}"


def percents(row: Mapping[str, float], sign: str = "") -> str:
    """Return an estimate in percent.

    >>> percents({"value": 0.5, "low": 0.25, "high": 0.755})
    '50.0 [25.0, 75.5]'
    """
    value, low, high = (f"{100 * row[name]:{sign}.1f}" for name in ("value", "low", "high"))
    return f"{value} [{low}, {high}]"


def curves(kind: str, results: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return accuracy against the steps and against the tokens deleted, and the share of visible answers."""
    name, orders = NAMES[kind].capitalize(), results["orders"]

    def lines(axis: str) -> list[dict[str, Any]]:
        return [
            {
                "label": label,
                "x": SHARES if axis == "steps" else orders[order]["tokens"],
                **{to: [row[key] for row in orders[order]["success"]] for to, key in COLUMNS.items()},
            }
            for order, label in LABELS.items()
        ]

    return [
        *(
            {"title": name, "x_label": f"{text} deleted", "y_label": "accuracy", "lines": lines(axis)}
            for axis, text in AREAS.items()
        ),
        {
            "title": f"{name}: answer still visible",
            "x_label": "share of the steps deleted",
            "y_label": "share of the solutions",
            "lines": [
                {"label": label, "x": SHARES, "y": orders[order]["shown"], "low": None, "high": None}
                for order, label in LABELS.items()
            ],
        },
    ]


def findings(kind: str, results: Mapping[str, Any]) -> list[str]:
    """Return sentences that follow from `summarize`."""
    name, orders = NAMES[kind].capitalize(), results["orders"]
    first, last = (percents(orders[RANDOM]["success"][i]) for i in (0, -1))
    shown = ", ".join(f"{100 * area(SHARES, orders[order]['shown']):.0f} % {label}" for order, label in LABELS.items())
    return [
        f"{name} ({results['traces']} of {results['prompts']} prompts): from all steps but the answer the policy gets "
        f"{first} % right, from the prompt alone {last} %.",
        *(
            f"{name}: accuracy with steps deleted {_contrast_name(row)}: {_verdict(row)}."
            for row in results["contrasts"]
            if row["first"] == HIGH_FIRST
        ),
        f"{name}: averaged over the shares the answer stands in the steps that are kept in {shown}: where these "
        "differ, an order may cost accuracy because it takes the answer away, not because it takes uncertain steps.",
    ]


def _verdict(row: Mapping[str, Any]) -> str:
    parts = []
    for axis, text in AREAS.items():
        low, high = row[axis]["low"], row[axis]["high"]
        word = "fewer right" if high < 0 else "more right" if low > 0 else "no difference shown"
        parts.append(f"{percents(row[axis], '+')} points over the {text} ({word})")
    return "; ".join(parts)

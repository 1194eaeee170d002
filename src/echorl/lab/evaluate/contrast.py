"""Two evaluations on the same items: paired differences of each benchmark, averaged in and out of distribution."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from echorl.lab.evaluate.metrics import item_means, paired_average
from echorl.lab.evaluate.store import evaluation_in
from echorl.lab.evaluate.summary import DISTRIBUTIONS, Scored
from echorl.lab.evaluate.table import measures_of

EQUAL = ("samples", "max_new_tokens", "temperature", "top_p")
"""Settings that must agree, so that a difference is the models'."""
ROUNDING = 1e-9
"""Largest distance of shares that are equal but for their last bits."""


def read_evaluation(place: Path) -> dict[str, Scored]:
    """Return benchmark -> its scored samples, from an evaluation's folder or its results.json.

    Raises:
        ValueError: there are no samples, or a file is damaged.
    """
    store = evaluation_in(place)
    settings = store.settings()
    assert settings is not None, "checked"
    paths = {name: store.samples(name) for name in settings["benchmarks"]}
    scored = {name: Scored.read(path) for name, path in paths.items() if path.exists()}
    if not scored:
        raise ValueError(f"{store.path} holds no scored samples yet: run its evaluation to the end first.")
    return scored


def contrast(places: Sequence[Path], benchmarks: Sequence[str] | None = None) -> dict[str, Any]:
    """Return the differences of the second evaluation to the first, of all benchmarks or of those named.

    Returns:
        {"benchmarks": {name: {"items", "measures": {measure: {"first", "second", "value", "low", "high",
        "no_spread"}}}}, "averages": {"in" | "out": {"benchmarks", "value", "low", "high", "no_spread"}}}, ready for
        JSON. The intervals are 95 % bootstrap intervals over items; with `no_spread` all items differ by the same, so
        that a bootstrap can only draw equal numbers. The averages are of avg@k over two or more benchmarks.

    Raises:
        ValueError: a benchmark is missing on a side, or its items or settings differ; the message names the difference.
    """
    first, second = sides = [read_evaluation(place) for place in places]
    if not first.keys() & second.keys():
        each = " and ".join(f"{place} has {', '.join(side)}" for place, side in zip(places, sides, strict=True))
        raise ValueError(f"no benchmark was scored in both folders ({each}): evaluate both models on the same one.")
    names = list(dict.fromkeys(benchmarks or {**first, **second}))
    for name in names:
        for place, side in zip(places, sides, strict=True):
            if name not in side:
                raise ValueError(
                    f"{place} has no scored samples of {name} (only {', '.join(side)}): choose with --benchmarks."
                )
        check_alike(name, places, first[name], second[name])
    return {
        "benchmarks": {name: _differences(first[name], second[name]) for name in names},
        "averages": _averages(names, first, second),
    }


def check_alike(name: str, places: Sequence[Path], first: Scored, second: Scored) -> None:
    """Check that two evaluations have the same items, prompts and settings, so that a difference is the models'.

    Raises:
        ValueError: one of these differs; the message names it.
    """
    a, b = places
    if first.items != second.items:
        raise ValueError(
            f"{name}: {a} and {b} hold different items ({_difference(first.items, second.items)}): evaluate both "
            "on the same items."
        )
    if first.meta["settings"]["prompts"] != second.meta["settings"]["prompts"]:
        raise ValueError(f"{name}: the items of {a} and {b} have the same ids and other prompts: evaluate one again.")
    for part, keys in (("settings", EQUAL), ("benchmark", ("grader",))):
        for key in keys:
            old, new = first.meta[part][key], second.meta[part][key]
            if old != new:
                raise ValueError(f"{name}: {key} is {old} in {a} and {new} in {b}: evaluate one again.")


def _difference(first: Sequence[str], second: Sequence[str]) -> str:
    only = next((item for item in [*first, *second] if (item in first) != (item in second)), None)
    return "in another order" if only is None else f"{len(first)} and {len(second)}; {only!r} is only in one"


def _differences(first: Scored, second: Scored) -> dict[str, Any]:
    sides = first.item_values(), second.item_values()
    measures = {}
    for name in measures_of(first.samples) if first.samples > 1 else ["avg@1"]:
        pair = sides[0][name], sides[1][name]
        means = {"first": fmean(pair[0]), "second": fmean(pair[1])}
        measures[name] = {**means, **_average([pair])}
    return {"items": len(first.items), "measures": measures}


def _average(pairs: Sequence[tuple[Sequence[float], Sequence[float]]]) -> dict[str, Any]:
    """Return the estimate, with `no_spread` where all items of a benchmark differ by the same."""
    differences = [[b - a for a, b in zip(*pair, strict=True)] for pair in pairs]
    no_spread = all(max(benchmark) - min(benchmark) < ROUNDING for benchmark in differences)
    return {**vars(paired_average(pairs)), "no_spread": no_spread}


def _averages(names: Sequence[str], first: Mapping[str, Scored], second: Mapping[str, Scored]) -> dict[str, Any]:
    averages = {}
    for kind in DISTRIBUTIONS:
        members = [name for name in names if first[name].meta["benchmark"]["distribution"] == kind]
        if len(members) > 1:
            pairs = [(item_means(first[name].verdicts), item_means(second[name].verdicts)) for name in members]
            averages[kind] = {"benchmarks": members, **_average(pairs)}
    return averages

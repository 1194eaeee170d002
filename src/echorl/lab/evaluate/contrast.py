"""Two evaluations on the same items: paired differences, per benchmark and averaged in and out of distribution."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from echorl.lab.evaluate.metrics import item_means, paired_average
from echorl.lab.evaluate.store import RESULTS, Store
from echorl.lab.evaluate.summary import DISTRIBUTIONS, Scored

EQUAL = ("samples", "max_new_tokens", "temperature", "top_p")
"""Settings without which a difference would not be the model's."""
ROUNDING = 1e-9
"""Differences of shares that are equal but for their last bits."""


def read_evaluation(place: Path) -> dict[str, Scored]:
    """Benchmark -> its scored samples, of an evaluation's folder or its results.json.

    Raises:
        ValueError: nothing is there, or a file is damaged.
    """
    folder = place.parent if place.name == RESULTS else place
    store = Store(folder)
    settings = store.settings()
    if settings is None:
        raise ValueError(
            f"{place} is no folder of an evaluation (it has no {store.mark}): give an output_dir of `eval`."
        )
    paths = {name: store.samples(name) for name in settings["benchmarks"]}
    found = {name: Scored.read(path) for name, path in paths.items() if path.exists()}
    if not found:
        raise ValueError(f"{folder} holds no scored samples yet: run its evaluation to the end first.")
    return found


def contrast(places: Sequence[Path], benchmarks: Sequence[str] | None = None) -> dict[str, Any]:
    """The second evaluation less the first, of all benchmarks or of those named.

    Returns:
        {"benchmarks": {name: {"items", "measures": {measure: {"first", "second", "value", "low", "high",
        "no_spread"}}}}, "averages": {"in" | "out": {"benchmarks", "value", "low", "high", "no_spread"}}}, ready for
        JSON. The intervals are 95 % bootstrap intervals over items; `no_spread`: all items differ by the same, so that
        a bootstrap has nothing to draw and the interval no width. The averages are those of avg@k, where there are two
        benchmarks or more.

    Raises:
        ValueError: a benchmark is missing on a side, or its items or settings differ; the message names what.
    """
    first, second = sides = [read_evaluation(place) for place in places]
    names = list(dict.fromkeys(benchmarks or {**first, **second}))
    for name in names:
        for place, side in zip(places, sides, strict=True):
            if name not in side:
                has = ", ".join(side)
                raise ValueError(f"{place} has no scored samples of {name} (only {has}): choose with --benchmarks.")
        check_alike(name, places, first[name], second[name])
    return {
        "benchmarks": {name: _differences(first[name], second[name]) for name in names},
        "averages": _averages(names, first, second),
    }


def check_alike(name: str, places: Sequence[Path], first: Scored, second: Scored) -> None:
    """Raises:
    ValueError: the two differ in items, prompts or a setting that would make the difference.
    """
    a, b = places
    if first.items != second.items:
        raise ValueError(
            f"{name}: {a} and {b} hold different items ({_apart(first.items, second.items)}): evaluate both "
            "on the same items."
        )
    if first.meta["settings"]["prompts"] != second.meta["settings"]["prompts"]:
        raise ValueError(f"{name}: the items of {a} and {b} have the same ids and other prompts: evaluate one anew.")
    for part, keys in (("settings", EQUAL), ("benchmark", ("grader",))):
        for key in keys:
            old, new = first.meta[part][key], second.meta[part][key]
            if old != new:
                raise ValueError(f"{name}: {key} is {old} in {a} and {new} in {b}: evaluate one anew.")


def _apart(first: Sequence[str], second: Sequence[str]) -> str:
    only = next((item for item in [*first, *second] if (item in first) != (item in second)), None)
    return "in another order" if only is None else f"{len(first)} and {len(second)}; {only!r} is only in one"


def _differences(first: Scored, second: Scored) -> dict[str, Any]:
    values, others = first.item_values(), second.item_values()
    k = first.samples
    names = dict.fromkeys([f"avg@{k}", *([f"pass@{1 << (k.bit_length() - 1)}", f"maj@{k}"] if k > 1 else [])])
    return {"items": len(first.items), "measures": {name: _pair(values[name], others[name]) for name in names}}


def _pair(first: Sequence[float], second: Sequence[float]) -> dict[str, Any]:
    means = {"first": sum(first) / len(first), "second": sum(second) / len(second)}
    return {**means, **_average([(first, second)])}


def _average(pairs: Sequence[tuple[Sequence[float], Sequence[float]]]) -> dict[str, Any]:
    """The estimate, and whether its interval has no width because all items (of each benchmark) differ by the same."""
    spreads = [[b - a for a, b in zip(*pair, strict=True)] for pair in pairs]
    return {**vars(paired_average(pairs)), "no_spread": all(max(own) - min(own) < ROUNDING for own in spreads)}


def _averages(names: Sequence[str], first: Mapping[str, Scored], second: Mapping[str, Scored]) -> dict[str, Any]:
    found = {}
    for kind in DISTRIBUTIONS:
        own = [name for name in names if first[name].meta["benchmark"]["distribution"] == kind]
        if len(own) > 1:
            pairs = [(item_means(first[name].verdicts), item_means(second[name].verdicts)) for name in own]
            found[kind] = {"benchmarks": own, **_average(pairs)}
    return found

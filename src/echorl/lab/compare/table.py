"""From the runs' scores to means and paired differences, for JSON and as Markdown tables."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from echorl.lab.compare.plan import TRAINING, Comparison, Run, Validation
from echorl.lab.compare.score import verdicts_of
from echorl.lab.evaluate import (
    holm,
    item_pass_at_k,
    mean_of_items,
    mean_of_runs,
    p_of_runs,
    paired_average,
    paired_runs,
)

Scores = Mapping[str, Any]
"""What `Policy.score` gives."""
Results = Mapping[Run, Mapping[str, Any]]
"""Run -> {"training": {"updates", ...}, test: Scores, ...}."""

BEHAVIOUR = {"tokens a rollout": "length", "entropy, nats": "entropy"}
SPENT: Mapping[str, tuple[str, float]] = {
    "updates": ("updates", 1),
    "rollout tokens": ("rollout_tokens", 1),
    "minutes": ("minutes", 1),
    "degenerate groups, %": ("degenerate", 100),
    "tokens outside mixed groups, %": ("uniform_tokens", 100),
    "updates without policy gradient": ("without_gradient", 1),
    "largest gradient norm in these": ("norm_without_gradient", 1),
}
"""Measure -> its name in a run's summary, and its factor. A run that logged nothing has no more than the first two."""
HEAD = ["", "arm", "learning rate", "mean", "less", "difference, 95 % over seeds", "p, Holm", "bootstrap"]
SHARES = {"blank tokens, %": "blank_share", "truncated, %": "truncated"}


def accuracies(ks: Sequence[int], greedy: bool) -> dict[str, Callable[[Scores], list[float]]]:
    """Measure -> one percentage a prompt."""
    found: dict[str, Callable[[Scores], list[float]]] = {f"pass@{k}, %": partial(_pass_at_k, k) for k in ks}
    return {**found, **({"greedy, %": lambda s: [100.0 * v for v in s["greedy"]]} if greedy else {})}


def behaviours() -> dict[str, Callable[[Scores], float]]:
    """Measure -> one number a run."""
    plain = {name: partial(_measure, key, 1) for name, key in BEHAVIOUR.items()}
    return {**plain, **{name: partial(_measure, key, 100) for name, key in SHARES.items()}}


def _pass_at_k(k: int, scores: Scores) -> list[float]:
    return [100 * value for value in item_pass_at_k(verdicts_of(scores), k)]


def _measure(key: str, factor: float, scores: Scores) -> float:
    return factor * scores[key]


def compare(comparison: Comparison, rates: Mapping[str, float | None], results: Results) -> dict[str, Any]:
    """Every arm's mean over seeds, and its paired difference from its reference.

    Returns:
        {split: {measure: {arm: {"values": one a seed, "mean", "interval", "reference", "difference", "bootstrap"}}}},
        ready for JSON, for every test and average, and what the runs of trained arms took under "training". The
        interval of the mean is Student's over seeds, and that of a single seed's pass@k is over prompts. The difference
        has Student's 95 % interval over seeds, and its p-value, alone and after Holm's correction over the arms of the
        row; both are None with a single seed. The bootstrap draws seeds and prompts, of a single seed prompts. All are
        None for an arm without a reference, or whose reference is not in `rates` (the arms that have results).
    """
    runs = {arm: [results[Run(arm, rate, seed)] for seed in comparison.seeds] for arm, rate in rates.items()}
    asked = {arm: comparison.reference_of(arm) for arm in rates}
    references = {arm: reference if reference in rates else None for arm, reference in asked.items()}
    parts = {test: (test,) for test in comparison.tests} | dict(comparison.averages)
    table = {name: _scored(comparison, references, runs, tests) for name, tests in parts.items()}
    table[TRAINING] = rows = {}
    trained = {arm: own for arm, own in runs.items() if comparison.is_trained(arm)}
    for name, (key, factor) in SPENT.items():
        if all(key in run["training"] for own in trained.values() for run in own):
            spent = {arm: [factor * float(run["training"][key]) for run in own] for arm, own in trained.items()}
            rows[name] = against({arm: a if a in spent else None for arm, a in references.items()}, spent)
    return table


def _scored(
    comparison: Comparison, references: Mapping[str, str | None], runs: Mapping[str, Any], tests: Sequence[str]
) -> dict[str, Any]:
    """The rows of one test, or of several: their prompts together, and of what is one number a run the mean."""
    rows = {}
    for name, per_prompt in accuracies(comparison.ks, comparison.greedy).items():
        items = {arm: [[v for t in tests for v in per_prompt(run[t])] for run in own] for arm, own in runs.items()}
        one = next(iter(runs.values()))[0]
        blocks = [len(per_prompt(one[test])) for test in tests]
        rows[name] = against(references, {arm: _means(own) for arm, own in items.items()}, items, blocks)
    for name, per_run in behaviours().items():
        means = {arm: [statistics.fmean(per_run(run[t]) for t in tests) for run in own] for arm, own in runs.items()}
        rows[name] = against(references, means)
    return rows


def _means(items: Sequence[Sequence[float]]) -> list[float]:
    return [statistics.fmean(values) for values in items]


def against(
    references: Mapping[str, str | None],
    values: Mapping[str, Sequence[float]],
    items: Mapping[str, Sequence[Sequence[float]]] | None = None,
    blocks: Sequence[int] | None = None,
) -> dict[str, Any]:
    """One measure's row: `values` holds one number a seed, `items` one a seed and prompt, in `blocks` of so many."""
    rows = {}
    for arm, own in values.items():
        reference, difference, p, drawn = references[arm], None, None, None
        if reference is not None and len(own) > 1:
            differences = _differences(values[reference], own)
            difference, p = vars(mean_of_runs(differences)), p_of_runs(differences)
        if reference is not None and items:
            drawn = _bootstrap(items[reference], items[arm], blocks)
        rows[arm] = {
            "values": list(own),
            "mean": statistics.fmean(own),
            "interval": _interval_of(own, items[arm][0] if items else None),
            "reference": reference,
            "difference": difference,
            "p": p,
            "bootstrap": drawn,
        }
    return _corrected(rows)


def _interval_of(values: Sequence[float], items: Sequence[float] | None) -> dict[str, float] | None:
    """Return the 95 % interval of the mean over seeds; of a single seed's percentages that over its items."""
    if len(values) > 1:
        return vars(mean_of_runs(values))
    if items is None:
        return None
    return {name: 100 * value for name, value in vars(mean_of_items([value / 100 for value in items])).items()}


def _bootstrap(
    first: Sequence[Sequence[float]], second: Sequence[Sequence[float]], blocks: Sequence[int] | None
) -> dict[str, float]:
    """Return the mean difference with an interval that draws seeds and items, or of a single seed items alone."""
    if len(second) > 1:
        return vars(paired_runs(first, second, blocks))
    ends = list(itertools.accumulate(blocks or [len(second[0])]))
    parts = [slice(start, end) for start, end in zip([0, *ends], ends, strict=False)]
    return vars(paired_average([(first[0][part], second[0][part]) for part in parts]))


def _corrected(rows: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The rows with `holm`, the p-values after Holm's correction over the arms that are compared.

    One whose runs all agree has no p-value, and counts among them as if it were 1.
    """
    found = {arm: row["p"] for arm, row in rows.items() if row["difference"] is not None}
    adjusted = dict(zip(found, holm([1.0 if p is None else p for p in found.values()]), strict=True))
    return {arm: {**row, "holm": None if row["p"] is None else adjusted[arm]} for arm, row in rows.items()}


def _differences(reference: Sequence[float], own: Sequence[float]) -> list[float]:
    return [b - a for a, b in zip(reference, own, strict=True)]


def markdown(rates: Mapping[str, float | None], table: Mapping[str, Any]) -> str:
    """One table a split, a row a measure and arm, and a last one for the training."""
    parts = []
    for split, measures in table.items():
        parts.append(f"**{split}**\n\n{markdown_rows([HEAD, *table_rows(rates, measures)])}")
    return "\n\n".join(parts) + "\n"


def markdown_rows(rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, its head the first row.

    >>> print(markdown_rows([["a", "b"], ["1", "2"]]))
    | a | b |
    | --- | --- |
    | 1 | 2 |
    """
    lines = [rows[0], ["---"] * len(rows[0]), *rows[1:]]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in lines)


def table_rows(rates: Mapping[str, float | None], measures: Mapping[str, Any]) -> list[list[str]]:
    """A split's table, a row a measure and arm, its cells as in `HEAD`."""
    return [
        [measure, arm, _rate(rates[arm]), *_cells(row)]
        for measure, arms in measures.items()
        for arm, row in arms.items()
    ]


def _cells(row: Mapping[str, Any]) -> list[str]:
    over_seeds, drawn = (_interval(row[name]) for name in ("difference", "bootstrap"))
    p = "" if row["holm"] is None else f"{row['holm']:.2g}"
    return [number(row["mean"], ".4g"), row.get("reference") or "", over_seeds, p, drawn]


def _interval(found: Mapping[str, float] | None) -> str:
    if found is None:
        return ""
    value, low, high = (number(found[name], "+.3g") for name in ("value", "low", "high"))
    return f"{value} [{low}, {high}]"


def number(value: float, form: str) -> str:
    """In that form, but from 1,000 on whole: counts, which nobody reads as 1.008e+05.

    >>> number(65.52, ".3g"), number(-1234.5, "+.3g")
    ('65.5', '-1,234')
    """
    return format(value, form) if abs(value) < 1000 else format(value, form.split(".")[0] + ",.0f")


def _rate(rate: float | None) -> str:
    return "recipe's" if rate is None else f"{rate:g}"


def grid_markdown(comparison: Comparison, validation: Validation, rates: Mapping[str, float | None]) -> str:
    """The learning-rate grid: pass@1 on validation, mean over the grid's seeds; the chosen rate in bold.

    Below it, a sentence for each arm whose best rate lies at the edge of the grid.
    """
    arms = comparison.grid_arms
    rows = [["learning rate", *arms]]
    for rate in comparison.learning_rates:
        means = {arm: comparison.grid_mean(arm, rate, validation) for arm in arms}
        rows.append([f"{rate:g}", *(_grid_cell(mean, rates[arm] == rate) for arm, mean in means.items())])
    edges = [
        f"The best rate of {arm}, {rates[arm]:g}, is the {end} of the grid: extend the grid."
        for arm, end in comparison.edges(rates).items()
    ]
    return "\n".join([markdown_rows(rows), *(["", *edges] if edges else [])]) + "\n"


def _grid_cell(mean: float | None, chosen: bool) -> str:
    if mean is None:
        return "diverged"
    return f"**{100 * mean:.1f}**" if chosen else f"{100 * mean:.1f}"

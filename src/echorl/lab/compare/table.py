"""Means of the runs' scores and paired differences, for JSON and as Markdown tables."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from echorl.lab.compare.plan import TRAINING, Comparison, Run, Validation
from echorl.lab.compare.score import verdicts_of
from echorl.lab.evaluate.metrics import (
    holm,
    item_pass_at_k,
    mean_of_items,
    mean_of_runs,
    p_of_runs,
    paired_average,
    paired_runs,
)
from echorl.lab.report.page import Table

Results = Mapping[Run, Mapping[str, Any]]
"""Run -> {"training": {"updates", ...}, test: result of `Policy.score`, ...}."""
Measures = Mapping[str, tuple[str, float]]
"""Measure -> its name in a run's files, and its factor."""

BEHAVIOUR: Measures = {
    "tokens a rollout": ("length", 1),
    "entropy, nats": ("entropy", 1),
    "blank tokens, %": ("blank_share", 100),
    "truncated, %": ("truncated", 100),
}
SPENT: Measures = {
    "updates": ("updates", 1),
    "rollout tokens": ("rollout_tokens", 1),
    "minutes": ("minutes", 1),
    "degenerate groups, %": ("degenerate", 100),
    "tokens outside mixed groups, %": ("uniform_tokens", 100),
    "updates without policy gradient": ("without_gradient", 1),
    "largest gradient norm in these": ("norm_without_gradient", 1),
}
"""Cost of a training; a run that logged nothing has the first two alone."""
HEAD = ["", "arm", "learning rate", "mean", "reference", "difference, 95 % over seeds", "p, Holm", "bootstrap"]


def compare(comparison: Comparison, rates: Mapping[str, float | None], results: Results) -> dict[str, Any]:
    """Return every arm's mean over seeds, and its paired difference to its reference.

    Returns:
        {split: {measure: {arm: {"values": one a seed, "mean", "interval", "reference", "difference", "bootstrap"}}}},
        ready for JSON, for every test and average, and the cost of trained arms under "training". The
        interval of the mean is Student's over seeds, and that of a single seed's pass@k is over prompts. The difference
        has Student's 95 % interval over seeds, and its p-value before and after Holm's correction over the arms of the
        row; both are None with a single seed. The bootstrap draws seeds and prompts, of a single seed prompts. All are
        None for an arm without a reference, or whose reference is not in `rates` (the arms that have results).
    """
    runs = {arm: [results[Run(arm, rate, seed)] for seed in comparison.seeds] for arm, rate in rates.items()}
    references = {arm: _among(comparison.reference_of(arm), rates) for arm in rates}
    parts = {test: (test,) for test in comparison.tests} | dict(comparison.averages)
    table = {name: _scored(comparison, references, runs, tests) for name, tests in parts.items()}
    trained = {arm: [run["training"] for run in runs[arm]] for arm in filter(comparison.is_trained, runs)}
    references = {arm: _among(references[arm], trained) for arm in trained}
    table[TRAINING] = {
        name: against(references, {arm: [factor * float(cost[key]) for cost in trained[arm]] for arm in trained})
        for name, (key, factor) in SPENT.items()
        if all(key in cost for costs in trained.values() for cost in costs)
    }
    return table


def _among(reference: str | None, arms: Mapping[str, Any]) -> str | None:
    return reference if reference in arms else None


def _scored(
    comparison: Comparison, references: Mapping[str, str | None], runs: Mapping[str, Any], tests: Sequence[str]
) -> dict[str, Any]:
    """Return the rows of one test or of an average: all prompts together, of a behaviour the mean over tests."""
    shares = {arm: [[_percentages(comparison, run[t]) for t in tests] for run in runs[arm]] for arm in runs}
    first = next(iter(shares.values()))[0]
    rows = {}
    for name, values in first[0].items():
        blocks = [len(part[name]) for part in first]
        items = {arm: [[v for part in run for v in part[name]] for run in shares[arm]] for arm in shares}
        means = {arm: [statistics.fmean(values) for values in items[arm]] for arm in items}
        rows[name] = against(references, means, items, blocks)
    for name, (key, factor) in BEHAVIOUR.items():
        means = {arm: [statistics.fmean(factor * run[t][key] for t in tests) for run in runs[arm]] for arm in runs}
        rows[name] = against(references, means)
    return rows


def _percentages(comparison: Comparison, scores: Mapping[str, Any]) -> dict[str, list[float]]:
    """Return one percentage a prompt for pass@k, and with `greedy` for the likeliest completion."""
    shares = {f"pass@{k}, %": item_pass_at_k(verdicts_of(scores), k) for k in comparison.ks}
    if comparison.greedy:
        shares["greedy, %"] = scores["greedy"]
    return {name: [100.0 * value for value in values] for name, values in shares.items()}


def against(
    references: Mapping[str, str | None],
    values: Mapping[str, Sequence[float]],
    items: Mapping[str, Sequence[Sequence[float]]] | None = None,
    blocks: Sequence[int] | None = None,
) -> dict[str, Any]:
    """Return one measure's row, with `holm`, the p-values after Holm's correction over the arms that are compared.

    An arm whose runs all agree has no p-value, and counts in the correction as if it were 1.

    Args:
        values: arm -> one number a seed.
        items: arm -> one list a seed, with one number a prompt.
        blocks: number of prompts of each test.
    """
    rows: dict[str, dict[str, Any]] = {}
    for arm, numbers in values.items():
        reference, difference, p, bootstrap = references[arm], None, None, None
        if reference is not None and len(numbers) > 1:
            differences = [b - a for a, b in zip(values[reference], numbers, strict=True)]
            difference, p = vars(mean_of_runs(differences)), p_of_runs(differences)
        if reference is not None and items:
            bootstrap = _bootstrap(items[reference], items[arm], blocks)
        rows[arm] = {
            "values": list(numbers),
            "mean": statistics.fmean(numbers),
            "interval": _interval_of(numbers, items[arm][0] if items else None),
            "reference": reference,
            "difference": difference,
            "p": p,
            "bootstrap": bootstrap,
        }
    compared = {arm: row["p"] for arm, row in rows.items() if row["difference"] is not None}
    adjusted = dict(zip(compared, holm([1.0 if p is None else p for p in compared.values()]), strict=True))
    return {arm: {**row, "holm": None if row["p"] is None else adjusted[arm]} for arm, row in rows.items()}


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


def tables_of_tests(rates: Mapping[str, float | None], tests: Mapping[str, Any]) -> list[Table]:
    """Return a table a test with a row a measure and arm, and a last one for the training."""
    return [Table(test, HEAD, table_rows(rates, measures)) for test, measures in tests.items()]


def markdown(tables: Sequence[Table]) -> str:
    """Return tables with their titles and notes."""
    parts = [[f"**{table.title}**", markdown_rows([table.head, *table.rows]), table.note] for table in tables]
    return "\n\n".join("\n\n".join(filter(None, part)) for part in parts) + "\n"


def markdown_rows(rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table, whose head is the first row.

    >>> print(markdown_rows([["a", "b"], ["1", "2"]]))
    | a | b |
    | --- | --- |
    | 1 | 2 |
    """
    lines = [rows[0], ["---"] * len(rows[0]), *rows[1:]]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in lines)


def table_rows(rates: Mapping[str, float | None], measures: Mapping[str, Any]) -> list[list[str]]:
    """Return a split's table, a row a measure and arm, with the columns of `HEAD`."""
    rows = []
    for measure, arms in measures.items():
        for arm, row in arms.items():
            rate = "recipe's" if rates[arm] is None else f"{rates[arm]:g}"
            p = "" if row["holm"] is None else f"{row['holm']:.2g}"
            over_seeds, bootstrap = (with_interval(row[name], "+.3g") for name in ("difference", "bootstrap"))
            mean = number(row["mean"], ".4g")
            rows.append([measure, arm, rate, mean, row.get("reference") or "", over_seeds, p, bootstrap])
    return rows


def with_interval(estimate: Mapping[str, float] | None, form: str) -> str:
    """Return a value with its interval in a number format, such as `+1.2 [-0.3, +2.7]`; "" for None."""
    if estimate is None:
        return ""
    value, low, high = (number(estimate[name], form) for name in ("value", "low", "high"))
    return f"{value} [{low}, {high}]"


def number(value: float, form: str) -> str:
    """Return a number in a format; from 1,000 on whole, since counts such as 1.008e+05 are hard to read.

    >>> number(65.52, ".3g"), number(-1234.5, "+.3g")
    ('65.5', '-1,234')
    """
    return format(value, form) if abs(value) < 1000 else format(value, form.split(".")[0] + ",.0f")


def grid_table(comparison: Comparison, validation: Validation, rates: Mapping[str, float | None]) -> Table:
    """Return the learning-rate grid: pass@1 on validation, mean over the grid's seeds; the chosen rate in bold.

    Below it stands a sentence for each arm whose best rate lies at the edge of the grid.
    """
    arms = comparison.grid_arms
    rows = []
    for rate in comparison.learning_rates:
        means = {arm: comparison.grid_mean(arm, rate, validation) for arm in arms}
        rows.append([f"{rate:g}", *(_grid_cell(mean, rates[arm] == rate) for arm, mean in means.items())])
    edges = [
        f"The best rate of {arm}, {rates[arm]:g}, is the {end} of the grid: extend the grid."
        for arm, end in comparison.edges(rates).items()
    ]
    title = "Learning rates: pass@1 in % on the validation split; bold: chosen"
    return Table(title, ["learning rate", *arms], rows, "\n".join(edges))


def _grid_cell(mean: float | None, chosen: bool) -> str:
    if mean is None:
        return "diverged"
    return f"**{100 * mean:.1f}**" if chosen else f"{100 * mean:.1f}"

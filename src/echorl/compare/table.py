"""From the runs' scores to means and paired differences, for JSON and as Markdown tables."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from echorl.compare.plan import Comparison, Run, Validation
from echorl.evaluate import item_pass_at_k, mean_of_runs, paired_runs

Scores = Mapping[str, Any]
"""What `Policy.score` gives."""
Results = Mapping[Run, Mapping[str, Any]]
"""Run -> {"training": {"updates", ...}, split: Scores, ...}."""

BEHAVIOUR = {"tokens a rollout": "length", "entropy, nats": "entropy"}
TRAINING = {"updates": "updates", "rollout tokens": "rollout_tokens"}
HEAD = ["", "arm", "learning rate", "mean", "less", "difference, 95 % over seeds", "bootstrap"]
SHARES = {"blank tokens, %": "blank_share", "truncated, %": "truncated"}


def accuracies(samples: int) -> dict[str, Callable[[Scores], list[float]]]:
    """Measure -> one percentage a prompt."""
    ks = {1, samples}
    return {f"pass@{k}, %": lambda s, k=k: [100 * v for v in item_pass_at_k(s["verdicts"], k)] for k in sorted(ks)}


def behaviours() -> dict[str, Callable[[Scores], float]]:
    """Measure -> one number a run."""
    plain = {name: lambda s, key=key: s[key] for name, key in BEHAVIOUR.items()}
    return {**plain, **{name: lambda s, key=key: 100 * s[key] for name, key in SHARES.items()}}


def compare(comparison: Comparison, rates: Mapping[str, float | None], results: Results) -> dict[str, Any]:
    """Every arm's mean over seeds, and its paired difference from its reference.

    Returns:
        {split: {measure: {arm: {"values": one a seed, "mean", "reference", "difference", "bootstrap"}}}}, ready for
        JSON. The difference has Student's 95 % interval over seeds; the bootstrap interval draws seeds and prompts.
        Both are None for an arm without a reference (None), and with a single seed.
    """
    runs = {arm: [results[Run(arm, rate, seed)] for seed in comparison.seeds] for arm, rate in rates.items()}
    table: dict[str, Any] = {}
    references = {arm: comparison.reference_of(arm) for arm in rates}
    for split in comparison.tests:
        rows = table[split] = {}
        for name, per_prompt in accuracies(comparison.samples).items():
            items = {arm: [per_prompt(run[split]) for run in own] for arm, own in runs.items()}
            rows[name] = against(references, {a: _means(own) for a, own in items.items()}, items)
        for name, per_run in behaviours().items():
            rows[name] = against(references, {a: [per_run(run[split]) for run in own] for a, own in runs.items()})
    rows = table["training"] = {}
    for name, key in TRAINING.items():
        spent = {arm: [float(run["training"][key]) for run in own] for arm, own in runs.items()}
        rows[name] = against(references, spent)
    return table


def _means(items: Sequence[Sequence[float]]) -> list[float]:
    return [statistics.fmean(values) for values in items]


def against(
    references: Mapping[str, str | None],
    values: Mapping[str, Sequence[float]],
    items: Mapping[str, Sequence[Sequence[float]]] | None = None,
) -> dict[str, Any]:
    """One measure's row: `values` holds one number a seed, `items` one a seed and prompt."""
    rows = {}
    for arm, own in values.items():
        reference = references[arm]
        apart = reference is not None and len(own) > 1
        rows[arm] = {
            "values": list(own),
            "mean": statistics.fmean(own),
            "reference": reference,
            "difference": vars(mean_of_runs(_differences(values[reference], own))) if apart else None,
            "bootstrap": vars(paired_runs(items[reference], items[arm])) if apart and items else None,
        }
    return rows


def _differences(reference: Sequence[float], own: Sequence[float]) -> list[float]:
    return [b - a for a, b in zip(reference, own, strict=True)]


def markdown(rates: Mapping[str, float | None], table: Mapping[str, Any]) -> str:
    """One table a split, a row a measure and arm, and a last one for the training."""
    parts = []
    for split, measures in table.items():
        rows = [HEAD, ["---"] * len(HEAD), *table_rows(rates, measures)]
        parts.append(f"**{split}**\n\n" + "\n".join("| " + " | ".join(row) + " |" for row in rows))
    return "\n\n".join(parts) + "\n"


def table_rows(rates: Mapping[str, float | None], measures: Mapping[str, Any]) -> list[list[str]]:
    """A split's table, a row a measure and arm, its cells as in `HEAD`."""
    return [
        [measure, arm, _rate(rates[arm]), *_cells(row)]
        for measure, arms in measures.items()
        for arm, row in arms.items()
    ]


def _cells(row: Mapping[str, Any]) -> list[str]:
    intervals = [
        "" if found is None else f"{found['value']:+.3g} [{found['low']:+.3g}, {found['high']:+.3g}]"
        for found in (row["difference"], row["bootstrap"])
    ]
    return [f"{row['mean']:.4g}", row.get("reference") or "", *intervals]


def _rate(rate: float | None) -> str:
    return "recipe's" if rate is None else f"{rate:g}"


def grid_markdown(comparison: Comparison, validation: Validation, rates: Mapping[str, float | None]) -> str:
    """The learning-rate grid: pass@1 on validation, mean over the grid's seeds; the chosen rate in bold.

    Below it, a sentence for each arm whose best rate lies at the edge of the grid.
    """
    arms = comparison.grid_arms
    rows = [["learning rate", *arms], ["---"] * (1 + len(arms))]
    for rate in comparison.learning_rates:
        means = {arm: comparison.grid_mean(arm, rate, validation) for arm in arms}
        rows.append([f"{rate:g}", *(_grid_cell(mean, rates[arm] == rate) for arm, mean in means.items())])
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    edges = [
        f"The best rate of {arm}, {rates[arm]:g}, is the {end} of the grid: extend the grid."
        for arm, end in comparison.edges(rates).items()
    ]
    return "\n".join([*lines, *(["", *edges] if edges else [])]) + "\n"


def _grid_cell(mean: float | None, chosen: bool) -> str:
    if mean is None:
        return "diverged"
    return f"**{100 * mean:.1f}**" if chosen else f"{100 * mean:.1f}"

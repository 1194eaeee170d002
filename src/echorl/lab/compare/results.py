"""Results of a study whose runs are finished: the content of results.json, and the text of results.md."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from echorl.lab.compare import table
from echorl.lab.compare.plan import Comparison
from echorl.lab.compare.study import Study
from echorl.lab.report.page import Table

DIVERGED = (
    "{} diverged (numbers that are not finite), so its arm has no result: lower the learning rate, or try the rates "
    "with more grid_seeds."
)


def make_results(study: Study, methods: Mapping[str, Any]) -> dict[str, Any]:
    """Return the results, ready for JSON.

    Args:
        methods: arm -> the options of its method, which the results keep.

    Raises:
        ValueError: a run is missing, or every arm has one that diverged.
    """
    comparison, validation = study.comparison, study.finished_grid()
    rates = comparison.chosen(validation)
    states = study.final_states(rates)
    diverged = [run for run, state in states.items() if state == "diverged"]
    excluded = {run.arm for run in diverged}
    results = {
        run: {"training": study.training(run), **{test: study.scores(run, test) for test in comparison.tests}}
        for run in states
        if run.arm not in excluded
    }
    if not results:
        names = ", ".join(run.name for run in diverged)
        raise ValueError(f"every arm has a run that diverged (numbers that are not finite; {names}): lower the rates.")
    return {
        "learning_rates": rates,
        "validation": {run.name: value for run, value in validation.items()},
        "averages": list(comparison.averages),
        "tests": table.compare(comparison, {run.arm: rates[run.arm] for run in results}, results),
        "seeds": list(comparison.seeds),
        "methods": methods,
        "notes": comparison.notes,
        "diverged": [run.name for run in diverged],
    }


def results_markdown(comparison: Comparison, results: Mapping[str, Any]) -> str:
    """Return the results as Markdown: what they can tell, the diverged runs and the tables."""
    sentences = [f"{sentence}\n\n" for sentence in first_sentences(results)]
    return "".join([*sentences, table.markdown(results_tables(comparison, results))])


def first_sentences(results: Mapping[str, Any]) -> list[str]:
    """Return what the results can and cannot tell, which runs diverged, and what is said of an added arm."""
    from echorl.lab.report.limits import limits

    added = results.get("added", {"arm": None, "sentences": []})
    stored = [name for name in results["diverged"] if name.partition("/")[0] != added["arm"]]
    diverged = [DIVERGED.format(", ".join(stored))] if stored else []
    return [limits(results), *diverged, *added["sentences"]]


def results_tables(comparison: Comparison, results: Mapping[str, Any]) -> list[Table]:
    """Return the summary, the grid, a table a test with a row a measure and arm, and a last one for the training."""
    from echorl.lab.report.verdicts import verdict_table

    rates, grid = results["learning_rates"], comparison.grid()
    summary = verdict_table(results)
    tables = [summary] if summary else []
    if grid:
        tables.append(table.grid_table(comparison, {run: results["validation"][run.name] for run in grid}, rates))
    return tables + table.tables_of_tests(rates, results["tests"])

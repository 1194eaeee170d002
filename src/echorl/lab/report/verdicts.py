"""`echorl compare` in words and as one table for a practitioner: the cost and the gain of each arm, and the notes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from echorl.lab.compare.notes import cells, headings
from echorl.lab.compare.plan import TRAINING
from echorl.lab.compare.table import BEHAVIOUR, number
from echorl.lab.report.page import Table

PASS = "pass@1, %"
"""The measure of results.json whose differences are shown."""
SIGNIFICANT = 0.05
"""A p-value, after Holm's correction, below which a difference is reported as one."""
NOTE = (
    "Points of pass@1 with 95 % intervals over seeds, paired with the arm under 'reference'. A star: p < 0.05 after "
    "Holm's correction over the arms of the column."
)
WITHOUT_GRADIENT, NORM_WITHOUT = "updates without policy gradient", "largest gradient norm in these"
"""Measures of the training."""
MOST_COLUMNS = 4
"""Arms that a table can have as columns."""
ONE_SEED = (
    "95 % intervals in brackets, clustered by prompt; differences are in percentage points, paired by prompt "
    "(bootstrap). They cover the choice of test prompts, not the luck of training: this is one seed."
)


def verdict_table(results: Mapping[str, Any]) -> Table | None:
    """Return a row an arm, from results.json; None without pass@1, or with one seed."""
    tests, notes, parts = results["tests"], results.get("notes") or {}, parts_of(results)
    arms = tests[parts[0]].get(PASS, {}) if parts else {}
    if all(row["difference"] is None for row in arms.values()):
        return None
    rows = []
    for arm, row in arms.items():
        costs = (tests.get(TRAINING, {}).get(name, {}).get(arm) for name in ("updates", "minutes"))
        cost = ["" if each is None else number(each["mean"], ".3g") for each in costs]
        gains = [_gain(tests[part][PASS][arm]) for part in parts]
        rows.append([arm, row.get("reference") or "", *cells(notes, arm), *cost, *gains])
    note = " ".join([NOTE, notes["note"]] if "note" in notes else [NOTE])
    return Table(
        "Summary", ["arm", "reference", *headings(notes), "updates", "minutes", *parts], rows, note, prose=True
    )


def arms_tables(results: Mapping[str, Any]) -> list[Table]:
    """Return the tables of a study of one seed and few arms, an arm a column; [] for any other study."""
    tests, parts = results["tests"], parts_of(results)
    if not parts or not 2 <= len(tests[parts[0]].get(PASS, {})) <= MOST_COLUMNS or num_seeds(results) > 1:
        return []
    references = {arm: tests[parts[0]][PASS][arm]["reference"] for arm in compared_arms(results)}
    measures = [measure for measure in tests[parts[0]] if all(measure in tests[part] for part in parts)]
    accuracy, behaviour = [], []
    for measure in measures:
        for part in parts:
            row = [f"{measure.removesuffix(', %')}, {part}", *_estimates(measure, tests[part][measure])]
            if measure in BEHAVIOUR:
                behaviour.append(row)
            else:
                accuracy.append([*row, *(_signed(_difference(tests[part][measure][arm])) for arm in references)])
    arms = ["", *tests[parts[0]][PASS]]
    head = [*arms, *(f"{arm} − {reference}" for arm, reference in references.items())]
    tables = [Table("Accuracy", head, accuracy, ONE_SEED), Table("How the answers look", arms, behaviour)]
    if training := tests.get(TRAINING):
        rows = [[name.removesuffix(", %"), *_estimates(name, row)] for name, row in training.items()]
        tables.append(Table("What training took", ["", *next(iter(training.values()))], rows))
    return tables


def compared_arms(results: Mapping[str, Any]) -> list[str]:
    """Return the trained arms that are compared with a trained one."""
    rows = results["tests"][parts_of(results)[0]].get(PASS, {})
    trained = results["tests"].get(TRAINING, {}).get("updates", rows)
    return [arm for arm, row in rows.items() if arm in trained and row.get("reference") in trained]


def num_seeds(results: Mapping[str, Any]) -> int:
    """Return the number of seeds of every arm."""
    measures = results["tests"][parts_of(results)[0]]
    return max((len(row["values"]) for rows in measures.values() for row in rows.values()), default=0)


def _estimates(measure: str, rows: Mapping[str, Any]) -> list[str]:
    """Return the mean of every arm with its interval, if it has one, such as `76.6% [72.8, 79.9]`."""
    unit, form = ("%", ".1f") if measure.endswith("%") else ("", ".3g")
    texts = []
    for row in rows.values():
        interval = row.get("interval")
        sides = "" if interval is None else f" [{number(interval['low'], form)}, {number(interval['high'], form)}]"
        texts.append(number(row["mean"], form) + unit + sides)
    return texts


def _gain(row: Mapping[str, Any]) -> str:
    """Return an arm's difference to its reference, with a star where it is significant; without one the mean."""
    if row["difference"] is None:
        return f"{row['mean']:.1f} %"
    return _signed(row["difference"]) + ("*" if _is_significant(row) else "")


def _is_significant(row: Mapping[str, Any]) -> bool:
    return row.get("holm") is not None and row["holm"] < SIGNIFICANT


def _difference(row: Mapping[str, Any]) -> Mapping[str, float] | None:
    """Return the difference to the reference over seeds, with one seed over prompts; None without a reference."""
    return row["difference"] or row["bootstrap"]


def _signed(difference: Mapping[str, float] | None) -> str:
    """Return a difference with its interval, such as `+1.5 [+0.5, +2.5]`; "" for None."""
    if difference is None:
        return ""
    value, low, high = (_points(difference[name]) for name in ("value", "low", "high"))
    return f"{value} [{low}, {high}]"


def _points(value: float) -> str:
    """Return a number with one decimal, or with two where one would hide the sign.

    >>> [_points(value) for value in (1.24, -0.03, 0.001)]
    ['+1.2', '-0.03', '0.0']
    """
    for form in ("+.1f", "+.2f"):
        if float(text := format(value, form)):
            return text
    return "0.0"


def findings(results: Mapping[str, Any]) -> list[str]:
    """Return the notes' findings, and for few arms the measurements in sentences."""
    tests, parts = results["tests"], parts_of(results)
    noted = list((results.get("notes") or {}).get("findings", []))
    arms = compared_arms(results) if parts else []
    if not 1 <= len(arms) < MOST_COLUMNS:
        return noted
    seeds = num_seeds(results)
    differences = [difference_finding(arm, part, tests[part][PASS][arm], seeds) for arm in arms for part in parts]
    return [*noted, *_gradient_finding(tests.get(TRAINING, {})), *filter(None, differences)]


def _gradient_finding(training: Mapping[str, Any]) -> list[str]:
    """Return a sentence on the updates without policy gradient and their gradients; [] where these are not recorded."""
    if not {"updates", WITHOUT_GRADIENT, NORM_WITHOUT} <= set(training):
        return []
    parts = []
    for arm, row in training[WITHOUT_GRADIENT].items():
        norm = training[NORM_WITHOUT][arm]["mean"]
        norm_text = f" (largest gradient norm in them: {norm:.2g})" if row["mean"] else ""
        parts.append(f"{row['mean']:.3g} of {training['updates'][arm]['mean']:.0f} under {arm}{norm_text}")
    return [f"Updates without any policy gradient: {', '.join(parts)}."]


def difference_finding(arm: str, part: str, row: Mapping[str, Any], seeds: int) -> str:
    """Return a sentence that claims no more than the interval of the difference shows; "" without a difference."""
    difference, reference = _difference(row), row.get("reference")
    if difference is None:
        return ""
    size = f"{_signed(difference)} percentage points of pass@1"
    if difference["low"] == difference["high"]:
        return f"{arm} − {reference} is {size}, {part}: without any spread the interval tells nothing."
    excludes_zero = difference["low"] > 0 or difference["high"] < 0
    if not excludes_zero or (seeds > 1 and not _is_significant(row)):
        return f"No difference in accuracy was measurable, {part}: {arm} − {reference} is {size}."
    word = "more" if difference["value"] > 0 else "less"
    if seeds > 1:
        return f"{arm} is {word} accurate than {reference}, {part}: {size}, over {seeds} seeds."
    return (
        f"This run's {arm} policy is {word} accurate than its {reference} policy, {part}: {size}. The interval does "
        "not cover the luck of training: one pair of runs doesn't tell which method is better."
    )


def note_tables(results: Mapping[str, Any]) -> list[Table]:
    """Return the tables of the study's notes."""
    tables = (results.get("notes") or {}).get("tables", [])
    return [Table(table["title"], table["head"], table["rows"], table.get("note", ""), prose=True) for table in tables]


def parts_of(results: Mapping[str, Any]) -> list[str]:
    """Return the averages over tests, or where there are none the tests."""
    return results.get("averages") or [name for name in results["tests"] if name != TRAINING]

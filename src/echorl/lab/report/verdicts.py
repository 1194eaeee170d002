"""`echorl compare` as one table for a practitioner: what each arm takes and brings, and what the study says of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from echorl.lab.compare.notes import cells, headings
from echorl.lab.compare.plan import TRAINING
from echorl.lab.compare.table import BEHAVIOUR, number
from echorl.lab.report.page import Table

PASS = "pass@1, %"
"""The measure of results.json whose differences are shown."""
SHOWN = 0.05
"""A p-value, after Holm's correction, below which a difference is called one."""
NOTE = (
    "Points of pass@1 with 95 % intervals over seeds, paired with the arm under 'less'. A star: p < 0.05 after Holm's "
    "correction over the arms of the column."
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
    """A row an arm, from results.json; None where there is no pass@1, or one seed."""
    tests, notes, parts = results["tests"], results.get("notes") or {}, parts_of(results)
    if not parts or PASS not in tests[parts[0]]:
        return None
    first = tests[parts[0]][PASS]
    if all(row["difference"] is None for row in first.values()):
        return None
    head = ["arm", "less", *headings(notes), "updates", "minutes", *parts]
    note = " ".join([NOTE, notes["note"]] if "note" in notes else [NOTE])
    return Table("Summary", head, [_row(arm, results, parts) for arm in first], note)


def arms_tables(results: Mapping[str, Any]) -> list[Table]:
    """Return all of a study of one seed and few arms, an arm a column; [] of any other."""
    tests, parts = results["tests"], parts_of(results)
    if not parts or not 2 <= len(tests[parts[0]].get(PASS, {})) <= MOST_COLUMNS or num_seeds(results) > 1:
        return []
    references = {arm: tests[parts[0]][PASS][arm]["reference"] for arm in compared_arms(results)}
    measures = [measure for measure in tests[parts[0]] if all(measure in tests[part] for part in parts)]
    looks = [measure for measure in measures if measure in BEHAVIOUR]
    scored = [measure for measure in measures if measure not in looks]
    arms = ["", *tests[parts[0]][PASS]]
    head = [*arms, *(f"{arm} − {reference}" for arm, reference in references.items())]
    training = [[name.removesuffix(", %"), *_estimates(name, row)] for name, row in tests.get(TRAINING, {}).items()]
    return [
        Table("Accuracy", head, _rows(tests, parts, scored, list(references)), ONE_SEED),
        Table("How the answers look", arms, _rows(tests, parts, looks, [])),
        *([Table("What training took", ["", *tests[TRAINING]["updates"]], training)] if training else []),
    ]


def _rows(tests: Mapping[str, Any], parts: Sequence[str], measures: Sequence[str], arms: Sequence[str]) -> list[Any]:
    """Return a row a measure and test, with the differences of the arms."""
    return [
        [
            f"{measure.removesuffix(', %')}, {part}",
            *_estimates(measure, tests[part][measure]),
            *(_signed(difference_of(tests[part][measure][arm])) for arm in arms),
        ]
        for measure in measures
        for part in parts
    ]


def compared_arms(results: Mapping[str, Any]) -> list[str]:
    """Return the trained arms that are compared with a trained one."""
    rows = results["tests"][parts_of(results)[0]].get(PASS, {})
    trained = results["tests"].get(TRAINING, {}).get("updates", rows)
    return [arm for arm, row in rows.items() if arm in trained and row.get("reference") in trained]


def num_seeds(results: Mapping[str, Any]) -> int:
    """Return the number of seeds of every arm."""
    parts = parts_of(results)
    return max((len(row["values"]) for rows in results["tests"][parts[0]].values() for row in rows.values()), default=0)


def difference_of(row: Mapping[str, Any]) -> Mapping[str, float] | None:
    """Return an arm's difference to its reference: over seeds, or with one seed over prompts; None without one."""
    return row["difference"] or row["bootstrap"]


def _estimates(measure: str, rows: Mapping[str, Any]) -> list[str]:
    """Return the mean of every arm with its interval, if it has one, such as `76.6% [72.8, 79.9]`."""
    unit, form = ("%", ".1f") if measure.endswith("%") else ("", ".3g")
    texts = []
    for row in rows.values():
        value, interval = number(row["mean"], form) + unit, row.get("interval")
        sides = "" if interval is None else f" [{number(interval['low'], form)}, {number(interval['high'], form)}]"
        texts.append(value + sides)
    return texts


def _signed(difference: Mapping[str, float] | None) -> str:
    if difference is None:
        return ""
    value, low, high = (_points(difference[name]) for name in ("value", "low", "high"))
    return f"{value} [{low}, {high}]"


def findings(results: Mapping[str, Any]) -> list[str]:
    """Return the notes' findings, then what was measured in sentences, where the arms are few."""
    tests, parts = results["tests"], parts_of(results)
    noted = list((results.get("notes") or {}).get("findings", []))
    arms = compared_arms(results) if parts else []
    if not 1 <= len(arms) < MOST_COLUMNS:
        return noted
    seeds = num_seeds(results)
    said = [difference_finding(arm, part, tests[part][PASS][arm], seeds) for arm in arms for part in parts]
    return [*noted, *_gradient_finding(tests.get(TRAINING, {})), *filter(None, said)]


def _gradient_finding(training: Mapping[str, Any]) -> list[str]:
    """Return how many updates had no policy gradient, and what gradient they had; [] where that was not recorded."""
    if not {"updates", WITHOUT_GRADIENT, NORM_WITHOUT} <= set(training):
        return []
    counts, norms = training[WITHOUT_GRADIENT], training[NORM_WITHOUT]
    parts = []
    for arm, row in counts.items():
        norm = f" (largest gradient norm in them: {norms[arm]['mean']:.2g})" if row["mean"] else ""
        parts.append(f"{row['mean']:.3g} of {training['updates'][arm]['mean']:.0f} under {arm}{norm}")
    return [f"Updates without any policy gradient: {', '.join(parts)}."]


def difference_finding(arm: str, part: str, row: Mapping[str, Any], seeds: int) -> str:
    """Return a sentence that claims no more than the interval of the difference shows; "" without a difference."""
    difference, reference = difference_of(row), row.get("reference")
    if difference is None:
        return ""
    size = f"{_signed(difference)} percentage points of pass@1"
    shown = difference["low"] > 0 or difference["high"] < 0
    if seeds > 1 and shown:
        shown = row.get("holm") is not None and row["holm"] < SHOWN
    if not shown:
        return f"No difference in accuracy was measurable, {part}: {arm} − {reference} is {size}."
    word = "more" if difference["value"] > 0 else "less"
    if seeds > 1:
        return f"{arm} is {word} accurate than {reference}, {part}: {size}, over {seeds} seeds."
    return (
        f"This run's {arm} policy is {word} accurate than its {reference} policy, {part}: {size}. The interval leaves "
        "out the luck of training: one pair of runs doesn't tell which method is better."
    )


def note_tables(results: Mapping[str, Any]) -> list[Table]:
    """The tables that the study's notes have."""
    tables = (results.get("notes") or {}).get("tables", [])
    return [Table(table["title"], table["head"], table["rows"], table.get("note", "")) for table in tables]


def parts_of(results: Mapping[str, Any]) -> list[str]:
    """The averages over tests, or where there are none the tests."""
    return results.get("averages") or [name for name in results["tests"] if name != "training"]


def _row(arm: str, results: Mapping[str, Any], parts: list[str]) -> list[str]:
    tests = results["tests"]
    rows = [tests[part][PASS][arm] for part in parts]
    return [
        arm,
        rows[0].get("reference") or "",
        *cells(results.get("notes") or {}, arm),
        *(_mean(tests.get("training", {}), name, arm) for name in ("updates", "minutes")),
        *map(_difference, rows),
    ]


def _mean(training: Mapping[str, Any], measure: str, arm: str) -> str:
    row = training.get(measure, {}).get(arm)
    return "" if row is None else number(row["mean"], ".3g")


def _difference(row: Mapping[str, Any]) -> str:
    found = row["difference"]
    if found is None:
        return f"{row['mean']:.1f} %"
    star = "*" if row.get("holm") is not None and row["holm"] < SHOWN else ""
    return f"{_points(found['value'])} [{_points(found['low'])}, {_points(found['high'])}]{star}"


def _points(value: float) -> str:
    """One decimal, or two where one would hide the sign.

    >>> [_points(value) for value in (1.24, -0.03, 0.001)]
    ['+1.2', '-0.03', '0.0']
    """
    for form in ("+.1f", "+.2f"):
        if float(text := format(value, form)):
            return text
    return "0.0"

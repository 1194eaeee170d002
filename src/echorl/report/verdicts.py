"""`echorl compare` as one table for a practitioner: what each arm does on solved prompts, costs, brings, and claims."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from echorl.compare.table import number
from echorl.core.config import EchoConfig
from echorl.methods.about import ABOUT, ADVICE, ECHORL, About
from echorl.report.page import Table

PASS = "pass@1, %"
"""The measure of results.json whose differences are shown."""
SHOWN = 0.05
"""A p-value, after Holm's correction, below which a difference is called one."""
PAPER = EchoConfig().coef
"""The paper's coefficient."""
VANISHING = 1e-9
"""Up to this EchoRL's coefficient only switches its mining on."""
NOTE = (
    "Points of pass@1 with 95 % intervals over seeds, paired with the arm under 'less'. A star: p < 0.05 after Holm's "
    "correction over the arms of the column. Claims are the sources' own, on other models and budgets."
)

ADVICE_NOTE = (
    "From two tasks of policies with 0.87 M parameters (docs/rivals-study.md), not from the runs on this page."
)


def verdict_table(results: Mapping[str, Any]) -> Table | None:
    """A row an arm, from results.json; None where it names no methods or has no pass@1, or there is one seed."""
    methods, tests = results.get("methods"), results["tests"]
    if not methods:
        return None
    parts = parts_of(results)
    if PASS not in tests[parts[0]]:
        return None
    first = tests[parts[0]][PASS]
    if all(row["difference"] is None for row in first.values()):
        return None
    head = ["arm", "less", "on an all-success group", "costs", "updates", "minutes", *parts, "claimed"]
    return Table("What helps on solved prompts", head, [_row(arm, results, parts) for arm in first], NOTE)


def advice_table() -> Table:
    """What to do in which case, by echorl's own study."""
    return Table("What to do, by case", ["case", "advice"], ADVICE, ADVICE_NOTE)


def parts_of(results: Mapping[str, Any]) -> list[str]:
    """The averages over tests, or where there are none the tests."""
    return results.get("averages") or [name for name in results["tests"] if name != "training"]


def _row(arm: str, results: Mapping[str, Any], parts: list[str]) -> list[str]:
    found = results["methods"][arm]
    about = _about(found)
    tests = results["tests"]
    rows = [tests[part][PASS][arm] for part in parts]
    return [
        arm,
        rows[0].get("reference") or "",
        about.solved,
        about.cost,
        *(_mean(tests["training"], name, arm) for name in ("updates", "minutes")),
        *map(_difference, rows),
        about.claim,
    ]


def _about(found: Mapping[str, Any]) -> About:
    """Of an arm with EchoRL, EchoRL's cells: the claim is the paper's setting's alone."""
    if found["echo_coef"] <= VANISHING or found["method"] == "positive_nll":  # whose weight it is
        return ABOUT.get(found["method"] or "grpo", About(""))
    select = found.get("echo_select", "max_entropy")
    if select == "max_entropy":
        return ECHORL if found["echo_coef"] == PAPER else replace(ECHORL, claim="")
    return About("NLL of the whole rollout" if select == "full" else f"NLL of one prefix ({select})")


def _mean(training: Mapping[str, Any], measure: str, arm: str) -> str:
    return number(training[measure][arm]["mean"], ".3g") if measure in training else ""


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

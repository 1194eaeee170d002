"""`echorl analyze entropy`: experts' solutions and the policy's own right ones, compared by entropy and likelihood."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from statistics import fmean
from typing import Any

from echorl.lab.analyze.traces import EXPERT, KINDS, RIGHT, TENTHS, WRONG, Scores, Trace
from echorl.lab.evaluate.metrics import mean_of_runs

MEASURES: Mapping[str, tuple[str, Callable[[Scores], float]]] = {
    "token_entropy": ("token entropy, nats", lambda s: s.entropy),
    "step_entropy": ("step entropy (mean over steps), nats", lambda s: fmean(s.step_entropy)),
    "max_step_entropy": ("entropy of the highest step, nats", lambda s: max(s.step_entropy)),
    "max_step_place": ("where the highest step is (0 to 1)", lambda s: _place_of_highest(s)),
    "nll_per_token": ("-log-probability a token, nats", lambda s: s.nll / s.tokens),
    "nll": ("-log-probability of the text, nats", lambda s: s.nll),
    "text_entropy": ("token entropies of the text, summed, nats", lambda s: s.entropy * s.tokens),
    "tokens": ("tokens", lambda s: float(s.tokens)),
    "steps": ("steps", lambda s: float(len(s.lengths))),
}
"""Measure of a trace -> (text, function)."""
OWN = "own"
"""All rollouts of the policy, right or wrong; beside them the selection of the right ones shows."""
NAMES = {
    EXPERT: "demonstrations",
    RIGHT: "own right rollouts",
    WRONG: "own wrong rollouts",
    OWN: "all own rollouts",
}
PLACES = [(2 * tenth + 1) / (2 * TENTHS) for tenth in range(TENTHS)]
Numbers = dict[str, float]


def _place_of_highest(scores: Scores) -> float:
    """Return the middle of the step with the highest entropy (the first of equals), in steps, 0 to 1."""
    return (scores.step_entropy.index(max(scores.step_entropy)) + 0.5) / len(scores.step_entropy)


def measure(scores: Scores) -> Numbers:
    """Return all measures of a trace, and the two profiles as "profile_0" ... and "nll_profile_0" ..."""
    profiles = {"profile": scores.profile, "nll_profile": scores.nll_profile}
    return {
        **{name: function(scores) for name, (_, function) in MEASURES.items()},
        **{f"{name}_{i}": value for name, values in profiles.items() for i, value in enumerate(values)},
    }


def by_prompt(traces: Sequence[Trace], scores: Sequence[Scores | None]) -> dict[str, dict[str, Numbers]]:
    """Return item's id -> kind (or OWN) -> the mean of each measure over the item's traces of that kind."""
    rows: dict[str, dict[str, list[Numbers]]] = defaultdict(lambda: defaultdict(list))
    for trace, score in zip(traces, scores, strict=True):
        if score is not None:
            for kind in (trace.kind, *([] if trace.kind == EXPERT else [OWN])):
                rows[trace.item.id][kind].append(measure(score))
    return {
        item: {kind: {name: fmean(row[name] for row in group) for name in group[0]} for kind, group in kinds.items()}
        for item, kinds in rows.items()
    }


def compare(prompts: Mapping[str, Mapping[str, Numbers]], first: str, second: str) -> dict[str, Any]:
    """Return both kinds on the prompts that have both, and `second` minus `first`, paired by prompt.

    Returns:
        {"prompts": N, "measures": {name: {first, second, "difference": {"value", "low", "high"}}}}: means over prompts
        with Student's 95 % intervals over them, so clustered by prompt; low and high None for a single prompt.
        {"prompts": 0, "measures": {}} for none.
    """
    pairs = [(kinds[first], kinds[second]) for kinds in prompts.values() if first in kinds and second in kinds]
    measures = {
        name: {
            first: interval([a[name] for a, _ in pairs]),
            second: interval([b[name] for _, b in pairs]),
            "difference": interval([b[name] - a[name] for a, b in pairs]),
        }
        for name in (pairs[0][0] if pairs else ())
    }
    return {"prompts": len(pairs), "measures": measures}


def interval(values: Sequence[float]) -> dict[str, float | None]:
    """Return the mean of one number a prompt with its 95 % interval (Student's); None as bounds for a single prompt."""
    if len(values) < 2:
        return {"value": values[0], "low": None, "high": None}
    return asdict(mean_of_runs(values))


def report(traces: Sequence[Trace], scores: Sequence[Scores | None]) -> dict[str, Any]:
    """Return {"sizes", "tables", "curves", "findings", "value"}, ready for JSON.

    Raises:
        ValueError: no prompt has both a demonstration and a right rollout that could be scored.
    """
    prompts = by_prompt(traces, scores)
    pairs = ((RIGHT, EXPERT), (RIGHT, WRONG), (OWN, EXPERT))
    compared, right_and_wrong, all_own = (compare(prompts, *pair) for pair in pairs)
    if not compared["prompts"]:
        raise ValueError(
            "no prompt has a demonstration and a verified rollout that fit the model's context: take a model that "
            "solves some, easier prompts, or more --samples."
        )
    with_wrong = bool(right_and_wrong["prompts"])
    return {
        "sizes": {
            "prompts": len({trace.item.id for trace in traces}),
            "prompts_compared": compared["prompts"],
            **{NAMES[kind].replace(" ", "_"): sum(trace.kind == kind for trace in traces) for kind in KINDS},
            "not_scored": scores.count(None),
        },
        "tables": [
            _table(compared, RIGHT, EXPERT),
            _tenths_table(compared),
            *([_table(all_own, OWN, EXPERT), _table(right_and_wrong, RIGHT, WRONG)] if with_wrong else []),
        ],
        "curves": [
            _curve(compared, "profile", "Token entropy"),
            _curve(compared, "nll_profile", "-log-probability a token"),
        ],
        "findings": [*findings(compared), *([_compared(all_own, "token_entropy", OWN)] if with_wrong else [])],
        "value": {"compared": compared, "right_and_wrong": right_and_wrong, "all_own": all_own, "prompts": prompts},
    }


def _table(results: Mapping[str, Any], first: str, second: str) -> dict[str, Any]:
    rows = [(text, results["measures"][name]) for name, (text, _) in MEASURES.items()]
    return {
        "title": f"{NAMES[second]} and {NAMES[first]}, {results['prompts']} prompts".capitalize(),
        "head": ["", NAMES[second], NAMES[first], "difference, paired"],
        "rows": [[text, show(row[second]), show(row[first]), show(row["difference"], "+")] for text, row in rows],
        "note": "Means over prompts (of a prompt's solutions first) with 95 % intervals over prompts.",
    }


def _tenths_table(results: Mapping[str, Any]) -> dict[str, Any]:
    rows = [(10 * tenth, results["measures"][f"profile_{tenth}"]) for tenth in range(TENTHS)]
    return {
        "title": "Token entropy by place in the solution, nats",
        "head": ["tokens", NAMES[EXPERT], NAMES[RIGHT], "difference, paired"],
        "rows": [
            [f"{start} to {start + 10} %", show(row[EXPERT]), show(row[RIGHT]), show(row["difference"], "+")]
            for start, row in rows
        ],
        "note": "",
    }


def show(row: Mapping[str, float | None], sign: str = "") -> str:
    """Return a number and its interval as text.

    >>> show({"value": 0.25, "low": 0.1, "high": 0.4}, "+"), show({"value": 12.0, "low": None, "high": None})
    ('+0.250 [+0.100, +0.400]', '12.0')
    """
    digits = 3 if max(abs(value) for value in row.values() if value is not None) < 10 else 1
    value, *bounds = (f"{number:{sign}.{digits}f}" for number in row.values() if number is not None)
    return f"{value} [{', '.join(bounds)}]" if bounds else value


def _curve(results: Mapping[str, Any], profile: str, title: str) -> dict[str, Any]:
    rows = [results["measures"][f"{profile}_{tenth}"] for tenth in range(TENTHS)]
    lines = [
        {
            "label": NAMES[kind],
            "x": PLACES,
            "y": [row[kind]["value"] for row in rows],
            "low": [row[kind]["low"] for row in rows],
            "high": [row[kind]["high"] for row in rows],
        }
        for kind in (EXPERT, RIGHT)
    ]
    return {"title": title, "x_label": "place in the solution, share of its tokens", "y_label": "nats", "lines": lines}


def findings(results: Mapping[str, Any]) -> list[str]:
    """Return sentences that follow from the numbers of `compare(prompts, RIGHT, EXPERT)`."""
    rows = results["measures"]
    excess = {kind: rows["nll"][kind]["value"] - rows["text_entropy"][kind]["value"] for kind in (RIGHT, EXPERT)}
    return [
        *(_compared(results, name) for name in ("token_entropy", "step_entropy", "max_step_entropy", "nll_per_token")),
        "A text that the policy draws has on average as much -log-probability as entropy, summed over its tokens; here "
        f"the first exceeds the second by {excess[RIGHT]:+.2f} nats a text on its own right rollouts and by "
        f"{excess[EXPERT]:+.2f} on the demonstrations: the larger that is, the less the policy expects the text that "
        "it reads.",
    ]


def _compared(results: Mapping[str, Any], name: str, kind: str = RIGHT) -> str:
    row = results["measures"][name]
    difference, text = row["difference"], MEASURES[name][0].partition(",")[0]
    values = f"{row[EXPERT]['value']:.3f} on demonstrations, {row[kind]['value']:.3f} on {NAMES[kind]}"
    if difference["low"] is None:
        return f"{text}: {values}; one prompt says nothing about others.".capitalize()
    bounds = f"{difference['value']:+.3f} [{difference['low']:+.3f}, {difference['high']:+.3f}]"
    verdict = "higher" if difference["low"] > 0 else "lower" if difference["high"] < 0 else "no difference shown"
    if name == "max_step_entropy":
        steps = [results["measures"]["steps"][each]["value"] for each in (EXPERT, kind)]
        verdict += f" (of {steps[0]:.1f} against {steps[1]:.1f} steps: the highest of more steps is higher)"
    return f"{text}: {values}; {bounds} nats over {results['prompts']} prompts: {verdict}.".capitalize()

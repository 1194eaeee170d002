"""`echorl analyze entropy`: experts' solutions beside the policy's own right ones, by entropy and likelihood."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from echorl.lab.analyze.traces import EXPERT, KINDS, RIGHT, TENTHS, WRONG, Scores, Trace
from echorl.lab.evaluate.metrics import mean_of_runs

MEASURES: Mapping[str, tuple[str, Callable[[Scores], float]]] = {
    "token_entropy": ("token entropy, nats", lambda s: s.entropy),
    "step_entropy": ("step entropy (mean over steps), nats", lambda s: math.fsum(s.step_entropy) / len(s.step_entropy)),
    "max_step_entropy": ("entropy of the highest step, nats", lambda s: max(s.step_entropy)),
    "max_step_place": ("where the highest step is (0 to 1)", lambda s: _place_of_highest(s)),
    "nll_per_token": ("-log-probability a token, nats", lambda s: s.nll / s.tokens),
    "nll": ("-log-probability of the text, nats", lambda s: s.nll),
    "text_entropy": ("token entropies of the text, summed, nats", lambda s: s.entropy * s.tokens),
    "tokens": ("tokens", lambda s: float(s.tokens)),
    "steps": ("steps", lambda s: float(len(s.lengths))),
}
"""Measure of a trace -> (text, what it is)."""
OWN = "own"
"""All rollouts of the policy, right or wrong: what the choice of the right ones changes."""
NAMES = {
    EXPERT: "demonstrations",
    RIGHT: "own right rollouts",
    WRONG: "own wrong rollouts",
    OWN: "all own rollouts",
}
PLACES = [(2 * tenth + 1) / (2 * TENTHS) for tenth in range(TENTHS)]
Numbers = dict[str, float]


def _place_of_highest(scores: Scores) -> float:
    """The middle of the step with the highest entropy (the first of equals), in steps, 0 to 1."""
    return (scores.step_entropy.index(max(scores.step_entropy)) + 0.5) / len(scores.step_entropy)


def measure(scores: Scores) -> Numbers:
    """All measures of a trace, and the two profiles as "profile_0" ... and "nll_profile_0" ..."""
    found = {name: function(scores) for name, (_, function) in MEASURES.items()}
    for name in ("profile", "nll_profile"):
        found |= {f"{name}_{tenth}": value for tenth, value in enumerate(getattr(scores, name))}
    return found


def by_prompt(traces: Sequence[Trace], scores: Sequence[Scores | None]) -> dict[str, dict[str, Numbers]]:
    """Item's id -> kind, or OWN -> the mean of each measure over the item's traces of it; kinds without one lack."""
    rows: dict[str, dict[str, list[Numbers]]] = {}
    for trace, score in zip(traces, scores, strict=True):
        if score is not None:
            for kind in (trace.kind, *([] if trace.kind == EXPERT else [OWN])):
                rows.setdefault(trace.item.id, {}).setdefault(kind, []).append(measure(score))
    return {
        item: {kind: {name: _mean([one[name] for one in own]) for name in own[0]} for kind, own in kinds.items()}
        for item, kinds in rows.items()
    }


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def compare(prompts: Mapping[str, Mapping[str, Numbers]], first: str, second: str) -> dict[str, Any]:
    """Both kinds on the prompts that have both, and `second` less `first`, paired by prompt.

    Returns:
        {"prompts": N, "measures": {name: {first, second, "difference": {"value", "low", "high"}}}}: means over prompts
        with Student's 95 % intervals over them, so clustered by prompt; low and high None for a single prompt.
        {"prompts": 0, "measures": {}} for none.
    """
    pairs = [(kinds[first], kinds[second]) for kinds in prompts.values() if first in kinds and second in kinds]
    if not pairs:
        return {"prompts": 0, "measures": {}}
    found = {}
    for name in pairs[0][0]:
        a, b = ([side[name] for side in sides] for sides in zip(*pairs, strict=True))
        difference = [y - x for x, y in zip(a, b, strict=True)]
        found[name] = {first: interval(a), second: interval(b), "difference": interval(difference)}
    return {"prompts": len(pairs), "measures": found}


def interval(values: Sequence[float]) -> dict[str, float | None]:
    """The mean of one number a prompt with its 95 % interval (Student's); None as bounds for a single prompt."""
    if len(values) < 2:
        return {"value": values[0], "low": None, "high": None}
    return dict(vars(mean_of_runs(values)))


def report(traces: Sequence[Trace], scores: Sequence[Scores | None]) -> dict[str, Any]:
    """{"sizes", "tables", "curves", "findings", "value"}, ready for JSON.

    Raises:
        ValueError: no prompt has both a demonstration and a right rollout that could be scored.
    """
    prompts = by_prompt(traces, scores)
    main, wrong, own = (compare(prompts, *pair) for pair in ((RIGHT, EXPERT), (RIGHT, WRONG), (OWN, EXPERT)))
    if not main["prompts"]:
        raise ValueError(
            "no prompt has a demonstration and a verified rollout that fit the model's context: take a model that "
            "solves some, easier prompts, or more --samples."
        )
    tables = [_table(main, RIGHT, EXPERT), _tenths_table(main)]
    tables += [_table(own, OWN, EXPERT), _table(wrong, RIGHT, WRONG)] if wrong["prompts"] else []
    counts = {kind: sum(trace.kind == kind for trace in traces) for kind in KINDS}
    return {
        "sizes": {
            "prompts": len({trace.item.id for trace in traces}),
            "prompts_compared": main["prompts"],
            **{NAMES[kind].replace(" ", "_"): count for kind, count in counts.items()},
            "not_scored": sum(one is None for one in scores),
        },
        "tables": tables,
        "curves": [_curve(main, "profile", "Token entropy"), _curve(main, "nll_profile", "-log-probability a token")],
        "findings": [*findings(main), *([_compared(own, "token_entropy", OWN)] if wrong["prompts"] else [])],
        "value": {"compared": main, "right_and_wrong": wrong, "all_own": own, "prompts": prompts},
    }


def _table(found: Mapping[str, Any], first: str, second: str) -> dict[str, Any]:
    rows = []
    for name, (text, _) in MEASURES.items():
        row = found["measures"][name]
        rows.append([text, *(show(row[column]) for column in (second, first)), show(row["difference"], "+")])
    return {
        "title": f"{NAMES[second]} and {NAMES[first]}, {found['prompts']} prompts".capitalize(),
        "head": ["", NAMES[second], NAMES[first], "difference, paired"],
        "rows": rows,
        "note": "Means over prompts (of a prompt's solutions first) with 95 % intervals over prompts.",
    }


def _tenths_table(found: Mapping[str, Any]) -> dict[str, Any]:
    rows = []
    for tenth in range(TENTHS):
        row = found["measures"][f"profile_{tenth}"]
        cells = [show(row[EXPERT]), show(row[RIGHT]), show(row["difference"], "+")]
        rows.append([f"{tenth * 10} to {tenth * 10 + 10} %", *cells])
    return {
        "title": "Token entropy by place in the solution, nats",
        "head": ["tokens", NAMES[EXPERT], NAMES[RIGHT], "difference, paired"],
        "rows": rows,
        "note": "",
    }


def show(row: Mapping[str, float | None], sign: str = "") -> str:
    """A number and its interval as text.

    >>> show({"value": 0.25, "low": 0.1, "high": 0.4}, "+"), show({"value": 12.0, "low": None, "high": None})
    ('+0.250 [+0.100, +0.400]', '12.0')
    """
    largest = max(abs(value) for value in row.values() if value is not None)
    digits = 3 if largest < 10 else 1
    value, low, high = (
        None if row[name] is None else f"{row[name]:{sign}.{digits}f}" for name in ("value", "low", "high")
    )
    return str(value) if low is None else f"{value} [{low}, {high}]"


def _curve(found: Mapping[str, Any], profile: str, title: str) -> dict[str, Any]:
    rows = [found["measures"][f"{profile}_{tenth}"] for tenth in range(TENTHS)]
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


def findings(found: Mapping[str, Any]) -> list[str]:
    """Sentences that follow from the numbers of `compare(prompts, RIGHT, EXPERT)`."""
    sentences = [_compared(found, name) for name in ("token_entropy", "step_entropy", "max_step_entropy")]
    sentences.append(_compared(found, "nll_per_token"))
    rows = found["measures"]
    own, expert = (rows["nll"][kind]["value"] - rows["text_entropy"][kind]["value"] for kind in (RIGHT, EXPERT))
    sentences.append(
        "A text that the policy draws has on average as much -log-probability as entropy, summed over its tokens; here "
        f"the first exceeds the second by {own:+.2f} nats a text on its own right rollouts and by {expert:+.2f} on the "
        "demonstrations: the larger that is, the less the policy expects the text that it reads."
    )
    return sentences


def _compared(found: Mapping[str, Any], name: str, other: str = RIGHT) -> str:
    row = found["measures"][name]
    difference, what = row["difference"], MEASURES[name][0].partition(",")[0]
    values = f"{row[EXPERT]['value']:.3f} on demonstrations, {row[other]['value']:.3f} on {NAMES[other]}"
    if difference["low"] is None:
        return f"{what}: {values}; one prompt says nothing of others.".capitalize()
    bounds = f"{difference['value']:+.3f} [{difference['low']:+.3f}, {difference['high']:+.3f}]"
    apart = difference["low"] > 0 or difference["high"] < 0
    verdict = ("higher" if difference["value"] > 0 else "lower") if apart else "no difference that they could show"
    steps = [found["measures"]["steps"][kind]["value"] for kind in (EXPERT, other)]
    more = f" (of {steps[0]:.1f} against {steps[1]:.1f} steps: of more the highest is higher)"
    return (
        f"{what}: {values}; {bounds} nats over {found['prompts']} prompts: {verdict}"
        f"{more if name == 'max_step_entropy' else ''}."
    ).capitalize()

"""The results of an audit in words: the first sentences, and the shares by kind of group as a table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Results = Mapping[str, Any]
"""The content of audit.json (`run.measure`)."""
LEAST = 0.005
"""Share below which a part is not named in a sentence."""
LOST = {
    "all_success_no_gradient": "all right",
    "all_fail_no_gradient": "all wrong",
    "uniform_reward": "equal rewards although verdicts differ",
    "unscored_no_gradient": "no verdict",
}
"""The parts of the groups without gradient, in words."""
ROWS = {
    "no_gradient": "no gradient",
    **{part: f"  {text}" for part, text in LOST.items()},
    "other_reward": "gradient of another reward only",
    "all_success_other_reward": "  all right",
    "all_fail_other_reward": "  all wrong",
    "mixed": "some right, some wrong",
}
"""The rows of the table of shares: the part of the log, and its name."""
WEIGHTS = ("groups", "rollouts", "lengths")


def percent(share: float) -> str:
    """Return a share in per cent, with a decimal where it is small.

    >>> [percent(share) for share in (0.0, 0.0042, 0.125, 0.9996, 1.0)]
    ['0 %', '0.4 %', '12 %', '99.9 %', '100 %']
    """
    if 0 < share < 0.00995 or 0.995 <= share < 1:
        share = min(max(share, 0.001), 0.999)
        return f"{100 * share:.1f} %"
    return f"{100 * share:.0f} %"


def sentences(results: Results) -> list[str]:
    """Return the three first sentences: the loss at the end of the run, at another group size, and suspects."""
    return [*_loss(results), *_other_size(results), *_suspects(results)]


def _loss(results: Results) -> Iterator[str]:
    recent, unit = results["losses"]["recent"], results["log"]["unit"]
    groups, place = recent["groups"], _stretch(results)
    lost = groups["no_gradient"]["value"]
    if not lost:
        yield f"{place} every group gave a gradient."
    else:
        length = recent["lengths"]
        tokens = f", {percent(length['no_gradient']['value'])} of {unit}," if length else ""
        parts = [f"{percent(groups[part]['value'])} {text}" for part, text in LOST.items() if _counts(groups, part)]
        yield f"{place} {percent(lost)} of groups{tokens} gave no gradient: {', '.join(parts)}."
    if _counts(groups, "other_reward"):
        share = percent(groups["other_reward"]["value"])
        yield f"In {share} more the verifier says the same of all rollouts, so that only another reward gave a gradient."


def _stretch(results: Results) -> str:
    recent = results["losses"]["recent"]
    if recent["num_groups"] == results["losses"]["whole"]["num_groups"]:
        return "In this log"
    if recent["first_step"] is None:
        return "In the last fifth of the log"
    first, last = recent["first_step"], recent["last_step"]
    return f"In the last fifth of the run ({f'steps {first} to {last}' if last > first else f'step {last}'})"


def _counts(shares: Mapping[str, Any], part: str) -> bool:
    return shares[part]["value"] >= LEAST


def _other_size(results: Results) -> Iterator[str]:
    """Yield the share at twice the logged group size, or the next larger size that was computed."""
    sizes = results["sizes"]
    larger = [each for each in sizes["shares"] if each["size"] >= 2 * sizes["logged_size"]] if sizes else []
    if not larger:
        return
    size, same = larger[0]["size"], larger[0]["same"]
    lost = results["losses"]["recent"]["groups"]["no_gradient"]["value"]
    now = next(each["same"]["value"] for each in sizes["shares"] if each["size"] == sizes["logged_size"])
    subject = "it would be" if abs(now - lost) < LEAST else "the verifier would say the same of all in"
    bounds = "" if same["low"] is None else f" (the log allows {percent(same['low'])} to {percent(same['high'])})"
    yield f"With {size} rollouts a group {subject} about {percent(same['value'])}{bounds}."


def _suspects(results: Results) -> Iterator[str]:
    suspects, log = results["suspects"], results["log"]
    lines = list(suspects["lines"])
    if lines:
        yield f"{'; '.join(lines)}."
    elif log["has_texts"]:
        yield "No prompt looks mislabelled, and no reward unusual."


def recent_title(results: Results) -> str:
    """Return the title of the table for a terminal: the stretch and its groups."""
    recent = results["losses"]["recent"]
    return f"{_stretch(results).removeprefix('In ').capitalize()}: {recent['num_groups']:,} groups"


def recent_rows(results: Results) -> tuple[list[str], list[list[str]]]:
    """Return head and rows of the table for a terminal: shares of the last fifth, and of groups in the whole run."""
    losses = results["losses"]
    weights = [weight for weight in WEIGHTS if _is_worth_a_column(losses["recent"], weight)]
    head = ["", *(_unit(results, weight) for weight in weights)]
    columns = [losses["recent"][weight] for weight in weights]
    if losses["recent"]["num_groups"] < losses["whole"]["num_groups"]:
        head, columns = [*head, "groups, whole run"], [*columns, losses["whole"]["groups"]]
    return head, _rows(columns)


def share_rows(results: Results, stretch: str) -> tuple[list[str], list[list[str]]]:
    """Return head and rows of the shares of a stretch, "whole" or "recent": of groups, rollouts and tokens."""
    shares = results["losses"][stretch]
    weights = [weight for weight in WEIGHTS if shares[weight]]
    return ["", *(_unit(results, weight) for weight in weights)], _rows([shares[weight] for weight in weights])


def _is_worth_a_column(shares: Mapping[str, Any], weight: str) -> bool:
    """Return whether there are such shares; those of rollouts are those of groups where all groups are as large."""
    return bool(shares[weight]) and not (weight == "rollouts" and shares["rollouts"] == shares["groups"])


def _unit(results: Results, weight: str) -> str:
    return results["log"]["unit"] if weight == "lengths" else weight


def _rows(columns: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    parts = [part for part in ROWS if part == "no_gradient" or any(column[part]["value"] for column in columns)]
    return [[ROWS[part], *(_interval(column[part]) for column in columns)] for part in parts]


def _interval(estimate: Mapping[str, float | None]) -> str:
    """Return a share with its interval.

    >>> _interval({"value": 0.25, "low": 0.2, "high": 0.304}), _interval({"value": 0.25, "low": None, "high": None})
    ('25 % [20, 30]', '25 %')
    """
    value, low, high = estimate["value"], estimate["low"], estimate["high"]
    assert value is not None
    if low is None or high is None:
        return percent(value)
    return f"{percent(value)} [{', '.join(percent(end).removesuffix(' %') for end in (low, high))}]"

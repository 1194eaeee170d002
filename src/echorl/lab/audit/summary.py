"""The results of an audit in words: the first sentences, and the shares by kind of group as a table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from echorl.lab.audit.losses import GROUPS_A_POINT

Results = Mapping[str, Any]
"""The content of audit.json (`run.measure`)."""
LEAST = 0.005
"""Share below which a part is not named in a sentence."""
WIDE = 0.5
"""Width of an interval from which on its value is not named."""
LOG = "in this log"
"""The place of the recent groups in words, where they are all groups."""
TENTH = 10
"""Steps from which on a sentence speaks of a tenth of them."""
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
    "other_reward": "one verdict, unequal rewards",
    "all_success_other_reward": "  all right",
    "all_fail_other_reward": "  all wrong",
    "mixed": "some right, some wrong",
}
"""The rows of the table of shares: the part of the log, and its name."""


def percent(share: float) -> str:
    """Return a share in per cent, with a decimal where it is small.

    >>> [percent(share) for share in (0.0, 1e-9, 0.0042, 0.125, 0.9996, 1.0)]
    ['0 %', '0 %', '0.4 %', '12 %', '99.9 %', '100 %']
    """
    share = round(share, 6)
    if 0 < share < 0.00995 or 0.995 <= share < 1:
        share = min(max(share, 0.001), 0.999)
        return f"{100 * share:.1f} %"
    return f"{100 * share:.0f} %"


def sentences(results: Results) -> list[str]:
    """Return the three first sentences: the loss at the end of the run, at another group size, and suspects."""
    return [*_loss(results), *_other_size(results), *_suspects(results)]


def _loss(results: Results) -> Iterator[str]:
    recent, unit = results["losses"]["recent"], results["log"]["unit"]
    groups, place = recent["groups"], f"I{stretch(results)[1:]}"
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
        yield (
            f"In {'another ' if lost else ''}{share} the verifier says the same of all rollouts, and the gradient "
            "comes from another reward or partial credit alone."
        )


def stretch(results: Results) -> str:
    """Return the place of the recent groups in words: the last fifth with its steps, or `LOG`."""
    recent = results["losses"]["recent"]
    if recent["num_groups"] == results["losses"]["whole"]["num_groups"]:
        return LOG
    first, last = recent["first_step"], recent["last_step"]
    return f"in the last fifth of the run ({f'steps {first} to {last}' if last > first else f'step {last}'})"


def _counts(shares: Mapping[str, Any], part: str) -> bool:
    return shares[part]["value"] >= LEAST


def _other_size(results: Results) -> Iterator[str]:
    """Yield the share at twice the logged group size, or the next larger size that was computed."""
    sizes = results["sizes"]
    if not sizes:
        return
    double = next((share for share in sizes["shares"] if share["size"] >= 2 * sizes["logged_size"]), None)
    if not double:
        yield f"Shares with more than the logged {sizes['logged_size']:,} rollouts a group are not extrapolated."
        return
    size, same = double["size"], double["same"]
    lost = results["losses"]["recent"]["groups"]["no_gradient"]["value"]
    now = next(each["same"]["value"] for each in sizes["shares"] if each["size"] == sizes["logged_size"])
    subject = (
        "it would be"
        if abs(now - lost) < LEAST
        else f"the verifier would say the same of all, as it now does in {percent(now)}, in"
    )
    if same["low"] is None:
        return
    if sizes["misfit"] is not None and sizes["misfit"] > sizes["logged_size"]:
        yield (
            f"The share with {size} rollouts a group cannot be told: the rollouts of a group depend on each other more "
            "than those of one prompt would."
        )
        return
    bounds = _bounds(same, " to ")
    if same["high"] - same["low"] > WIDE:
        yield f"With {size} rollouts a group {subject} {bounds} %: the log has too few groups to say more."
    else:
        yield f"With {size} rollouts a group {subject} about {percent(same['value'])} ({bounds} %)."


def batch_texts(results: Results) -> Iterator[str]:
    """Yield sentences on the groups of a step: those with a gradient, the cost of a full batch, and the trend."""
    batch, sampling, trend = results["losses"]["recent_batch"], results["sampling"], results["losses"]["trend"]
    if batch:
        yield " ".join(_batch(batch, "" if stretch(results) == LOG else " of the last fifth"))
    if sampling and sampling["groups"] and sampling["groups"]["value"] > sampling["batch"]:
        rounds = f", in {number(sampling['rounds'], '.1f')} rounds" if sampling["rounds"] else ""
        yield (
            f"To fill a batch of {sampling['batch']} groups with a gradient, dynamic sampling would draw "
            f"{number(sampling['groups'])} groups{rounds}."
        )
    if trend:
        slope = {side: None if end is None else 100 * end for side, end in trend["per_100_steps"].items()}
        reaches = [f"{percent(each['share'])} at about step {each['step']['value']:.0f}" for each in trend["reaches"]]
        goal = f" If it went on like this, it would reach {', '.join(reaches)}." if reaches else ""
        yield f"The share of groups without gradient changes by {number(slope, '+.1f')} points in 100 steps.{goal}"


def _batch(batch: Mapping[str, Any], stretch: str) -> Iterator[str]:
    """Yield sentences on the groups with a gradient in a step: their mean, the worst tenth, and steps without one."""
    yield (
        f"A step{stretch} had {batch['groups']:.0f} groups on average, and "
        f"{number(batch['with_gradient'], '.1f')} of them gave a gradient."
    )
    if batch["num_steps"] >= TENTH and batch["low_decile"]:
        yield f"In the tenth of the steps with the fewest it was at most {batch['low_decile']}."
    if batch["empty_steps"]:
        yield f"In {batch['empty_steps']:,} of {batch['num_steps']:,} steps no group gave a gradient."


def no_curve(losses: Mapping[str, Any]) -> Iterator[str]:
    """Yield a note where the log has steps and is too short for a curve over them."""
    whole = losses["whole"]
    if whole["first_step"] is None or len(losses["curve"]) > 1:
        return
    if whole["first_step"] == whole["last_step"]:
        yield "The log has one step: there is no curve over the run."
    else:
        yield (
            f"The log has {whole['num_groups']:,} groups: there is no curve over the run, which has a point for every "
            f"{GROUPS_A_POINT} groups or more."
        )


def number(estimate: Mapping[str, float | None], form: str = ".0f") -> str:
    """Return a number with its interval.

    >>> number({"value": 12.3, "low": 11.0, "high": None}), number({"value": 12.3, "low": 11.0, "high": 14.0}, ".1f")
    ('12', '12.3 [11.0, 14.0]')
    """
    value, low, high = estimate["value"], estimate["low"], estimate["high"]
    if low is None or high is None:
        return format(value, form)
    return f"{value:{form}} [{low:{form}}, {high:{form}}]"


def _suspects(results: Results) -> Iterator[str]:
    suspects, log = results["suspects"], results["log"]
    lines = list(suspects["lines"])
    if suspects["counts"]["mislabelled"]:
        yield f"{lines.pop(0)}."
    if lines:
        yield f"{'; '.join(lines)}."
    elif log["has_texts"] and any(results["successes"]["whole"]) and not suspects["listed"]:
        yield "No prompt looks mislabelled, and no reward unusual."


def recent_title(results: Results) -> str:
    """Return the title of the table for a terminal: the stretch and its groups."""
    recent = results["losses"]["recent"]
    groups = f"{recent['num_groups']:,} group{'s' if recent['num_groups'] != 1 else ''}"
    return f"{stretch(results).removeprefix('in ').capitalize()}: {groups}"


def recent_rows(results: Results) -> tuple[list[str], list[list[str]]]:
    """Return head and rows of the table for a terminal: shares of the last fifth, and of groups in the whole run."""
    losses = results["losses"]
    head, columns = _columns(results, "recent")
    if losses["recent"]["num_groups"] < losses["whole"]["num_groups"]:
        head, columns = [*head, "groups, whole run"], [*columns, losses["whole"]["groups"]]
    return head, _rows(columns)


def share_rows(results: Results, part: str) -> tuple[list[str], list[list[str]]]:
    """Return head and rows of the shares of a part, "whole" or "recent": of groups, rollouts and tokens."""
    head, columns = _columns(results, part)
    return head, _rows(columns)


def _columns(results: Results, part: str) -> tuple[list[str], list[Mapping[str, Any]]]:
    """Return the head of a part's columns, and their shares; those of rollouts only where they differ."""
    shares, unit = results["losses"][part], results["log"]["unit"]
    names = {"groups": "groups", "rollouts": "rollouts", "lengths": unit}
    weights = [weight for weight in names if shares[weight]]
    if shares["rollouts"] == shares["groups"]:
        weights.remove("rollouts")
    return ["", *(names[weight] for weight in weights)], [shares[weight] for weight in weights]


def _rows(columns: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    parts = [part for part in ROWS if part == "no_gradient" or any(column[part]["value"] for column in columns)]
    return [[ROWS[part], *(interval(column[part]) for column in columns)] for part in parts]


def interval(estimate: Mapping[str, float | None]) -> str:
    """Return a share with its interval.

    >>> interval({"value": 0.25, "low": 0.2, "high": 0.304}), interval({"value": 0.25, "low": None, "high": None})
    ('25 % [20, 30]', '25 %')
    """
    value, low, high = estimate["value"], estimate["low"], estimate["high"]
    assert value is not None
    if low is None or high is None:
        return percent(value)
    return f"{percent(value)} [{_bounds(estimate, ', ')}]"


def _bounds(estimate: Mapping[str, Any], between: str) -> str:
    return between.join(percent(estimate[side]).removesuffix(" %") for side in ("low", "high"))

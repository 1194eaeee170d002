"""Sentences on a probe's numbers; they follow from the numbers alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from echorl.lab.probe.estimates import LEAST_Z, WORTH

LEAST_PROMPTS = 10
"""The fewest prompts that a rule must act on to be judged, whatever the errors say."""
MANY_CUT_OFF = 0.05
KINDS = {
    "all_success": "all-success groups",
    "mixed": "mixed groups",
    "all_fail": "all-fail groups",
    "verified": "both together",
    "all": "all groups",
}
PLACES = {**KINDS, "verified": "all-success and mixed groups"}
HEADLINES = {
    "helps": "EchoRL would help here, on {}",
    "harms": "EchoRL would not help here, on {}",
    "nothing": "EchoRL would bring no measurable gain here, on {}",
    "too_small": "Whether EchoRL would help here, on {}, cannot be told from so few prompts",
    "idle": "EchoRL has too few {} here",
}
PAPER = ("echo", 0.001)
"""The paper's rule and coefficient."""
CONTROL = "null"
Row = Mapping[str, Any]
"""A rule on a kind of group, as probe.json holds it."""


def verdict(result: Mapping[str, Any]) -> list[str]:
    """Return sentences: the policy gradient, the paper's rule on each kind of group, other rules by effect, the check.

    A rule "helps" where the best mixture with the policy gradient saves rollouts beyond the critical z; "harms" where
    its mean points against the gradient of pass@1 beyond it; there is "no measurable gain" where the saving's 95 %
    limit is below `WORTH`; else the sample is too small.

    Args:
        result: what probe.json holds; "verdict" is not read.
    """
    rules = result["rules"]
    sentences = [_policy_sentence(result)]
    sentences += [_paper_sentence(row, result) for row in rules if row["rule"] == PAPER[0]]
    for category, words in WORDS.items():
        rows = [
            f"{row['label']} on {KINDS[row['groups']]} ({words.tell(row, result)})"
            for row in rules
            if row["rule"] not in (PAPER[0], CONTROL) and category_of(row, result) == category
        ]
        sentences += [f"{words.of_list}: {'; '.join(rows)}."] if rows else []
    sentences += [_check_sentence(row, result) for row in rules if row["rule"] == CONTROL]
    if result["cut_off"] >= MANY_CUT_OFF:
        sentences.append(
            f"{_percent(result['cut_off'])} of the rollouts were cut off at {result['settings']['max_new_tokens']} "
            "tokens and count with the verdict that they have: probe at the length of your training."
        )
    return sentences


def headline(result: Mapping[str, Any]) -> str:
    """Return the verdict in one sentence: whether EchoRL, as the paper has it, would help here."""
    rows = {row["groups"]: row for row in result["rules"] if row["rule"] == PAPER[0]}
    if not rows or not _has_signal(result):
        return f"Whether EchoRL would help here cannot be told from {result['sizes']['prompts']} prompts."
    row = rows.get("verified") or next(iter(rows.values()))
    category = category_of(row, result)
    control = _control(row, result) if category == "helps" else ""
    return f"{HEADLINES[category].format(PLACES[row['groups']])}: {WORDS[category].tell(row, result)}{control}."


def cosine_note(result: Mapping[str, Any]) -> str:
    """Return a sentence on cosines beyond 1, with the largest; "" where there are none."""
    rows = [result.get("policy_gradient"), *result["rules"]]
    cosines = [measure["value"] for row in rows if row for measure in row["cosine"].values()]
    largest = max((value for value in cosines if value is not None), key=abs, default=0.0)
    if abs(largest) <= 1:
        return ""
    return (
        f"A cosine beyond 1 (the largest is {largest:+.2f}) is noise of the estimate: the product of two mean "
        "gradients is divided by their lengths, from which the estimated noise was subtracted."
    )


def category_of(row: Row, result: Mapping[str, Any]) -> str:
    """Return a key of `WORDS`: "idle" acted on fewer than `LEAST_PROMPTS` prompts."""
    if _num_prompts(row, result) < LEAST_PROMPTS:
        return "idle"
    critical, saves = result["critical_z"], row["saves"]
    if (saves["z"] or 0.0) >= critical:
        return "helps"
    if (row["cosine"]["pass_at_1"]["z"] or 0.0) <= -critical:
        return "harms"
    return "nothing" if saves["high"] is not None and saves["high"] <= WORTH else "too_small"


def _num_prompts(row: Row, result: Mapping[str, Any]) -> int:
    return round(row["acts_on"] * result["sizes"]["prompts"])


def _policy_sentence(result: Mapping[str, Any]) -> str:
    sizes, share = result["sizes"], result["policy_gradient"]["signal_share"]
    batch, z, prompts = sizes["prompts_per_batch"], share["z"], sizes["prompts"]
    if z is None:
        return f"The policy gradient is 0 on all {prompts} prompts: no group is mixed, and nothing can be compared."
    signal = f"{_share(share)} of the policy gradient of {batch} prompts is signal (z {z:.1f})"
    if _has_signal(result):
        return f"{signal}."
    more = f"about {_round_up(prompts * (LEAST_Z / z) ** 2)}" if z > 0.5 else f"many more than {prompts}"
    return (
        f"The sample is too small: {signal}, which cannot be told from noise, and no rule can be compared with it; "
        f"{more} prompts would show it, if errors fall as one over the root of their number."
    )


def _has_signal(result: Mapping[str, Any]) -> bool:
    return result["policy_gradient"]["signal_per_noise"]["value"] is not None


def _paper_sentence(row: Row, result: Mapping[str, Any]) -> str:
    category = category_of(row, result)
    words = WORDS[category]
    text = f"EchoClip on {KINDS[row['groups']]}: {words.of_paper}: {words.tell(row, result)}"
    if category == "idle":
        return f"{text}."
    control = _control(row, result) if category == "helps" else ""
    share, whole = row["signal_share"], row["coef_at"]["1"]
    z = "-" if share["z"] is None else f"{share['z']:.1f}"
    size = _percent(PAPER[1] / whole) if whole else ""
    strength = f"; at coefficient {PAPER[1]:g} its gradient is {size} of the policy gradient's" if whole else ""
    return f"{text}{control}. {_share(share)} of its own gradient is signal (z {z}){_elsewhere(row, result)}{strength}."


def _saving(row: Row, result: Mapping[str, Any]) -> str:
    saves, bound = row["saves"], result["bound"]
    beyond = ", more than it: the objective changes, or the bound's assumption fails" if saves["value"] > bound else ""
    return (
        f"mixed with the policy gradient it saves {_percent(saves['value'])} +- {_percent(saves['se'])} of the "
        f"rollouts (z {saves['z']:.1f}; the bound is {_percent(bound)}{beyond})"
    )


def _control(row: Row, result: Mapping[str, Any]) -> str:
    """Return whether a random prefix helps on the same groups, too, and no less as far as errors tell."""
    saves = row["saves"]
    for control in result["rules"]:
        if (control["rule"], control["groups"]) != ("random", row["groups"]) or category_of(control, result) != "helps":
            continue
        value, se = control["saves"]["value"], control["saves"]["se"]
        if saves["value"] - value < LEAST_Z * (saves["se"] ** 2 + se**2) ** 0.5:
            return f"; so does a random prefix ({_percent(value)}): it is not the choice by entropy"
        return f"; a random prefix saves {_percent(value)}"
    return ""


def _against(row: Row, result: Mapping[str, Any]) -> str:
    cosine = row["cosine"]["pass_at_1"]
    value = "" if cosine["value"] is None else f"cosine {cosine['value']:+.2f}, "
    return f"its mean points against the gradient of pass@1, {value}z {cosine['z']:.1f}"


def _limit(row: Row, result: Mapping[str, Any]) -> str:
    return f"it saves at most {_percent(row['saves']['high'])} of the rollouts"


def _needed(row: Row, result: Mapping[str, Any]) -> str:
    saves = row["saves"]
    if saves["high"] is None:
        return "no error can be given" if _has_signal(result) else "the policy gradient is not known well enough"
    more = "" if saves["prompts"] is None else f", about {_round_up(saves['prompts'])} prompts would settle it"
    return f"it saves up to {_percent(saves['high'])}, z {saves['z']:.1f}{more}"


def _idle(row: Row, result: Mapping[str, Any]) -> str:
    acted = f"it acted on {_num_prompts(row, result)} of {result['sizes']['prompts']} prompts"
    return f"{acted}, and a verdict takes {LEAST_PROMPTS}"


class _Words(NamedTuple):
    """The words for a category, for the paper's rule and for a list of other rules, and a function for the numbers."""

    of_paper: str
    of_list: str
    tell: Callable[[Row, Mapping[str, Any]], str]


WORDS: Mapping[str, _Words] = {
    "helps": _Words("helps", "Also helps", _saving),
    "harms": _Words("harms", "Also harms", _against),
    "nothing": _Words("no measurable gain", "No measurable gain", _limit),
    "too_small": _Words("the sample is too small", "Sample too small", _needed),
    "idle": _Words("too few prompts", "Too few prompts", _idle),
}


def _elsewhere(row: Row, result: Mapping[str, Any]) -> str:
    """Return the other directions in which the mean points beyond the critical z."""
    words = {"length": ("longer", "shorter"), "entropy": ("more entropic", "less entropic")}
    directions = [
        f"{more if row['cosine'][name]['z'] > 0 else less} (z {row['cosine'][name]['z']:.1f})"
        for name, (more, less) in words.items()
        if abs(row["cosine"][name]["z"] or 0.0) >= result["critical_z"]
    ]
    return f"; it makes answers {' and '.join(directions)}" if directions else ""


def _check_sentence(row: Row, result: Mapping[str, Any]) -> str:
    z = row["signal_share"]["z"]
    if z is None:
        return "Null check: nothing to check."
    failure = "; they must have none: do not believe this probe" if abs(z) >= result["critical_z"] else ""
    return f"Null check: the signal of tokens chosen without looking has z {z:.1f}{failure}."


def _share(measure: Mapping[str, Any]) -> str:
    return "an unknown share" if measure["value"] is None else _percent(measure["value"])


def _percent(value: float) -> str:
    return f"{100 * value:.2g} %"


def _round_up(count: float) -> int:
    """Return a count rounded up to two digits.

    >>> _round_up(1234), _round_up(56)
    (1300, 56)
    """
    unit = 10 ** max(0, len(str(int(count))) - 2)
    return int(-(-count // unit) * unit)

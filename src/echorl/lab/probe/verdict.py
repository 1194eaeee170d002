"""Sentences that say what a probe's numbers mean, and follow from them alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from echorl.lab.probe.estimates import LEAST_Z, WORTH

LEAST_PROMPTS = 10
"""A rule that acted on fewer has too few to judge it by, whatever the errors say."""
MANY_CUT_OFF = 0.05
KINDS = {
    "all_success": "all-success groups",
    "mixed": "mixed groups",
    "all_fail": "all-fail groups",
    "verified": "both together",
    "all": "all groups",
}
PAPER = ("echo", 0.001)
"""The paper's rule and coefficient."""
CONTROL = "null"


def verdict(result: Mapping[str, Any]) -> list[str]:
    """Sentences: the policy gradient, the paper's rule on each kind of group, the other rules by what they do, a check.

    A rule "helps" where the best mixture with the policy gradient saves rollouts beyond the critical z; "harms" where
    its mean points against the gradient of pass@1 beyond it; there is "no measurable gain" where the saving's 95 %
    limit is below `WORTH`; else the sample is too small.

    Args:
        result: what probe.json holds; "verdict" is not read.
    """
    own = [row for row in result["rules"] if row["rule"] == PAPER[0]]
    others = [row for row in result["rules"] if row["rule"] not in (PAPER[0], CONTROL)]
    sentences = [_policy_sentence(result), *(_paper_sentence(row, result) for row in own)]
    for category in WORDS:
        if found := [row for row in others if category_of(row, result) == category]:
            sentences.append(_list_sentence(category, found, result))
    checks = [_check_sentence(row, result) for row in result["rules"] if row["rule"] == CONTROL]
    return [*sentences, *checks, *_cut_off(result)]


def category_of(row: Mapping[str, Any], result: Mapping[str, Any]) -> str:
    """A key of `WORDS`: "idle" acted on fewer than `LEAST_PROMPTS` prompts."""
    if _acted(row, result) < LEAST_PROMPTS:
        return "idle"
    critical, saves = result["critical_z"], row["saves"]
    if (saves["z"] or 0.0) >= critical:
        return "helps"
    if (row["cosine"]["pass_at_1"]["z"] or 0.0) <= -critical:
        return "harms"
    return "nothing" if saves["high"] is not None and saves["high"] <= WORTH else "too_small"


def _acted(row: Mapping[str, Any], result: Mapping[str, Any]) -> int:
    return round(row["acts_on"] * result["sizes"]["prompts"])


def _policy_sentence(result: Mapping[str, Any]) -> str:
    sizes, share = result["sizes"], result["policy_gradient"]["signal_share"]
    batch, z, prompts = sizes["prompts_per_batch"], share["z"], sizes["prompts"]
    if z is None:
        return f"The policy gradient is 0 on all {prompts} prompts: no group is mixed, and nothing can be compared."
    found = f"{_share(share)} of the policy gradient of {batch} prompts is signal (z {z:.1f})"
    if _is_known(result):
        return f"{found}."
    more = f"about {_round_up(prompts * (LEAST_Z / z) ** 2)}" if z > 0.5 else f"many more than {prompts}"
    return (
        f"The sample is too small: {found}, which cannot be told from noise, and no rule can be compared with it; "
        f"{more} prompts would show it, if errors fall as one over the root of their number."
    )


def _is_known(result: Mapping[str, Any]) -> bool:
    return result["policy_gradient"]["signal_per_noise"]["value"] is not None


def _paper_sentence(row: Mapping[str, Any], result: Mapping[str, Any]) -> str:
    where, category = f"EchoClip on {KINDS[row['groups']]}", category_of(row, result)
    if category == "idle":
        return f"{where}: {WORDS[category].one}: {_idle(row, result)}."
    share, words = row["signal_share"], WORDS[category]
    signal = f"{_share(share)} of its own gradient is signal (z {_z(share)})"
    text = f"{where}: {words.one}: {words.tell(row, result)}{_control(row, result) if category == 'helps' else ''}"
    return f"{text}. {signal}{_elsewhere(row, result)}{_strength(row)}."


def _list_sentence(category: str, rows: Sequence[Mapping[str, Any]], result: Mapping[str, Any]) -> str:
    words = WORDS[category]
    told = (f"{row['label']} on {KINDS[row['groups']]} ({words.tell(row, result)})" for row in rows)
    return f"{words.many}: {'; '.join(told)}."


def _saving(row: Mapping[str, Any], result: Mapping[str, Any]) -> str:
    saves, bound = row["saves"], result["bound"]
    beyond = ", more than it: the objective changes, or the bound's assumption fails" if saves["value"] > bound else ""
    return (
        f"mixed with the policy gradient it saves {_percent(saves['value'])} +- {_percent(saves['se'])} of the "
        f"rollouts (z {saves['z']:.1f}; the bound is {_percent(bound)}{beyond})"
    )


def _control(row: Mapping[str, Any], result: Mapping[str, Any]) -> str:
    """Return whether a random prefix helps on the same groups, too, and no less as far as errors tell."""
    own = row["saves"]
    for other in result["rules"]:
        saves = other["saves"]
        if (other["rule"], other["groups"]) == ("random", row["groups"]) and category_of(other, result) == "helps":
            if own["value"] - saves["value"] < LEAST_Z * (own["se"] ** 2 + saves["se"] ** 2) ** 0.5:
                return f"; so does a random prefix ({_percent(saves['value'])}): it is not the choice by entropy"
            return f"; a random prefix saves {_percent(saves['value'])}"
    return ""


def _against(row: Mapping[str, Any], result: Mapping[str, Any]) -> str:
    cosine = row["cosine"]["pass_at_1"]
    value = "" if cosine["value"] is None else f"cosine {cosine['value']:+.2f}, "
    return f"its mean points against the gradient of pass@1, {value}z {cosine['z']:.1f}"


def _limit(row: Mapping[str, Any], result: Mapping[str, Any]) -> str:
    return f"it saves at most {_percent(row['saves']['high'])} of the rollouts"


def _needed(row: Mapping[str, Any], result: Mapping[str, Any]) -> str:
    saves = row["saves"]
    if saves["high"] is None:
        return "the policy gradient is not known well enough" if not _is_known(result) else "no error can be given"
    more = "" if saves["prompts"] is None else f", about {_round_up(saves['prompts'])} prompts would settle it"
    return f"it saves up to {_percent(saves['high'])}, z {saves['z']:.1f}{more}"


def _idle(row: Mapping[str, Any], result: Mapping[str, Any]) -> str:
    return f"it acted on {_acted(row, result)} of {result['sizes']['prompts']} prompts"


class _Words(NamedTuple):
    """Wording of a category for the paper's rule and for several others, and the numbers in it."""

    one: str
    many: str
    tell: Callable[[Mapping[str, Any], Mapping[str, Any]], str]


WORDS: Mapping[str, _Words] = {
    "helps": _Words("helps", "Also helps", _saving),
    "harms": _Words("harms", "Also harms", _against),
    "nothing": _Words("no measurable gain", "No measurable gain", _limit),
    "too_small": _Words("the sample is too small", "Sample too small", _needed),
    "idle": _Words("nothing to measure", "Nothing to measure", _idle),
}


def _elsewhere(row: Mapping[str, Any], result: Mapping[str, Any]) -> str:
    """Where else the mean points, if that is beyond the critical z."""
    words = {"length": ("longer", "shorter"), "entropy": ("more", "less entropic")}
    found = []
    for name, (more, less) in words.items():
        cosine = row["cosine"][name]
        if abs(cosine["z"] or 0.0) >= result["critical_z"]:
            word = (more if cosine["z"] > 0 else less).replace("more", "more entropic")
            found.append(f"{word} (z {cosine['z']:.1f})")
    return f"; it makes answers {' and '.join(found)}" if found else ""


def _strength(row: Mapping[str, Any]) -> str:
    """Return a sentence on the size of the term at the paper's coefficient."""
    whole = row["coef_at"]["1"]
    if not whole:
        return ""
    return f"; at coefficient {PAPER[1]:g} its gradient is {_percent(PAPER[1] / whole)} of the policy gradient's"


def _check_sentence(row: Mapping[str, Any], result: Mapping[str, Any]) -> str:
    z = row["signal_share"]["z"]
    if z is None:
        return "Null check: nothing to check."
    wrong = "; they must have none: do not believe this probe" if abs(z) >= result["critical_z"] else ""
    return f"Null check: the signal of tokens chosen without looking has z {z:.1f}{wrong}."


def _cut_off(result: Mapping[str, Any]) -> list[str]:
    share = result["cut_off"]
    if share < MANY_CUT_OFF:
        return []
    return [
        f"{_percent(share)} of the rollouts were cut off at {result['settings']['max_new_tokens']} tokens and count "
        "with the verdict that they have: probe at the length of your training."
    ]


def _share(measure: Mapping[str, Any]) -> str:
    return "an unknown share" if measure["value"] is None else _percent(measure["value"])


def _percent(value: float) -> str:
    return f"{100 * value:.2g} %"


def _z(measure: Mapping[str, Any]) -> str:
    return "-" if measure["z"] is None else f"{measure['z']:.1f}"


def _round_up(count: float) -> int:
    """To two digits, upwards.

    >>> _round_up(1234), _round_up(56)
    (1300, 56)
    """
    unit = 10 ** max(0, len(str(int(count))) - 2)
    return int(-(-count // unit) * unit)

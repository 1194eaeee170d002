"""The methods that address a kind of loss, and their measured gains. Plain data: no torch, no study is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from statistics import fmean
from typing import Any

from echorl.support.texts import parse_json

LEAST = 0.01
"""Share of the groups below which a kind of loss gets no advice."""
KINDS = {
    "all_success": "all-right groups",
    "all_fail": "all-wrong groups",
    "uniform_reward": "groups of equal rewards whose verdicts differ",
    "other_reward": "groups of one verdict and unequal rewards",
    "mislabelled": "prompts that look mislabelled",
}
"""Kinds of loss, in words; no method addresses the last two."""
ECHORL = "learns one clip of a right rollout by its NLL"
"""The action of EchoRL on an all-right group; `echo_coef` switches it on beside any method."""
STUDIES = {"chain_sum": "sums", "products": "products"}
TESTS = {"in-distribution": "in", "out-of-distribution": "out"}
PLACES = {(study, part): f"{STUDIES[study]}, {TESTS[part]}" for study in STUDIES for part in TESTS}
"""The study and the tests of a gain, in words."""
SOURCE = (
    "Measured: points of pass@1 over plain GRPO with 95 % intervals over eight seeds, at equal rollout tokens, groups "
    "of 8, each with its own learning rate, policies of 0.87 M parameters (docs/studies/rivals.md). Tests are in and "
    "out of the training's distribution; of GRPO's groups {shares} had no gradient, most of them all right. A star: "
    "p < 0.05 after Holm's correction. Nothing here was measured at other group sizes or on larger models: "
    "`echorl compare` does that on your prompts."
)


@dataclass(frozen=True, kw_only=True)
class Gain:
    """Difference of pass@1 to plain GRPO in points; the text has its 95 % interval, and a star where p < 0.05."""

    treatment: str
    study: str
    part: str
    value: float
    text: str

    @property
    def is_significant(self) -> bool:
        return self.text.endswith("*")


@dataclass(frozen=True, kw_only=True)
class Treatment:
    """A method, with options if these were measured, or EchoRL: its action on a kind of group, and its gains."""

    name: str
    action: str
    gains: Sequence[Gain]

    @property
    def method(self) -> str:
        """The name without options."""
        return self.name.partition(" ")[0]

    @property
    def gain_texts(self) -> list[str]:
        """The gain at each of `PLACES`."""
        texts = {(gain.study, gain.part): gain.text for gain in self.gains}
        return [texts.get(place, "not measured") for place in PLACES]


@dataclass(frozen=True, kw_only=True)
class Advice:
    """The evidence on one kind of loss: its share of the groups, and the treatments that address it."""

    kind: str
    share: float
    treatments: Sequence[Treatment]

    @property
    def sentence(self) -> str:
        """The state of the evidence in a few words."""
        if not self.treatments:
            return f"No study of ours measured what to do about {KINDS[self.kind]}."
        measured = [each for each in self.treatments if each.gains]
        stars = [gain for each in measured for gain in each.gains if gain.is_significant]
        better, worse = (
            ", ".join(dict.fromkeys(gain.treatment for gain in stars if (gain.value > 0) is positive)) or "none"
            for positive in (True, False)
        )
        methods = {each.method for each in self.treatments}
        num_measured = len({each.method for each in measured})
        measured_of_them = "all" if num_measured == len(methods) > 1 else num_measured
        number = "1 method acts" if len(methods) == 1 else f"{len(methods)} methods act"
        return (
            f"{number} on {KINDS[self.kind]}; {measured_of_them} of them measured on small tasks. Better than plain "
            f"GRPO: {better}. Worse: {worse}."
        )


@cache
def _measured() -> Mapping[str, Any]:
    """Return the packaged numbers, which `make rivals` writes and a test compares with the studies and the methods."""
    return parse_json((files("echorl.lab.audit") / "measured.json").read_bytes())


def advise(shares: Mapping[str, float]) -> list[Advice]:
    """Return advice for each kind of loss, the largest share first.

    Args:
        shares: kind of loss -> share of all groups (of prompts: `mislabelled`).
    """
    kinds = [kind for kind in KINDS if shares.get(kind, 0.0) >= LEAST]
    return [
        Advice(kind=kind, share=shares[kind], treatments=treatments(kind))
        for kind in sorted(kinds, key=lambda kind: -shares[kind])
    ]


def treatments(kind: str) -> list[Treatment]:
    """Return the treatments that address a kind of group: the measured ones first, by their mean gain."""
    gains: dict[str, list[Gain]] = {}
    for gain in _measured()["gains"]:
        gains.setdefault(gain["treatment"], []).append(Gain(**gain))
    result = []
    for method, actions in {**_measured()["addresses"], "EchoRL": {"all_success": ECHORL}}.items():
        if kind in actions:
            forms = [name for name in gains if name.partition(" ")[0] == method] or [method]
            result += [Treatment(name=name, action=actions[kind], gains=gains.get(name, [])) for name in forms]
    return sorted(result, key=lambda each: (not each.gains, -_mean_gain(each), each.name))


def _mean_gain(treatment: Treatment) -> float:
    return fmean(gain.value for gain in treatment.gains) if treatment.gains else 0.0


def source() -> str:
    """Return the sentences that say how the gains were measured."""
    shares = [f"{share:.0%} ({STUDIES[study]})" for study, share in _measured()["degenerate"].items()]
    return SOURCE.format(shares=" and ".join(shares))

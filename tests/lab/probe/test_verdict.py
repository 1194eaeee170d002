"""The verdict on made-up results."""

from __future__ import annotations

import copy

import pytest

from echorl.lab.probe.verdict import category_of, cosine_note, headline, verdict

NONE = {"value": None, "se": None, "z": None}


def measure(value, se):
    return {"value": value, "se": se, "z": value / se}


def row(rule="echo", groups="all_success", **changes):
    base = {
        "rule": rule,
        "label": rule.upper(),
        "groups": groups,
        "acts_on": 0.3,
        "signal_share": measure(0.06, 0.01),
        "cosine": {"pass_at_1": measure(0.1, 0.1), "length": measure(-0.1, 0.1), "entropy": measure(0.1, 0.1)},
        "coef_at": {"0.01": 0.02, "0.1": 0.2, "1": 2.0},
        "signal_per_noise": measure(0.001, 0.001),
        "saves": {"value": 0.001, "se": 0.002, "z": 0.5, "high": 0.01, "prompts": None},
    }
    return {**base, **changes}


def result(*rules, **changes):
    return {
        "sizes": {"prompts": 400, "samples": 8, "rollouts": 3200, "prompts_per_batch": 32},
        "settings": {"max_new_tokens": 80},
        "cut_off": 0.0,
        "critical_z": 3.0,
        "bound": 0.125,
        "policy_gradient": row("policy_gradient", "all", signal_per_noise=measure(0.01, 0.002)),
        "rules": list(rules),
        **changes,
    }


HELPS = {"value": 0.06, "se": 0.01, "z": 5.0, "high": 0.08, "prompts": None}
HARMS = {"pass_at_1": measure(-0.4, 0.1), "length": measure(-0.8, 0.1), "entropy": measure(0.7, 0.1)}
UNSETTLED = {"value": 0.02, "se": 0.02, "z": 1.0, "high": 0.09, "prompts": 1234.0}


def test_policy_gradient_comes_first():
    assert verdict(result())[0] == "6 % of the policy gradient of 32 prompts is signal (z 6.0)."


@pytest.mark.parametrize(
    ("changes", "category", "words"),
    [
        (
            dict(saves=HELPS),
            "helps",
            "helps: mixed with the policy gradient it saves 6 % +- 1 % of the rollouts (z 5.0; ",
        ),
        (dict(cosine=HARMS), "harms", "harms: its mean points against the gradient of pass@1, cosine -0.40, z -4.0."),
        ({}, "nothing", "no measurable gain: it saves at most 1 % of the rollouts."),
        (dict(saves=UNSETTLED), "too_small", "it saves up to 9 %, z 1.0, about 1300 prompts would settle it."),
        (dict(acts_on=9 / 400), "idle", "it acted on 9 of 400 prompts, and a verdict takes 10."),
    ],
)
def test_every_category_and_its_numbers(changes, category, words):
    found = result(row(**changes))
    assert category_of(found["rules"][0], found) == category
    sentence = verdict(found)[1]
    assert sentence.startswith("EchoClip on all-success groups: ")
    assert words in sentence


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (dict(saves=HELPS), "EchoRL would help here, on {}: mixed with the policy gradient it saves 6 % +- 1 % of"),
        (dict(cosine=HARMS), "EchoRL would not help here, on {}: its mean points against the gradient of pass@1"),
        ({}, "EchoRL would bring no measurable gain here, on {}: it saves at most 1 % of the rollouts."),
        (dict(saves=UNSETTLED), "Whether EchoRL would help here, on {}, cannot be told from so few prompts: it saves"),
        (dict(acts_on=9 / 400), "EchoRL has too few {} here: it acted on 9 of 400 prompts, and a verdict takes 10."),
    ],
)
def test_the_headline_is_of_both_kinds_together_where_they_were_measured(changes, sentence):
    alone, both = row(**changes), row("echo", "verified", **changes)
    assert headline(result(alone)).startswith(sentence.format("all-success groups"))
    assert headline(result(row(), both)).startswith(sentence.format("all-success and mixed groups"))


def test_the_headline_without_a_signal_and_with_a_random_prefix_that_does_as_well():
    nothing = result(row(saves=HELPS), policy_gradient=row("policy_gradient", "all", signal_per_noise=NONE))
    assert headline(nothing) == "Whether EchoRL would help here cannot be told from 400 prompts."
    both = result(row(saves=HELPS), row("random", "all_success", saves=HELPS))
    assert headline(both).endswith("; so does a random prefix (6 %): it is not the choice by entropy.")


def test_a_cosine_beyond_1_is_explained():
    beyond = {**HARMS, "pass_at_1": measure(-1.04, 0.1)}
    assert cosine_note(result(row(), row(cosine=HARMS))) == ""
    assert cosine_note(result(row(), row(cosine=beyond))).startswith("A cosine beyond 1 (the largest is -1.04) is ")


def test_the_critical_z_decides_not_2():
    found = result(row(saves={**HELPS, "z": 2.9}), row(cosine={**HARMS, "pass_at_1": measure(-0.29, 0.1)}))
    assert [category_of(one, found) for one in found["rules"]] == ["too_small", "nothing"]
    found["critical_z"] = 2.8
    assert [category_of(one, found) for one in found["rules"]] == ["helps", "harms"]


def test_what_else_the_rule_does_and_how_large_it_is():
    sentence = verdict(result(row(cosine=HARMS)))[1]
    assert "6 % of its own gradient is signal (z 6.0)" in sentence
    assert "it makes answers shorter (z -8.0) and more entropic (z 7.0)" in sentence
    assert sentence.endswith("at coefficient 0.001 its gradient is 0.05 % of the policy gradient's.")
    changed = copy.deepcopy(HARMS)
    changed["length"], changed["entropy"] = measure(0.8, 0.1), measure(-0.8, 0.1)
    assert "longer (z 8.0) and less entropic (z -8.0)" in verdict(result(row(cosine=changed)))[1]


def test_a_random_prefix_that_helps_as_much_is_named():
    own, other = row("echo", "mixed", saves=HELPS), row("random", "mixed", saves={**HELPS, "value": 0.05})
    assert "so does a random prefix (5 %): it is not the choice by entropy" in verdict(result(own, other))[1]
    other["saves"] = {**HELPS, "value": 0.02}
    assert "(z 5.0; the bound is 12 %); a random prefix saves 2 %." in verdict(result(own, other))[1]
    elsewhere = row("random", "all_success", saves=HELPS)
    assert "random prefix" not in verdict(result(own, elsewhere))[1]
    assert "random prefix" not in verdict(result(own, row("random", "mixed")))[1]


def test_a_saving_beyond_the_bound_is_named_as_such():
    assert "12 %, more than it: " in verdict(result(row(saves={**HELPS, "value": 0.3})))[1]


def test_others_are_listed_by_category():
    rules = [row("full", saves=HELPS), row("random"), row("sum"), row("min_entropy", "mixed", saves=UNSETTLED)]
    found = verdict(result(row(), *rules))
    assert [sentence.split(":")[0] for sentence in found[2:]] == [
        "Also helps",
        "No measurable gain",
        "Sample too small",
    ]
    assert found[3].count("it saves at most") == 2
    assert "MIN_ENTROPY on mixed groups (it saves up to 9 %" in found[4]


def test_a_policy_gradient_that_is_noise_judges_nothing():
    weak = row("policy_gradient", "all", signal_share=measure(0.01, 0.02), signal_per_noise=NONE)
    unknown = {**NONE, "high": None, "prompts": None}
    found = verdict(result(row(saves=unknown), policy_gradient=weak))
    assert found[0].startswith("The sample is too small: 1 % of the policy gradient of 32 prompts is signal (z 0.5)")
    assert "many more than 400 prompts" in found[0]
    assert "the sample is too small: the policy gradient is not known well enough" in found[1]
    weak["signal_share"] = measure(0.01, 0.01)
    assert "about 1600 prompts would show it" in verdict(result(policy_gradient=weak))[0]


def test_a_share_that_is_not_known_is_said_to_be_so():
    lost = {"value": None, "se": None, "z": 1.0}
    found = verdict(result(row(signal_share=lost), policy_gradient=row("policy_gradient", "all", signal_share=lost)))
    assert found[0].startswith("an unknown share of the policy gradient of 32 prompts is signal (z 1.0)")
    assert "an unknown share of its own gradient is signal (z 1.0)" in found[1]


def test_rollouts_that_were_cut_off_are_told():
    assert not any("cut off" in sentence for sentence in verdict(result(cut_off=0.04)))
    assert verdict(result(cut_off=0.4))[-1].startswith("40 % of the rollouts were cut off at 80 tokens")


def test_no_mixed_group_leaves_nothing_to_compare_with():
    none = row("policy_gradient", "all", signal_share=NONE, signal_per_noise=NONE)
    assert "is 0 on all 400 prompts" in verdict(result(policy_gradient=none))[0]


def test_the_null_check():
    fine = row("null", "all", signal_share=measure(0.01, 0.01))
    assert verdict(result(fine))[-1] == "Null check: the signal of tokens chosen without looking has z 1.0."
    broken = row("null", "all", signal_share=measure(0.05, 0.01))
    assert verdict(result(broken))[-1].endswith("z 5.0; they must have none: do not believe this probe.")

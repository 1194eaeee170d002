"""Rules as weights, and the few backward passes that they need."""

from __future__ import annotations

import re

import pytest
import torch

from echorl.core.steps import StepDelimiters
from echorl.lab.probe.methods import method_rule
from echorl.lab.probe.plan import Plan
from echorl.lab.probe.rules import RULES, factor, leave_one_out, policy_loss, vector_names, weigh_all
from echorl.lab.probe.rules import make_group as make
from echorl.methods import load_method

NEWLINE = 2
DELIMITERS = StepDelimiters.from_ids([NEWLINE], vocab_size=3)


def make_group(success, tracked=0.5, index=0):
    """Rollouts of 6, 4 and 5 tokens in steps of two; the second one's first step is the most uncertain."""
    responses, generator = [[1, NEWLINE] * 3, [1, NEWLINE] * 2, [1, NEWLINE, 1, NEWLINE, 1]], torch.Generator()
    generator.manual_seed(index)
    mask = torch.arange(6) < torch.tensor([6, 4, 5]).unsqueeze(1)
    entropy = torch.rand(3, 6, generator=generator) * mask
    entropy[1, :2] = 2.0
    logp = -torch.rand(3, 6, generator=generator) * mask
    return make(index, responses, torch.tensor(success), logp, entropy, DELIMITERS, 10, tracked=tracked)


def test_leave_one_out():
    assert torch.allclose(leave_one_out(torch.tensor([1.0, 0.0, 0.0])), torch.tensor([1.0, -0.5, -0.5]))


def test_clips_are_those_of_the_trainers():
    group = make_group([True, True, True])
    echo, constant = RULES["echo"].weigh(group), RULES["echo_constant"].weigh(group)
    assert echo.nonzero().tolist() == [[1, 0], [1, 1]]
    assert echo[1, 0] == 0.5
    assert torch.allclose(constant, echo * 2 / 10)
    only_last = RULES["echo"].weigh(make_group([False, False, True]))
    assert set(only_last.nonzero()[:, 0].tolist()) == {2}
    assert not RULES["echo"].weigh(make_group([False, False, False])).any()
    whole = RULES["full"].weigh(group)
    [row] = set(whole.nonzero()[:, 0].tolist())
    assert torch.equal(whole[row], group.mask[row] / group.lengths[row])


def test_surprisal_takes_the_least_likely_step():
    group = make_group([True, True, True])
    weights = RULES["surprisal"].weigh(group)
    row = int(weights.any(1).nonzero())
    end = int(weights[row].nonzero().max())
    steps = torch.where(group.mask, torch.arange(6) // 2, -1)
    means = {(b, k): -group.logp[b][steps[b] == k].mean() for b in range(3) for k in range(int(steps[b].max()) + 1)}
    assert max(means, key=means.get) == (row, int(steps[row, end]))


def test_random_rules_agree_within_a_prompt_and_differ_between_prompts():
    def ends(rule):
        return [RULES[rule].weigh(make_group([True] * 3, index=i)).nonzero()[-1].tolist() for i in range(30)]

    assert ends("random") == ends("random_constant")
    assert len({tuple(end) for end in ends("random")}) > 4


def test_the_null_check_looks_at_nothing():
    for index in range(20):
        weights = [RULES["null"].weigh(make_group(success, index=index)) for success in ([True] * 3, [False] * 3)]
        assert torch.equal(*weights)
        assert set(weights[0].unique().tolist()) <= {0.0, float(torch.tensor(0.1))}


def test_tracked_baseline_and_losses():
    group = make_group([True, True, False], tracked=0.25)
    assert RULES["tracked"].weigh(group)[:, 0].tolist() == pytest.approx([0.25, 0.25, -1 / 12])
    std = torch.tensor([1.0, 1.0, 0.0]).std() + 1e-4
    grpo, dapo, plain = (policy_loss(name)(group) for name in ("grpo", "dapo", "dr_grpo"))
    assert torch.allclose(dapo[:, 0], torch.tensor([1 / 3, 1 / 3, -2 / 3]) / 3 / std)
    assert torch.allclose(grpo, dapo / group.lengths.unsqueeze(1))
    assert plain[0, 0] == pytest.approx(1 / 3 / 3 / 10)
    alone, tracked = Plan(baseline_samples=0).rules(), Plan().rules()
    assert "tracked" not in vector_names(alone)
    assert len(weigh_all(make_group([True] * 3, tracked=None), "dapo", alone)) == len(vector_names(alone))
    assert len(weigh_all(make_group([True] * 3, tracked=0.0), "dapo", tracked)) == len(vector_names(tracked))


@pytest.mark.parametrize("success", [[True] * 3, [True, False, True], [False] * 3])
def test_patterns_add_up_to_the_weights_and_are_few(success):
    weights = weigh_all(make_group(success), "grpo", Plan().rules())
    patterns, mix = factor(weights)
    found = torch.zeros_like(weights)
    for place, pattern in enumerate(patterns):
        found[:, pattern.row] += mix[:, place].unsqueeze(1) * pattern.weights
    assert torch.allclose(found, weights, atol=1e-7)
    assert len(patterns) <= 3 + 5  # a pass a rollout, and one a prefix: not one a rule and rollout
    assert all(float(pattern.weights.max()) == 1 for pattern in patterns)


def test_no_weight_at_all_needs_no_pass():
    patterns, mix = factor(torch.zeros(2, 3, 4))
    assert patterns == []
    assert mix.shape == (2, 0)


# -- methods as rules -----------------------------------------------------------------------------------------------

SUCCESSES = ([True, True, False], [True] * 3, [False] * 3)


def weigh(name, group, options=None, loss_type="dapo"):
    return method_rule(load_method(name, options), name, loss_type).weigh(group)


@pytest.mark.parametrize("loss_type", ["dapo", "grpo", "dr_grpo"])
@pytest.mark.parametrize("success", SUCCESSES)
def test_a_method_without_a_rule_of_its_own_is_the_policy_loss(loss_type, success):
    group = make_group(success)
    own = {"dapo": {"dynamic_sampling": False}}.get(loss_type)
    assert torch.equal(weigh(loss_type, group, own, loss_type), policy_loss(loss_type)(group))


def test_methods_on_groups_of_one_verdict():
    right, wrong = make_group([True] * 3), make_group([False] * 3)
    assert torch.allclose(weigh("agpo", right, {"right": 0.5}), 0.5 / 3 * right.mask)
    assert torch.allclose(weigh("agpo", wrong, loss_type="grpo"), -1 / 3 * wrong.mask / wrong.lengths.unsqueeze(1))
    assert torch.allclose(weigh("rl_zvp", right), 0.1 * right.entropy / 3)
    most = (wrong.entropy * wrong.mask).amax(1, keepdim=True)
    assert torch.allclose(weigh("rl_zvp", wrong), 0.1 * (wrong.entropy - most) * wrong.mask / 3)
    assert not weigh("exclude_degenerate", right).any()
    only_failures = weigh("w_reinforce", make_group([True, True, False]), {"weight": 0.0})
    assert only_failures.any(1).tolist() == [False, False, True]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("dapo", "method='dapo' changes what is sampled, and a probe samples plain rollouts"),
        ("luffy", "method='luffy' changes what is sampled"),
        ("positive_nll", "method='positive_nll' is made by echo_coef, echo_select, echo_clip_per, echo_average_over, "),
        (
            "top_entropy",
            "method='top_entropy' is made by top_entropy_quantile, which a probe of a method does not read",
        ),
        ("agpoo", "method='agpoo' does not exist; did you mean 'agpo'?"),
    ],
)
def test_methods_that_cannot_be_probed(name, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        Plan(method=name)


def test_a_plan_without_a_method_shows_none_of_its_settings():
    assert not [name for name in Plan().settings() if name.startswith("method")]
    own = Plan(method="agpo", method_options={"right": 0.5}).settings()
    assert (own["method"], own["method_options"], own["method_hash"]) == ("agpo", {"right": 0.5}, "")
    with pytest.raises(ValueError, match="method_options="):
        Plan(method_options={"right": 0.5})

"""The rivals in the trainer: reductions to GRPO, gradients by hand, and no dependence on the micro-batch."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from echorl.methods import load_method
from echorl.trl.excluded import check_excluded
from tests.trl.by_hand import closest, gradient_of, logps_and_entropies, train_and_keep
from tests.trl.scripted import GIVEN, Script, same
from tests.trl.test_methods import worked
from tests.trl.tiny import build, make_model, run, some_right

KINDS = "m+-m"
"""Of the four groups of a batch: two mixed ones, one all right, one all wrong."""


def scripted():
    return Script(*[KINDS] * 8)


def train(tmp_path, method, reward=None, **changes):
    return run(tmp_path, reward or scripted(), method=method, **{"echo_coef": 0.0, "max_steps": 1, **changes})


def first_batch(tmp_path, method, **changes):
    """The trainer, the batch as the loss sees it, and its gradient."""
    trainer = build(tmp_path, scripted(), method=method, **{"echo_coef": 0.0, "max_steps": 1, **changes})
    (batch,), (gradient,) = train_and_keep(trainer)
    return trainer, batch, gradient


# -- reductions -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def grpo(tmp_path_factory):
    """Two steps of GRPO, by the rewards: of the scripted kinds, or mixed groups alone."""
    folder = tmp_path_factory.mktemp("grpo")
    return {name: train(folder, "grpo", reward(), max_steps=2) for name, reward in (("kinds", scripted), ("m", Script))}


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("rl_zvp", {"alpha": 0.0}),
        ("rl_zvp", {"alpha": 1e-30}),  # through all of its code, by advantages [B, T]
        ("agpo", {"right": 0.0, "wrong": 0.0}),
        ("avspo", {"threshold": 1.0}),
        ("added_failures", {"zero_rewards": 0}),
        ("added_failures", {"zero_rewards": 0, "max_zero_rewards": 0}),
        ("f_grpo", {"exponent": 0.0}),
        ("top_entropy", {"top_entropy_quantile": 1.0}),
        ("positive_nll", {"echo_coef": 0.0}),
    ],
)
def test_without_its_own_part_it_is_grpo_bit_for_bit(tmp_path, grpo, method, options):
    one = train(tmp_path, method, method_options=options, max_steps=2)
    assert same(one, grpo["kinds"])
    assert one[2] == grpo["kinds"][2]


@pytest.mark.parametrize("method", ["exclude_degenerate", "rl_zvp", "avspo", "added_failures"])
def test_where_every_group_is_mixed_it_is_grpo_bit_for_bit(tmp_path, grpo, method):
    assert same(train(tmp_path, method, Script(), max_steps=2), grpo["m"])


def test_reinforce_rej_is_reinforce_where_every_group_is_mixed(tmp_path):
    one = train(tmp_path, "reinforce_rej", Script())
    assert same(one, train(tmp_path, "w_reinforce", Script(), method_options={"weight": 1.0}))


@pytest.mark.parametrize(
    ("method", "right", "wrong"),
    [("agpo", 1.0, -1.0), ("avspo", 5**-0.5, -(5**-0.5)), ("added_failures", 0.5 / (2 / 7) ** 0.5, 0.0)],
)
def test_groups_of_one_verdict_have_an_advantage_in_the_batch(tmp_path, method, right, wrong):
    """AVSPO: half of the groups collapsed, G = 4: one virtual reward, so 1 / sqrt(G + 1). Four added failures."""
    trainer, batch, _ = first_batch(tmp_path, method)
    log, ledger = trainer.state.log_history[0], trainer.statistics
    assert log["echo/frac_degenerate"] == sum(ledger.degenerate.values()) / sum(ledger.groups.values()) == 0.5
    assert log["echo/groups/all_success"] == ledger.groups["all_success"] / 4 == 0.25
    assert batch["advantages"][4:12].tolist() == pytest.approx([right] * 4 + [wrong] * 4, rel=1e-3)
    assert batch["advantages"][0] > 0 > batch["advantages"][1]


def test_the_number_of_added_failures_is_drawn_for_each_group_and_batch_from_the_seed(tmp_path):
    def drawn(folder, **changes):
        options = {"zero_rewards": 1, "max_zero_rewards": 7}
        own = dict(echo_coef=0.0, method_options=options, max_steps=3, log_completions=True)
        trainer = run(folder, Script(*["++++"] * 3), method="added_failures", **{**own, **changes})[0]
        return [round(value, 4) for value in trainer._logs["advantages"]][::4]

    possible = []
    for count in range(1, 8):
        longer = torch.tensor([1.0] * 4 + [0.0] * count)
        possible.append(round(float((1 - longer.mean()) / (longer.std() + 1e-4)), 4))
    found = drawn(tmp_path)
    assert set(found) <= set(possible)
    assert len({tuple(found[i : i + 4]) for i in (0, 4, 8)}) > 1
    assert found == drawn(tmp_path)
    assert found != drawn(tmp_path, seed=2)


# -- what leaves the loss ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss_type", ["grpo", "dr_grpo", "dapo"])
def test_excluding_groups_is_the_mean_over_the_others(tmp_path, loss_type):
    """By hand on the two mixed groups alone, as if the batch held nothing else."""
    _, batch, gradient = first_batch(tmp_path, "exclude_degenerate", method_options={"loss_type": loss_type})
    rows = torch.tensor([0, 1, 2, 3, 12, 13, 14, 15])
    model = make_model()
    logp, _ = logps_and_entropies(model, batch)
    mask = batch["completion_mask"][rows]
    signs = torch.tensor(GIVEN["m"] * 2)
    advantages = (signs - 0.5) / (torch.tensor(GIVEN["m"]).std() + 1e-4)
    per_token = (logp - logp.detach()).exp()[rows] * advantages.unsqueeze(1) * mask
    loss = {
        "grpo": lambda: (per_token.sum(1) / mask.sum(1)).mean(),
        "dr_grpo": lambda: per_token.sum() / (8 * 16),
        "dapo": lambda: per_token.sum() / mask.sum(),
    }[loss_type]()
    assert closest(gradient_of(model, -loss), gradient) < 1e-5


@pytest.mark.parametrize("loss_type", ["grpo", "dapo"])
def test_w_reinforce_at_weight_0_is_the_mean_over_failures(tmp_path, loss_type):
    """By hand on the eight rollouts that failed, in the bonus, too; one micro-batch, since the bonus is its mean."""
    own = dict(per_device_train_batch_size=16, gradient_accumulation_steps=1, loss_type=loss_type, entropy_coef=0.3)
    trainer, batch, gradient = first_batch(tmp_path, "w_reinforce", method_options={"weight": 0}, **own)
    rows = torch.tensor([given for kind in KINDS for given in GIVEN[kind]]) == 0.0
    model = make_model()
    logp, entropy = logps_and_entropies(model, batch)
    mask = batch["completion_mask"][rows]
    per_token = logp[rows] * mask
    policy = (per_token.sum(1) / mask.sum(1)).mean() if loss_type == "grpo" else per_token.sum() / mask.sum()
    assert closest(gradient_of(model, policy - 0.3 * (entropy[rows] * mask).sum() / mask.sum()), gradient) < 1e-5
    assert trainer.state.log_history[0]["method/excluded"] == 0.5


@pytest.mark.parametrize("loss_type", ["grpo", "dapo"])
def test_w_reinforce_at_weight_0_learns_nothing_from_a_batch_of_successes(tmp_path, loss_type):
    changes = dict(method_options={"weight": 0}, loss_type=loss_type, entropy_coef=0.1)
    _, gradients, losses, _ = train(tmp_path, "w_reinforce", Script("++++"), **changes)
    assert losses == [0.0]
    assert not any(g.any() for g in gradients[0].values())


@pytest.mark.parametrize(("method", "share"), [("exclude_degenerate", 0.5), ("reinforce_rej", 0.5)])
def test_left_out_groups_have_no_kl_no_bonus_and_keep_their_clips(tmp_path, method, share):
    trainer, batch, _ = first_batch(tmp_path, method, echo_coef=0.1)
    assert trainer.state.log_history[0]["method/excluded"] == share
    assert batch["tool_mask"].view(4, 4, -1).any(2).any(1).tolist() == [True, False, False, True]
    assert not batch["advantages"].view(4, 4)[1:3].any()
    assert batch["echo_weights"].view(4, 4, -1).any(2).any(1).tolist() == [True, True, False, True]
    assert trainer.statistics.groups["all_success"] == trainer.statistics.degenerate["all_success"] == 1


SPLITS = ((16, 1, 1), (4, 4, 4), (1, 16, 16), (8, 1, 2))
"""Rows a micro-batch, accumulation, micro-batches a generation batch."""


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("exclude_degenerate", {}),
        ("reinforce_rej", {}),
        ("w_reinforce", {"weight": 0}),
        ("dapo", {"max_rounds": 2}),  # some places stay empty
    ],
)
def test_the_bonus_of_rollouts_that_stay_does_not_depend_on_the_micro_batch(tmp_path, method, options):
    """Learning rate 0, so that the sum over the batch's optimiser steps is the batch's gradient times their number."""
    settings, sums = dict(loss_type="dapo", max_grad_norm=0.0, method_options=options), []
    for rows, accumulation, steps in SPLITS:
        split = {"per_device_train_batch_size": rows, "gradient_accumulation_steps": accumulation}
        trainer, gradients, *_ = train(
            tmp_path / str(rows), method, Script(KINDS, "-+"), entropy_coef=0.5, learning_rate=0.0,
            steps_per_generation=steps, max_steps=steps // accumulation, **split, **settings,
        )  # fmt: skip
        assert {entry["entropy_coef"] for entry in trainer.state.log_history if "entropy_coef" in entry} == {0.5}
        num = len(gradients)
        sums.append({name: sum(step[name] for step in gradients) / num for name in gradients[0]})
    without = train(tmp_path / "0", method, Script(KINDS, "-+"), **settings)[1]
    assert closest(sums[0], without[0]) > 0.01  # the bonus is seen
    assert all(closest(each, sums[0]) < 1e-5 for each in sums[1:])


def test_a_bonus_whose_coefficient_moves_is_refused_beside_excluded_rollouts(tmp_path):
    for method in ("exclude_degenerate", "dapo"):
        with pytest.raises(ValueError, match=r"use_adaptive_entropy=True: set entropy_coef instead"):
            build(tmp_path, scripted(), method=method, use_adaptive_entropy=True)
    build(tmp_path, scripted(), method="grpo", use_adaptive_entropy=True)


def test_a_batch_of_degenerate_groups_alone_has_no_gradient_and_no_kl(tmp_path):
    trainer, gradients, losses, _ = train(tmp_path, "exclude_degenerate", Script("+-+-"), entropy_coef=0.1)
    assert losses == [0.0]
    assert not any(g.any() for g in gradients[0].values())
    assert trainer.state.log_history[0]["method/excluded"] == 1.0


def test_a_kl_in_a_mean_over_rows_is_refused():
    args = SimpleNamespace(method="exclude_degenerate", beta=0.1, loss_type="grpo")
    with pytest.raises(
        ValueError, match=r"cannot be combined with beta=0\.1 and loss_type='grpo'.*use loss_type='dapo', or beta 0"
    ):
        check_excluded(args, load_method("exclude_degenerate"))
    args.loss_type = "dapo"
    check_excluded(args, load_method("exclude_degenerate"))


def test_a_mean_over_each_micro_batch_is_refused():
    args = SimpleNamespace(method="reinforce_rej", beta=0.0, loss_type="bnpo")
    with pytest.raises(
        ValueError, match=r"'reinforce_rej' cannot be combined with loss_type='bnpo'.*Use loss_type='dapo'\."
    ):
        check_excluded(args, load_method("reinforce_rej"))


@pytest.mark.parametrize("method", ["agpo", "rl_zvp"])
def test_the_log_of_completions_shows_the_advantages_that_are_used(tmp_path, method):
    trainer, batch, _ = first_batch(tmp_path, method)
    used, mask = batch["advantages"], batch["completion_mask"]
    means = used if used.dim() == 1 else (used * mask).sum(1) / mask.sum(1)
    assert list(trainer._logs["advantages"]) == pytest.approx(means.tolist(), abs=1e-6)
    assert any(trainer._logs["advantages"])


def test_what_is_left_out_has_none_in_the_log(tmp_path):
    trainer, *_ = first_batch(tmp_path, "reinforce_rej")
    mixed = [1.0, -1.0, 1.0, -1.0]
    assert list(trainer._logs["advantages"]) == [*mixed, *[0.0] * 8, *mixed]


def test_avspo_keeps_its_own_std(tmp_path):
    with pytest.raises(
        ValueError, match=r"scale_rewards='none' cannot be combined with method='avspo'.*leave scale_rewards"
    ):
        build(tmp_path, method="avspo", scale_rewards="none")
    build(tmp_path, method="avspo", scale_rewards=True)


# -- gradients by hand ------------------------------------------------------------------------------------------------


def test_rl_zvps_gradient_by_hand(tmp_path):
    """Entropies of the policy that sampled; mixed groups as in GRPO; each rollout's mean over tokens."""
    _, batch, gradient = first_batch(tmp_path, "rl_zvp", method_options={"alpha": 0.2})
    model = make_model()
    logp, entropy = logps_and_entropies(model, batch)
    mask, entropy = batch["completion_mask"].bool(), entropy.detach()
    advantages = torch.zeros_like(entropy)
    for row, given in enumerate(GIVEN[kind][i] for kind in KINDS for i in range(4)):
        own = mask[row]
        if 4 <= row < 8:
            advantages[row][own] = 0.2 * entropy[row][own]
        elif 8 <= row < 12:
            advantages[row][own] = -0.2 * (entropy[row][own].max() - entropy[row][own])
        else:
            advantages[row] = (given - 0.5) / (torch.tensor(GIVEN["m"]).std() + 1e-4)
    per_rollout = ((logp - logp.detach()).exp() * advantages * mask).sum(1) / mask.sum(1)
    assert closest(gradient_of(model, -per_rollout.mean()), gradient) < 1e-5


def test_w_reinforces_gradient_is_reinforces_by_hand(tmp_path):
    _, batch, gradient = first_batch(tmp_path, "w_reinforce", method_options={"weight": 1.0})
    model = make_model()
    logp, _ = logps_and_entropies(model, batch)
    mask = batch["completion_mask"]
    rewards = 2 * torch.tensor([given for kind in KINDS for given in GIVEN[kind]]) - 1
    assert closest(gradient_of(model, -(rewards * (logp * mask).sum(1) / mask.sum(1)).mean()), gradient) < 1e-5


def test_positive_nlls_gradient_is_grpos_and_the_mean_nll_of_all_successes(tmp_path):
    _, batch, gradient = first_batch(tmp_path, "positive_nll", echo_coef=0.5)
    model = make_model()
    logp, _ = logps_and_entropies(model, batch)
    mask = batch["completion_mask"]
    right = torch.tensor([given for kind in KINDS for given in GIVEN[kind]]) == 1.0
    means = (logp * mask).sum(1) / mask.sum(1)
    policy = ((logp - logp.detach()).exp() * batch["advantages"].unsqueeze(1) * mask).sum(1) / mask.sum(1)
    assert right.sum() == 8
    assert closest(gradient_of(model, -policy.mean() - 0.5 * means[right].mean()), gradient) < 1e-5


def test_top_entropys_gradient_is_that_of_the_fifth_of_highest_entropy_by_hand(tmp_path):
    own = dict(per_device_train_batch_size=16, gradient_accumulation_steps=1)  # the quantile is a micro-batch's
    _, batch, gradient = first_batch(tmp_path, "top_entropy", **own)
    model = make_model()
    logp, entropy = logps_and_entropies(model, batch)
    mask = batch["completion_mask"].bool()
    top = mask & (entropy >= entropy[mask].quantile(0.8))
    assert float(top.sum() / mask.sum()) == pytest.approx(0.2, abs=0.05)
    per_token = (logp - logp.detach()).exp() * batch["advantages"].unsqueeze(1) * top
    assert closest(gradient_of(model, -(per_token.sum(1) / mask.sum(1)).mean()), gradient) < 1e-5


@pytest.mark.parametrize("method", ["exclude_degenerate", "reinforce_rej"])
def test_the_kl_is_over_what_is_not_left_out_by_hand(tmp_path, method):
    """Against a reference that differs, as a mean over the tokens of the two mixed groups."""
    make_model().save_pretrained(tmp_path / "policy")
    policy = type(make_model()).from_pretrained(tmp_path / "policy")
    own = dict(method=method, model=policy, method_options={"loss_type": "dapo"}, beta=0.1, echo_coef=0.0, max_steps=1)
    trainer = build(tmp_path, scripted(), **own)
    other = make_model(seed=1)
    trainer.ref_model.load_state_dict(other.state_dict())
    (batch,), (gradient,) = train_and_keep(trainer)
    model, rows = make_model(), [0, 1, 2, 3, 12, 13, 14, 15]
    logp, _ = logps_and_entropies(model, batch)
    mask, gap = batch["completion_mask"][rows], (logps_and_entropies(other, batch)[0].detach() - logp)[rows]
    ratio = (logp - logp.detach()).exp()[rows]  # of the KL, too: TRL's use_bias_correction_kl
    per_token = ratio * (0.1 * (gap.exp() - gap - 1) - batch["advantages"][rows].unsqueeze(1))
    assert closest(gradient_of(model, (per_token * mask).sum() / mask.sum()), gradient) < 1e-5


def test_the_collapse_rate_is_logged_without_a_verifier(tmp_path):
    """Of several reward functions none is named, which methods that go by rewards don't need."""
    trainer = build(
        tmp_path,
        [scripted(), lambda completions, **_: [0.0] * len(completions)],
        method="avspo",
        echo_coef=0.0,
        max_steps=1,
    )
    trainer.train()
    assert trainer.state.log_history[0]["echo/frac_degenerate"] == 0.5


@pytest.mark.parametrize(
    ("method", "loss_type"), [("exclude_degenerate", "grpo"), ("exclude_degenerate", "dapo"), ("rl_zvp", "grpo")]
)
def test_same_gradient_at_every_micro_batch(tmp_path, method, loss_type):
    changes = dict(echo_coef=1.0, method_options={"loss_type": loss_type})
    gradients = [
        train(tmp_path, method, per_device_train_batch_size=size, gradient_accumulation_steps=16 // size, **changes)[1]
        for size in (16, 2)
    ]
    assert closest(gradients[0][0], gradients[1][0]) < 1e-5


# -- when is a step the echo's alone? ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "alone"),
    [
        ("reinforce_rej", True),
        ("rl_zvp", False),
        ("w_reinforce", False),
        ("avspo", False),
        ("added_failures", False),
    ],
)
def test_a_step_of_solved_prompts_is_the_echos_alone_only_where_the_method_has_nothing_there(tmp_path, method, alone):
    trainer, *_ = train(tmp_path, method, Script("++++"), echo_coef=0.1)
    assert trainer.state.log_history[0]["echo/without_policy_gradient"] == float(alone)


# -- several reward functions -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("w_reinforce", {}),
        ("agpo", {"right": 0}),
        ("agpo", {"wrong": 0}),
        ("reinforce_ada", {}),
        ("rl_zvp", {}),
        ("added_failures", {}),
        ("negative_rollouts", {}),
        ("f_grpo", {}),
    ],
)
def test_a_rule_on_verdicts_wants_to_know_who_verifies(tmp_path, method, options):
    def bonus(completions, **_):
        return [0.5] * len(completions)

    changes = dict(method=method, method_options=options, echo_coef=0.0)
    with pytest.raises(ValueError, match="which of the reward functions"):
        build(tmp_path, [some_right, bonus], **changes)
    build(tmp_path, [some_right, bonus], echo_success_reward_func="some_right", **changes)


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("uft", {"beta": 0.0}),
        ("avspo", {}),
        ("exclude_degenerate", {}),
        ("agpo", {"right": 0, "wrong": 0}),
        ("reinforce_ada", {"max_rounds": 1}),
        ("rl_zvp", {"alpha": 0}),
        ("added_failures", {"zero_rewards": 0}),
        ("negative_rollouts", {"num_mistakes": 0}),
        ("f_grpo", {"exponent": 0}),
    ],
)
def test_a_rule_on_rewards_or_one_that_does_nothing_does_not(tmp_path, method, options):
    def bonus(completions, **_):
        return [0.5] * len(completions)

    build(tmp_path, [some_right, bonus], method=method, method_options=options, echo_coef=0.0, dataset=worked())

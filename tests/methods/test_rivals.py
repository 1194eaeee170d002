"""What the rivals do to advantages: values by hand, and what each reduces to."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import pytest
import torch

from echorl.core.statistics import KINDS, GroupStatistics
from echorl.methods import METHODS, load_method
from echorl.methods.added_failures import AddedFailures
from echorl.methods.agpo import AGPO
from echorl.methods.avspo import AVSPO, count_collapsed
from echorl.methods.exclude_degenerate import ExcludeDegenerate
from echorl.methods.f_grpo import FGRPO
from echorl.methods.reinforce_ada import balanced, choose, pool_advantages, unfinished
from echorl.methods.reinforce_rej import ReinforceRej
from echorl.methods.rl_zvp import RLZVP
from echorl.methods.rules import rows_with_gradient
from echorl.methods.spo import SPO, leave_one_out
from echorl.methods.w_reinforce import WReinforce
from tests.methods.batches import group_relative, make_batch

NAN = math.nan
KIND_OF_EACH = [1.0, 0.0, 0.0, 1.0, *[1.0] * 4, *[0.0] * 4, *[NAN] * 4]
"""A mixed group, one all right, one all wrong, one without verdicts."""


@pytest.mark.parametrize("name", ["rloo", "w_reinforce", "reinforce_rej", "agpo", "avspo", "added_failures", "f_grpo"])
def test_a_method_sees_no_other_process_rows_than_its_own(name):
    """The rules are functions of the batch of all processes: doubling it doubles the result."""
    method, once, twice = METHODS[name](), make_batch(KIND_OF_EACH), make_batch(KIND_OF_EACH * 2)
    found = method.advantages(group_relative(once), once)
    assert torch.allclose(method.advantages(group_relative(twice), twice), torch.cat([found, found]))


# -- exclude_degenerate, Reinforce-Rej ------------------------------------------------------------------------------


def test_groups_of_equal_rewards_are_left_out_whatever_their_verdicts():
    batch = make_batch([1.0, 1.2, 1.0, 1.1, *[0.9] * 4, *KIND_OF_EACH], success=[True] * 8 + [False] * 16)
    assert ExcludeDegenerate().excluded(batch).view(-1, 4).all(1).tolist() == [False, True, False, True, True, True]


def test_reinforce_rej_excludes_both_uniform_kinds_by_their_verdicts():
    batch = make_batch(KIND_OF_EACH)
    method = ReinforceRej()
    assert method.excluded(batch).view(-1, 4).any(1).tolist() == [False, True, True, True]
    found = method.advantages(group_relative(batch), batch)
    assert found[:4].tolist() == [1.0, -1.0, -1.0, 1.0]
    with_gradient = rows_with_gradient(method, group_relative(batch), batch) & ~method.excluded(batch)
    assert with_gradient.tolist() == [True] * 4 + [False] * 12


# -- W-REINFORCE ----------------------------------------------------------------------------------------------------


def test_w_reinforce_by_hand():
    batch = make_batch(KIND_OF_EACH)
    found = WReinforce(weight=0.1).advantages(group_relative(batch), batch)
    assert found.tolist() == pytest.approx([0.1, -1.0, -1.0, 0.1, *[0.1] * 4, *[-1.0] * 4, *[0.0] * 4])


def test_w_reinforce_with_weight_1_is_reinforce_and_with_0_learns_from_failures_alone():
    batch = make_batch(KIND_OF_EACH)
    plain = torch.where(batch.has_verdict, 2 * batch.success.float() - 1, 0.0)
    assert torch.equal(WReinforce(weight=1.0).advantages(group_relative(batch), batch), plain)
    found = WReinforce(weight=0.0).advantages(group_relative(batch), batch)
    assert torch.equal(found, plain.clamp(max=0.0))


def test_w_reinforce_goes_by_the_verdict_not_by_a_shaped_reward():
    batch = make_batch([0.7, 0.2, 1.5, 0.9], success=[True, False, False, True])
    assert WReinforce(weight=0.5).advantages(group_relative(batch), batch).tolist() == [0.5, -1.0, -1.0, 0.5]


# -- AGPO -----------------------------------------------------------------------------------------------------------


def test_agpo_by_hand():
    batch = make_batch(KIND_OF_EACH)
    base = group_relative(batch)
    found = AGPO(right=1.0, wrong=0.5).advantages(base, batch)
    assert torch.equal(found[:4], base[:4])
    assert found[4:].tolist() == [*[1.0] * 4, *[-0.5] * 4, *[0.0] * 4]


def test_agpo_of_0_and_0_is_grpo_and_shaped_groups_keep_grpos():
    batch = make_batch(KIND_OF_EACH)
    assert torch.equal(AGPO(right=0.0, wrong=0.0).advantages(group_relative(batch), batch), group_relative(batch))
    shaped = make_batch([1.0, 1.2, 1.0, 1.1])
    assert torch.equal(AGPO().advantages(group_relative(shaped), shaped), group_relative(shaped))


# -- F-GRPO ----------------------------------------------------------------------------------------------------------


def test_f_grpo_by_hand():
    """Three of four right: 1/4; one of four: 3/4; squared with gamma 2; no verdict: unchanged."""
    batch = make_batch([1.0, 1.0, 0.0, 1.0, 0.0, 1.0, 0.0, 0.0, *[1.0] * 4, *[0.0] * 4, *[NAN] * 4])
    base = group_relative(batch)
    for gamma in (1.0, 2.0):
        weights = torch.tensor([0.25, 0.75, 0.0, 1.0, 1.0]).repeat_interleave(4) ** gamma
        assert torch.allclose(FGRPO(exponent=gamma).advantages(base, batch), base * weights)
    assert FGRPO(exponent=0.0).advantages(base, batch) is base


def test_f_grpo_goes_by_verdicts_and_a_rollout_without_one_does_not_count():
    batch = make_batch([0.7, 0.2, 1.5, NAN], success=[True, False, True, False])
    base = group_relative(batch)
    assert torch.allclose(FGRPO().advantages(base, batch), base / 3)


# -- RL-ZVP ---------------------------------------------------------------------------------------------------------

ENTROPY = torch.tensor([[0.5, 2.0, 1.0, 9.0], [0.0, 1.0, NAN, 9.0]]).repeat(8, 1)
MASK = torch.tensor([[True, True, True, False]]).repeat(16, 1)


def test_rl_zvp_by_hand():
    """Right: 0.1 H. Wrong: 0.1 (H - max H), the maximum over the rollout's own known tokens."""
    batch = replace(make_batch(KIND_OF_EACH), in_loss=MASK)
    base = group_relative(batch)
    found = RLZVP().token_advantages(base, ENTROPY, batch)
    assert torch.equal(found[:4], base[:4].unsqueeze(1).expand(4, 4))
    assert found[4].tolist() == pytest.approx([0.05, 0.2, 0.1, 0.0])
    assert found[5].tolist() == pytest.approx([0.0, 0.1, 0.0, 0.0])
    assert found[8].tolist() == pytest.approx([-0.15, 0.0, -0.1, 0.0])
    assert found[9].tolist() == pytest.approx([-0.1, 0.0, 0.0, 0.0])
    assert (found[12:] == 0).all()


def test_rl_zvp_leaves_rollouts_without_a_verdict_alone():
    batch = replace(make_batch([1.0, 1.0, 1.0, NAN]), in_loss=torch.ones(4, 3, dtype=torch.bool))
    entropy = torch.tensor([[0.5, 1.0, 0.0]]).repeat(4, 1)
    found = RLZVP().token_advantages(group_relative(batch), entropy, batch)
    assert found[0].tolist() == pytest.approx([0.05, 0.1, 0.0])
    assert found[3].tolist() == [0.0, 0.0, 0.0]


def test_rl_zvp_asks_for_the_entropies_of_uniform_groups_alone():
    batch = make_batch(KIND_OF_EACH)
    assert RLZVP().entropy_rows(batch).view(4, 4).any(1).tolist() == [False, True, True, False]
    assert not RLZVP(alpha=0.0).entropy_rows(batch).any()
    assert not RLZVP(alpha=0.0).needs_entropy


def test_rl_zvp_of_a_part_is_the_part_of_rl_zvp():
    batch, rows = replace(make_batch(KIND_OF_EACH), in_loss=MASK), slice(6, 11)
    whole = RLZVP().token_advantages(group_relative(batch), ENTROPY, batch)
    local = replace(batch, local=rows, in_loss=MASK[rows])
    part = RLZVP().token_advantages(group_relative(batch)[rows], ENTROPY[rows], local)
    assert torch.equal(part, whole[rows])


# -- AVSPO ----------------------------------------------------------------------------------------------------------


def test_the_collapse_rate_the_group_statistics_and_the_all_success_share_by_hand():
    batch = make_batch(KIND_OF_EACH + [0.9] * 4 + [0.2, 0.4, 0.2, 0.4])
    statistics, groups = GroupStatistics(), batch.groups
    columns = (groups.kind, groups.degenerate, groups.sum(torch.ones(24, dtype=torch.int64)))
    shares = statistics.record(*(column.tolist() for column in columns))
    assert count_collapsed(batch) == (3, 5)  # the fourth group has no reward
    assert (sum(statistics.degenerate.values()), sum(statistics.groups.values())) == (4, 6)
    assert shares["echo/groups/all_success"] == pytest.approx(1 / 6)
    assert {name: statistics.groups[name] for name in KINDS[:3]} == {"mixed": 1, "all_success": 1, "all_fail": 3}
    expected = {name: count / 6 for name, count in statistics.groups.items()}
    assert {name: shares[f"echo/groups/{name}"] for name in KINDS} == pytest.approx(expected)


def test_a_group_without_a_reward_counts_in_no_collapse_rate():
    assert count_collapsed(make_batch([])) == (0, 0)
    assert count_collapsed(make_batch([1.0] * 4 + [NAN] * 4 + [1.0, 0.0, 0.0, 1.0])) == (1, 2)


@pytest.mark.parametrize(
    ("alpha", "collapsed", "groups", "size", "count"),
    [(0.25, 1, 3, 12, 1), (0.25, 2, 5, 10, 1), (0.25, 1, 5, 20, 1), (0.5, 1, 3, 6, 1), (0.25, 1, 3, 13, 2)],
)
def test_a_whole_number_of_virtual_rewards_is_not_rounded_up(alpha, collapsed, groups, size, count):
    assert AVSPO(alpha=alpha).num_virtual(collapsed, groups, size) == count


@pytest.mark.parametrize("threshold", [0.2, 0.3, 0.6])
def test_at_the_threshold_there_is_no_virtual_reward(threshold):
    collapsed = round(10 * threshold)
    assert AVSPO(threshold=threshold).num_virtual(collapsed, 10, 8) == 0
    assert AVSPO(threshold=threshold).num_virtual(collapsed + 1, 10, 8) > 0


def test_avspo_against_the_mean_and_std_of_the_lengthened_group():
    """Half of the groups collapsed, G = 4, alpha 1: two virtual rewards, 1/3 and 2/3."""
    batch = make_batch([1.0] * 4 + [0.0] * 4 + [1.0, 0.0, 0.0, 1.0] * 2)
    base = group_relative(batch)
    found = AVSPO(alpha=1.0).advantages(base, batch)
    for reward, rows in ((1.0, slice(0, 4)), (0.0, slice(4, 8))):
        longer = torch.tensor([reward] * 4 + [1 / 3, 2 / 3])
        expected = (reward - longer.mean()) / (longer.std() + 1e-4)
        assert found[rows].tolist() == pytest.approx([float(expected)] * 4, rel=1e-5)
    assert torch.equal(found[8:], base[8:])
    assert 0 < found[0] < base[8]  # small, and positive where all are right


def test_one_virtual_reward_gives_1_over_the_root_of_g_plus_1():
    """A = (r - v) / (G + 1) over |r - v| / sqrt(G + 1) = 1 / sqrt(G + 1): 1/3 at G = 8."""
    batch = make_batch([1.0] * 8 + [0.0] * 8, size=8)
    found = AVSPO(alpha=0.125).advantages(group_relative(batch), batch)
    assert found[:8].tolist() == pytest.approx([1 / 3] * 8, rel=1e-3)


@pytest.mark.parametrize("options", [{"alpha": 0.0}, {"threshold": 0.75}])
def test_avspo_without_a_virtual_reward_is_grpo(options):
    batch = make_batch(KIND_OF_EACH)  # three of four collapsed
    base = group_relative(batch)
    assert torch.equal(AVSPO(**options).advantages(base, batch), base)
    assert not rows_with_gradient(AVSPO(**options), base, batch)[4:].any()


def test_a_missing_reward_is_no_member_of_the_lengthened_group():
    batch = make_batch([1.0, 1.0, 1.0, NAN])
    found = AVSPO(alpha=0.25).advantages(group_relative(batch), batch)
    longer = torch.tensor([1.0, 1.0, 1.0, 0.5])
    assert found[:3].tolist() == pytest.approx([float((1 - longer.mean()) / (longer.std() + 1e-4))] * 3, rel=1e-5)
    assert found[3] == 0.0


# -- added failures -------------------------------------------------------------------------------------------------


def test_added_failures_by_hand():
    """A group that is all right: as one of four successes beside two failures. Whatever else keeps GRPO's."""
    batch = make_batch([*KIND_OF_EACH, 1.0, 1.0, NAN, 1.0, 1.0, 1.2, 1.0, 1.1])
    base = group_relative(batch)
    found = AddedFailures(zero_rewards=2).advantages(base, batch)
    for rows, n in ((slice(4, 8), 4), (torch.tensor([16, 17, 19]), 3)):
        longer = torch.tensor([1.0] * n + [0.0] * 2)
        expected = (1 - longer.mean()) / (longer.std() + 1e-4)
        assert found[rows].tolist() == pytest.approx([float(expected)] * n, rel=1e-5)
    others = [*range(4), *range(8, 16), 18, *range(20, 24)]
    assert torch.equal(found[others], base[others])


def test_one_added_failure_is_one_virtual_reward_of_avspo():
    batch = make_batch([1.0] * 8 + [1.0, 0.0] * 4, size=8)
    base = group_relative(batch)
    one, other = AddedFailures(zero_rewards=1), AVSPO(alpha=0.25)
    assert torch.allclose(one.advantages(base, batch), other.advantages(base, batch), atol=1e-3)


# -- prefixes -------------------------------------------------------------------------------------------------------


def test_a_group_without_a_verdict_moves_no_share():
    method = load_method("failure_prefix")
    assert method.moved(0.5, 0, 0) == 0.5 != method.moved(0.5, 0, 4)


# -- options --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("rl_zvp", {"alpha": -0.1}, r"alpha=-0.1 is not allowed: it must be a finite number of at least 0\."),
        (
            "w_reinforce",
            {"weight": float("inf")},
            r"weight=inf is not allowed: it must be a finite number of at least 0\.",
        ),
        (
            "added_failures",
            {"zero_rewards": 4, "max_zero_rewards": 2},
            r"max_zero_rewards=2 and zero_rewards=4 are not allowed",
        ),
        ("agpo", {"wrong": -1}, r"wrong=-1 is not allowed: it must be a finite number of at least 0\."),
        ("spo", {"prior": -1}, r"prior=-1 is not allowed: it must be a finite number of at least 0\."),
        ("spo", {"offline": 8}, r"offline=8 is not allowed: it must be None or text\."),
        ("spo", {"offline_weight": 0}, r"offline_weight=0 is not allowed: it must be a finite number above 0\."),
        ("reinforce_ada", {"groups_per_round": 0}, r"groups_per_round=0 is not allowed: it must be a whole number"),
        ("spo", {"decay": 1.1}, r"decay=1.1 is not allowed: it must be a number from 0 to 1\."),
        ("avspo", {"threshold": 1.5}, r"threshold=1.5 is not allowed: it must be a number from 0 to 1\."),
        ("f_grpo", {"exponent": -1}, r"exponent=-1 is not allowed: it must be a finite number of at least 0\."),
        ("failure_prefix", {"target": 1.5}, r"target=1.5 is not allowed: it must be None or a number from 0 to 1\."),
    ],
)
def test_what_is_refused(name, options, message):
    with pytest.raises(ValueError, match=message):
        load_method(name, options)


# -- SPO ------------------------------------------------------------------------------------------------------------


def test_spo_by_hand_with_a_history_and_without():
    """v = 0.75 of the first three prompts, none of the last two: there the mean of the others."""
    batch = make_batch([*KIND_OF_EACH[:12], 1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, NAN])
    rates = torch.tensor([0.75] * 3 + [NAN] * 2)[batch.groups.index]
    found = SPO().against(rates, batch)
    by_hand = [0.25, -0.75, -0.75, 0.25, *[0.25] * 4, *[-0.75] * 4, 1.0, *[-1 / 3] * 3, *[0.0] * 4]
    assert found.tolist() == pytest.approx(by_hand)
    half = SPO(weight=0.5).against(rates, batch)
    assert half[:4].tolist() == pytest.approx(
        [1 - (0.375 + 1 / 6), -(0.375 + 1 / 3), -(0.375 + 1 / 3), 1 - (0.375 + 1 / 6)]
    )


def test_spo_with_weight_0_is_leave_one_out():
    batch = make_batch([*KIND_OF_EACH, 1.0, NAN, 0.0, 1.0, NAN, NAN, 1.0, NAN])
    centred = torch.zeros_like(batch.rewards)
    for group in range(6):
        rows = slice(4 * group, 4 * group + 4)
        centred[rows] = (batch.rewards[rows] - batch.rewards[rows].nanmean()).nan_to_num(0.0)
    found = SPO(weight=0.0).against(torch.full_like(batch.rewards, 0.9), batch)
    assert torch.allclose(found, load_method("rloo").advantages(centred, batch), atol=1e-6)
    assert leave_one_out(batch)[-2] == 1.0  # the only one with a verdict is its own mean: no advantage


# -- Reinforce-Ada --------------------------------------------------------------------------------------------------


def by_loop(success: list[bool], owner: list[int], size: int) -> list[bool]:
    """Half of each, then whatever is left, in order; written out."""
    chosen = [False] * len(success)
    for prompt in set(owner):
        mine = [i for i, o in enumerate(owner) if o == prompt]
        right, wrong = [i for i in mine if success[i]], [i for i in mine if not success[i]]
        number = min(len(right), max(size // 2, size - len(wrong)))
        for i in right[:number] + wrong[: size - number]:
            chosen[i] = True
    return chosen


@pytest.mark.parametrize("size", [4, 5, 8])
def test_the_choice_from_a_pool_against_a_loop(size):
    rng = random.Random(size)
    owner = [prompt for _ in range(3) for prompt in range(6) for _ in range(size)]
    success = [rng.random() < owner[i] / 5 for i in range(len(owner))]
    right, where = torch.tensor(success), torch.tensor(owner)
    found = choose(right, ~right, where, size)
    assert found.tolist() == by_loop(success, owner, size)
    assert torch.bincount(where[found]).tolist() == [size] * 6


def test_rollouts_without_a_verdict_only_fill_up_a_pool():
    """Prompt 0: two right, six unjudged; prompt 1: none judged; prompt 2: two right, two wrong after two unjudged."""
    verdicts = ["+?+?????", "????????", "??++--++"]
    right, wrong = (torch.tensor([v == kind for own in verdicts for v in own]) for kind in "+-")
    owner = torch.arange(3).repeat_interleave(8)
    assert unfinished(right, wrong, owner, 4) == [0]
    assert balanced(right, wrong, owner, 4).tolist() == [False, False, True]
    found = choose(right, wrong, owner, 4).view(3, 8)
    assert found[0].tolist() == [True, True, True, True, False, False, False, False]
    assert found[1].tolist() == [True] * 4 + [False] * 4
    assert found[2].tolist() == [False, False, True, True, True, True, False, False]


def test_a_pools_mean_and_std():
    rewards = torch.tensor([1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.9, 0.9, 0.9, NAN])
    owner = torch.tensor([0, 0, 0, 0, 0, 0, 1, 1, 1, 1])
    found = pool_advantages(rewards, owner, scale=True)
    std = float(rewards[:6].std())
    assert found[:6].tolist() == pytest.approx([(2 / 3) / (std + 1e-4)] * 2 + [(-1 / 3) / (std + 1e-4)] * 4)
    assert found[6:].tolist() == [0.0] * 4  # equal rewards: exactly 0
    assert pool_advantages(rewards, owner, scale=False)[0] == pytest.approx(2 / 3)

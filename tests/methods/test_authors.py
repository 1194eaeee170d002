"""Methods beside their authors' functions: advantages, counts and choices against numbers that those computed."""

from __future__ import annotations

import math
import random

import pytest
import torch

from echorl.methods import load_method
from echorl.methods.exgrpo import bucket_weights, draw_prompts
from echorl.methods.reinforce_ada import choose, pool_advantages, unfinished
from echorl.methods.saturated_learning import SaturatedLearning
from echorl.methods.spo import SPO
from tests.methods.batches import group_relative, make_batch
from tests.methods.reference import read_reference

# -- SPO ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["without", "with_offline"])
def test_spos_rates_and_advantages_over_three_visits(name):
    """Prompts that are always right, always wrong, and mixed."""
    reference = read_reference("spo")
    inputs, results = reference["inputs"], reference["results"][name]
    method = SPO(decay=inputs["decay"], offline_weight=inputs["offline_weight"])
    counts = [method.before()] * 3
    if name == "with_offline":
        counts = [method.before(sum(own), len(own) - sum(own)) for own in inputs["offline"]]
    for verdicts, expected in zip(inputs["verdicts"], results, strict=True):
        batch = make_batch([float(verdict) for own in verdicts for verdict in own], size=8)
        rates = torch.tensor([a / (a + c) for a, c in counts])
        assert rates.tolist() == pytest.approx(expected["rates"], rel=1e-5)
        advantages = method.against(rates[batch.groups.index], batch)
        assert advantages.tolist() == pytest.approx(expected["advantages"], rel=1e-4, abs=1e-6)
        scaled = (advantages - advantages.mean()) / advantages.std()
        assert scaled.tolist() == pytest.approx(expected["normalised"], rel=1e-4, abs=1e-5)
        counts = [
            method.after(before, sum(own), len(own) - sum(own)) for before, own in zip(counts, verdicts, strict=True)
        ]


@pytest.mark.parametrize(("before", "expected"), [((), (0.5, 0.051, 0.025)), ((8, 0), (0.056, 0.026, 0.017))])
def test_a_prompt_that_is_always_right_keeps_a_small_positive_advantage(before, expected):
    method = SPO()
    counts, found = method.before(*before), []
    for _ in expected:
        found.append(1 - counts[0] / sum(counts))
        counts = method.after(counts, 8, 0)
    assert found == pytest.approx(expected, abs=5e-4)


def test_without_a_prior_the_first_visit_has_no_rate_and_the_next_no_advantage():
    method = SPO(prior=0.0)
    assert method.before() == (0.0, 0.0)
    a, c = method.after(method.before(), 8, 0)
    batch = make_batch([1.0] * 8, size=8)
    assert not method.against(torch.full((8,), a / (a + c)), batch).any()
    assert method.before(2, 6) == (2.0, 6.0)


# -- W-REINFORCE ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("weight", ["0", "0.1"])
def test_w_reinforces_rows_and_advantages(weight):
    reference = read_reference("w_reinforce")
    expected, batch = reference["results"][weight], make_batch(reference["inputs"]["rewards"])
    method = load_method("w_reinforce", {"weight": float(weight)})
    kept = ~method.excluded(batch)
    assert kept.nonzero().flatten().tolist() == expected["rows"]
    advantages = method.advantages(group_relative(batch), batch)[kept]
    assert advantages.tolist() == pytest.approx(expected["advantages"])
    assert method.excludes == (weight == "0")


def test_at_weight_0_only_failures_stay():
    batch = make_batch([1.0, 0.0, math.nan, 1.0])
    assert load_method("w_reinforce", {"weight": 0.0}).excluded(batch).tolist() == [True, False, True, True]
    assert not load_method("w_reinforce").excluded(batch).any()


# -- UFT ------------------------------------------------------------------------------------------------------------


def test_ufts_advantages_are_grpos():
    """Ours adds 1e-4 to the std, theirs 1e-6."""
    reference = read_reference("uft")
    batch = make_batch(reference["inputs"]["rewards"])
    assert group_relative(batch).tolist() == pytest.approx(reference["results"]["advantages"], rel=2e-4)


# -- Reinforce-Ada --------------------------------------------------------------------------------------------------


def pools(case: dict) -> tuple[torch.Tensor, torch.Tensor]:
    """Rewards and owners of all rollouts, in the order in which our rounds sample them."""
    asked, rewards, owner = [0] * len(case["rewards"]), [], []
    active = list(range(len(asked)))
    for _ in range(case["max_rounds"]):
        for prompt in active:
            rewards += case["rewards"][prompt][asked[prompt] :][: case["per_round"]]
            owner += [prompt] * case["per_round"]
            asked[prompt] += case["per_round"]
        right, where = torch.tensor(rewards) == 1, torch.tensor(owner)
        active = unfinished(right, ~right, where, case["keep"])
    assert asked == case["sampled"]
    return torch.tensor(rewards, dtype=torch.float32), torch.tensor(owner)


@pytest.mark.parametrize("name", ["keeps_5_rounds_of_5", "keeps_4_rounds_of_8"])
def test_reinforce_adas_rounds_choice_and_advantages(name):
    case = read_reference("reinforce_ada")["results"][name]
    rewards, owner = pools(case)
    chosen = choose(rewards == 1, rewards == 0, owner, case["keep"])
    for scale, kind, precision in ((False, "without_std", 1e-5), (True, "with_std", 1e-3)):  # stds + 1e-4 and + 1e-6
        advantages = pool_advantages(rewards, owner, scale=scale)
        for prompt, places in enumerate(case["chosen"]):
            own = owner == prompt
            assert chosen[own].nonzero().flatten().tolist() == places
            expected = case["advantages"][kind][prompt]
            assert advantages[own][chosen[own]].tolist() == pytest.approx(expected, rel=precision, abs=1e-6)


# -- ExGRPO ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["sparse", "far"])
def test_exgrpos_buckets_and_draws(name):
    """Prompts of a full bucket go to the others: 4000 draws of ours beside 20000 of theirs."""
    case = read_reference("exgrpo")["results"]["draws"][name]
    counts = [int(count) for count in case["buckets"]]
    assert bucket_weights(counts, 8) == pytest.approx(list(case["probabilities"].values()), rel=1e-6)
    successes = {key: int(count) for count, keys in case["buckets"].items() for key in keys}
    rng, total = random.Random(0), dict.fromkeys(counts, 0)
    for _ in range(4000):
        drawn = draw_prompts(successes, 8, 3, rng)
        assert len(set(drawn)) == 3
        for key in drawn:
            total[successes[key]] += 1
    means = [total[count] / 4000 for count in counts]
    assert means == pytest.approx(list(case["mean_counts_of_3"].values()), abs=0.02)


# -- Saturated learning ---------------------------------------------------------------------------------------------


def test_saturated_learnings_scores_pairs_and_rrhf():
    """Loss and gradient as the mean over the two solved prompts; nothing of the others."""
    reference = read_reference("saturated_learning")
    inputs, results = reference["inputs"], reference["results"]
    batch, lengths = make_batch(inputs["rewards"]), torch.tensor(inputs["response_lengths"])
    ids, logits = torch.tensor(inputs["token_ids"]), torch.tensor(inputs["logits"]).requires_grad_()
    mask = torch.arange(ids.shape[1]) < lengths.unsqueeze(1)
    entropy = (torch.tensor(inputs["entropies"]) * mask).sum(1) / lengths
    assert (1 / entropy[batch.all_success]).tolist() == pytest.approx(results["scores"], rel=1e-5)

    logp = logits.log_softmax(-1).gather(-1, ids.unsqueeze(-1)).squeeze(-1) * mask
    weights = SaturatedLearning().rollout_weights(entropy, torch.zeros(16), batch)
    loss = -(weights * logp.sum(1) / lengths).sum() / 2
    loss.backward()
    assert loss.item() == pytest.approx(results["loss"], rel=1e-6)
    assert torch.allclose(logits.grad, torch.tensor(results["gradient"]), atol=1e-6)

    weights = SaturatedLearning(loss="dpo").rollout_weights(entropy, torch.zeros(16), batch)
    assert (weights == 2.5).nonzero().flatten().tolist() == [best for best, _ in results["pairs"]]
    assert (weights == -2.5).nonzero().flatten().tolist() == [worst for _, worst in results["pairs"]]
    assert (weights != 0).sum() == 4

"""Methods beside their authors' functions: advantages, counts and choices against numbers that those computed."""

from __future__ import annotations

import itertools
import math
import random

import pytest
import torch

from echorl.methods import avspo, load_method
from echorl.methods.added_failures import AddedFailures
from echorl.methods.exgrpo import bucket_weights, draw_prompts
from echorl.methods.greso import GRESO
from echorl.methods.judging import count_wins, read_judgement
from echorl.methods.mixed_cuts import MixedCUTS, uniform_candidates
from echorl.methods.negative_rollouts import replaced_rows
from echorl.methods.reinforce_ada import choose, pool_advantages, unfinished
from echorl.methods.saturated_learning import SaturatedLearning, certainty
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


# -- GRESO ----------------------------------------------------------------------------------------------------------


def test_gresos_probabilities_of_a_visit_after_a_history():
    reference = read_reference("greso")
    kinds = {8: "all_success", 0: "all_fail"}
    for result in reference["results"]["skips"]:
        p = {"all_success": result["p_easy"], "all_fail": result["p_hard"]}
        for visits, skipped in zip(reference["inputs"]["histories"], result["skipped_of_100"], strict=True):
            history = None
            for number in visits:
                history = GRESO().after(history, kinds.get(number))
            chance = GRESO().visit_probability(p[history[0]], history[1]) if history else 1.0
            assert sum(0.005 + 0.01 * place < 1 - chance for place in range(100)) == skipped


def test_gresos_adaptation():
    for case in read_reference("greso")["results"]["adaptation"]:
        *numbers, groups = case["groups"]
        method = GRESO(target=case["target"])
        kinds = zip(("all_success", "all_fail"), case["p"], numbers, strict=True)
        found = [method.adapted(p, kind, number, groups) for kind, p, number in kinds]
        assert found == pytest.approx(case["adapted"])


# -- Mixed-CUTS ------------------------------------------------------------------------------------------------------


def test_mixed_cuts_candidates_and_split_of_a_group():
    reference = read_reference("mixed_cuts")
    logits = torch.tensor(reference["inputs"]["logits"])
    for name, expected in reference["results"]["candidates"].items():
        top_k, threshold, _ = name.split(", ")
        uniform = uniform_candidates(logits, int(top_k), float(threshold))
        assert [(row == 0).nonzero().flatten().tolist() for row in uniform] == expected
        assert uniform[uniform != 0].isneginf().all()
    for size, numbers in reference["results"]["usual_rollouts"].items():
        shares = (0.0, 0.25, 0.5, 0.75, 1.0)
        assert [int(size) - MixedCUTS(share=share).num_uniform(int(size)) for share in shares] == numbers


# -- UFT ------------------------------------------------------------------------------------------------------------


def test_ufts_advantages_are_grpos():
    """Ours adds 1e-4 to the std, theirs 1e-6."""
    reference = read_reference("uft")
    batch = make_batch(reference["inputs"]["rewards"])
    assert group_relative(batch).tolist() == pytest.approx(reference["results"]["advantages"], rel=2e-4)


# -- added failures, negative rollouts -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["0", "1", "4", "8", "drawn"])
def test_added_failures_advantages(monkeypatch, name):
    """Groups that are all right, all wrong and mixed, with their 1e-6 beside the std in place of TRL's 1e-4."""
    monkeypatch.setattr(avspo, "EPSILON", 1e-6)
    reference = read_reference("saturated_rl")
    expected = reference["results"]["zeros"][name]
    batch = make_batch(reference["inputs"]["rewards"], size=8)
    base, counts = group_relative(batch, 1e-6), torch.tensor(expected["counts"])
    advantages = AddedFailures().with_zeros(base, batch, counts)
    assert advantages.tolist() == pytest.approx(expected["advantages"], rel=1e-6, abs=1e-6)
    if name != "drawn":
        assert torch.equal(AddedFailures(zero_rewards=int(name)).advantages(base, batch), advantages)


@pytest.mark.parametrize("case", [0, 1])
def test_negative_rollouts_places_and_advantages(case):
    expected = read_reference("saturated_rl")["results"]["replacement"][case]
    size, wrong = expected["size"], [not right for right in expected["attempts_right"]]
    groups = [prompt[0] for prompt in expected["prompts"] for _ in range(expected["attempts"])]
    assert sorted(set(groups)) == [group for group, kind in enumerate(expected["kinds"]) if kind == "+"]
    places = replaced_rows(groups, wrong, size, expected["attempts"])
    rows = range(len(expected["responses"]))
    assert [1000 + places[row] if row in places else row for row in rows] == expected["responses"]
    batch = make_batch([0.0 if row in places else expected["rewards"][row] for row in rows], size=size)
    assert batch.rewards.tolist() == expected["rewards"]
    assert group_relative(batch, 1e-6).tolist() == pytest.approx(expected["advantages"], rel=1e-6, abs=1e-6)


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
    weights = SaturatedLearning().rollout_weights(certainty(entropy), torch.zeros(16), batch)
    loss = -(weights * logp.sum(1) / lengths).sum() / 2
    loss.backward()
    assert loss.item() == pytest.approx(results["loss"], rel=1e-6)
    assert torch.allclose(logits.grad, torch.tensor(results["gradient"]), atol=1e-6)

    weights = SaturatedLearning(loss="dpo").rollout_weights(certainty(entropy), torch.zeros(16), batch)
    assert (weights == 2.5).nonzero().flatten().tolist() == [best for best, _ in results["pairs"]]
    assert (weights == -2.5).nonzero().flatten().tolist() == [worst for _, worst in results["pairs"]]
    assert (weights != 0).sum() == 4


def test_saturated_learnings_wins_by_the_policys_judgement():
    """Theirs also compares the right rollouts of mixed groups, and gives a single one 1 without a comparison."""
    reference = read_reference("saturated_learning")["results"]["judgements"]
    answers = iter(reference["answers"])
    for kinds, scores in zip(reference["kinds"], reference["scores"], strict=True):
        pairs = itertools.combinations([row for row, right in enumerate(kinds) if right], 2)
        wins = count_wins({pair: read_judgement(next(answers)) for pair in pairs})
        if sum(kinds) != 1:
            assert scores == [wins.get(row, 0.0) for row in range(4)]
    assert next(answers, None) is None
    for text, theirs in zip(reference["texts"], reference["parsed"], strict=True):
        assert theirs in (None, read_judgement(text))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Judgment: [2]", None),
        ("Judgment: [10]", None),
        ("Judgment: [0.5]", None),
        ("judgment is hard. 0", None),
        ('End with "Judgment: [0]" or "Judgment: [1]".', None),
        ("Judgment:\n\n1. Solution 0 is short.", None),
        ("Judgement: **1**", 1),
        ("**Judgment:**\n\n**[1]**", 1),
        ("Both hold.\n### Final Judgment: [0]\n", 0),
    ],
)
def test_a_judgement_names_one_of_two(text, expected):
    assert read_judgement(text) == expected

"""Mixed-CUTS: half of a group sampled uniformly from candidates, and learned from as the policy's."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from tests.trl.by_hand import closest, gradient_of, logps_and_entropies, train_and_keep
from tests.trl.scripted import Script, same
from tests.trl.test_sources import entropies_of
from tests.trl.tiny import build, make_model, run

OPTIONS = {"top_k": 3, "min_probability": 0.02, "first_tokens": 2}


def first_batch(tmp_path, **changes):
    """The trainer, the batch as the loss sees it (not shuffled), and the gradient of its first step."""
    own = {"echo_coef": 0.0, "max_steps": 1, "method_options": OPTIONS, **changes}
    trainer = build(tmp_path, Script("m+-m"), method="mixed_cuts", **own)
    (batch, *_), (gradient, *_) = train_and_keep(trainer)
    return trainer, batch, gradient


def log_policy(batch, model=None):
    """log pi over the vocabulary [B, T, V] at each completion token."""
    ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], 1)
    mask = torch.cat([batch["prompt_mask"], batch["completion_mask"]], 1)
    places = (mask.cumsum(1) - 1).clamp(min=0)
    with torch.no_grad():
        logits = (model or make_model())(input_ids=ids, attention_mask=mask, position_ids=places).logits
    return logits[:, batch["prompt_ids"].shape[1] - 1 : -1].log_softmax(-1)


def test_half_of_each_group_is_drawn_from_the_candidates(tmp_path):
    trainer, batch, _ = first_batch(tmp_path)
    policy, ids, mask = log_policy(batch), batch["completion_ids"], batch["completion_mask"].bool()
    sampled = policy.gather(2, ids.unsqueeze(2))
    rank = (policy > sampled).sum(2)
    uniform = torch.arange(16) % 4 >= 2
    later = mask & (torch.arange(ids.shape[1]) >= OPTIONS["first_tokens"])
    probable = (policy.exp() >= OPTIONS["min_probability"]).any(2)
    allowed = (rank < OPTIONS["top_k"]) & (~probable | (sampled.squeeze(2).exp() >= OPTIONS["min_probability"]))
    assert allowed[uniform][later[uniform]].all()
    assert not allowed[~uniform][later[~uniform]].all()
    log = trainer.state.log_history[0]
    assert (log["method/usual_reward"], log["method/uniform_reward"]) == (0.5, 0.5)
    assert "_get_logits_processor" not in vars(trainer.model)


def test_without_a_share_or_within_the_first_tokens_it_is_grpo_bit_for_bit(tmp_path):
    changes = dict(echo_coef=0.0, max_steps=2)
    grpo = run(tmp_path, Script("m+-m"), method="grpo", **changes)
    for options in ({"share": 0.0}, {"first_tokens": 16}):
        one = run(tmp_path, Script("m+-m"), method="mixed_cuts", method_options=options, **changes)
        assert same(one, grpo)
        assert one[2] == grpo[2]


def test_the_gradient_is_grpos_on_all_rollouts(tmp_path):
    """With the policy's own log-probs: the ratio is 1, whatever distribution a token was drawn from."""
    _, batch, gradient = first_batch(tmp_path)
    model = make_model()
    logp, _ = logps_and_entropies(model, batch)
    mask = batch["completion_mask"]
    per_rollout = ((logp - logp.detach()).exp() * batch["advantages"].unsqueeze(1) * mask).sum(1) / mask.sum(1)
    assert closest(gradient_of(model, -per_rollout.mean()), gradient) < 1e-5


def test_old_log_probs_are_the_policys(tmp_path):
    _, batch, _ = first_batch(tmp_path, num_iterations=2, learning_rate=0.0)
    logp, _ = logps_and_entropies(make_model(), batch)
    mask = batch["completion_mask"].bool()
    assert torch.allclose(batch["old_per_token_logps"][mask], logp.detach()[mask], atol=1e-5)


def test_recorded_entropies_are_the_policys(tmp_path, monkeypatch):
    changes = dict(method_options=OPTIONS, echo_coef=0.1, max_steps=1)
    trainer = build(tmp_path, Script("m+-m"), method="mixed_cuts", **changes)
    entropy, name, _, batch = entropies_of(trainer, monkeypatch)
    _, expected = logps_and_entropies(make_model(), batch)
    mask = batch["completion_mask"].bool()
    assert name == "recorder"
    assert torch.allclose(entropy[mask], expected[mask], atol=1e-5)


def test_same_gradient_at_every_micro_batch(tmp_path):
    gradients = [
        first_batch(tmp_path, echo_coef=1.0, per_device_train_batch_size=size, gradient_accumulation_steps=16 // size)[
            2
        ]
        for size in (16, 2)
    ]
    assert closest(*gradients) < 1e-5


def test_rows_are_told_by_their_place_among_all_processes(tmp_path):
    """Six rows a process, groups of four: the second group lies on both."""
    trainer = build(tmp_path, method="mixed_cuts")
    found = []
    for rank in (0, 1):
        comm = SimpleNamespace(rank=rank, num_ranks=2)
        plan = trainer.stations.hooks.plan([{}] * 6, replace(trainer.context, comm=comm))
        found.append(plan.processors[0].rows)
    assert found == [[2, 3], [0, 1, 4, 5]]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(generation_kwargs={"num_beams": 2}), r"generation_kwargs\['num_beams'\] \(sample without beams\)"),
        (dict(generation_kwargs={"prompt_lookup_num_tokens": 2}), r"generation_kwargs\['prompt_lookup_num_tokens'\]"),
        (dict(rollout_func=lambda prompts, trainer: {}), "a rollout_func, which samples by itself"),
    ],
)
def test_what_cannot_sample_rows_in_different_ways_is_refused(tmp_path, changes, message):
    with pytest.raises(ValueError, match=f"method='mixed_cuts' samples rows .* cannot be combined with {message}"):
        build(tmp_path, method="mixed_cuts", **changes)

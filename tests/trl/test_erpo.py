"""ERPO: temperatures that rise with a prompt's all-success visits."""

from __future__ import annotations

import pytest
import torch

from echorl.trl.methods.erpo import DividedLogits
from tests.trl.by_hand import closest, gradient_of, logps_and_entropies, train_and_keep
from tests.trl.scripted import Script, same
from tests.trl.tiny import build, make_dataset, make_model, run

OWN = dict(method="erpo", echo_coef=0.0, dataset=make_dataset(4))
"""Four prompts, so that every batch visits each of them."""


def test_rows_are_sampled_at_their_prompts_temperature():
    logits = torch.randn(3, 7, generator=torch.Generator().manual_seed(0))
    divided = DividedLogits([1.0, 2.0, 1.5])(torch.zeros(3, 1), logits)
    assert torch.equal(divided, logits / torch.tensor([[1.0], [2.0], [1.5]]))


def test_the_temperature_rises_with_all_success_visits_up_to_the_highest(tmp_path):
    """By a quarter from 0.5 on; all are right, then all but a half of the prompts, then all."""

    def by_visit(number, **_):
        visits.append(number)
        return [float(len(visits) != 2 or n < 2 or i % 2) for i, n in enumerate(number)]

    visits, plans = [], []
    options = {"step": 0.25, "highest": 1.0}
    trainer = build(tmp_path, by_visit, method_options=options, temperature=0.5, max_steps=4, **OWN)
    make = trainer.stations.hooks.plan

    def plan(rows, context):
        plans.append((make(rows, context), [row["number"] for row in rows]))
        return plans[-1][0]

    trainer.stations.hooks.plan = plan
    trainer.train()
    assert plans[0][0].processors == []
    found = []
    for made, numbers in plans[1:]:
        divisors = dict(zip(numbers, made.processors[0].divisors, strict=True))
        found.append([divisors[number] for number in range(4)])
    assert found == [[1.5] * 4, [2.0, 2.0, 1.5, 1.5], [2.0] * 4]
    log = trainer.state.log_history
    assert [entry["method/hotter"] for entry in log[:4]] == [0.0, 1.0, 1.0, 1.0]
    assert [entry["method/temperature"] for entry in log[1:4]] == [0.75, 0.875, 1.0]


@pytest.mark.parametrize("options", [{"step": 0.0}, {"highest": 0.9}])
def test_without_a_rise_it_is_grpo_bit_for_bit(tmp_path, options):
    grpo, erpo = (
        run(tmp_path, Script("++++", "m+-m"), **{**OWN, "method": method, "method_options": own}, max_steps=2)
        for method, own in (("grpo", {}), ("erpo", options))
    )
    assert same(erpo, grpo)
    assert erpo[2] == grpo[2]


def test_ratios_and_log_probs_are_those_at_the_trainers_temperature(tmp_path):
    """The second batch is sampled hotter; its old log-probs, and its gradient, are the policy's."""
    changes = dict(method_options={"step": 1.0, "highest": 2.0}, learning_rate=0.0)
    trainer = build(tmp_path, Script("++++", "mmmm"), max_steps=3, num_iterations=2, **changes, **OWN)
    (_, batch), (*_, gradient) = train_and_keep(trainer)
    model = make_model()
    assert trainer.state.log_history[2]["method/temperature"] == 2.0
    logp, _ = logps_and_entropies(model, batch)
    mask = batch["completion_mask"]
    assert torch.allclose(batch["old_per_token_logps"] * mask, logp.detach() * mask, atol=1e-5)
    per_rollout = ((logp - logp.detach()).exp() * batch["advantages"].unsqueeze(1) * mask).sum(1) / mask.sum(1)
    assert closest(gradient_of(model, -per_rollout.mean()), gradient) < 1e-5


def test_a_resumed_run_goes_on_with_the_counts(tmp_path):
    def by_prompt(number, **_):
        return [float(n < 2 or i % 2) for i, n in enumerate(number)]

    changes = dict(OWN, echo_coef=0.1, max_steps=4, save_strategy="steps", save_steps=2)
    whole, *_, weights = run(tmp_path, by_prompt, **changes)
    resumed = build(tmp_path, by_prompt, **changes)
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
    assert all(torch.equal(weights[name], p) for name, p in resumed.model.named_parameters())
    assert resumed.stations.hooks.entries == whole.stations.hooks.entries
    assert list(whole.stations.hooks.entries.values()) == [4, 4]


def test_beams_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"method='erpo' samples rows .* with generation_kwargs\['num_beams'\]"):
        build(tmp_path, generation_kwargs={"num_beams": 2}, **OWN)

"""Losses beside their authors' functions: loss and gradient by logits against numbers that those computed."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from trl import GRPOTrainer

from echorl.trl import EchoGRPOTrainer
from echorl.trl.batch import Capture, Demonstration, Plan
from echorl.trl.methods.exgrpo import ReplayPlan
from echorl.trl.pipeline import process
from tests.methods.reference import read_reference
from tests.trl.test_methods import worked
from tests.trl.tiny import build

ROWS = 12


def trainer_of(folder, **changes) -> EchoGRPOTrainer:
    """A trainer whose micro-batch is a whole generation batch of three groups of four."""
    own = dict(per_device_train_batch_size=ROWS, gradient_accumulation_steps=1, echo_coef=0.0, loss_type="dapo")
    trainer = build(folder, dataset=worked(), **{**own, **changes})
    trainer.model.train()
    trainer.current_gradient_accumulation_steps, trainer._echo_training = 1, True
    return trainer


def make_out(inputs: dict[str, Any], hint_lengths: list[int]) -> dict[str, Tensor]:
    """TRL's batch: completions of hint and response; `advantages` are still to be written."""
    ids = torch.tensor(inputs["token_ids"])
    place = torch.arange(ids.shape[1])
    hints = torch.tensor(hint_lengths).unsqueeze(1)
    ends = hints + torch.tensor(inputs["response_lengths"]).unsqueeze(1)
    mask, own = (place < ends).long(), ((place >= hints) & (place < ends)).long()
    return {
        "prompt_ids": torch.ones(ROWS, 1, dtype=torch.long),
        "prompt_mask": torch.ones(ROWS, 1, dtype=torch.long),
        "completion_ids": ids,
        "completion_mask": mask,
        "tool_mask": own + (1 - mask),
        "old_per_token_logps": torch.tensor(inputs["old_logps"]),
        "num_items_in_batch": own.sum(),
        "advantages": torch.zeros(ROWS),
    }


def annotate(
    trainer: EchoGRPOTrainer,
    out: dict[str, Any],
    rewards: list[float],
    prefixes: list[list[int]] | None = None,
    plan: Plan | None = None,
) -> None:
    lengths = out["completion_mask"].sum(1).tolist()
    plan = Plan(prefixes=prefixes) if plan is None else plan
    capture = Capture(plan=plan, rewards=torch.tensor(rewards).unsqueeze(1), num_sampled=lengths)
    process(out, capture, trainer.stations, trainer.context)


def loss_and_gradient(trainer, out, inputs, monkeypatch) -> tuple[float, Tensor]:
    """Of the trainer's loss, by the logits of `inputs` in place of the model's."""
    logits = torch.tensor(inputs["logits"]).requires_grad_()
    logps = logits.log_softmax(-1)
    entropies, logps = -(logps.exp() * logps).sum(-1), logps.gather(-1, out["completion_ids"].unsqueeze(-1)).squeeze(-1)
    monkeypatch.setattr(GRPOTrainer, "_get_per_token_logps_and_entropies", lambda *a, **k: (logps, entropies, None))
    loss = trainer._compute_loss(trainer.model, out)
    loss.backward()
    return float(loss.detach()), logits.grad


def test_ufts_loss_and_gradient(tmp_path, monkeypatch):
    """The clipped policy loss, k3 as it is, the bonus and the hints' NLL, as token means of one micro-batch."""
    reference = read_reference("uft")
    inputs, results = reference["inputs"], reference["results"]
    options = {"beta": 0.0, "hint_weight": inputs["hint_weight"]}
    trainer = trainer_of(tmp_path, method="uft", method_options=options, entropy_coef=inputs["entropy_coef"])
    trainer.beta = inputs["kl_coef"]  # here, since the reference model would have to lie on the disk
    out = make_out(inputs, inputs["hint_lengths"])
    prefixes = [row[:n] for row, n in zip(inputs["token_ids"], inputs["hint_lengths"], strict=True)]
    annotate(trainer, out, inputs["rewards"], prefixes)
    out |= {"advantages": torch.tensor(results["advantages"]), "ref_per_token_logps": torch.tensor(inputs["ref_logps"])}
    loss, gradient = loss_and_gradient(trainer, out, inputs, monkeypatch)
    assert loss == pytest.approx(results["loss"], rel=1e-5)
    assert torch.allclose(gradient, torch.tensor(results["gradient"]), atol=1e-6)
    trainer.args.use_bias_correction_kl = True  # TRL's default is something else
    _, gradient = loss_and_gradient(trainer, out, inputs, monkeypatch)
    assert not torch.allclose(gradient, torch.tensor(results["gradient"]), atol=1e-2)


@pytest.mark.parametrize("weight", ["0", "0.1"])
def test_w_reinforces_loss_and_gradient(tmp_path, monkeypatch, weight):
    """At weight 0 nothing of a success is left, in the bonus neither."""
    reference = read_reference("w_reinforce")
    inputs, results = reference["inputs"], reference["results"][weight]
    options, bonus = {"weight": float(weight)}, inputs["entropy_coef"]
    trainer = trainer_of(tmp_path, method="w_reinforce", method_options=options, entropy_coef=bonus)
    out = make_out(inputs, [0] * ROWS)
    annotate(trainer, out, inputs["rewards"])
    loss, gradient = loss_and_gradient(trainer, out, inputs, monkeypatch)
    assert loss == pytest.approx(results["loss"], rel=1e-5)
    assert torch.allclose(gradient, torch.tensor(results["gradient"]), atol=1e-6)


def test_exgrpos_loss_and_gradient(tmp_path, monkeypatch):
    """Without clips; theirs is a sum over the tokens divided by their 6 places, ours by 12 rows of 16."""
    reference = read_reference("exgrpo")
    inputs, results = reference["inputs"], reference["results"]
    trainer = trainer_of(tmp_path, method="exgrpo", loss_type="dr_grpo", entropy_coef=0.0)
    out = make_out(inputs, [0] * ROWS)
    out["advantages"] = torch.tensor(results["advantages"])
    rows = inputs["replayed"]
    plan = ReplayPlan(
        keys=[0, 1, 2],
        demonstrations={row: Demonstration("", inputs["token_ids"][row]) for row in rows},
        logps={row: torch.tensor(inputs["old_logps"][row]) for row in rows},
    )
    annotate(trainer, out, inputs["rewards"], plan=plan)
    loss, gradient = loss_and_gradient(trainer, out, inputs, monkeypatch)
    scale = ROWS * 16 / 6
    assert loss * scale == pytest.approx(results["loss"], rel=1e-6)
    assert torch.allclose(gradient * scale, torch.tensor(results["gradient"]), atol=1e-6)

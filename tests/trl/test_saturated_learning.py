"""The preference among the right rollouts of solved prompts, in the trainer."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import logsigmoid

from tests.trl.by_hand import closest, gradient_of, logps_and_entropies, train_and_keep
from tests.trl.scripted import Script, same
from tests.trl.tiny import build, make_model, run

KINDS = "m+-+"
SOLVED = (slice(4, 8), slice(12, 16))


def values(options=None, **changes):
    return dict(method="saturated_learning", method_options=options or {}, echo_coef=0.0, max_steps=1, **changes)


def first_batch(tmp_path, reference=None, **changes):
    """The batch as the loss sees it, the gradient and the log of a step; beside a reference model if it is given."""
    own = values(**changes)
    if reference is not None:
        make_model().save_pretrained(tmp_path / "policy")
        own |= dict(model=type(make_model()).from_pretrained(tmp_path / "policy"), beta=0.1)
    trainer = build(tmp_path, Script(KINDS), **own)
    if reference is not None:
        trainer.ref_model.load_state_dict(reference.state_dict())
    (batch,), (gradient,) = train_and_keep(trainer)
    return batch, gradient, trainer.state.log_history[0]


def by_entropy(batch, model):
    """Log-probs, lengths, and of each solved group its rows from the lowest mean entropy to the highest."""
    logp, entropy = logps_and_entropies(model, batch)
    mask = batch["completion_mask"]
    means = (entropy.detach() * mask).sum(1) / mask.sum(1)
    orders = [(means[rows].argsort() + rows.start).tolist() for rows in SOLVED]
    return logp * mask, mask.sum(1), means, orders


def policy_term(logp, lengths, batch):
    """GRPO's, on its policy."""
    return (
        -((logp - logp.detach()).exp() * batch["completion_mask"] * batch["advantages"].unsqueeze(1)).sum(1) / lengths
    )


def test_rrhfs_gradient_by_hand(tmp_path):
    batch, gradient, log = first_batch(tmp_path)
    model = make_model()
    logp, lengths, means, orders = by_entropy(batch, model)
    p, loss = logp.sum(1) / lengths, policy_term(logp, lengths, batch).mean()
    for order in orders:
        loss = loss - p[order[0]] / 4
        for place, better in enumerate(order):
            for worse in order[place + 1 :]:
                weight = torch.sigmoid(1 / means[better] - 1 / means[worse])
                loss = loss - 0.1 * weight * (p[better] - p[worse]) / 4
    assert closest(gradient_of(model, loss), gradient) < 1e-5
    assert log["method/ranked"] == 0.5
    assert not batch["advantages"][SOLVED[0]].any()


@pytest.mark.parametrize("with_reference", [False, True])
def test_dpos_gradient_by_hand(tmp_path, with_reference):
    """What the term adds, beside the reference's KL; without a reference that of the policy itself."""
    reference = make_model(seed=1) if with_reference else None
    batch, gradient, _ = first_batch(tmp_path / "with", reference, options={"loss": "dpo", "dpo_beta": 0.5})
    _, without, _ = first_batch(tmp_path / "without", reference, options={"coef": 0.0})
    model = make_model()
    logp, _, _, orders = by_entropy(batch, model)
    other = (by_entropy(batch, reference or model)[0]).detach()
    ratio = (logp - other).sum(1)
    loss = -sum(logsigmoid(0.5 * (ratio[order[0]] - ratio[order[-1]])) for order in orders) / 4
    term = {n: gradient[n] - without[n] for n in gradient}
    assert closest(gradient_of(model, loss), term) < 1e-5


@pytest.mark.parametrize("loss", ["rrhf", "dpo"])
def test_same_gradient_at_every_micro_batch(tmp_path, loss):
    gradients = []
    for size in (16, 4, 1):
        changes = dict(per_device_train_batch_size=size, gradient_accumulation_steps=16 // size, options={"loss": loss})
        gradients.append(first_batch(tmp_path, **changes)[1])
    assert all(closest(gradients[0], other) < 1e-5 for other in gradients[1:])


@pytest.mark.parametrize(("kinds", "options"), [("m+-+", {"coef": 0.0}), ("m--m", {}), ("m--m", {"loss": "dpo"})])
def test_without_a_weight_or_a_solved_prompt_it_is_grpo_bit_for_bit(tmp_path, kinds, options):
    changes = dict(echo_coef=0.0, max_steps=2)
    one = run(tmp_path, Script(kinds, kinds), **{**values(options), **changes})
    assert same(one, run(tmp_path, Script(kinds, kinds), method="grpo", **changes))


def test_a_step_of_solved_prompts_has_a_gradient_beside_the_echos(tmp_path):
    trainer, *_ = run(tmp_path, Script("++++"), **{**values(), "echo_coef": 0.1})
    assert trainer.state.log_history[0]["echo/without_policy_gradient"] == 0.0


@pytest.mark.parametrize("changes", [{"num_iterations": 2}, {"steps_per_generation": 4}])
def test_dpo_is_refused_where_a_pair_meets_several_policies(tmp_path, changes):
    with pytest.raises(
        ValueError, match=r"take several optimiser steps of a generation batch, which loss='dpo'.*'rrhf'"
    ):
        build(tmp_path, **values({"loss": "dpo"}, **changes))
    build(tmp_path, **values(**changes))

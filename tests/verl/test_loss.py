"""The loss wrapper against the term written out by hand, over micro-batches of any size and ranks."""

from __future__ import annotations

import pickle
from functools import partial

import pytest
import torch

pytest.importorskip("verl", reason="verl is not installed: run `make test-verl`")

from verl.utils import tensordict_utils as tu
from verl.utils.metric import Metric

from echorl.verl.loss import EchoLoss
from tests.verl.batches import jagged

COEF, COUNT = 0.3, 1.5
PROMPTS, RESPONSES = [3, 2, 4, 2, 3, 1], [5, 7, 2, 6, 4, 3]


def base(model_output, data, dp_group=None):
    """Stands for verl's policy loss."""
    loss = (model_output["log_probs"].values() ** 2).sum() / 100
    return loss, {"actor/pg_loss": loss.detach()}


def make_rows():
    generator = torch.Generator().manual_seed(0)
    weights = [torch.zeros(n) for n in RESPONSES]
    weights[1][:4], weights[4][:2] = 1 / 4, 1 / 2
    lengths = [p + r for p, r in zip(PROMPTS, RESPONSES, strict=True)]
    return [-torch.rand(n, generator=generator, requires_grad=True) for n in lengths], weights


def micro_batch(logps, weights, rows, dp_size):
    data = tu.get_tensordict(
        {
            "prompts": jagged(torch.zeros(PROMPTS[i], dtype=torch.int64) for i in rows),
            "responses": jagged(torch.zeros(RESPONSES[i], dtype=torch.int64) for i in rows),
            "echo_weights": jagged(weights[i] for i in rows),
        },
        non_tensor_dict={"echo_coef": COEF, "echo_count": COUNT, "dp_size": dp_size},
    )
    return {"log_probs": torch.nested.as_nested_tensor([logps[i] for i in rows], layout=torch.jagged)}, data


def by_hand(logps, weights):
    """-(w * logp).sum() / count: the log-prob of a response's token stands one position before it."""
    total = sum(
        -(w * logp[p - 1 : p + r - 1]).sum() for logp, w, p, r in zip(logps, weights, PROMPTS, RESPONSES, strict=True)
    )
    return total / COUNT


@pytest.mark.parametrize("ranks", [[range(6)], [range(3), range(3, 6)], [[5, 0], [1, 4], [2, 3]]])
@pytest.mark.parametrize("size", [1, 2, 6])
def test_it_equals_the_term_by_hand_over_ranks_and_micro_batches(ranks, size):
    logps, weights = make_rows()
    loss, sums = EchoLoss(base), {"echo/nll": 0.0, "echo/mass": 0.0}
    total, plain = 0.0, 0.0
    for rows in map(list, ranks):
        for start in range(0, len(rows), size):  # the last one may be smaller
            output, data = micro_batch(logps, weights, rows[start : start + size], len(ranks))
            value, metrics = loss(model_output=output, data=data, dp_group=None)
            total = total + value / len(ranks)  # verl averages over ranks
            plain = plain + base(output, data)[0] / len(ranks)
            for name in sums:
                assert isinstance(metrics[name], Metric)
                sums[name] += metrics[name].aggregate() / len(ranks)
            assert "actor/pg_loss" in metrics
    wanted = by_hand(logps, weights)
    assert float((total - plain).detach()) == pytest.approx(COEF * float(wanted), rel=1e-5)
    assert sums["echo/nll"] == pytest.approx(float(wanted) * COUNT, rel=1e-5)
    assert sums["echo/mass"] == pytest.approx(2.0)


def test_the_gradient_is_that_of_the_term():
    logps, weights = make_rows()
    leaves = [row.detach().clone().requires_grad_() for row in logps]
    output, data = micro_batch(leaves, weights, range(6), 1)
    value = EchoLoss(base)(model_output=output, data=data)[0] - base(output, data)[0]
    found = torch.autograd.grad(value, leaves)
    wanted = torch.autograd.grad(COEF * by_hand(leaves, weights), leaves)
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("name", ["echo_weights", "echo_coef", "echo_count"])
def test_it_raises_where_something_is_missing(name):
    output, data = micro_batch(*make_rows(), [0, 1], 1)
    del data[name]
    with pytest.raises(RuntimeError, match=f"{name} never reached EchoRL's loss"):
        EchoLoss(base)(model_output=output, data=data)


def test_verl_s_loss_in_it_can_be_pickled():
    from verl.workers.config import FSDPActorConfig
    from verl.workers.utils.losses import ppo_loss

    config = FSDPActorConfig(strategy="fsdp2", rollout_n=4, ppo_mini_batch_size=2, ppo_micro_batch_size_per_gpu=1)
    copy = pickle.loads(pickle.dumps(EchoLoss(partial(ppo_loss, config=config))))
    assert copy.base.func is ppo_loss

"""LUFFY's loss on a trace, against -A pi / (pi + gamma) by hand."""

from __future__ import annotations

import math

import pytest
import torch

from echorl.methods.luffy import LUFFY
from echorl.methods.rl_sft import RLWithSFT


def gradient(method, logp: list[float], advantage: float) -> tuple[list[float], list[float]]:
    """Losses of the tokens and d loss / d logp."""
    tokens = torch.tensor([logp], dtype=torch.float64, requires_grad=True)
    loss = method.trace_loss(tokens, torch.tensor([[advantage]], dtype=torch.float64))
    loss.sum().backward()
    return loss[0].tolist(), tokens.grad[0].tolist()


@pytest.mark.parametrize("advantage", [0.75, -0.25])
@pytest.mark.parametrize("gamma", [0.1, 1.0])
def test_two_tokens_by_hand(advantage, gamma):
    """f = p / (p + g), d f / d log p = p g / (p + g)^2; p = 0.5 and 0.02."""
    losses, gradients = gradient(LUFFY(gamma=gamma), [math.log(0.5), math.log(0.02)], advantage)
    by_hand = [-advantage * p / (p + gamma) for p in (0.5, 0.02)]
    slopes = [-advantage * p * gamma / (p + gamma) ** 2 for p in (0.5, 0.02)]
    assert losses == pytest.approx(by_hand, rel=1e-6)
    assert gradients == pytest.approx(slopes, rel=1e-6)


def test_numbers():
    """p = 0.4, gamma = 0.1, A = 1: f = 0.8, slope 0.4 * 0.1 / 0.25 = 0.16."""
    losses, gradients = gradient(LUFFY(), [math.log(0.4)], 1.0)
    assert losses == pytest.approx([-0.8], rel=1e-6)
    assert gradients == pytest.approx([-0.16], rel=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("logp", [-60.0, -700.0, -1e9, 0.0])
def test_the_gradient_is_finite_where_pi_is_0_or_1(logp, dtype):
    tokens = torch.tensor([[logp]], dtype=dtype, requires_grad=True)
    loss = LUFFY().trace_loss(tokens, torch.ones(1, 1, dtype=dtype))
    loss.sum().backward()
    assert torch.isfinite(loss).all()
    assert torch.isfinite(tokens.grad).all()


def test_a_rare_tokens_slope_is_pi_over_gamma():
    """At logp = -60: p / gamma = e^-60 / 0.1, not 0."""
    _, gradients = gradient(LUFFY(), [-60.0], 1.0)
    assert gradients == pytest.approx([-10 * math.exp(-60.0)], rel=1e-6)


def test_shaping_favours_rare_tokens():
    """Relative to plain importance weighting (slope p), a token of probability 0.01 counts more than one of 0.9."""
    _, slopes = gradient(LUFFY(), [math.log(0.01), math.log(0.9)], 1.0)
    assert slopes[0] / 0.01 < slopes[1] / 0.9 < 0


def test_rl_with_sft_is_the_nll_whatever_the_advantage():
    losses, gradients = gradient(RLWithSFT(weight=0.5), [-1.0, -3.0], -7.0)
    assert losses == [0.5, 1.5]
    assert gradients == [-0.5, -0.5]

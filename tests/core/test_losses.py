from __future__ import annotations

import math

import pytest
import torch

from echorl import as_advantages, echo_loss, mine_echo_clips

NUM_PROMPTS = 4


def batch(device: str = "cpu") -> tuple[torch.Tensor, torch.Tensor]:
    """Log-probabilities [8, 6] and real clip weights."""
    generator = torch.Generator().manual_seed(0)
    step_ids = torch.randint(0, 4, (8, 6), generator=generator).sort(1).values
    entropy = torch.rand(8, 6, generator=generator)
    success = torch.tensor([True, True, False, True, False, False, True, True])
    weights = mine_echo_clips(entropy, step_ids, success, torch.arange(8) // 2).weights
    logp = -torch.rand(8, 6, generator=generator) * 3
    return logp.to(device).requires_grad_(), weights.to(device)


def gradient(loss: torch.Tensor, logp: torch.Tensor) -> torch.Tensor:
    return torch.autograd.grad(loss, logp)[0]


def test_echo_loss_is_the_equation(device: str) -> None:
    logp, weights = batch(device)
    loss = echo_loss(logp, weights, num_prompts=NUM_PROMPTS)
    terms = [w * p for row_w, row_p in zip(weights.tolist(), logp.tolist(), strict=True) for w, p in zip(row_w, row_p)]  # noqa: B905
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(-sum(terms) / NUM_PROMPTS, rel=1e-6)
    torch.testing.assert_close(gradient(loss, logp), -weights / NUM_PROMPTS)


def test_it_does_not_feel_padding_order_or_micro_batches(device: str) -> None:
    logp, weights = batch(device)
    whole = echo_loss(logp, weights, num_prompts=NUM_PROMPTS)
    padded = echo_loss(
        torch.nn.functional.pad(logp, (3, 5), value=-7.0), torch.nn.functional.pad(weights, (3, 5)), num_prompts=4
    )
    order = torch.randperm(8, generator=torch.Generator().manual_seed(1)).to(device)
    shuffled = echo_loss(logp[order], weights[order], num_prompts=NUM_PROMPTS)
    torch.testing.assert_close(torch.stack([padded, shuffled]), whole.expand(2))
    for size in (1, 2, 3, 8):
        parts = zip(logp.split(size), weights.split(size), strict=True)
        total = sum(echo_loss(p, w, num_prompts=NUM_PROMPTS) for p, w in parts)
        torch.testing.assert_close(total, whole)
        torch.testing.assert_close(gradient(total, logp), gradient(whole, logp))
        whole = echo_loss(logp, weights, num_prompts=NUM_PROMPTS)


@pytest.mark.parametrize("junk", [math.nan, -math.inf, math.inf])
def test_what_has_no_weight_does_not_matter(junk: float) -> None:
    logp, weights = batch()
    dirty = torch.where(weights == 0, junk, logp.detach()).requires_grad_()
    loss = echo_loss(dirty, weights, num_prompts=NUM_PROMPTS)
    torch.testing.assert_close(loss, echo_loss(logp, weights, num_prompts=NUM_PROMPTS))
    assert gradient(loss, dirty).isfinite().all()


def test_without_any_weight_it_is_zero_with_a_zero_gradient() -> None:
    logp, weights = batch()
    loss = echo_loss(logp, torch.zeros_like(weights), num_prompts=NUM_PROMPTS)
    assert loss.item() == 0
    assert torch.equal(gradient(loss, logp), torch.zeros_like(logp))


def test_half_precision_is_summed_in_float32() -> None:
    logp = torch.full((1, 4096), -1.0, dtype=torch.bfloat16)
    for weights in (torch.ones(1, 4096), torch.ones(1, 4096, dtype=torch.bfloat16)):
        loss = echo_loss(logp, weights, num_prompts=1)
        assert (loss.dtype, loss.item()) == (torch.float32, 4096)


@pytest.mark.parametrize("num_prompts", [torch.tensor(4), torch.tensor(4.0), 4.0])
def test_num_prompts_may_be_a_tensor(num_prompts: torch.Tensor | float) -> None:
    logp, weights = batch()
    expected = echo_loss(logp, weights, num_prompts=4)
    torch.testing.assert_close(echo_loss(logp, weights, num_prompts=num_prompts), expected)
    torch.testing.assert_close(
        as_advantages(weights, coef=1.0, num_prompts=num_prompts), as_advantages(weights, coef=1.0, num_prompts=4)
    )


def test_a_tensor_of_zero_prompts_gives_no_nan() -> None:
    _, weights = batch()
    nothing = torch.zeros_like(weights)
    assert echo_loss(nothing, nothing, num_prompts=torch.tensor(0)).item() == 0
    assert torch.equal(as_advantages(nothing, coef=1.0, num_prompts=torch.tensor(0)), nothing)


@pytest.mark.parametrize("num_prompts", [0, -1, 0.0, math.nan])
def test_num_prompts_must_be_positive(num_prompts: float) -> None:
    logp, weights = batch()
    with pytest.raises(ValueError, match=f"num_prompts={num_prompts!r}"):
        echo_loss(logp, weights, num_prompts=num_prompts)
    with pytest.raises(ValueError, match=f"num_prompts={num_prompts!r}"):
        as_advantages(weights, coef=1.0, num_prompts=num_prompts)


def test_shapes_must_agree() -> None:
    with pytest.raises(ValueError, match=r"\(2, 3\).*\(2, 4\)"):
        echo_loss(torch.zeros(2, 4), torch.zeros(2, 3), num_prompts=1)


def policy_loss(
    logp: torch.Tensor, old_logp: torch.Tensor, advantages: torch.Tensor, denominator: torch.Tensor | float
) -> torch.Tensor:
    """The clipped surrogate, as the frameworks have it."""
    ratio = (logp - old_logp).exp()
    return -(torch.minimum(ratio * advantages, ratio.clamp(0.8, 1.2) * advantages) / denominator).sum()


@pytest.mark.parametrize("denominator", [1.0, 8192.0, torch.arange(1.0, 9.0).unsqueeze(1) * 8])
def test_as_advantages_has_the_gradient_of_the_nll_at_ratio_one(denominator: torch.Tensor | float) -> None:
    logp, weights = batch()
    advantages = as_advantages(weights, coef=0.01, num_prompts=NUM_PROMPTS, loss_denominator=denominator)
    through_advantages = gradient(policy_loss(logp, logp.detach(), advantages, denominator), logp)
    through_nll = gradient(0.01 * echo_loss(logp, weights, num_prompts=NUM_PROMPTS), logp)
    assert through_nll.abs().max() > 1e-4
    torch.testing.assert_close(through_advantages, through_nll, rtol=1e-6, atol=0)


def test_as_advantages_adds_to_the_policy_gradients_own() -> None:
    logp, weights = batch()
    own = torch.linspace(-1, 1, 8).unsqueeze(1).expand(8, 6)
    added = own + as_advantages(weights, coef=0.01, num_prompts=NUM_PROMPTS, loss_denominator=48)
    together = gradient(policy_loss(logp, logp.detach(), added, 48), logp)
    apart = policy_loss(logp, logp.detach(), own, 48) + 0.01 * echo_loss(logp, weights, num_prompts=NUM_PROMPTS)
    torch.testing.assert_close(together, gradient(apart, logp), rtol=1e-5, atol=1e-8)


def test_away_from_ratio_one_the_two_part_by_the_ratio_and_the_clip() -> None:
    weights = torch.ones(1, 5) / 5
    ratio = torch.tensor([[0.5, 0.9, 1.0, 1.15, 1.5]])
    logp = torch.full((1, 5), -1.0, requires_grad=True)
    advantages = as_advantages(weights, coef=1.0, num_prompts=1)
    through_advantages = gradient(policy_loss(logp, logp.detach() - ratio.log(), advantages, 1.0), logp)
    through_nll = gradient(echo_loss(logp, weights, num_prompts=1), logp)
    torch.testing.assert_close(through_nll, -weights)
    # Positive advantages are clipped above only: the last token has lost its gradient.
    torch.testing.assert_close(through_advantages / through_nll, torch.tensor([[0.5, 0.9, 1.0, 1.15, 0.0]]))

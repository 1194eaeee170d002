"""Bounds of the entropy by the log-probs of the most likely tokens."""

from __future__ import annotations

import pytest
import torch

from echorl.core.entropy import top_entropy

VOCAB = 50


def log_probs(scale: float) -> torch.Tensor:
    return (torch.randn(200, VOCAB, generator=torch.Generator().manual_seed(0)).double() * scale).log_softmax(-1)


def entropy(logp: torch.Tensor) -> torch.Tensor:
    return torch.special.entr(logp.exp()).sum(-1)


@pytest.mark.parametrize("scale", [0.0, 0.5, 2.0, 8.0])
@pytest.mark.parametrize("k", [1, 5, 20, 49])
def test_the_entropy_lies_between_the_bounds(scale, k):
    logp = log_probs(scale)
    lower, upper = top_entropy(logp.topk(k, -1).values, VOCAB)
    assert (lower <= entropy(logp) + 1e-6).all()
    assert (upper >= entropy(logp) - 1e-6).all()


def test_more_tokens_narrow_it_until_it_is_exact():
    logp = log_probs(2.0)
    gaps = []
    for k in (1, 5, 20, VOCAB):
        lower, upper = top_entropy(logp.topk(k, -1).values, VOCAB)
        gaps.append(float((upper - lower).mean()))
    assert gaps == sorted(gaps, reverse=True)
    assert gaps[-1] == 0
    assert torch.allclose(lower.double(), entropy(logp), atol=1e-6)


def test_the_bounds_are_reached():
    """An even distribution has the upper one; one whose rest is as concentrated as can be the lower one."""
    even = torch.full((3,), -torch.tensor(10.0).log().item())
    lower, upper = top_entropy(even, 10)
    assert float(lower) == pytest.approx(float(upper)) == pytest.approx(2.302585)
    lower, _ = top_entropy(torch.tensor([0.25, 0.25]).log(), VOCAB)  # the rest: two more tokens of a quarter
    assert float(lower) == pytest.approx(float(torch.tensor(4.0).log()))


def test_tokens_that_cannot_be_sampled_have_no_rest():
    """Under top-k sampling the engine gives the others -inf."""
    lower, upper = top_entropy(torch.tensor([0.5, 0.5, 0.0, 0.0]).log(), VOCAB)
    assert float(lower) == float(upper) == pytest.approx(0.693147)


def test_an_unknown_log_prob_makes_it_unknown():
    lower, upper = top_entropy(torch.tensor([[0.5, torch.nan], [0.5, 0.5]]).log(), VOCAB)
    assert lower.isnan().tolist() == upper.isnan().tolist() == [True, False]

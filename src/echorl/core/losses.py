"""Losses from float weights over response tokens: as a scalar, or as advantages; and the check of their delivery."""

from __future__ import annotations

import torch
from torch import Tensor

from echorl.core.entropy import wide_dtype
from echorl.core.refusals import check_tensors


def echo_loss(logp: Tensor, weights: Tensor, *, num_prompts: int | float | Tensor) -> Tensor:
    """J_echo = -(1/num_prompts) sum_{b,t} weights[b,t] logp[b,t], the weighted negative log-likelihood.

    Add `coef * echo_loss(...)` to the policy loss. To be independent of micro-batches and ranks, `num_prompts` counts
    the prompts (or, for `average_over="clip"`, the clips) of the whole optimiser step, not those of a micro-batch;
    where the framework averages gradients over ranks, divide it by their number.

    Args:
        logp: [B, T] log-probabilities of the sampled tokens, with graph. Values where the weight is 0 do not matter.
        weights: float [B, T] from `mine_echo_clips`.
        num_prompts: positive number, or a 0-dimensional tensor (0 in it, where no weight is set, gives a loss of 0).

    Returns:
        A float32 scalar; 0 (with a zero gradient) where no weight is set.

    Raises:
        ValueError: `num_prompts` is a number that is not positive, an argument is no tensor, or the shapes differ.
    """
    check_tensors(logp=logp, weights=weights)
    if logp.shape != weights.shape:
        raise ValueError(f"weights of shape {tuple(weights.shape)} do not fit logp of shape {tuple(logp.shape)}.")
    # Padding may hold -inf or NaN, and 0 * NaN is NaN.
    weighted = weights * logp.float().masked_fill(weights == 0, 0.0)
    return -weighted.sum() / _positive(num_prompts)


def as_advantages(
    weights: Tensor, *, coef: float, num_prompts: int | float | Tensor, loss_denominator: float | Tensor = 1.0
) -> Tensor:
    """The same term as an addition to per-token advantages, for frameworks whose loss cannot be extended.

    A policy-gradient loss -(1/D) sum A_t rho_t with A_t = coef w_t D / num_prompts has, at ratio rho = 1 and without
    clipping or whitening of advantages, the gradient of `coef * echo_loss(logp, w, num_prompts=num_prompts)`. Away from
    ratio 1 the two differ: here each token's gradient is multiplied by rho_t, and clipped tokens have none.

    Args:
        weights: float [B, T] from `mine_echo_clips`.
        coef: lambda.
        num_prompts: as in `echo_loss`.
        loss_denominator: D, what the framework divides a token's loss by: a number (token sums), or a tensor that
            broadcasts to [B, T] (per-rollout means: B * lengths, as [B, 1]).

    Returns:
        float [B, T] to add to the advantages after their normalisation; zero where no weight is set.

    Raises:
        ValueError: `num_prompts` is a number that is not positive, or `weights` is no tensor.
    """
    check_tensors(weights=weights)
    return weights * (coef * loss_denominator / _positive(num_prompts))


def _positive(count: int | float | Tensor) -> int | float | Tensor:
    if isinstance(count, Tensor):  # its value is not looked at, which would make the device wait
        return count.clamp(min=torch.finfo(torch.float32).tiny)
    if not count > 0:
        raise ValueError(f"num_prompts={count!r} is not allowed: it must be positive.")
    return count


def weight_mass(weights: Tensor) -> Tensor:
    """Return the sum of the weights as a 0-dimensional tensor of the widest type that the device has."""
    return weights.to(wide_dtype(weights.device)).sum()


def check_delivered(mined: float, delivered: float, *, place: str = "EchoRL's loss", tolerance: float = 1e-5) -> None:
    """Check that the weight mass that was mined has reached a place.

    Raises:
        RuntimeError: the two differ by more than `tolerance`, relative to the mass mined (to 1 where that is less).
    """
    if abs(delivered - mined) > tolerance * max(1.0, mined):
        raise RuntimeError(
            f"a weight mass of {mined:.6g} was mined, but {delivered:.6g} reached {place}: something between "
            "generation and loss dropped, changed or bypassed `echo_weights`."
        )

"""Means and noise of gradients from inner products over prompts, and the same without each prompt in turn."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Products:
    """Sums over the gradients g_k(i) of N prompts and R rules; leading dimensions are (), or one for each sample.

    Attributes:
        mean: float64 [..., R, R], sum_{i != j} <g_k(i), g_l(j)> / N(N - 1): unbiased for <mu_k, mu_l>, since no
            prompt's noise meets itself. The diagonal is of ||mu_k||^2, and may be negative.
        noise: float64 [..., R, R], tr Cov(g_k, g_l) of one prompt's gradients, unbiased; noise in every direction.
    """

    mean: Tensor
    noise: Tensor

    def mixed(self, change: Tensor) -> Products:
        """Return the products of sum_l change[k, l] g_l; `change` is [..., R', R]."""
        turned = change.transpose(-1, -2)
        return Products(change @ self.mean @ turned, change @ self.noise @ turned)


@dataclass(frozen=True, eq=False)
class Sample:
    """`Products` of all N prompts, and of all but each one in turn (leading dimension N)."""

    full: Products
    without_one: Products


def inner_products(parts: Callable[[], Iterable[Tensor]]) -> tuple[Tensor, Tensor]:
    """Return float64 [N, R, R] twice: <g_k(i), g_l(i)>, and <g_k(i), S_l> with S_l the sum of rule l's gradients.

    This takes N R^2 d multiplications, and one part is in memory at a time.

    Args:
        parts: returns the parts [n, R, d], at least one; called twice.
    """
    total = torch.stack([part.double().sum(0) for part in parts()]).sum(0)
    products = [(wide @ wide.transpose(1, 2), wide @ total.T) for wide in (part.double() for part in parts())]
    with_itself, with_total = zip(*products, strict=True)
    return torch.cat(with_itself), torch.cat(with_total)


def make_sample(with_itself: Tensor, with_total: Tensor) -> Sample:
    """Return the sample of what `inner_products` returns.

    With SS = <S_k, S_l> and Q = sum_i <g_k(i), g_l(i)>: mean = (SS - Q) / N(N - 1), noise = (Q - SS / N) / (N - 1).
    Less prompt i, SS is SS - <g_k(i), S_l> - <S_k, g_l(i)> + <g_k(i), g_l(i)>, and Q is Q - <g_k(i), g_l(i)>.

    Raises:
        ValueError: fewer than 4 prompts.
    """
    num = len(with_itself)
    if num < 4:
        raise ValueError(f"{num} prompts are too few for a standard error: give 4 or more, better hundreds.")
    squares, sums = with_itself.sum(0), with_total.sum(0)
    sums_without = sums - with_total - with_total.transpose(1, 2) + with_itself
    return Sample(_products(sums, squares, num), _products(sums_without, squares - with_itself, num - 1))


def _products(sums: Tensor, squares: Tensor, num: int) -> Products:
    return Products((sums - squares) / (num * (num - 1)), (squares - sums / num) / (num - 1))


@dataclass(frozen=True)
class Measure:
    """A number with its standard error; None where it cannot be computed. z is value / se if nothing else is said."""

    value: float | None
    se: float | None
    z: float | None


NOTHING = Measure(None, None, None)


def jack_knife(full: Tensor, without_one: Tensor, pure: float = 0.0) -> Measure:
    """Return the value with its jack-knife error sqrt((N - 1)/N sum_i (f_(-i) - mean)^2); `NOTHING` unless finite.

    The jack-knife counts noise that meets noise twice (Efron and Stein 1981), and where a mean happens to be near 0 it
    misses it. So `pure`, the squared error that pure noise gives (`pure_noise`), is subtracted once, and is the least.
    """
    num = len(without_one)
    square = (without_one - without_one.mean()).square().sum() * (num - 1) / num
    error = (square - pure).clamp(min=pure).sqrt()
    if not (full.isfinite() and error.isfinite()):
        return NOTHING
    value, se = float(full), float(error)
    return Measure(value, se, value / se if se > 0 else None)


def pure_noise(blocks: Iterable[Tensor], columns: int, num: int) -> Tensor:
    """Return float64 [R, R], the variance of `Products.mean` over `num` prompts as if all means were 0.

    2 Var(h) / N(N - 1), with h the inner products of two prompts' gradients: for ||mu||^2 it is 2 tr(Cov^2) / N(N - 1).

    Args:
        blocks: [M, R, w] each, together the gradients [M, R, d] of some of the prompts; M of a hundred do.
        columns: entries [k, l] are given for l below this, and on the diagonal; the others are 0.
    """
    products: dict[tuple[int, int], Tensor] = defaultdict(lambda: torch.zeros(()))
    for block in blocks:
        rules = block.shape[1]
        for k in range(rules):
            for other in {*range(columns), k}:
                products[k, other] = products[k, other] + block[:, k] @ block[:, other].T
    noise = torch.zeros(rules, rules, dtype=torch.float64)
    is_pair = ~torch.eye(len(block), dtype=torch.bool)
    for (k, other), product in products.items():
        pairs = ((product + product.T) / 2)[is_pair].double()
        noise[k, other] = noise[other, k] = 2 * pairs.var() / (num * (num - 1))
    return noise

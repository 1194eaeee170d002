"""Means and noise of gradients from inner products over prompts, with every prompt left out in turn."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
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
        """Those of sum_l change[k, l] g_l; `change` is [..., R', R]."""
        turned = change.transpose(-1, -2)
        return Products(change @ self.mean @ turned, change @ self.noise @ turned)


@dataclass(frozen=True, eq=False)
class Sample:
    """A sample's `Products`, and with each prompt left out: leading dimension N."""

    full: Products
    left_out: Products


def inner_products(parts: Callable[[], Iterable[Tensor]]) -> tuple[Tensor, Tensor]:
    """float64 [N, R, R] twice: <g_k(i), g_l(i)>, and <g_k(i), S_l> with S_l the sum of rule l's gradients.

    All that is to be had of the gradients: N R^2 d multiplications, and never two parts in memory.

    Args:
        parts: called twice; gives [n, R, d] a part, at least one.
    """
    total = torch.stack([part.double().sum(0) for part in parts()]).sum(0)
    own, with_total = [], []
    for part in parts():
        wide = part.double()
        own.append(wide @ wide.transpose(1, 2))
        with_total.append(wide @ total.T)
    return torch.cat(own), torch.cat(with_total)


def make_sample(own: Tensor, with_total: Tensor) -> Sample:
    """`Products` of all prompts, and of all but one.

    With SS = <S_k, S_l> and Q = sum_i <g_k(i), g_l(i)>: mean = (SS - Q) / N(N - 1), noise = (Q - SS / N) / (N - 1).
    Less prompt i, SS is SS - <g_k(i), S_l> - <S_k, g_l(i)> + <g_k(i), g_l(i)>, and Q is Q - <g_k(i), g_l(i)>.

    Raises:
        ValueError: fewer than 4 prompts.
    """
    num = len(own)
    if num < 4:
        raise ValueError(f"{num} prompts are too few for a standard error: give 4 or more, better hundreds.")
    squares, sums = own.sum(0), with_total.sum(0)
    left = sums - with_total - with_total.transpose(1, 2) + own
    return Sample(_products(sums, squares, num), _products(left, squares - own, num - 1))


def _products(sums: Tensor, squares: Tensor, num: int) -> Products:
    return Products((sums - squares) / (num * (num - 1)), (squares - sums / num) / (num - 1))


@dataclass(frozen=True)
class Measure:
    """A number with its standard error; None where it cannot be computed. z is value / se if nothing else is said."""

    value: float | None
    se: float | None
    z: float | None

    def row(self) -> dict[str, float | None]:
        return {"value": self.value, "se": self.se, "z": self.z}


NOTHING = Measure(None, None, None)


def jack_knife(full: Tensor, left_out: Tensor, pure: float = 0.0) -> Measure:
    """The value with its jack-knife error sqrt((N - 1)/N sum_i (f_(-i) - mean)^2); `NOTHING` where one isn't finite.

    The jack-knife counts noise that meets noise twice (Efron and Stein 1981), and where a mean happens to be near 0 it
    misses it. So `pure`, the squared error that pure noise gives (`pure_noise`), is taken off once, and is the least.
    """
    num = len(left_out)
    square = (left_out - left_out.mean()).square().sum() * (num - 1) / num
    error = (square - pure).clamp(min=pure).sqrt()
    if not (full.isfinite() and error.isfinite()):
        return NOTHING
    value, se = float(full), float(error)
    return Measure(value, se, value / se if se > 0 else None)


def pure_noise(blocks: Iterable[Tensor], columns: int, num: int) -> Tensor:
    """float64 [R, R]: the variance of `Products.mean` over `num` prompts as if all means were 0.

    2 Var(h) / N(N - 1), with h the inner products of two prompts' gradients: for ||mu||^2 it is 2 tr(Cov^2) / N(N - 1).

    Args:
        blocks: [M, R, w] each, together the gradients [M, R, d] of some of the prompts; M of a hundred do.
        columns: entries [k, l] are given for l below this, and on the diagonal; the others are 0.
    """
    products: dict[tuple[int, int], Tensor] = {}
    for block in blocks:
        rules = block.shape[1]
        for pair in ((k, other) for k in range(rules) for other in {*range(columns), k}):
            found = block[:, pair[0]] @ block[:, pair[1]].T
            products[pair] = products[pair] + found if pair in products else found
    noise = torch.zeros(rules, rules, dtype=torch.float64)
    apart = ~torch.eye(len(block), dtype=torch.bool)
    for (k, other), both in products.items():
        pairs = ((both + both.T) / 2)[apart].double()
        noise[k, other] = noise[other, k] = 2 * pairs.var() / (num * (num - 1))
    return noise


def mean_of(values: Sequence[float]) -> Measure:
    """The mean over prompts, with its standard error."""
    numbers = torch.tensor(values, dtype=torch.float64)
    value, se = float(numbers.mean()), float(numbers.std() / len(numbers) ** 0.5)
    return Measure(value, se, value / se if se > 0 else None)

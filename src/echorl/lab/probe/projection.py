"""Projections of gradients: a random one that nearly keeps inner products, and one that keeps everything."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

TABLE_ROWS = 64
BLOCK_ELEMENTS = 1 << 21
"""Numbers of a gradient that are projected at once; the projection needs three times their memory."""


class Projection:
    """Adds up the projected gradients of a model's parameters, one parameter at a time.

    Attributes:
        width: d, the numbers that are kept.
        size: a multiple of d, the numbers that are added up.
    """

    def __init__(self, width: int, size: int, device: torch.device | str) -> None:
        self.width, self.size, self.device = width, size, torch.device(device)

    def empty(self) -> Tensor:
        """Return float32 [size] zeros, to add to."""
        return torch.zeros(self.size, device=self.device)

    def finish(self, out: Tensor) -> Tensor:
        """Return float32 [d], the sum of the pieces of d numbers."""
        return out.view(-1, self.width).sum(0)

    def add(self, out: Tensor, index: int, grad: Tensor) -> None:
        """Add the projection of parameter `index`'s gradient, of any shape and floating type, in float32."""
        raise NotImplementedError


class CountSketch(Projection):
    """R in R^{d x P} with one entry of +-1 a column: the inner product of two projected gradients is that of the two.

    E <Rx, Ry> = <x, y>, and the error's root mean square is at most sqrt(2/d) ||x|| ||y|| (up to a percent of itself).

    A parameter's numbers are cut into rows of d; a row is multiplied by random signs, shifted by a random number of
    places in a circle, and added to the d numbers. Two numbers of one row never meet; two of different rows meet with
    probability 1/d, as in a plain count sketch, which needs an index for each number where this needs a shift a row.
    A row's signs are one of 64 rows of a table, drawn for it, times one sign: that rows share signs costs the percent.

    Args:
        sizes: numbers in each parameter.
        width: d.
        seed: the same seed, sizes and width give the same R, on every device.
    """

    def __init__(self, sizes: Sequence[int], width: int, *, seed: int, device: torch.device | str = "cpu") -> None:
        super().__init__(width, 2 * width, device)  # shifts run over the end, which `finish` folds back
        generator = torch.Generator().manual_seed(seed)
        rows = [-(-size // width) for size in sizes]
        self._starts = torch.tensor([0, *rows]).cumsum(0).tolist()

        def draw(*shape: int, high: int) -> Tensor:
            return torch.randint(high, shape, generator=generator).to(self.device)

        self._table = draw(TABLE_ROWS, width, high=2).float().mul_(2).sub_(1)
        self._choice = draw(self._starts[-1], high=TABLE_ROWS)
        self._shift = draw(self._starts[-1], high=width)
        self._sign = draw(self._starts[-1], high=2).float().mul_(2).sub_(1)
        self._places = torch.arange(width, device=self.device)

    def add(self, out: Tensor, index: int, grad: Tensor) -> None:
        flat = grad.detach().flatten()
        whole = len(flat) // self.width * self.width
        start, block = self._starts[index], max(1, BLOCK_ELEMENTS // self.width)
        rows = flat[:whole].view(-1, self.width)
        for first in range(0, len(rows), block):
            self._add_rows(out, start + first, rows[first : first + block])
        if whole < len(flat):
            self._add_rows(out, start + len(rows), flat[whole:].unsqueeze(0))

    def _add_rows(self, out: Tensor, first: int, rows: Tensor) -> None:
        part, length = slice(first, first + len(rows)), rows.shape[1]
        values = self._table[self._choice[part], :length].mul_(rows).mul_(self._sign[part].unsqueeze(1))
        places = self._places[:length] + self._shift[part].unsqueeze(1)
        out.index_add_(0, places.flatten(), values.flatten())


class Whole(Projection):
    """Keeps the gradient as it is, [P]."""

    def __init__(self, sizes: Sequence[int], *, device: torch.device | str = "cpu") -> None:
        super().__init__(sum(sizes), sum(sizes), device)
        self._starts = torch.tensor([0, *sizes]).cumsum(0).tolist()

    def add(self, out: Tensor, index: int, grad: Tensor) -> None:
        out[self._starts[index] : self._starts[index + 1]] += grad.detach().flatten()

"""Prompts beyond the loader's: numbers of the training rows in a separate stream."""

from __future__ import annotations

import random

import torch


class PromptStream:
    """Row numbers 0 .. size - 1, each once an epoch, in an order that depends on `seed` and the epoch alone.

    The order differs from that of the trainer's sampler, so that it does not draw the prompts just trained on. Its
    state is the number of prompts drawn so far, the same on every process.

    >>> stream = PromptStream(5, seed=0)
    >>> sorted(stream.draw(3) + stream.draw(2)), stream.drawn
    ([0, 1, 2, 3, 4], 5)
    """

    def __init__(self, size: int, seed: int) -> None:
        self.size, self.seed = size, seed
        self.drawn = 0
        self._order: tuple[int, list[int]] = (-1, [])  # an epoch and its order

    def draw(self, count: int) -> list[int]:
        """Return the next `count` row numbers."""
        places = range(self.drawn, self.drawn + count)
        self.drawn += count
        return [self._epoch(place // self.size)[place % self.size] for place in places]

    def _epoch(self, number: int) -> list[int]:
        if self._order[0] != number:
            generator = torch.Generator()
            generator.manual_seed(random.Random(f"dynamic sampling {self.seed} {number}").getrandbits(63))
            self._order = number, torch.randperm(self.size, generator=generator).tolist()
        return self._order[1]

"""Gradients of weighted log-probabilities of given rollouts, a rollout and a backward pass at a time."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from echorl.core.entropy import logp_and_entropy
from echorl.lab.probe.projection import Projection, make_projection


@dataclass(frozen=True, eq=False)
class Pattern:
    """A row of a prompt's rollouts and float32 [T] weights over its tokens, the largest of them 1."""

    row: int
    weights: Tensor


class Gradients:
    """Reads gradients off a model: of the parameters chosen, through a projection.

    A parameter's gradient is projected and freed as soon as the backward pass has it, so no two of them need be there
    at once, and projections add up in float32 whatever the model's type.

    Raises:
        ValueError: no parameter has such a name.
    """

    def __init__(self, model: Any, *, parameters: str = "", projection: int = 8192, seed: int = 0) -> None:
        self.model = model.eval()
        self._chosen = choose_parameters(model, parameters)
        sizes = [parameter.numel() for parameter in self._chosen]
        self.projection: Projection = make_projection(sizes, projection, seed=seed, device=model.device)
        self._out = self.projection.empty()

    @contextmanager
    def _hooked(self) -> Iterator[None]:
        """Within, a backward pass adds what is kept of each parameter's gradient to `_out`, and leaves no gradient."""

        def take(parameter: Tensor, index: int) -> None:
            assert parameter.grad is not None  # the hook runs once it is there
            self.projection.add(self._out, index, parameter.grad)
            parameter.grad = None

        handles = [
            parameter.register_post_accumulate_grad_hook(partial(take, index=index))
            for index, parameter in enumerate(self._chosen)
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    @torch.no_grad()
    def score(self, prompt: list[int], responses: Sequence[list[int]], temperature: float) -> tuple[Tensor, Tensor]:
        """float32 [G, T] log-probabilities and entropies of the responses' tokens on the CPU, 0 after their ends."""
        found = [self._logp(prompt, response, temperature) for response in responses]
        pad = torch.nn.utils.rnn.pad_sequence
        return pad([logp.cpu() for logp, _ in found], True), pad([entropy.cpu() for _, entropy in found], True)

    def read(
        self, prompt: list[int], responses: Sequence[list[int]], patterns: Sequence[Pattern], temperature: float
    ) -> Tensor:
        """float32 [n, d] on the CPU: for each pattern the gradient of sum_t weights[t] logp[t] of its row.

        One forward pass a row that has a pattern, up to the last token that any of its patterns weighs.
        """
        found = torch.zeros(len(patterns), self.projection.width)
        for row in sorted({pattern.row for pattern in patterns}):
            own = [i for i, pattern in enumerate(patterns) if pattern.row == row]
            ends = [int(patterns[i].weights.nonzero().max()) + 1 for i in own]
            logp = self._logp(prompt, responses[row][: max(ends)], temperature)[0]
            with self._hooked():
                for i in own:
                    weights = patterns[i].weights[: len(logp)].to(logp.device)
                    found[i] = self._backward((weights * logp).sum(), retain=i != own[-1])
        return found

    def _logp(self, prompt: list[int], response: list[int], temperature: float) -> tuple[Tensor, Tensor]:
        ids = torch.tensor([prompt + response], device=self.model.device)
        logits = self.model(input_ids=ids, use_cache=False).logits[0, len(prompt) - 1 : -1]
        return logp_and_entropy(logits, ids[0, len(prompt) :], temperature=temperature)

    def _backward(self, objective: Tensor, *, retain: bool) -> Tensor:
        self._out = self.projection.empty()
        objective.backward(retain_graph=retain)
        return self.projection.finish(self._out).cpu()


def choose_parameters(model: Any, pattern: str) -> list[Tensor]:
    """The floating-point parameters in whose names the regular expression is found; they alone will have gradients.

    Raises:
        ValueError: there is none; the message names some parameters.
    """
    named = {name: own for name, own in model.named_parameters() if own.is_floating_point()}
    chosen = {name: own for name, own in named.items() if re.search(pattern, name)}
    if not chosen:
        raise ValueError(f"parameters={pattern!r} is found in no parameter's name; some are {', '.join([*named][:3])}.")
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    for parameter in chosen.values():
        parameter.requires_grad_(True)
    return list(chosen.values())

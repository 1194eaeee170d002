"""Gradients of weighted log-probabilities of given rollouts, a rollout and a backward pass at a time."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from echorl.core.entropy import logp_and_entropy
from echorl.lab.probe.projection import CountSketch, Projection, Whole


@dataclass(frozen=True, eq=False)
class Pattern:
    """Row of a prompt's rollouts, and float32 [T] weights over its tokens, the largest of them 1."""

    row: int
    weights: Tensor


class Gradients:
    """Projected gradients of a model's parameters.

    A parameter's gradient is projected and freed as soon as the backward pass has it, so that no two of them are in
    memory at once, and projections add up in float32 whatever the model's type.

    Args:
        parameters: a regular expression; only parameters in whose names it is found count.
        projection: numbers that are kept of a gradient; 0 keeps all.

    Raises:
        ValueError: the expression is found in no name.
    """

    def __init__(self, model: Any, *, parameters: str = "", projection: int = 8192, seed: int = 0) -> None:
        self.model = model.eval()
        self._chosen = choose_parameters(model, parameters)
        sizes, device = [parameter.numel() for parameter in self._chosen], model.device
        self.projection: Projection = (
            CountSketch(sizes, projection, seed=seed, device=device) if projection else Whole(sizes, device=device)
        )
        self._out = self.projection.empty()

    def _take(self, parameter: Tensor, index: int) -> None:
        assert parameter.grad is not None  # the hook runs when it is complete
        self.projection.add(self._out, index, parameter.grad)
        parameter.grad = None

    @torch.no_grad()
    def score(self, prompt: list[int], responses: Sequence[list[int]], temperature: float) -> tuple[Tensor, Tensor]:
        """Return float32 [G, T] log-probabilities and entropies of the tokens on the CPU, 0 after the responses."""
        scores = [self._logp(prompt, response, temperature) for response in responses]
        logp, entropy = (torch.nn.utils.rnn.pad_sequence(list(rows), True).cpu() for rows in zip(*scores, strict=True))
        return logp, entropy

    def read(
        self, prompt: list[int], responses: Sequence[list[int]], patterns: Sequence[Pattern], temperature: float
    ) -> Tensor:
        """Return float32 [n, d] on the CPU: for each pattern the gradient of sum_t weights[t] logp[t] of its row.

        A row that has a pattern takes one forward pass, up to the last token that any of its patterns weighs.
        """
        gradients = torch.zeros(len(patterns), self.projection.width)
        with ExitStack() as hooks:
            for index, parameter in enumerate(self._chosen):
                take = partial(self._take, index=index)
                hooks.enter_context(parameter.register_post_accumulate_grad_hook(take))
            for row in sorted({pattern.row for pattern in patterns}):
                places = [i for i, pattern in enumerate(patterns) if pattern.row == row]
                ends = [int(patterns[i].weights.nonzero().max()) + 1 for i in places]
                logp = self._logp(prompt, responses[row][: max(ends)], temperature)[0]
                for i in places:
                    weights = patterns[i].weights[: len(logp)].to(logp.device)
                    self._out = self.projection.empty()
                    (weights * logp).sum().backward(retain_graph=i != places[-1])
                    gradients[i] = self.projection.finish(self._out).cpu()
        return gradients

    def _logp(self, prompt: list[int], response: list[int], temperature: float) -> tuple[Tensor, Tensor]:
        ids = torch.tensor([prompt + response], device=self.model.device)
        logits = self.model(input_ids=ids, use_cache=False).logits[0, len(prompt) - 1 : -1]
        return logp_and_entropy(logits, ids[0, len(prompt) :], temperature=temperature)


def choose_parameters(model: Any, pattern: str) -> list[Tensor]:
    """Return the floating-point parameters whose names match, after switching off the gradients of all others.

    Raises:
        ValueError: the regular expression is found in no name; the message names some.
    """
    named = {name: parameter for name, parameter in model.named_parameters() if parameter.is_floating_point()}
    chosen = [parameter for name, parameter in named.items() if re.search(pattern, name)]
    if not chosen:
        names = ", ".join([*named][:3])
        raise ValueError(
            f"parameters={pattern!r} is found in no parameter's name; some are {names}: match one of them."
        )
    model.requires_grad_(False)
    for parameter in chosen:
        parameter.requires_grad_(True)
    return chosen

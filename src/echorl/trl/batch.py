"""One generation batch: the plan of its rows, the record of its making, and the keys that micro-batches get."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, NamedTuple, Protocol

import torch
from torch import Tensor

from echorl.core.entropy import EntropyRecorder
from echorl.core.rollouts import Rollouts
from echorl.trl.images import TYPES

Generated = list[Any]
"""Result of TRL's `_generate`; by position: PROMPT_IDS, COMPLETION_IDS, TOOL_MASK, COMPLETIONS, LOGPROBS."""
PROMPT_IDS, COMPLETION_IDS, TOOL_MASK, COMPLETIONS, LOGPROBS = range(5)


class SampleAgain(Protocol):
    """Samples a completion of each prompt within the making of a batch, with another plan and sampling settings."""

    def __call__(self, prompts: list[Any], plan: Plan, *, temperature: float, top_p: float) -> Generated: ...


class Demonstration(NamedTuple):
    """A text in the place of a rollout, and its tokens. The text of a chat can be its messages."""

    text: Any
    ids: list[int]


@dataclass(kw_only=True)
class Plan:
    """Prefixes of a batch's rollouts, and demonstrations in the place of some (of this process's B rows).

    Attributes:
        prefixes: for each row the tokens that its completion begins with; None: no row has a prefix.
        demonstrations: row -> the demonstration in its place.
        keys: for each group of all processes the key of its training row; empty where the method needs none.
        records: whether the entropies of the sampled tokens are of use.
        processors: logits processors for `generate`, which come after all others.
    """

    records: ClassVar[bool] = True

    prefixes: list[list[int]] | None = None
    demonstrations: dict[int, Demonstration] = field(default_factory=dict)
    keys: list[int] = field(default_factory=list)
    processors: list[Callable[[Tensor, Tensor], Tensor]] = field(default_factory=list)

    def sample(
        self,
        generate: Callable[..., Any],
        prompt_ids: list[list[int]],
        images: Any,
        fields: dict[str, Any],
        *args: Any,
        **kwargs: Any,
    ) -> tuple[Any, Any]:
        """Return the completions, prefixes included, and log-probs that `generate` (TRL's) samples after the prefixes.

        `fields` are the outputs of a vision model's processor.
        """
        if self.prefixes is None:
            return generate(prompt_ids, images, fields, *args, **kwargs)
        prompts = [[*prompt, *prefix] for prompt, prefix in zip(prompt_ids, self.prefixes, strict=True)]
        fields = {name: self._with_zeros(value) for name, value in fields.items()}
        completion_ids, logprobs = generate(prompts, images, fields, *args, **kwargs)
        completions = [[*prefix, *ids] for prefix, ids in zip(self.prefixes, completion_ids, strict=True)]
        if logprobs is not None:
            pairs = zip(self.prefixes, logprobs, strict=True)
            logprobs = [[*[math.nan] * len(prefix), *values] for prefix, values in pairs]
        return completions, logprobs

    def _with_zeros(self, value: Any) -> Any:
        """Return a field of one number a token with those of the prefixes: they are text, type 0."""
        if not (isinstance(value, list) and value and isinstance(value[0], list)):
            return value
        return [[*row, *[0] * len(prefix)] for row, prefix in zip(value, self.prefixes or [], strict=True)]

    def replace(self, prompts: list[Any], generated: Generated) -> list[int]:
        """Put texts in the places of some of the rollouts generated, before these are scored.

        Returns, for each row, the tokens that the policy sampled for that; empty: none.
        """
        return []

    def ask(self, rollouts: Rollouts, capture: Capture) -> list[int]:
        """Ask the policy about scored rollouts; return, for each row, the tokens sampled for that; empty: none."""
        return []

    def place(self, generated: Generated) -> Generated:
        """Mask the prefixes as TRL masks a tool's text, and put demonstrations in their places."""
        if self.prefixes is not None:
            pairs = zip(self.prefixes, generated[COMPLETION_IDS], strict=True)
            generated[TOOL_MASK] = [[0] * len(prefix) + [1] * (len(ids) - len(prefix)) for prefix, ids in pairs]
        for row, (text, ids) in self.demonstrations.items():
            generated[COMPLETION_IDS][row] = ids
            as_message = isinstance(text, str) and not isinstance(generated[COMPLETIONS][row], str)
            generated[COMPLETIONS][row] = [{"role": "assistant", "content": text}] if as_message else text
            if generated[LOGPROBS] is not None:
                generated[LOGPROBS][row] = [math.nan] * len(ids)
        return generated

    def prefix_lengths(self, size: int) -> list[int]:
        """Return the number of tokens of each row's prefix."""
        return [0] * size if self.prefixes is None else [len(prefix) for prefix in self.prefixes]

    def from_policy(self, size: int, device: torch.device) -> Tensor:
        """Return bool [B], the rows that hold a rollout of the policy."""
        flags = torch.ones(size, dtype=torch.bool, device=device)
        flags[list(self.demonstrations)] = False
        return flags


@dataclass(kw_only=True)
class Capture:
    """Record of the making of a generation batch (or a round of one); this process's B rollouts.

    Attributes:
        first_row: rollouts of all processes in earlier rounds of this batch.
        recorder: filled while sampling; None if this batch was not recorded.
        turns: recorded calls of the generator.
        top_logps: for each token of each row the log-probs of the most likely tokens, as the engine returned them; None
            if it was not asked for them.
        passes: (log-probs, entropies) of the passes without gradient through the policy, in order.
        num_sampled: tokens that the policy sampled for each row, also for one that a demonstration replaced.
        num_extra: tokens that it sampled beside these, counted in the last row of their group; empty: none.
        completion_ids: the tokens of each completion.
        rewards: float [N, F], every function's rewards over all processes; NaN for None.
        texts: (prompts, completions) as the reward functions saw them.
    """

    plan: Plan = field(default_factory=Plan)
    first_row: int = 0
    recorder: EntropyRecorder | None = None
    turns: int = 0
    top_logps: list[list[list[float | None]]] | None = None
    passes: list[tuple[Tensor, Tensor]] = field(default_factory=list)
    num_sampled: list[int] = field(default_factory=list)
    num_extra: list[int] = field(default_factory=list)
    completion_ids: list[list[int]] = field(default_factory=list)
    rewards: Tensor = field(default_factory=lambda: torch.zeros(0, 0))
    texts: tuple[list, list] = ((), ())  # type: ignore[assignment]

    def take_generated(self, generated: Generated) -> Generated:
        """Record how much the policy sampled; return TRL's result with the plan's prefixes and demonstrations."""
        lengths = [len(ids) for ids in generated[COMPLETION_IDS]]
        prefixes = self.plan.prefix_lengths(len(lengths))
        self.num_sampled = [length - prefix for length, prefix in zip(lengths, prefixes, strict=True)]
        return self.plan.place(generated)


@dataclass(frozen=True)
class Sampled:
    """A scored and mined generation batch, or a round of one: TRL's batch, and its rollouts."""

    batch: dict[str, Any]
    rollouts: Rollouts


@dataclass(frozen=True)
class PerToken:
    """A key with a number a token; shorter rows are filled up with `pad` (None: the padding token)."""

    pad: float | None
    left: bool = False


CARRIED: Mapping[str, PerToken | Literal["row", "sum", "recount"]] = {
    "prompt_ids": PerToken(None, left=True),
    "prompt_mask": PerToken(0, left=True),
    **dict.fromkeys(TYPES, PerToken(0, left=True)),
    "completion_ids": PerToken(None),
    "completion_mask": PerToken(0),
    "tool_mask": PerToken(1),
    "advantages": PerToken(0.0),  # or one a row
    "old_per_token_logps": PerToken(0.0),
    "sampling_per_token_logps": PerToken(0.0),
    "importance_sampling_ratio": PerToken(1.0),
    # Far below any log-prob: the KL's exp(ref - logp) must not overflow, inf * 0 is NaN.
    "ref_per_token_logps": PerToken(-1e4),
    "num_items_in_batch": "recount",
    "echo_weights": PerToken(0.0),
    "echo_count": "sum",
    "echo_has_gradient": "row",
    "hint_mask": PerToken(0.0),
    "hint_count": "sum",
    "trace_mask": PerToken(0.0),
    "trace_advantages": "row",
    "trace_logps": PerToken(0.0),
    "trace_count": "sum",
    "rank_weights": PerToken(0.0),
    "rank_count": "sum",
}
"""The tensors that a generation batch carries into its micro-batches, TRL's and EchoRL's, without images.

A number a token, a number a row, or a 0-dimensional tensor: the sum over several rounds, or counted again for them.
"""

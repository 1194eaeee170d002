"""Options that several commands of the lab share; importing them is cheap."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from echorl.core.options import check_options, option

COUNT = {"ge": 1, "le": 10**7}
SEED = {"ge": 0, "le": 2**32 - 1}
TEMPERATURE = {"ge": 1e-6, "le": 10**6}
"""Below this range all logits but the largest overflow; above it all logits are equal."""


@dataclass(frozen=True, kw_only=True)
class SampledRollouts:
    """Settings of sampled rollouts."""

    samples: int | None = option(
        None, "Completions of each item; default: the benchmark's (32 for AIME and AMC, else 1).", **COUNT
    )
    temperature: float = option(
        0.6, "Temperature of the sampling; 0 takes the likeliest token each time.", ge=0, le=TEMPERATURE["le"]
    )
    max_new_tokens: int | None = option(
        None,
        "The most tokens of a completion; default: 8192, or what the model's context leaves beside the longest prompt "
        "(an image counts as one token there: with images give a number).",
        **COUNT,
    )
    batch_size: int = option(32, "Completions that are sampled and stored at once.", **COUNT)
    seed: int = option(0, "Seed of all random choices.", **SEED)

    def __post_init__(self) -> None:
        check_options(self)
        if 0 < self.temperature < TEMPERATURE["ge"]:
            raise ValueError(f"temperature={self.temperature!r} is not allowed: it must be 0, or 1e-06 or more.")


@dataclass(frozen=True, kw_only=True)
class Sampling(SampledRollouts):
    """Settings of completions of a benchmark's items.

    Raises:
        ValueError: a value is out of range; the message says what is allowed.
    """

    top_p: float = option(1.0, "Sample from the likeliest tokens up to this probability; 1: from all.", gt=0, le=1)
    limit: int | None = option(None, "Only the first items of each benchmark.", **COUNT)


@dataclass(frozen=True, kw_only=True)
class RolloutColumns:
    """Columns of stored rollouts; None leaves a column to the layout."""

    prompt: str | None = option(None, "Column of the prompt; default: by the layout (prompt, question, input, ...).")
    response: str | None = option(
        None, "Column of the response; default: by the layout (response, completion, output, ...)."
    )
    reward: str | None = option(None, "Column of the reward; default: by the layout (reward, score, correct, ...).")


@dataclass(frozen=True, kw_only=True)
class Columns(RolloutColumns):
    """Columns of stored rollouts, with the column of the group."""

    group: str | None = option(None, "Column that names a rollout's group; default: by the layout.")


@dataclass(frozen=True, kw_only=True)
class Scoring:
    """Settings of the forward passes that score rollouts."""

    tokens_at_once: int = option(
        8192, "The most padded tokens in a forward pass, unless one rollout has more.", ge=1, le=10**9
    )


@dataclass(frozen=True, kw_only=True)
class Mining(Scoring):
    """Settings of `echorl mine`, besides files, columns and clips."""

    temperature: float = option(
        1.0, "Temperature at which the rollouts were sampled, for the entropies.", **TEMPERATURE
    )
    batch_size: int = option(64, "Rollouts in a part: groups are taken whole until there are that many.", **COUNT)
    format: Literal["jsonl", "parquet"] = option("jsonl", "Format of the clips.")


@dataclass(frozen=True, kw_only=True)
class Prompts:
    """The form of prompts."""

    chat: bool = option(False, "Write prompts that are text as a user's message with the model's chat template.")


@dataclass(frozen=True, kw_only=True)
class Deletion:
    """Sizes of `echorl analyze deletion`."""

    traces: int = option(2, "For `deletion`: the most right rollouts of a prompt whose steps are deleted.", **COUNT)
    finishes: int = option(4, "For `deletion`: completions of each solution without some of its steps.", **COUNT)

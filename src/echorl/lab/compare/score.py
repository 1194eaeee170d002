"""Scores and behaviour of a finished run's policy on a split of its task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from echorl.core.steps import StepDelimiters
from echorl.lab.compare.plan import Comparison
from echorl.lab.evaluate.sampling import Completions, cut_off, ends_of, images_of, judge, sample
from echorl.models.loading import load_policy, tokenizer_of

if TYPE_CHECKING:
    from datasets import Dataset


@dataclass(frozen=True, kw_only=True)
class Policy:
    """A model as its training sampled from it.

    Attributes:
        model, tokenizer: of transformers; a model that reads images has its processor as `tokenizer`.
        max_new_tokens: the most tokens of a completion.
        chat_template_kwargs: for the chat template.
    """

    model: Any
    tokenizer: Any
    max_new_tokens: int
    chat_template_kwargs: Mapping[str, Any] | None = None

    @classmethod
    def load(cls, folder: str | Path, *, device: str = "cpu", **settings: Any) -> Policy:
        """Load a policy from a Hugging Face folder; an adapter is merged into its model."""
        model, tokenizer = load_policy(folder, device)
        return cls(model=model, tokenizer=tokenizer, **settings)

    def score(
        self,
        rows: Dataset,
        verifier: Any,
        *,
        samples: int,
        temperature: float,
        greedy: bool = False,
        batch_size: int = Comparison.batch_size,
        **speed: bool,
    ) -> dict[str, Any]:
        """Return scores of completions of each prompt, which depend on policy, rows and the options alone.

        `speed` is `share_prompts` and `bf16` of `sample`.

        Returns:
            {"right": number of right completions, one a prompt, of `samples` at the temperature; "truncated" and the
            measures of `behaviour`; with `greedy` also "greedy", 0 or 1 for each prompt's likeliest completion}.
        """
        completions, right = self._judged(rows, verifier, samples, temperature, batch_size=batch_size, **speed)
        likeliest = (
            {"greedy": self._judged(rows, verifier, 1, 0.0, batch_size=batch_size, **speed)[1]} if greedy else {}
        )
        truncated = cut_off(completions, self.max_new_tokens, ends_of(self.model, self.tokenizer))
        return {
            "right": right,
            "samples": samples,
            **likeliest,
            "truncated": sum(truncated) / len(truncated),
            **behaviour(completions, tokenizer_of(self.tokenizer)),
        }

    def _judged(
        self, rows: Dataset, verifier: Any, samples: int, temperature: float, **options: Any
    ) -> tuple[Completions, list[int]]:
        """Return completions, and how many of each prompt are right."""
        completions = sample(
            self.model,
            self.tokenizer,
            rows["prompt"][:],
            images=images_of(rows),
            group_size=samples,
            max_new_tokens=self.max_new_tokens,
            temperature=temperature,
            chat_template_kwargs=self.chat_template_kwargs,
            **options,
        )
        columns = {name: rows[name][:] for name in rows.column_names if name != "prompt"}
        return completions, [sum(map(bool, item)) for item in judge(verifier, completions, columns)]


def behaviour(completions: Completions, tokenizer: Any) -> dict[str, float]:
    """Return measures that an exploit of the objective would move.

    Returns:
        {"length": mean in tokens, "blank_share": share of blank tokens, "entropy": mean of tokens in nats}.
    """
    blank = StepDelimiters.from_tokenizer(tokenizer).blank
    tokens = torch.tensor([token for ids in completions.token_ids for token in ids])
    entropies = torch.tensor([value for row in completions.entropies for value in row], dtype=torch.float64)
    return {
        "length": len(tokens) / len(completions.token_ids),
        "blank_share": float(blank[tokens].double().mean()),
        "entropy": float(entropies.mean()),
    }


def verdicts_of(scores: Mapping[str, Any]) -> list[list[bool]]:
    """Return the verdicts of `Policy.score`, a list a prompt, the right ones first."""
    return [[True] * right + [False] * (scores["samples"] - right) for right in scores["right"]]

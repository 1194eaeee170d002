"""Scores and behaviour of a finished run's policy on a split of its task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from echorl.lab.compare.plan import Comparison
from echorl.lab.evaluate import Completions, behaviour, ends_of, judge, sample
from echorl.lab.evaluate.sampling import cut_off, images_of
from echorl.models.loading import load_policy, tokenizer_of

if TYPE_CHECKING:
    from datasets import Dataset


@dataclass(frozen=True, kw_only=True)
class Policy:
    """A model as its training sampled from it.

    Attributes:
        model, tokenizer: of transformers; a model that reads images has its processor as `tokenizer`.
        max_new_tokens: where a completion is cut off.
        chat_template_kwargs: for the chat template.
    """

    model: Any
    tokenizer: Any
    max_new_tokens: int
    chat_template_kwargs: Mapping[str, Any] | None = None

    @classmethod
    def load(cls, folder: str | Path, *, device: str = "cpu", **settings: Any) -> Policy:
        """From a Hugging Face folder; an adapter is merged into its model."""
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
    ) -> dict[str, Any]:
        """Return how completions of each prompt do; they depend on policy, rows and batch size alone.

        Returns:
            right: of `samples` completions at the temperature, one number a prompt; `truncated`, `behaviour` of these;
            with `greedy` also that of each prompt's likeliest completion: 0 or 1.
        """
        completions, right = self._judged(rows, verifier, samples, temperature, batch_size)
        likeliest = {"greedy": self._judged(rows, verifier, 1, 0.0, batch_size)[1]} if greedy else {}
        return {
            "right": right,
            "samples": samples,
            **likeliest,
            "truncated": self._truncated(completions),
            **behaviour(completions, tokenizer_of(self.tokenizer)),
        }

    def _judged(
        self, rows: Dataset, verifier: Any, samples: int, temperature: float, batch_size: int
    ) -> tuple[Completions, list[int]]:
        """Completions, and how many of each prompt's are right."""
        completions = sample(
            self.model,
            self.tokenizer,
            rows["prompt"][:],
            images=images_of(rows),
            group_size=samples,
            max_new_tokens=self.max_new_tokens,
            temperature=temperature,
            batch_size=batch_size,
            chat_template_kwargs=self.chat_template_kwargs,
        )
        columns = {name: rows[name][:] for name in rows.column_names if name != "prompt"}
        return completions, [sum(map(bool, item)) for item in judge(verifier, completions, columns)]

    def _truncated(self, completions: Completions) -> float:
        """The share of completions that reached the limit without an end."""
        cut = cut_off(completions, self.max_new_tokens, ends_of(self.model, self.tokenizer))
        return sum(cut) / len(cut)


def verdicts_of(scores: Mapping[str, Any]) -> list[list[bool]]:
    """The verdicts of `Policy.score`, a list a prompt, those that are right first."""
    return [[True] * right + [False] * (scores["samples"] - right) for right in scores["right"]]

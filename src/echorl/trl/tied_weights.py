"""No warning on weights that a checkpoint lacks because they are tied to others."""

from __future__ import annotations

from typing import Any


class QuietOnTiedWeights:
    """Mixin of a Trainer: a checkpoint without `lm_head.weight`, which is the embedding itself, is complete."""

    model: Any

    def _issue_warnings_after_load(self, load_result: Any) -> None:
        tied = getattr(self.model, "all_tied_weights_keys", None) or {}  # only models of transformers have them
        missing = [name for name in load_result.missing_keys if name not in tied]
        super()._issue_warnings_after_load(type(load_result)(missing, load_result.unexpected_keys))  # type: ignore[misc]

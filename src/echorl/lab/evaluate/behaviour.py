"""Measures of how completions look, which an exploit of the objective would move."""

from __future__ import annotations

from typing import Any

import torch

from echorl.core.steps import StepDelimiters
from echorl.lab.evaluate.sampling import Completions


def behaviour(completions: Completions, tokenizer: Any) -> dict[str, float]:
    """Mean length in tokens, share of blank tokens and mean token entropy in nats."""
    blank = StepDelimiters.from_tokenizer(tokenizer).blank
    tokens = torch.tensor([token for ids in completions.token_ids for token in ids])
    entropies = torch.tensor([value for row in completions.entropies for value in row], dtype=torch.float64)
    return {
        "length": len(tokens) / len(completions.token_ids),
        "blank_share": float(blank[tokens].double().mean()),
        "entropy": float(entropies.mean()),
    }

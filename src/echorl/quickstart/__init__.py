"""A small policy and its task, so that a laptop without a GPU can train, evaluate and look within minutes.

`load_task(**TASK)` is the task; plain transformers loads the policy from the folder `POLICY`. Importing this is cheap.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

__all__ = ["MAX_NEW_TOKENS", "POLICY", "TASK"]

POLICY = Path(__file__).parent / "policy"
"""Folder of the shipped policy and its tokenizer; `benchmarks/quickstart/policy.py` made it."""

TASK: dict[str, Any] = {
    "name": "reasoning_gym",
    "generator": "chain_sum",
    "config": {"min_terms": 2, "max_terms": 4, "min_digits": 2, "max_digits": 2},
    "harder": {"min_terms": 5, "max_terms": 5},
    "template": "{question}\n",
}
"""Options of `echorl.tasks.load_task`: sums of two to four two-digit numbers; five in the split "harder"."""

MAX_NEW_TOKENS = 80
"""Room for every solution: the longest worked solution of the split "harder" has fewer tokens."""

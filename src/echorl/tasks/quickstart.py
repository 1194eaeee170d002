"""Task of the quickstart: sums that a small policy learns on a laptop's CPU within minutes."""

from __future__ import annotations

from typing import Any

TASK: dict[str, Any] = {
    "name": "reasoning_gym",
    "generator": "chain_sum",
    "config": {"min_terms": 2, "max_terms": 4, "min_digits": 2, "max_digits": 2},
    "harder": {"min_terms": 5, "max_terms": 5},
    "template": "{question}\n",
}
"""Options of `echorl.tasks.load_task`: sums of two to four two-digit numbers; five in the split "harder"."""

MAX_NEW_TOKENS = 80
"""Length limit of a completion; the longest worked solution of the split "harder" has fewer tokens."""

"""Summary of `echorl mine` over all rollouts: groups by kind, steps, and the places, lengths and entropies of clips."""

from __future__ import annotations

from array import array
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from functools import reduce
from typing import Any

import numpy as np

from echorl.core.statistics import KINDS

QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)
FEW = 5
"""Values below which a table shows all of them in place of quantiles."""
FEW_NOTE = f"In brackets all values, where there are fewer than {FEW}."
ALL = "all"
COUNTS = ("groups", "groups_of_one", "rollouts", "too_long", "tokens")
ROWS = (
    ("clips", "clips.count"),
    ("steps a rollout (10 50 90 %)", "steps"),
    ("share of the rollout in the clip (10 50 90 %)", "clips.relative_end"),
    ("clips that end in the first step", "clips.ends_in_first_step"),
    ("clips that end in the last step", "clips.ends_in_last_step"),
    ("clip's tokens (10 50 90 %)", "clips.length"),
    ("entropy of the clip's last step (mean, nats)", "clips.step_entropy.mean"),
    ("entropy of the other steps (mean, nats)", "clips.other_steps_entropy.mean"),
    ("all steps of right rollouts (mean, nats)", "step_entropy_right"),
    ("all steps of wrong rollouts (mean, nats)", "step_entropy_wrong"),
    ("blank share of tokens", "blank_share"),
)
"""Rows of the table: (text, place in the summary)."""


class Summary:
    """Numbers of parts, added up. In memory: seven numbers a clip, and a count for each number of steps."""

    def __init__(self) -> None:
        self.counts: dict[str, Counter[str]] = defaultdict(Counter)
        self.steps: dict[str, Counter[int]] = defaultdict(Counter)
        self.clips = array("d")

    def add(self, part: Mapping[str, Any]) -> None:
        """Add a part: its clips and its counts by kind of group."""
        for kind, numbers in part["counts"].items():
            for name in (kind, ALL):
                self.counts[name].update({key: value for key, value in numbers.items() if key != "steps"})
                self.steps[name].update({int(steps): times for steps, times in numbers["steps"].items()})
        for clip in part["clips"]:
            self.clips.extend(
                (
                    KINDS.index(clip["kind"]),
                    clip["clip_tokens"] / clip["response_tokens"],
                    clip["step_entropy"],
                    np.nan if clip["other_entropy"] is None else clip["other_entropy"],
                    clip["clip_tokens"],
                    clip["step"] == 0,
                    clip["step"] == clip["steps"] - 1,
                )
            )

    def result(self) -> dict[str, Any]:
        """Return {"all": ..., and the same for each kind of group that occurs}."""
        clips = np.array(self.clips).reshape(-1, 7)
        tables = {ALL: clips, **{kind: clips[clips[:, 0] == code] for code, kind in enumerate(KINDS)}}
        return {name: self._describe(name, table) for name, table in tables.items() if name in self.counts}

    def _describe(self, name: str, clips: np.ndarray) -> dict[str, Any]:
        counts = self.counts[name]
        return {
            "share_of_groups": counts["groups"] / self.counts[ALL]["groups"],
            **{key: counts[key] for key in COUNTS},
            "degenerate": counts["degenerate"] / counts["groups"],
            "blank_share": _ratio(counts["blank"], counts["tokens"]),
            "steps": _spread(list(self.steps[name].elements())),
            "step_entropy_right": _ratio(counts["right_entropy"], counts["right_steps"]),
            "step_entropy_wrong": _ratio(counts["wrong_entropy"], counts["wrong_steps"]),
            "clips": {"count": len(clips), **(_describe_clips(clips) if len(clips) else {})},
        }


def _ratio(value: float, total: float) -> float | None:
    return value / total if total else None


def _describe_clips(clips: np.ndarray) -> dict[str, Any]:
    _, share, entropy, other, length, is_first, is_last = clips.T
    both = np.isfinite(other)
    return {
        "relative_end": _spread(share),
        "ends_in_first_step": float(is_first.mean()),
        "ends_in_last_step": float(is_last.mean()),
        "step_entropy": _spread(entropy),
        "other_steps_entropy": _spread(other[both]),
        "above_other_steps": float((entropy > other)[both].mean()) if both.any() else None,
        "length": _spread(length),
    }


def _spread(values: Sequence[float] | np.ndarray) -> dict[str, Any] | None:
    """Return the mean, the quantiles and, where they are few, the values; None without values."""
    if not len(values):
        return None
    quantiles = np.quantile(values, QUANTILES, method="nearest").tolist()
    few = {"values": sorted(map(float, values))} if len(values) < FEW else {}
    names = [f"q{100 * q:.0f}" for q in QUANTILES]
    return {"mean": float(np.mean(values)), **dict(zip(names, quantiles, strict=True)), **few}


def headline(summary: Mapping[str, Any]) -> list[str]:
    """Return sentences on the size of the log, and on rewards that are unusual for a verifier."""
    total = summary[ALL]
    share = f"{total['degenerate']:.1%} of them degenerate (all rewards are equal)"
    return [f"{total['rollouts']} rollouts in {total['groups']} groups, {share}.", *total["unusual_rewards"]]


def table_rows(summary: Mapping[str, Any]) -> list[list[str]]:
    """Return a summary as a table: the rows `ROWS`, a cell for "all" and for each kind of group that gave clips."""
    columns = [numbers for numbers in summary.values() if numbers["clips"]["count"]]
    return [[text, *(_cell(numbers, path) for numbers in columns)] for text, path in ROWS]


def has_few(summary: Mapping[str, Any]) -> bool:
    """Return whether a cell of the table has values in place of quantiles."""
    return any(0 < numbers["clips"]["count"] < FEW for numbers in summary.values())


def _cell(numbers: Mapping[str, Any], path: str) -> str:
    """Return a number by its place in the summary, three quantiles or few values; a dash where there is none."""
    value: Any = reduce(lambda inner, name: inner and inner[name], path.split("."), numbers)
    if value is None:
        return "-"
    if isinstance(value, dict):
        if "values" in value:
            return f"[{', '.join(f'{each:.3g}' for each in value['values'])}]"
        return " ".join(f"{value[name]:.3g}" for name in ("q10", "q50", "q90"))
    return f"{value:.3g}" if isinstance(value, float) else str(value)

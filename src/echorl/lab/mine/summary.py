"""Summary of `echorl mine` over all rollouts: groups by kind, steps, and where and what the clips are."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Mapping
from typing import Any

import torch

from echorl.core.statistics import KINDS

QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)
MEASURES = ("end", "entropy", "other", "length", "first", "last")
ALL = "all"
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
"""What a table shows: (text, place in the summary)."""


class Summary:
    """Numbers of parts, added up. In memory: six numbers a clip, and a count for each number of steps."""

    def __init__(self) -> None:
        self.counts: dict[str, Counter[str]] = {}
        self.steps: dict[str, Counter[int]] = {}
        self.clips: dict[str, dict[str, array]] = {}

    def add(self, part: Mapping[str, Any]) -> None:
        """A part: its clips and its counts."""
        for kind, entry in part["counts"].items():
            for name in (kind, ALL):
                numbers = {key: value for key, value in entry.items() if key != "steps"}
                self.counts.setdefault(name, Counter()).update(numbers)
                steps = {int(key): value for key, value in entry["steps"].items()}
                self.steps.setdefault(name, Counter()).update(steps)
        for clip in part["clips"]:
            for name in (clip["kind"], ALL):
                self._add_clip(self.clips.setdefault(name, {key: array("d") for key in MEASURES}), clip)

    def _add_clip(self, columns: dict[str, array], clip: Mapping[str, Any]) -> None:
        other = clip["other_entropy"]
        values = (
            clip["clip_tokens"] / clip["response_tokens"],
            clip["step_entropy"],
            float("nan") if other is None else other,
            clip["clip_tokens"],
            clip["step"] == 0,
            clip["step"] == clip["steps"] - 1,
        )
        for name, value in zip(MEASURES, values, strict=True):
            columns[name].append(value)

    def result(self) -> dict[str, Any]:
        """{"all": ..., and the same for each kind of group that there is}."""
        total = self.counts[ALL]["groups"]
        kinds = [kind for kind in KINDS if kind in self.counts]
        return {
            name: {"share_of_groups": self.counts[name]["groups"] / total, **self._of(name)} for name in (ALL, *kinds)
        }

    def _of(self, name: str) -> dict[str, Any]:
        counts = self.counts[name]
        whole = ("groups", "groups_of_one", "rollouts", "too_long", "tokens")
        found: dict[str, Any] = {key: int(counts[key]) for key in whole}
        found["degenerate"] = counts["degenerate"] / counts["groups"]
        found["blank_share"] = _ratio(counts["blank"], counts["tokens"])
        found["steps"] = _of_counts(self.steps[name])
        for verdict in ("right", "wrong"):
            found[f"step_entropy_{verdict}"] = _ratio(counts[f"{verdict}_entropy"], counts[f"{verdict}_steps"])
        columns = self.clips.get(name)
        found["clips"] = {"count": len(columns["end"]), **_of_clips(columns)} if columns else {"count": 0}
        return found


def _ratio(value: float, of: float) -> float | None:
    return value / of if of else None


def _of_counts(counts: Mapping[int, int]) -> dict[str, float] | None:
    values = torch.tensor(sorted(counts), dtype=torch.float64)
    times = torch.tensor([counts[int(value)] for value in values], dtype=torch.int64)  # float if empty, else
    return _spread(values.repeat_interleave(times))


def _of_clips(columns: Mapping[str, array]) -> dict[str, Any]:
    values = {name: torch.tensor(column, dtype=torch.float64) for name, column in columns.items()}
    entropy, other = values["entropy"], values["other"]
    both = other.isfinite()
    return {
        "relative_end": _spread(values["end"]),
        "ends_in_first_step": float(values["first"].mean()),
        "ends_in_last_step": float(values["last"].mean()),
        "step_entropy": _spread(entropy),
        "other_steps_entropy": _spread(other[both]),
        "above_other_steps": _mean((entropy > other)[both]),
        "length": _spread(values["length"]),
    }


def _mean(values: torch.Tensor) -> float | None:
    return float(values.double().mean()) if len(values) else None


def _spread(values: torch.Tensor) -> dict[str, float] | None:
    """Mean and quantiles; None of nothing."""
    if not len(values):
        return None
    ordered = values.sort().values  # torch.quantile refuses more than 2^24 values
    at = {f"q{100 * q:.0f}": float(ordered[round(q * (len(ordered) - 1))]) for q in QUANTILES}
    return {"mean": float(values.mean()), **at}


def table_rows(found: Mapping[str, Any]) -> list[list[str]]:
    """A summary as a table: a row of `ROWS`, and a cell for "all" and each kind of group that gave clips."""
    shown = [row for row in found.values() if row["clips"]["count"]]
    return [[text, *(_cell(row, path) for row in shown)] for text, path in ROWS]


def _cell(row: Mapping[str, Any], path: str) -> str:
    """A number by its place in the summary, or three quantiles."""
    value: Any = row
    for name in path.split("."):
        value = value if value is None else value[name]  # of nothing there is neither a spread nor a mean
    if value is None:
        return "-"
    if isinstance(value, dict):
        return " ".join(f"{value[name]:.3g}" for name in ("q10", "q50", "q90"))
    return f"{value:.3g}" if isinstance(value, float) else str(value)

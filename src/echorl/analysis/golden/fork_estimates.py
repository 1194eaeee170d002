"""How much a step decides, over many forks: sums over prompts, with intervals from prompts drawn anew."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from echorl.analysis.golden.forks import Parts
from echorl.evaluate.metrics import MAX_DRAWS

RESAMPLES = 4000
QUANTILES = (0.025, 0.975)
BETWEEN, TOTAL, COUNT = range(3)
Numbers = dict[str, float | None]
NONE: Numbers = {"value": None, "low": None, "high": None}


@dataclass(frozen=True, kw_only=True)
class Point:
    """What became of a fork.

    Attributes:
        item, rollout: its prompt, and the number of the rollout.
        end: whether its step is that of highest or of lowest entropy.
        entropy, place, tokens: of the step that the rollout has there, as in `Fork`.
        variants: different steps among the draws, white space around them aside.
        right: of each draw the number of right completions.
        parts: of the variance.
    """

    item: str
    rollout: int
    end: str
    entropy: float
    place: float
    tokens: int
    variants: int
    right: Sequence[int]
    parts: Parts


def share(sums: Tensor) -> Tensor:
    """[..., 3] -> [...]: the share of the outcome's variance that the draw of the step decides; NaN where none is."""
    return torch.where(sums[..., TOTAL] > 0, sums[..., BETWEEN] / sums[..., TOTAL], torch.nan)


def risk(sums: Tensor) -> Tensor:
    """[..., 3] -> [...]: root mean square change of the success probability by the draw, in points; 0 below 0."""
    return 100 * (sums[..., BETWEEN] / sums[..., COUNT]).clamp(min=0).sqrt()


def estimate(function: Callable[[Tensor], Tensor], points: Sequence[Point]) -> Numbers:
    """`share` or `risk` of these forks, with a 95 % interval clustered by prompt (`over_prompts`)."""
    return over_prompts(lambda sums: function(sums[..., 0, :]), [points])


def difference(function: Callable[[Tensor], Tensor], first: Sequence[Point], second: Sequence[Point]) -> Numbers:
    """The first's less the second's; a prompt is drawn with all its forks, so both sides stay paired."""
    return over_prompts(lambda sums: function(sums[..., 0, :]) - function(sums[..., 1, :]), [first, second])


def over_prompts(function: Callable[[Tensor], Tensor], sides: Sequence[Sequence[Point]]) -> Numbers:
    """A function of the sums over S sides' forks, [..., S, 3] -> [...], with a bootstrap interval over prompts.

    Returns:
        The value, and the 2.5 and 97.5 % quantiles over prompts drawn with replacement. All None where the function
        has no value; no bounds for a single prompt, or where some resamples have no value: too few prompts count.
    """
    table = _sums(sides)
    value = float(function(table.sum(0)))
    if not math.isfinite(value):
        return dict(NONE)
    found = torch.cat([function(drawn) for drawn in _resampled(table)]) if len(table) > 1 else torch.empty(0)
    if not len(found) or not bool(found.isfinite().all()):
        return {**NONE, "value": value}
    low, high = torch.quantile(found, torch.tensor(QUANTILES, dtype=found.dtype)).tolist()
    return {"value": value, "low": low, "high": high}


def _sums(sides: Sequence[Sequence[Point]]) -> Tensor:
    """float64 [N, S, 3]: each prompt's sums of between and total, and its number of forks, on each side."""
    places = {item: n for n, item in enumerate(dict.fromkeys(point.item for side in sides for point in side))}
    table = torch.zeros(len(places), len(sides), 3, dtype=torch.float64)
    for number, side in enumerate(sides):
        for point in side:
            row = torch.tensor([point.parts.between, point.parts.total, 1.0], dtype=torch.float64)
            table[places[point.item], number] += row
    return table


def _resampled(table: Tensor) -> Iterator[Tensor]:
    """The sums over as many prompts, drawn with replacement, `RESAMPLES` times in all; some at once, [R, S, 3]."""
    generator = torch.Generator().manual_seed(0)
    size = max(1, MAX_DRAWS // table.numel())
    for start in range(0, RESAMPLES, size):
        drawn = torch.randint(len(table), (min(size, RESAMPLES - start), len(table)), generator=generator)
        yield table[drawn].sum(1)

"""Intervals that commands share. Imports neither torch nor scipy."""

from __future__ import annotations

import math

Z_95 = 1.959963984540054
"""The normal distribution's 97.5 % quantile."""


def wilson(p: float, trials: float) -> tuple[float, float]:
    """Return Wilson's 95 % interval of a share `p` of `trials` (positive, need not be whole) independent trials.

    >>> [round(bound, 4) for bound in wilson(0.0, 10)]
    [0.0, 0.2775]
    """
    square = Z_95**2 / trials
    centre = (p + square / 2) / (1 + square)
    half = Z_95 / (1 + square) * math.sqrt(p * (1 - p) / trials + square / (4 * trials))
    return min(p, max(0.0, centre - half)), max(p, min(1.0, centre + half))  # p itself, whatever the rounding

"""Shares with intervals that respect recurring prompts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import betaincinv, ndtri, stdtrit

from echorl.lab.statistics import Z_95, wilson


@dataclass(frozen=True)
class Estimate:
    """Number with its 95 % interval; the ends are None where the log has too little for one, such as one prompt."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Sample:
    """A share with the number of independent trials that would have its variance.

    Attributes:
        share: the estimated share.
        trials: share (1 - share) / variance; not whole.
        clusters: prompts; the variance has one degree of freedom less.
    """

    share: float
    trials: float
    clusters: int

    def penalised(self, critical: float, student: float) -> float:
        """Return the trials less what Student's quantile takes away for the few prompts that the variance is from."""
        return self.trials * (critical / student) ** 2


def sample(part: npt.NDArray[Any], weight: npt.NDArray[Any], prompt: npt.NDArray[Any]) -> Sample:
    """Return sum(part) / sum(weight) with the variance of a ratio between clusters.

    The groups of one prompt resemble each other, so a prompt is a cluster: with e_c = sum over the cluster of
    (part - share weight), the variance is C / (C - 1) sum e_c^2 / (sum weight)^2 (linearised; Cochran, Sampling
    Techniques, 1977, chapter 6). Without any spread (a share of 0 or 1) each prompt counts once, by Kish's formula
    (sum weight_c)^2 / sum weight_c^2: nothing says that its visits are independent.
    """
    total = float(weight.sum())
    _, cluster = np.unique(prompt, return_inverse=True)
    weights, parts = np.bincount(cluster, weight), np.bincount(cluster, part)
    share, clusters = float(parts.sum()) / total, int((weights > 0).sum())
    residual = float(((parts - share * weights) ** 2).sum())
    spread = share * (1 - share)
    if clusters < 2 or residual <= 1e-12 * total**2 / len(weights):
        return Sample(share, total**2 / float((weights**2).sum()), clusters)
    return Sample(share, spread * total**2 * (clusters - 1) / clusters / residual, clusters)


def ratio(part: npt.NDArray[Any], weight: npt.NDArray[Any], prompt: npt.NDArray[Any]) -> Estimate:
    """Return the share sum(part) / sum(weight) with a 95 % interval, for 0 <= part <= weight, not all 0.

    The interval is Wilson's at the effective number of trials of `sample`, with Student's quantile at one degree of
    freedom less than there are prompts, after Korn and Graubard (Survey Methodology 24, 1998), so it stays within
    [0, 1] and has a width at 0 and 1. It has no ends with one prompt.
    """
    estimate = sample(part, weight, prompt)
    if estimate.clusters < 2:
        return Estimate(estimate.share)
    student = float(stdtrit(estimate.clusters - 1, 0.975))
    return Estimate(estimate.share, *wilson(estimate.share, estimate.penalised(Z_95, student)))


def limits(estimate: Sample, alpha: float) -> tuple[float, float]:
    """Return Clopper and Pearson's interval at level 1 - alpha, at the effective number of trials of a sample.

    It is wider than Wilson's and keeps its level for rare counts, which a simultaneous region needs.
    """
    degrees = estimate.clusters - 1
    trials = estimate.penalised(float(ndtri(1 - alpha / 2)), float(stdtrit(degrees, 1 - alpha / 2)))
    successes = estimate.share * trials
    low = betaincinv(successes, trials - successes + 1, alpha / 2) if successes > 0 else 0.0
    high = betaincinv(successes + 1, trials - successes, 1 - alpha / 2) if successes < trials else 1.0
    return float(low), float(high)

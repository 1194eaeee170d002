"""A logistic trend of the share of groups without gradient over the steps of a run."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import expit, logit, stdtrit

from echorl.lab.audit.groups import GroupTable
from echorl.lab.audit.intervals import Estimate

STEPS = 100
"""The steps that a slope is told for."""
BLOCKS = 20
"""Stretches of the run whose chance deviations from the trend the interval allows for."""
LEVELS = (0.25, 0.5, 0.75, 0.9)
"""Shares that a trend may reach."""
STEEPEST = 25.0
"""Logits over the whole run above which the share jumps rather than grows, so that a slope has no interval."""


@dataclass(frozen=True)
class Reach:
    """A share and the step at which the trend would reach it: an extrapolation beyond the log.

    Attributes:
        share: of groups without gradient.
        step: when.
    """

    share: float
    step: Estimate


@dataclass(frozen=True)
class Trend:
    """The further course of the share of groups without gradient, if it goes on as it did on average over the log.

    Attributes:
        per_100_steps: the change of the share in 100 steps at the end of the log (0.05 is 5 points more), by its slope.
        first, last: the fitted share at the log's first and last step.
        reaches: shares that the trend reaches within as many further steps as the log has; none where the interval of
            the slope contains 0.
    """

    per_100_steps: Estimate
    first: Estimate
    last: Estimate
    reaches: list[Reach]


def fit_trend(groups: GroupTable) -> Trend | None:
    """Return the trend of logit(share without gradient) = a + b step by maximum likelihood, with 95 % intervals.

    The covariance is a sandwich clustered by prompt, or by 20 stretches of the run where that is larger (a policy that
    learns in waves differs from a line in whole stretches), with Student's quantile at 19 degrees of freedom. None
    where there is too little for a trend: fewer than 20 steps, a share that is 0 or 1 throughout or jumps between them.
    Every group needs a step.
    """
    steps = np.unique(groups.step)
    if len(steps) < BLOCKS or groups.degenerate.all() or not groups.degenerate.any():
        return None
    start, span = float(steps[0]), float(steps[-1] - steps[0])
    time = ((groups.step - start) / span).astype(np.float64)
    fit = _logistic(time, groups.degenerate)
    if fit is None:
        return None
    block = np.minimum((time * BLOCKS).astype(np.int64), BLOCKS - 1)
    covariances = [_sandwich(time, groups.degenerate, fit, cluster) for cluster in (groups.prompt, block)]
    covariance = max(covariances, key=lambda matrix: float(matrix[1, 1]))
    line = _Line(fit, covariance, float(stdtrit(BLOCKS - 1, 0.975)))
    last, (slope, low, high) = line.share(1.0), line.slope()
    gain = STEPS / span * last.value * (1 - last.value)
    crossings = {level: line.crossing(level) for level in LEVELS if low > 0 or high < 0}
    return Trend(
        per_100_steps=Estimate(gain * slope, gain * low, gain * high),
        first=line.share(0.0),
        last=last,
        reaches=[Reach(level, _in_steps(*when, start, span)) for level, when in crossings.items() if when is not None],
    )


@dataclass(frozen=True)
class _Line:
    """logit(share) = a + b time, with time 0 at the first step and 1 at the last."""

    fit: npt.NDArray[np.float64]
    covariance: npt.NDArray[np.float64]
    student: float

    def slope(self) -> tuple[float, float, float]:
        """Return b and the ends of its interval."""
        b, half = float(self.fit[1]), self.student * float(self.covariance[1, 1]) ** 0.5
        return b, b - half, b + half

    def share(self, time: float) -> Estimate:
        """Return the fitted share at a time."""
        row = np.array([1.0, time])
        middle, half = float(row @ self.fit), self.student * float(row @ self.covariance @ row) ** 0.5
        return Estimate(*(float(expit(end)) for end in (middle, middle - half, middle + half)))

    def crossing(self, share: float) -> tuple[float, float, float] | None:
        """Return when the line crosses a share and the ends of Fieller's interval; None outside of times 1 to 2.

        The ends solve (a + b t - logit share)^2 = student^2 Var(a + b t). Both are finite where the interval of b
        excludes 0.
        """
        a, b = float(self.fit[0]) - float(logit(share)), float(self.fit[1])
        if not 1 < -a / b <= 2:
            return None
        v_aa, v_ab, v_bb = self.student**2 * self.covariance[[0, 0, 1], [0, 1, 1]]
        low, high = sorted(np.roots([b * b - v_bb, 2 * (a * b - v_ab), a * a - v_aa]).real.tolist())
        return -a / b, low, high


def _in_steps(value: float, low: float, high: float, start: float, span: float) -> Estimate:
    """Return times as steps; the low end is not before the end of the log, when the share had not been reached."""
    return Estimate(*(start + span * time for time in (value, max(1.0, low), high)))


def _logistic(time: npt.NDArray[np.float64], lost: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64] | None:
    """Return intercept and slope by Newton's method; None where the likelihood has no maximum."""
    columns = np.stack([np.ones(len(time)), time], 1)
    fit = np.array([float(logit(lost.mean())), 0.0])
    for _ in range(50):
        share = expit(columns @ fit)
        information = (columns.T * (share * (1 - share))) @ columns
        change = np.linalg.solve(information, columns.T @ (lost - share))
        fit = fit + change * 4 / max(4.0, float(np.abs(change).max()))
        if abs(fit[1]) > STEEPEST:
            return None
        if float(np.abs(change).max()) < 1e-9:
            return fit
    return None


def _sandwich(
    time: npt.NDArray[np.float64],
    lost: npt.NDArray[np.bool_],
    fit: npt.NDArray[np.float64],
    cluster: npt.NDArray[np.int64],
) -> npt.NDArray[np.float64]:
    """Return the covariance of intercept and slope when the groups of a cluster depend on each other."""
    share = expit(fit[0] + fit[1] * time)
    _, index = np.unique(cluster, return_inverse=True)
    scores = np.stack([np.bincount(index, weight * (lost - share)) for weight in (np.ones(len(time)), time)])
    weight = share * (1 - share)
    information = np.array([[weight.sum(), weight @ time], [weight @ time, weight @ time**2]])
    bread, number = np.linalg.inv(information), scores.shape[1]
    return bread @ scores @ scores.T @ bread * number / max(1, number - 1)

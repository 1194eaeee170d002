"""Distributions of success rates that are compatible with counts: the smoothest likely one, and bounds over all."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.optimize import linprog, minimize
from scipy.special import comb, logsumexp, rel_entr

Floats = npt.NDArray[np.float64]

RATES: Floats = np.sin(np.linspace(0, np.pi / 2, 129)) ** 2
"""Success rates on which distributions are carried, dense near 0 and 1, where large groups tell rates apart."""
RATES[-1] = 1.0
ENDS = 0.05
"""Mass of each of the rates 0 and 1 in the distribution that a fit starts from; the other rates share the rest."""
SLACK = 1e-7
"""Added to every limit, since the solver keeps limits no better."""
SOLVER = {"presolve": False, "time_limit": 5.0}
"""Options of the linear program: its presolve takes longer than the program, which Ctrl-C cannot stop."""
CUTS = 40
"""The most planes that are put round the region for one bound."""
TOLERANCE = 0.1
"""Relative excess over its limit that the divergence at a bound may have: bounds are wider by little."""


def chances(size: int) -> Floats:
    """Return the chance of 0 to `size` successes of `size` rollouts at each of `RATES`: [size + 1, rates]."""
    successes = np.arange(size + 1)[:, None]
    result: Floats = comb(size, successes) * RATES**successes * (1 - RATES) ** (size - successes)
    return result


def fit_weights(shares: Floats, trials: float) -> Floats:
    """Return the weights of `RATES` whose mixture of binomials fits the shares of 0 to m successes: [rates].

    Maximum likelihood leaves the weights open (`sizes` says why), so they minimise

        KL(shares | mixture) + KL(weights | start) / trials,

    which fits as well as the number of trials can tell and is otherwise as even as the start: uniform on the arcsine
    scale, with some mass at 0 and 1. The dual problem has one variable x_k for each number of successes that was seen,
    and is convex: minimise t log sum_j start_j exp(sum_k e^(x_k) chance_kj / t) - sum_k shares_k x_k, t = 1 / trials.
    It is solved for falling t, each time from the last solution.
    """
    seen = shares > 0
    chance, share = chances(len(shares) - 1)[seen], shares[seen]
    start = np.full(len(RATES), (1 - 2 * ENDS) / (len(RATES) - 2))
    start[[0, -1]] = ENDS

    def tilt(x: Floats, t: float) -> tuple[Floats, float]:
        exponent = np.exp(x) @ chance / t
        scale = float(logsumexp(exponent, b=start))
        return start * np.exp(exponent - scale), scale

    def loss(x: Floats, t: float) -> tuple[float, Floats]:
        weights, scale = tilt(x, t)
        return t * scale - float(share @ x), np.exp(x) * (chance @ weights) - share

    def hessian(x: Floats, t: float) -> Floats:
        weights, _ = tilt(x, t)
        scaled = np.exp(x)[:, None] * chance
        mean = scaled @ weights
        result: Floats = np.diag(mean) + ((scaled * weights) @ scaled.T - np.outer(mean, mean)) / t
        return result

    trials = max(1.0, trials)
    x, temperatures = np.zeros(len(share)), np.geomspace(1, 1 / trials, 2 + int(np.log(trials)))
    for t in temperatures:
        x = minimize(loss, x, (t,), "trust-exact", jac=True, hess=hessian, options={"gtol": 1e-7}).x
    return tilt(x, temperatures[-1])[0]


class Region:
    """Distributions of success rates whose mixture of binomials is likely enough, given shares of 0 to m successes.

    These are the weights of `RATES` with KL(shares | mixture) <= limit, a convex set. It is approached from outside by
    planes: those of the largest and smallest shares that the limit allows for each number of successes, and one more
    through the edge, between the best fit and the last bound, as long as a bound lies outside (Veinott, Operations
    Research 15, 1967). So bounds err to the wide side.

    Args:
        shares: of groups with 0 to m successes: [m + 1].
        fit: the weights of the best fit: [rates].
        limit: the largest divergence.
        functions, least: functions of the success rate [R, rates] whose means are at least so large [R], unless no
            distribution of the region has such means.
    """

    def __init__(self, shares: Floats, fit: Floats, limit: float, functions: Floats, least: Floats) -> None:
        self.shares, self.limit = shares, limit
        self.chances = chances(len(shares) - 1)
        self.inside = self.chances @ fit
        low, high = _allowed(shares, limit)
        self.rows = [*self.chances, *-self.chances, *-functions]
        self.bounds = [*high, *-low, *-least]
        if self._solve(np.zeros(len(RATES))) is None:  # two statements at 95 % may exclude each other
            del self.rows[2 * len(shares) :], self.bounds[2 * len(shares) :]

    def range_of(self, function: Floats) -> tuple[float, float]:
        """Return the smallest and the largest mean of a function [rates] over the distributions of the region."""
        return self._least(function), -self._least(-function)

    def _least(self, function: Floats) -> float:
        bound = float(function.min())
        for _ in range(CUTS):
            weights = self._solve(function)
            if weights is None:
                break  # the solver gave up: the last bound holds
            bound = float(function @ weights)
            if divergence(self.shares, self.chances @ weights) <= self.limit * (1 + TOLERANCE):
                break
            self._cut(self.chances @ weights)
        return bound

    def _solve(self, function: Floats) -> Floats | None:
        """Return the weights within all planes that make a function's mean smallest; None where the solver has none."""
        rows, bounds, ones = np.array(self.rows), np.array(self.bounds) + SLACK, np.ones((1, len(RATES)))
        result = linprog(function, rows, bounds, ones, [1.0], method="highs-ds", options=SOLVER)
        return result.x if result.success else None

    def _cut(self, outside: Floats) -> None:
        """Add the plane that touches the region where the line from the best fit to a mixture leaves it."""
        inner, outer = 0.0, 1.0
        for _ in range(40):
            middle = (inner + outer) / 2
            leaves = divergence(self.shares, self.inside + middle * (outside - self.inside)) > self.limit
            inner, outer = (inner, middle) if leaves else (middle, outer)
        edge = self.inside + outer * (outside - self.inside)
        slope = -self.shares / np.maximum(edge, 1e-300)
        self.rows.append(slope @ self.chances)
        self.bounds.append(self.limit - divergence(self.shares, edge) + float(slope @ edge))


def divergence(shares: Floats, mixture: Floats) -> float:
    """Return KL(shares | mixture) of shares and chances of 0 to m successes."""
    return float(rel_entr(shares, np.maximum(mixture, 1e-300)).sum())


def _allowed(shares: Floats, limit: float) -> tuple[Floats, Floats]:
    """Return the smallest and largest chance of each count that a divergence allows, by bisection."""
    bounds = []
    for outer in (np.zeros(len(shares)), np.ones(len(shares))):
        inner = shares.copy()
        for _ in range(50):
            middle = (inner + outer) / 2
            allowed = rel_entr(shares, middle) + rel_entr(1 - shares, 1 - middle) <= limit
            inner, outer = np.where(allowed, middle, inner), np.where(allowed, outer, middle)
        bounds.append(outer)
    return bounds[0], bounds[1]

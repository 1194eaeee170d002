"""Distributions of success rates that are compatible with counts: the smoothest likely one, and bounds over all."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import linprog, minimize
from scipy.special import comb, logsumexp

Floats = npt.NDArray[np.float64]

RATES: Floats = np.sin(np.linspace(0, np.pi / 2, 401)) ** 2
"""Success rates on which distributions are carried, dense near 0 and 1, where large groups tell rates apart."""
RATES[-1] = 1.0
ENDS = 0.05
"""Mass of each of the rates 0 and 1 in the distribution that a fit starts from; the other rates share the rest."""
SMALLEST = 1e-8
"""Lower limit of a dual variable."""


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
    scale, with some mass at 0 and 1. The dual problem has one variable eta_k a count that was seen, and is concave:
    maximise sum_k shares_k log eta_k - t log sum_j start_j exp(sum_k eta_k chance_kj / t) with t = 1 / trials.
    It is solved for falling t, each time from the last solution.
    """
    seen = shares > 0
    chance, share = chances(len(shares) - 1)[seen], shares[seen]
    start = np.full(len(RATES), (1 - 2 * ENDS) / (len(RATES) - 2))
    start[[0, -1]] = ENDS

    def weights(eta: Floats, t: float) -> tuple[Floats, float]:
        exponent = eta @ chance / t
        scale = float(logsumexp(exponent, b=start))
        return start * np.exp(exponent - scale), scale

    def loss(eta: Floats, t: float) -> tuple[float, Floats]:
        weight, scale = weights(eta, t)
        return t * scale - float(share @ np.log(eta)), chance @ weight - share / eta

    eta, temperatures = np.ones(len(share)), np.geomspace(1, 1 / trials, 2 + int(np.log(trials)))
    for t in temperatures:
        eta = minimize(loss, eta, (t,), "L-BFGS-B", jac=True, bounds=[(SMALLEST, None)] * len(share)).x
    return weights(eta, temperatures[-1])[0]


@dataclass(frozen=True)
class Region:
    """Distributions of success rates whose means of R functions lie between limits.

    Attributes:
        functions: [R, rates], each function at each of `RATES`.
        low, high: [R].
        slack: how far the limits had to be moved for any distribution to satisfy them; 0 where one did.
    """

    functions: Floats
    low: Floats
    high: Floats
    slack: float

    def range_of(self, function: Floats) -> tuple[float, float]:
        """Return the smallest and the largest mean of a function [rates] over the distributions of the region."""
        limits = np.concatenate([self.high, -self.low]) + self.slack
        rows, total = np.concatenate([self.functions, -self.functions]), np.ones((1, len(RATES)))
        least, most = (linprog(sign * function, rows, limits, total, [1.0]) for sign in (1, -1))
        return float(least.fun), float(-most.fun)


def make_region(functions: Floats, low: Floats, high: Floats) -> Region:
    """Return the region between the limits, moved just far enough apart that it is not empty.

    Counts that no mixture of binomials gives, such as 4 of 8 in every group, leave no distribution otherwise.
    """
    count, number = functions.shape
    rows = np.concatenate([functions, -functions])
    rows = np.concatenate([rows, -np.ones((2 * count, 1))], 1)
    total = np.append(np.ones(number), 0.0)[None]
    slack = float(linprog(np.append(np.zeros(number), 1.0), rows, np.concatenate([high, -low]), total, [1.0]).fun)
    return Region(functions, low, high, slack + 1e-7 if slack > 1e-7 else 1e-9)

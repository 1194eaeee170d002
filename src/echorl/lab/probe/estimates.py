r"""Estimates from inner products: whether a rule has a signal, where it points, and what it can add.

The most that a rule can add. Per prompt, let the policy gradient X have mean projection a_X on the direction of the
gradient of pass@1, and noise v_X = tr Cov X; the rule Y likewise, and v_XY = tr Cov(X, Y). A step along a gradient with
mean a and noise v gains in proportion to a^2 / v per prompt (signal per noise: the step size that curvature allows is
a / v), so the mixture X + cY is worth (a_X + c a_Y)^2 / (v_X + 2c v_XY + c^2 v_Y). Over c >= 0 its maximum is

    s_mix = s_pg + (a_Y - b a_X)^2 / (v_Y - b^2 v_X)  with b = v_XY / v_X, if a_Y > b a_X, else s_pg = a_X^2 / v_X:

what counts is the rule's part that is not a copy of the policy gradient's noise. (Where a_Y v_XY >= a_X v_Y the rule
alone is best, c has no bound, and s_mix = a_Y^2 / v_Y.) With delta = a_Y / a_X - b, in which
the unknown direction's length cancels, and D = v_Y / v_X - b^2: rho = delta^2 / D, and the mixture needs 1 / (1 + rho)
of the prompts, so saves = rho / (1 + rho). A square is too large where delta is noise, so delta's squared error is
subtracted first; z is delta's own, and its sign says whether there is anything to gain.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from statistics import NormalDist
from typing import Any

from torch import Tensor

from echorl.lab.probe.moments import NOTHING, Measure, Products, Sample, jack_knife

FRACTIONS = (0.01, 0.1, 1.0)
LEAST_Z = 2.0
"""The least z of the policy gradient's own signal: below it no rule can be compared with the policy gradient."""
WORTH = 0.02
"""The smallest share of rollouts that counts as a gain."""
Z_95 = NormalDist().inv_cdf(0.975)

Statistic = Callable[[Products], Tensor]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A sample of R rules, the places of the references among them, and the settings of the estimates.

    Attributes:
        sample: the products of the rules' gradients.
        pure: [R, R], what `pure_noise` returns.
        pass_at_1, length, entropy, loss: places of the references.
        batch: prompts in an optimiser step.
        critical: the z that counts as shown.
    """

    sample: Sample
    pure: Tensor
    pass_at_1: int
    length: int
    entropy: int
    loss: int
    batch: int
    critical: float

    def measure(self, statistic: Statistic, rule: int, other: int, slope: float = 1.0) -> Measure:
        """Return a statistic with its error; `slope` is its derivative by the product of these two means."""
        pure = float(self.pure[rule, other]) * slope**2
        return jack_knife(statistic(self.sample.full), statistic(self.sample.without_one), pure)

    def along(self, rule: int, other: int) -> Measure:
        """Return <mu_k, mu_l>."""
        return self.measure(lambda products: products.mean[..., rule, other], rule, other)

    def mean(self, rule: int) -> float:
        """Return the estimate of ||mu||^2, which may be negative."""
        return float(self.sample.full.mean[rule, rule])

    def noise(self, rule: int) -> float:
        """Return tr Cov."""
        return float(self.sample.full.noise[rule, rule])

    @property
    def has_signal(self) -> bool:
        """Return whether the policy gradient's own mean can be told from noise."""
        return (self.along(self.pass_at_1, self.pass_at_1).z or 0.0) >= LEAST_Z


def estimate(comparison: Comparison, rule: int) -> dict[str, Any]:
    """Return a rule's numbers; None in them where one cannot be computed (a rule that acts nowhere has none)."""
    directions = {name: getattr(comparison, name) for name in ("pass_at_1", "length", "entropy")}
    return {
        "signal_share": asdict(signal_share(comparison, rule)),
        "cosine": {name: asdict(cosine(comparison, rule, other)) for name, other in directions.items()},
        "coef_at": coefficients(comparison, rule),
        "signal_per_noise": asdict(signal_per_noise(comparison, rule)),
        "saves": savings(comparison, rule),
        "beside_loss": beside_loss(comparison, rule),
    }


def signal_share(comparison: Comparison, rule: int) -> Measure:
    """Return ||mu||^2 / (||mu||^2 + tr Cov / B): the share of a batch's squared gradient that all batches have.

    z is that of ||mu||^2, in which there is no B. The share is None where its denominator is not positive, which noise
    can bring about where B is larger than the number of prompts.
    """

    def share(products: Products) -> Tensor:
        mean, noise = products.mean[..., rule, rule], products.noise[..., rule, rule]
        return mean / (mean + noise / comparison.batch)

    noise = comparison.noise(rule) / comparison.batch
    total = comparison.mean(rule) + noise
    measure = comparison.measure(share, rule, rule, noise / total**2) if total > 0 else NOTHING
    return replace(measure, z=comparison.along(rule, rule).z)


def cosine(comparison: Comparison, rule: int, other: int) -> Measure:
    """Return <mu_k, mu_l> / (||mu_k|| ||mu_l||); z is that of the numerator, for the noise of the norms has no sign.

    The cosine may exceed 1, since the norms are estimates; it is None where one is not positive (z is given even so).
    """

    def ratio(products: Products) -> Tensor:
        mean = products.mean
        return mean[..., rule, other] / (mean[..., rule, rule] * mean[..., other, other]).sqrt()

    means = comparison.mean(rule), comparison.mean(other)
    if rule == other:
        measure = Measure(1.0, 0.0, None)
    elif min(means) <= 0:
        measure = NOTHING
    else:
        measure = comparison.measure(ratio, rule, other, math.prod(means) ** -0.5)
    return replace(measure, z=comparison.along(rule, other).z)


def coefficients(comparison: Comparison, rule: int) -> dict[str, float | None]:
    """Return fraction -> coefficient at which the term's batch gradient has that share of the policy gradient's norm.

    Norms are root mean squares over batches: ||mu||^2 (0 if its estimate is negative) + tr Cov / B. Both gradients are
    means over the batch's prompts.
    """
    loss = comparison.loss
    if comparison.noise(rule) <= 0 or comparison.noise(loss) <= 0:
        return {f"{share:g}": None for share in FRACTIONS}
    squares = [max(0.0, comparison.mean(k)) + comparison.noise(k) / comparison.batch for k in (loss, rule)]
    return {f"{share:g}": share * (squares[0] / squares[1]) ** 0.5 for share in FRACTIONS}


def beside_loss(comparison: Comparison, rule: int) -> dict[str, float] | None:
    """Return the rule's mean along pass@1's gradient, its noise, and the shared noise, relative to the policy loss's.

    A step with the term at coefficient c is worth (1 + c mean)^2 / (1 + 2c shared + c^2 noise) as many prompts as one
    without it. None where the policy gradient cannot be told from noise.
    """
    mean, noise, loss = comparison.sample.full.mean, comparison.sample.full.noise, comparison.loss
    if not comparison.has_signal or not float(mean[loss, comparison.pass_at_1]) > 0:
        return None
    return {
        "mean": float(mean[rule, comparison.pass_at_1] / mean[loss, comparison.pass_at_1]),
        "noise": float(noise[rule, rule] / noise[loss, loss]),
        "shared": float(noise[rule, loss] / noise[loss, loss]),
    }


def signal_per_noise(comparison: Comparison, rule: int) -> Measure:
    """Return a^2 / v of one prompt, with a's sign; at 1 / it prompts signal and noise are equal.

    The squared error of a is subtracted from its square (not below 0), but for the policy gradient, whose square is
    unbiased as it is. z is a's.
    """
    base, noise = comparison.pass_at_1, comparison.noise(rule)
    if noise <= 0 or not comparison.has_signal:
        return NOTHING
    if rule == base:
        return comparison.measure(lambda x: x.mean[..., base, base] / x.noise[..., base, base], base, base, 1 / noise)
    slope = comparison.mean(base) ** -0.5
    projection = comparison.measure(
        lambda products: products.mean[..., rule, base] / products.mean[..., base, base].sqrt(), rule, base, slope
    )
    if projection.value is None or projection.se is None:
        return NOTHING
    square, error = _square(projection.value, projection.se)
    return Measure(math.copysign(square, projection.value) / noise, error / noise, projection.z)


def _square(value: float, se: float) -> tuple[float, float]:
    """Return value^2 minus its bias se^2 (not below 0), and its error to second order: near 0 it is not normal."""
    return max(0.0, value**2 - se**2), (4 * value**2 * se**2 + 2 * se**4) ** 0.5


def savings(comparison: Comparison, rule: int) -> dict[str, float | None]:
    """Return the share of rollouts that the best mixture saves: value, se, z (of delta), high (95 % limit), prompts.

    "prompts" is how many prompts would show a saving, or that none is worth `WORTH`, if errors fall as one over the
    root of their number; where there is no signal yet they fall faster at first. It is None where the sample shows it.
    """
    nothing: dict[str, float | None] = {**asdict(NOTHING), "high": None, "prompts": None}
    base, full = comparison.pass_at_1, comparison.sample.full
    copied = float(_copied(full, rule, base))
    rest = float(full.noise[rule, rule] / full.noise[base, base]) - copied**2  # D: noise not of the policy gradient
    if rule == base or not rest > 1e-9 or not comparison.has_signal:
        return nothing
    delta = comparison.measure(
        lambda products: (
            products.mean[..., rule, base] / products.mean[..., base, base] - _copied(products, rule, base)
        ),
        rule,
        base,
        1 / comparison.mean(base),
    )
    if delta.value is None or delta.se is None or not delta.se > 0:
        return nothing
    square, error = _square(delta.value, delta.se) if delta.value > 0 else (0.0, 2**0.5 * delta.se**2)
    limit = max(0.0, delta.value + Z_95 * delta.se)
    rho, high = rho_of(delta.value, square, copied, rest), rho_of(limit, limit**2, copied, rest)
    if rest <= delta.value * copied:
        error, rest = error + 2 * abs(copied) * delta.se, rest + copied**2
    return {
        "value": rho / (1 + rho),
        "se": error / rest / (1 + rho) ** 2,
        "z": delta.z,
        "high": high / (1 + high),
        "prompts": _needed(comparison, delta.value, delta.se, rest),
    }


def _copied(products: Products, rule: int, base: int) -> Tensor:
    """Return b = v_XY / v_X."""
    return products.noise[..., rule, base] / products.noise[..., base, base]


def rho_of(delta: float, square: float, copied: float, rest: float) -> float:
    """Return s_mix / s_pg - 1 from delta, its square (minus its bias), b = v_XY / v_X and D.

    >>> rho_of(0.5, 0.25, 0.0, 1.0), round(rho_of(2.2, 4.84, 0.8, 0.36), 6)  # the second: the rule alone, 3^2 / 1 - 1
    (0.25, 8.0)
    """
    if delta <= 0 or rest > delta * copied:
        return square / rest
    return max(0.0, (square + 2 * delta * copied + copied**2) / (rest + copied**2) - 1)


def _needed(comparison: Comparison, delta: float, se: float, rest: float) -> float | None:
    """Return the prompts at which delta is the critical number of errors above 0, or its limit is below `WORTH`."""
    num = len(comparison.sample.without_one.mean)
    worth = (WORTH / (1 - WORTH) * rest) ** 0.5
    enough = max(delta / comparison.critical, (worth - delta) / Z_95)  # the error that settles it
    return None if se <= enough else float(math.ceil(num * (se / enough) ** 2))


def critical_z(tests: int) -> float:
    """Return the z that any of so many tests passes by luck in 5 % of probes (two-sided, Bonferroni).

    >>> [round(critical_z(tests), 2) for tests in (1, 18)]
    [1.96, 2.99]
    """
    return NormalDist().inv_cdf(1 - 0.025 / tests)

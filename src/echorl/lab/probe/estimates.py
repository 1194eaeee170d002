r"""From inner products to what a user asks: is there a signal, where does it point, and what can it add.

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
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

from torch import Tensor

from echorl.lab.probe.moments import NOTHING, Measure, Products, Sample, jack_knife

FRACTIONS = (0.01, 0.1, 1.0)
LEAST_Z = 2.0
"""Of the policy gradient's own signal: below it nothing can be said of what is to be compared with it."""
WORTH = 0.02
"""A share of rollouts that it is worth knowing of: a smaller limit counts as nothing gained."""
Z_95 = NormalDist().inv_cdf(0.975)

Of = Callable[[Products], Tensor]


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A sample, where things stand among its R rules, the batch size B, and the z that counts as shown."""

    sample: Sample
    pure: Tensor
    """[R, R], of `pure_noise`."""
    pass_at_1: int
    length: int
    entropy: int
    loss: int
    batch: int
    critical: float

    def measure(self, of: Of, rule: int, other: int, slope: float = 1.0) -> Measure:
        """A function of the products with its error; `slope` is its derivative by the product of these two means."""
        pure = float(self.pure[rule, other]) * slope**2
        return jack_knife(of(self.sample.full), of(self.sample.left_out), pure)

    def along(self, rule: int, other: int) -> Measure:
        """<mu_k, mu_l>."""
        return self.measure(lambda products: products.mean[..., rule, other], rule, other)

    def mean(self, rule: int) -> float:
        """||mu||^2, as estimated: it may be negative."""
        return float(self.sample.full.mean[rule, rule])

    def noise(self, rule: int) -> float:
        """tr Cov."""
        return float(self.sample.full.noise[rule, rule])


def estimate(asked: Asked, rule: int) -> dict[str, Any]:
    """A rule's numbers; None in them where one cannot be computed (a rule that acts nowhere has none)."""
    directions = {name: getattr(asked, name) for name in ("pass_at_1", "length", "entropy")}
    return {
        "signal_share": signal_share(asked, rule).row(),
        "cosine": {name: cosine(asked, rule, other).row() for name, other in directions.items()},
        "coef_at": coefficients(asked, rule),
        "signal_per_noise": signal_per_noise(asked, rule).row(),
        "saves": savings(asked, rule),
        "beside_loss": beside_loss(asked, rule),
    }


def signal_share(asked: Asked, rule: int) -> Measure:
    """||mu||^2 / (||mu||^2 + tr Cov / B): the share of a batch's squared gradient that is the same in every batch.

    z is that of ||mu||^2, in which there is no B. The share is None where its denominator is not positive, which noise
    can bring about where B is larger than the number of prompts.
    """

    def of(products: Products) -> Tensor:
        mean, noise = products.mean[..., rule, rule], products.noise[..., rule, rule]
        return mean / (mean + noise / asked.batch)

    noise = asked.noise(rule) / asked.batch
    whole, z = asked.mean(rule) + noise, asked.along(rule, rule).z
    found = asked.measure(of, rule, rule, noise / whole**2) if whole > 0 else NOTHING
    return Measure(found.value, found.se, z)


def cosine(asked: Asked, rule: int, other: int) -> Measure:
    """<mu_k, mu_l> / (||mu_k|| ||mu_l||); z is that of the numerator, for the noise of the norms has no sign.

    Not bounded by 1, since the norms are estimates; None where one is not positive (z is given even so).
    """

    def of(products: Products) -> Tensor:
        mean = products.mean
        return mean[..., rule, other] / (mean[..., rule, rule] * mean[..., other, other]).sqrt()

    z = asked.along(rule, other).z
    if rule == other:
        return Measure(1.0, 0.0, z)
    if min(asked.mean(rule), asked.mean(other)) <= 0:
        return Measure(None, None, z)
    found = asked.measure(of, rule, other, (asked.mean(rule) * asked.mean(other)) ** -0.5)
    return Measure(found.value, found.se, z)


def coefficients(asked: Asked, rule: int) -> dict[str, float | None]:
    """Fraction -> coefficient at which coef x the term's batch gradient has that share of the policy gradient's norm.

    Norms are root mean squares over batches: ||mu||^2 (0 if its estimate is negative) + tr Cov / B. Both gradients are
    means over the batch's prompts.
    """

    def square(of: int) -> float:
        return max(0.0, asked.mean(of)) + asked.noise(of) / asked.batch

    there = asked.noise(rule) > 0 and asked.noise(asked.loss) > 0
    ratio = (square(asked.loss) / square(rule)) ** 0.5 if there else None
    return {f"{share:g}": None if ratio is None else share * ratio for share in FRACTIONS}


def beside_loss(asked: Asked, rule: int) -> dict[str, float] | None:
    """The rule's mean along pass@1's gradient, its noise, and the noise that they share, by the trainer's own gradient.

    A step with the term at coefficient c then is worth (1 + c mean)^2 / (1 + 2c shared + c^2 noise) as many prompts as
    one without it. None where the policy gradient is not known.
    """
    mean, noise, loss = asked.sample.full.mean, asked.sample.full.noise, asked.loss
    if not is_known(asked) or not float(mean[loss, asked.pass_at_1]) > 0:
        return None
    return {
        "mean": float(mean[rule, asked.pass_at_1] / mean[loss, asked.pass_at_1]),
        "noise": float(noise[rule, rule] / noise[loss, loss]),
        "shared": float(noise[rule, loss] / noise[loss, loss]),
    }


def is_known(asked: Asked) -> bool:
    """Return whether the policy gradient's own mean can be told from noise."""
    return (asked.along(asked.pass_at_1, asked.pass_at_1).z or 0.0) >= LEAST_Z


def signal_per_noise(asked: Asked, rule: int) -> Measure:
    """a^2 / v of one prompt, with a's sign; 1 / it is the number of prompts at which signal and noise are equal.

    The squared error of a is subtracted from its square (not below 0), but for the policy gradient, whose square is
    unbiased as it is. z is a's.
    """
    own, noise = asked.pass_at_1, asked.noise(rule)
    if noise <= 0 or not is_known(asked):
        return NOTHING
    if rule == own:
        return asked.measure(lambda all: all.mean[..., own, own] / all.noise[..., own, own], own, own, 1 / noise)
    slope = asked.mean(own) ** -0.5
    found = asked.measure(lambda all: all.mean[..., rule, own] / all.mean[..., own, own].sqrt(), rule, own, slope)
    if found.value is None or found.se is None:
        return NOTHING
    square, error = _square(found.value, found.se)
    return Measure((square if found.value > 0 else -square) / noise, error / noise, found.z)


def _square(value: float, se: float) -> tuple[float, float]:
    """value^2 less its bias se^2 (not below 0), and its error, to second order: near 0 a square is no normal number."""
    return max(0.0, value**2 - se**2), (4 * value**2 * se**2 + 2 * se**4) ** 0.5


def savings(asked: Asked, rule: int) -> dict[str, float | None]:
    """The share of rollouts that the best mixture saves: value, se, z of delta; "high": its 95 % limit; "prompts".

    "prompts" is how many prompts would show a saving, or that there is none worth `WORTH`, if errors fall as one over
    the root of their number; where there is no signal yet they fall faster at first. None: it is shown already.
    """
    nothing: dict[str, float | None] = {**NOTHING.row(), "high": None, "prompts": None}
    base = asked.pass_at_1
    rest = float(_rest(asked.sample.full, rule, base))
    if rule == base or not rest > 1e-9 or not is_known(asked):
        return nothing
    delta = asked.measure(lambda products: _delta(products, rule, base), rule, base, 1 / asked.mean(base))
    if delta.value is None or delta.se is None or not delta.se > 0:
        return nothing
    square, error = _square(delta.value, delta.se) if delta.value > 0 else (0.0, 2**0.5 * delta.se**2)
    copied, limit = _copied(asked.sample.full, rule, base), max(0.0, delta.value + Z_95 * delta.se)
    rho, high = rho_of(delta.value, square, copied, rest), rho_of(limit, limit**2, copied, rest)
    if rest <= delta.value * copied:
        error, rest = error + 2 * abs(copied) * delta.se, rest + copied**2
    return {
        "value": rho / (1 + rho),
        "se": error / rest / (1 + rho) ** 2,
        "z": delta.z,
        "high": high / (1 + high),
        "prompts": _needed(asked, delta.value, delta.se, rest),
    }


def rho_of(delta: float, square: float, copied: float, rest: float) -> float:
    """s_mix / s_pg - 1 from delta, its square (less its bias), b = v_XY / v_X and D.

    >>> rho_of(0.5, 0.25, 0.0, 1.0), round(rho_of(2.2, 4.84, 0.8, 0.36), 6)  # the second: the rule alone, 3^2 / 1 - 1
    (0.25, 8.0)
    """
    if delta <= 0 or rest > delta * copied:
        return square / rest
    return max(0.0, (square + 2 * delta * copied + copied**2) / (rest + copied**2) - 1)


def _copied(products: Products, rule: int, base: int) -> float:
    return float(products.noise[..., rule, base] / products.noise[..., base, base])


def _delta(products: Products, rule: int, base: int) -> Tensor:
    mean, noise = products.mean, products.noise
    return mean[..., rule, base] / mean[..., base, base] - noise[..., rule, base] / noise[..., base, base]


def _rest(products: Products, rule: int, base: int) -> Tensor:
    """D: the rule's noise that is not the policy gradient's, by the policy gradient's noise."""
    noise = products.noise
    return noise[..., rule, rule] / noise[..., base, base] - (noise[..., rule, base] / noise[..., base, base]) ** 2


def _needed(asked: Asked, delta: float, se: float, rest: float) -> float | None:
    """Prompts at which delta is the critical number of errors above 0, or its limit is worth no more than `WORTH`."""
    num = len(asked.sample.left_out.mean)
    worth = (WORTH / (1 - WORTH) * rest) ** 0.5
    enough = max(delta / asked.critical, (worth - delta) / Z_95)  # the error that settles it
    return None if se <= enough else float(math.ceil(num * (se / enough) ** 2))


def critical_z(tests: int) -> float:
    """The z that one of so many tests passes by luck in 5 % of probes (two-sided, Bonferroni).

    >>> [round(critical_z(tests), 2) for tests in (1, 18)]
    [1.96, 2.99]
    """
    return NormalDist().inv_cdf(1 - 0.025 / tests)

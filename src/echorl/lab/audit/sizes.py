r"""The share of groups on which the verifier says the same of all rollouts, at other group sizes.

A prompt whose rollouts succeed with chance p gives a group of G that is all right with chance p^G and all wrong with
chance (1 - p)^G. Let F be the distribution of p over the log's groups; the share at size G is

    share(G) = E[p^G + (1 - p)^G], an average over F.

**Up to the logged size m** nothing need be known about F. Of the n verdicts of a group, c successes among them, G drawn
without replacement are all right with chance C(c, G) / C(n, G), which is an unbiased estimate of p^G whatever p is
(Halmos, Annals of Mathematical Statistics 17, 1946; the same formula as pass@k, Chen et al., arXiv 2107.03374).

**Above it** the log alone does not fix the share: counts of m rollouts tell the first m moments of F and no more (Lord,
Psychometrika 34, 1969), and share(G) needs the G-th. Two things are said about it (`mixture.py`):

- the interval: the smallest and the largest share of all F on [0, 1] that are compatible with the counts, i.e. whose
  chances of 0 to m successes lie in a simultaneous 95 % confidence region (partial identification by linear
  programming; Honore and Tamer, Econometrica 74, 2006). It stays wide however long the log is.
- the value: the share for one such F, the nonparametric maximum-likelihood estimate (Laird, JASA 73, 1978), of which
  there are many with the same likelihood; the smoothest is taken (Efron, Biometrika 103, 2016, penalises likewise).

**Recurring prompts.** The V visits of a prompt, m rollouts each, look like one group of V m; but the policy changes
from visit to visit, so they are not. Let p_1 .. p_V be the chances at the visits. G of the V m rollouts, drawn at
random, are all right with an average of products prod_v p_v^(k_v), k_1 + .. + k_V = G, symmetric in the visits, which
by Muirhead's inequality is at most the mean of p_v^G. So the pooled visits give a lower bound of the share at G,
whichever way the policy moved, and it is tight where the policy hardly moved. The linear program takes it as a further
constraint.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import comb

from echorl.lab.audit.groups import GroupTable
from echorl.lab.audit.intervals import Estimate, limits, ratio, sample
from echorl.lab.audit.mixture import RATES, Region, chances, fit_weights, make_region

SIZES = (2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
REACHED = 0.8
"""Share of the groups with verdicts that have at least as many verdicts as the logged size."""
ALPHA = 0.05

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class SizeShare:
    """The share of groups on which the verifier says the same of all, at one group size.

    Attributes:
        size: rollouts a group.
        same: all right or all wrong.
        all_success, all_fail: the two parts.
        extrapolated: whether the size is above the logged one, so that the value rests on a model and the interval is
            the range of what the log allows.
    """

    size: int
    same: Estimate
    all_success: Estimate
    all_fail: Estimate
    extrapolated: bool


@dataclass(frozen=True)
class SizeCurve:
    """The share at every group size.

    Attributes:
        logged_size: the largest size that 80 % of the groups with verdicts reach; up to it the shares are exact.
        num_groups, num_prompts: the groups with at least as many verdicts, which alone are counted, and their prompts.
        num_skipped: groups with fewer verdicts, but some.
        shares: by size.
        slack: how far the counts lie outside of what independent rollouts of prompts can give, in shares; well above 0
            where the rollouts of a group depend on each other, so that no size above the logged one can be told.
    """

    logged_size: int
    num_groups: int
    num_prompts: int
    num_skipped: int
    shares: list[SizeShare]
    slack: float


def measure_sizes(groups: GroupTable) -> SizeCurve | None:
    """Return the share of groups on which the verifier says the same of all, at sizes 2 to 64 and twice the logged one.

    It is about verdicts: where another reward differs within such a group, the group has a gradient all the same
    (`losses` tells how many do). Give the last fifth of the log for what a change of the size would do now. None where
    no group has two verdicts.
    """
    scored = groups[groups.verdicts >= 1]
    size = int(np.quantile(scored.verdicts, 1 - REACHED, method="inverted_cdf")) if len(scored) else 0
    if size < 2:
        return None
    counted = scored[scored.verdicts >= size]
    sizes = sorted({*SIZES, size, 2 * size})
    region = _region(counted, size, [each for each in sizes if each > size])
    exact = [_exact(counted, each) for each in sizes if each <= size]
    return SizeCurve(
        logged_size=size,
        num_groups=len(counted),
        num_prompts=len(np.unique(counted.prompt)),
        num_skipped=len(scored) - len(counted),
        shares=exact + _extrapolated(counted, exact[-1], region, [each for each in sizes if each > size]),
        slack=region.slack if region else 0.0,
    )


def draws(groups: GroupTable, size: int) -> Floats:
    """Return each group's chance that `size` of its verdicts hold 0 to `size` successes: [N, size + 1].

    It is hypergeometric, and unbiased for the chance of as many successes in a group of `size`.
    """
    pairs, index = np.unique(np.stack([groups.verdicts, groups.successes]), axis=1, return_inverse=True)
    verdicts, successes = pairs[:, :, None]
    drawn = np.arange(size + 1)
    table: Floats = comb(successes, drawn) * comb(verdicts - successes, size - drawn) / comb(verdicts, size)
    return table[index.ravel()]


def _exact(groups: GroupTable, size: int) -> SizeShare:
    shares, ones = draws(groups, size), np.ones(len(groups))
    right, wrong = shares[:, -1], shares[:, 0]
    same, all_success, all_fail = (ratio(column, ones, groups.prompt) for column in (right + wrong, right, wrong))
    return SizeShare(size, same, all_success, all_fail, extrapolated=False)


def _functions(size: int) -> dict[str, Floats]:
    right, wrong = RATES**size, (1 - RATES) ** size
    return {"same": right + wrong, "all_success": right, "all_fail": wrong}


def _region(groups: GroupTable, size: int, sizes: list[int]) -> Region | None:
    """Return the distributions of success rates that the counts, and recurring prompts, leave; None with one prompt."""
    columns = [(chance, share, True) for chance, share in zip(chances(size), draws(groups, size).T, strict=True)]
    pooled = {each: pooled_shares(groups, size, each) for each in sizes}
    for each, parts in pooled.items():
        columns += [(_functions(each)[name], part, False) for name, part in parts.items() if part.any()]
    ones, alpha = np.ones(len(groups)), ALPHA / len(columns)
    samples = [sample(part, ones, groups.prompt) for _, part, _ in columns]
    if samples[0].clusters < 2:
        return None
    ends = np.array([limits(each, alpha) for each in samples])
    both = np.array([both for _, _, both in columns])
    return make_region(np.array([function for function, _, _ in columns]), ends[:, 0], np.where(both, ends[:, 1], 1.0))


def pooled_shares(groups: GroupTable, logged: int, size: int) -> dict[str, Floats]:
    """Return each group's chance that `size` of all rollouts of its prompt, drawn over its visits, are all right: [N].

    And the same of all wrong. It is 0 where the prompt has fewer rollouts, one visit, or visits of several sizes, so
    that its mean is a lower bound of the share at that size whether the policy changed or not.
    """
    _, prompt = np.unique(groups.prompt, return_inverse=True)
    visits, right = np.bincount(prompt), np.bincount(prompt, groups.successes)
    whole = np.bincount(prompt, groups.verdicts != logged) == 0
    rollouts = visits * logged
    can = whole & (visits > 1) & (rollouts >= size)
    names = {"all_success": right, "all_fail": rollouts - right}
    return {name: np.where(can, _chance_of_all(part, rollouts, size), 0.0)[prompt] for name, part in names.items()}


def _chance_of_all(part: npt.NDArray[Any], rollouts: npt.NDArray[Any], size: int) -> Floats:
    """Return C(part, size) / C(rollouts, size) as a product, which large numbers do not overflow."""
    steps = np.arange(size)
    left, total = part[:, None] - steps, np.maximum(rollouts[:, None] - steps, 1)
    result: Floats = np.prod(np.maximum(left, 0) / total, axis=1)
    return result


def _extrapolated(groups: GroupTable, logged: SizeShare, region: Region | None, sizes: list[int]) -> list[SizeShare]:
    """Return the shares above the logged size.

    The fitted mixture need not lie in the region where the counts are not a mixture's, and a group that is the same at
    a larger size is so at a smaller one: values are moved into the range, and not above those at the logged size.
    """
    weights = fit_weights(draws(groups, logged.size).mean(0), len(np.unique(groups.prompt)))
    shares = []
    for size in sizes:
        functions = _functions(size)
        ranges = {name: region.range_of(function) for name, function in functions.items()} if region else {}
        parts = {
            name: _inside(min(float(weights @ functions[name]), getattr(logged, name).value), ranges.get(name))
            for name in ("all_success", "all_fail")
        }
        same = _inside(sum(part.value for part in parts.values()), ranges.get("same"))
        shares.append(SizeShare(size, same, **parts, extrapolated=True))
    return shares


def _inside(value: float, ends: tuple[float, float] | None) -> Estimate:
    if ends is None:
        return Estimate(value)
    low, high = max(0.0, ends[0]), min(1.0, ends[1])
    return Estimate(min(max(value, low), high), low, high)

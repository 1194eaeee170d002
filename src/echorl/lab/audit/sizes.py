r"""The share of groups on which the verifier says the same of all rollouts, at other group sizes.

A prompt whose rollouts succeed with chance p gives a group of G that is all right with chance p^G and all wrong with
chance (1 - p)^G. Let F be the distribution of p over the log's groups; the share at size G is

    share(G) = E[p^G + (1 - p)^G], an average over F.

**Up to the logged size m** nothing need be known about F. Of the n verdicts of a group, c successes among them, G drawn
without replacement are all right with chance C(c, G) / C(n, G), which is an unbiased estimate of p^G whatever p is
(Halmos, Annals of Mathematical Statistics 17, 1946; the same formula as pass@k, Chen et al., arXiv 2107.03374).

**Above it** the log alone does not fix the share: counts of m rollouts tell the first m moments of F and no more (Lord,
Psychometrika 34, 1969), and share(G) needs the G-th. Two things are said about it (`mixture.py`):

- the interval: the smallest and the largest share of all F on [0, 1] that are compatible with the counts (partial
  identification; Honore and Tamer, Econometrica 74, 2006, by linear programming). Compatible is an F whose chances of 0
  to m successes are at most 1.92 / N less likely, in the logarithm and for each of N groups, than the likeliest: the
  likelihood ratio for a single number (Chen, Christensen and Tamer, Econometrica 86, 2018, procedure 3, tell when it
  holds its level for ranges; `benchmarks/audit_coverage.py` measures its coverage here). N is the effective number of
  groups where prompts recur (Rao and Scott, JASA 76, 1981). The interval stays wide however long the log is.
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

import numpy as np
import numpy.typing as npt
from scipy.special import betaln, chdtri, stdtrit

from echorl.lab.audit.groups import GroupTable
from echorl.lab.audit.intervals import Estimate, Sample, limits, ratio, sample
from echorl.lab.audit.mixture import RATES, Region, chances, divergence, fit_weights
from echorl.lab.statistics import Z_95

SMALLER = (2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
LARGER = (4, 8, 16, 32, 64)
"""Sizes below the logged one, and those above it, which take long."""
LARGEST_EXTRAPOLATED = 64
"""Logged size above which larger sizes are left out: the linear programs would take minutes."""
REACHED = 0.8
"""Share of the groups with verdicts that have at least as many verdicts as the logged size."""
RATIO = chdtri(1, 0.05) / 2
"""Logarithm of the likelihood ratio that a single number may have at 95 %: 1.92."""
SHARPER = 100
"""The best fit is sought as if there were so many times more groups than there are."""
MOST_TRIALS = 20_000
"""Groups above which the interval is not made narrower, since the counts' own error no longer matters."""
ALPHA_POOLED = 0.01
"""Level of all lower bounds from recurring prompts together."""

VERDICTS = ("same", "all_success", "all_fail")
"""What the verifier says of a group, of which the shares are told."""

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
        misfit: how much less likely the counts are under the best fit than they are by themselves: a logarithm. Above
            about `logged_size` the rollouts of a group depend on each other, so that larger sizes cannot be told. None
            with one prompt, and where there are no larger sizes.
    """

    logged_size: int
    num_groups: int
    num_prompts: int
    num_skipped: int
    shares: list[SizeShare]
    misfit: float | None


def measure_sizes(groups: GroupTable) -> SizeCurve | None:
    """Return the share of groups on which the verifier says the same of all, at sizes up to 64 or twice the logged one.

    Above a logged size of `LARGEST_EXTRAPOLATED` larger ones are left out.

    It is about verdicts: where another reward differs within such a group, the group has a gradient all the same
    (`losses` tells how many do). Give the last fifth of the log for what a change of the size would do now. None where
    no group has two verdicts.
    """
    scored = groups[groups.verdicts >= 1]
    size = int(np.quantile(scored.verdicts, 1 - REACHED, method="inverted_cdf")) if len(scored) else 0
    if size < 2:
        return None
    counted = scored[scored.verdicts >= size]
    exact = [exact_share(counted, smaller) for smaller in (*filter(size.__gt__, SMALLER), size)]
    extrapolated, misfit = _extrapolated(counted, exact[-1]) if size <= LARGEST_EXTRAPOLATED else ([], None)
    return SizeCurve(
        logged_size=size,
        num_groups=len(counted),
        num_prompts=len(np.unique(counted.prompt)),
        num_skipped=len(scored) - len(counted),
        shares=exact + extrapolated,
        misfit=misfit,
    )


def draws(groups: GroupTable, size: int) -> Floats:
    """Return each group's chance that `size` of its verdicts hold 0 to `size` successes: [N, size + 1].

    It is hypergeometric, and unbiased for the chance of as many successes in a group of `size`.
    """
    pairs, index = np.unique(np.stack([groups.verdicts, groups.successes]), axis=1, return_inverse=True)
    verdicts, successes = pairs[:, :, None]
    drawn = np.arange(size + 1)
    failures, missing = verdicts - successes, size - drawn
    table: Floats = np.exp(_log_comb(successes, drawn) + _log_comb(failures, missing) - _log_comb(verdicts, size))
    return table[index.ravel()]


def _log_comb(number: npt.NDArray[np.int64], drawn: npt.NDArray[np.int64] | int) -> Floats:
    """Return the logarithm of C(number, drawn), which overflows from a number of about 1,030 on."""
    enough = np.maximum(number, drawn)
    result: Floats = np.where(number >= drawn, -betaln(enough - drawn + 1, drawn + 1) - np.log(enough + 1), -np.inf)
    return result


def exact_share(groups: GroupTable, size: int) -> SizeShare:
    """Return the share at a size that no group's number of verdicts is below, with intervals clustered by prompt."""
    shares, ones = draws(groups, size), np.ones(len(groups))
    right, wrong = shares[:, -1], shares[:, 0]
    same, all_success, all_fail = (ratio(column, ones, groups.prompt) for column in (right + wrong, right, wrong))
    return SizeShare(size, same, all_success, all_fail, extrapolated=False)


def _functions(size: int) -> dict[str, Floats]:
    right, wrong = RATES**size, (1 - RATES) ** size
    return {"same": right + wrong, "all_success": right, "all_fail": wrong}


def _region(groups: GroupTable, size: int, sizes: list[int]) -> tuple[Region, float] | None:
    """Return the distributions of success rates that the counts and recurring prompts leave, and the counts' misfit.

    The result is None with one prompt.
    """
    ones, counts = np.ones(len(groups)), draws(groups, size)
    trials = _trials([sample(count, ones, groups.prompt) for count in counts.T], len(groups))
    if trials is None:
        return None
    shares = counts.mean(0)
    fit = fit_weights(shares, SHARPER * trials)
    misfit = divergence(shares, chances(size) @ fit)
    functions, least = [], []
    for larger in sizes:
        for name, part in pooled_shares(groups, size, larger).items():
            functions.append(_functions(larger)[name])
            least.append(sample(part, ones, groups.prompt))
    low = [limits(each, 2 * ALPHA_POOLED / len(least))[0] for each in least]
    region = Region(shares, fit, misfit + RATIO / trials, np.array(functions), np.array(low))
    return region, misfit * trials


def _trials(samples: list[Sample], number: int) -> float | None:
    """Return the number of independent groups whose counts would vary like these; None with one prompt.

    It is the number of groups by the mean design effect of the counts (Rao and Scott), or by that of all right or all
    wrong where it is larger, since larger sizes depend on these most.
    """
    if samples[0].clusters < 2:
        return None
    seen = [each for each in samples if each.share > 0]
    effects = np.array([number / each.trials for each in seen])
    mean = np.average(effects, weights=[max(1e-9, 1 - each.share) for each in seen])
    same = [number / each.trials for each in (samples[0], samples[-1]) if each.share > 0]
    student = float(stdtrit(samples[0].clusters - 1, 0.975))
    return min(MOST_TRIALS, number / float(max([mean, *same])) * (Z_95 / student) ** 2)


def pooled_shares(groups: GroupTable, logged: int, size: int) -> dict[str, Floats]:
    """Return each group's chances that `size` of all rollouts of its prompt, drawn over its visits, are the same: [N].

    These are the chances of all right and of all wrong. They are 0 where the prompt has fewer rollouts, one visit, or
    visits of several sizes, so that their means are lower bounds of the shares at that size whether the policy changed
    or not.
    """
    _, prompt = np.unique(groups.prompt, return_inverse=True)
    visits, right = np.bincount(prompt), np.bincount(prompt, groups.successes).astype(np.int64)
    equal_visits = np.bincount(prompt, groups.verdicts != logged) == 0
    rollouts = visits * logged
    is_pooled = equal_visits & (visits > 1) & (rollouts >= size)
    names = {"all_success": right, "all_fail": rollouts - right}
    all_ways = _log_comb(np.maximum(rollouts, size), size)  # not -inf where none is drawn
    return {
        name: np.where(is_pooled, np.exp(_log_comb(part, size) - all_ways), 0.0)[prompt] for name, part in names.items()
    }


def _extrapolated(groups: GroupTable, logged: SizeShare) -> tuple[list[SizeShare], float | None]:
    """Return the shares above the logged size, and the misfit of the counts.

    Values are moved into the range, which rests on more than the fit where prompts recur, and not above those at the
    logged size, since a group that is the same at a larger size is so at a smaller one.
    """
    sizes = sorted({2 * logged.size, *(size for size in LARGER if size > logged.size)})
    region, misfit = _region(groups, logged.size, sizes) or (None, None)
    weights = fit_weights(draws(groups, logged.size).mean(0), len(np.unique(groups.prompt)))
    ranges = {name: _ranges(region, name, sizes, getattr(logged, name).value) for name in VERDICTS}
    shares = []
    for place, size in enumerate(sizes):
        parts = {
            name: _inside(min(float(weights @ _functions(size)[name]), most), ranges[name][place])
            for name, most in (("all_success", logged.all_success.value), ("all_fail", logged.all_fail.value))
        }
        same = _inside(sum(part.value for part in parts.values()), ranges["same"][place])
        shares.append(SizeShare(size, same, **parts, extrapolated=True))
    return shares, misfit


def _ranges(region: Region | None, name: str, sizes: list[int], most: float) -> list[tuple[float, float] | None]:
    """Return the range of a part at every size; it does not rise with the size, so each bound holds for others.

    The low ends are at most the value at the logged size, which counts of no mixture would contradict.
    """
    if region is None:
        return [None] * len(sizes)
    low, high = np.clip(np.array([region.range_of(_functions(size)[name]) for size in sizes]).T, 0, 1)
    low, high = np.maximum.accumulate(np.minimum(low, most)[::-1])[::-1], np.minimum.accumulate(high)
    return list(zip(low.tolist(), np.maximum(low, high).tolist(), strict=True))


def _inside(value: float, interval: tuple[float, float] | None) -> Estimate:
    return Estimate(value) if interval is None else Estimate(min(max(value, interval[0]), interval[1]), *interval)

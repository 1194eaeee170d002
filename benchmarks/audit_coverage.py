"""Coverage of the intervals of `echorl audit` on logs whose truth is known.

    python -m benchmarks.audit_coverage [--logs 200] [--larger 50] [--rollouts math_rollouts/qwen25_math_100x8.jsonl]

Simulated logs: prompts whose success rates come from one of three distributions, 8 rollouts a group, a failure twice as
long as a success. Each log is of one of three layouts: 256 prompts that come up once, or 64 that come up four
times, with a policy that stays as it is or learns between the visits. The truth is a mean over the distribution.
Sizes above the logged one take long, so that they are estimated on fewer logs (--larger).

Real rollouts: a part of each prompt's rollouts is drawn at random, and the share at the size of all of them is
predicted from it: 8 of the 32 rollouts that stored studies have of each test prompt, and with --rollouts (JSONL with
`id` = NAME-PROMPT-SAMPLE and `correct`) 4 of 8.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.special import betaincinv

from benchmarks.results import write_csv
from echorl.lab.audit.groups import GroupTable
from echorl.lab.audit.intervals import Estimate
from echorl.lab.audit.losses import measure_shares, recent_groups
from echorl.lab.audit.savings import replay_skipping
from echorl.lab.audit.sizes import draws, exact_share, measure_sizes
from echorl.lab.audit.trend import fit_trend
from echorl.lab.compare.pack import read_pack

STUDIES = Path(__file__).parent / "studies"
SIZE, GROUPS_A_STEP, VISITS = 8, 8, 4
POLICIES = {"chain_sum-start": "start", "chain_sum": "grpo", "products-start": "start", "products": "grpo"}
"""Stored study -> the arm whose first seed is taken."""
SMALLER = (2, 4)
LENGTHS = {"success": 100, "failure": 200}
QUANTILES = (np.arange(40_000) + 0.5) / 40_000
Floats = npt.NDArray[np.float64]
Quantity = tuple[Estimate | None, float]
"""An estimate and the truth."""
Named = tuple[str, Quantity]


def beta(a: float, b: float) -> Floats:
    """Return success rates at equally likely quantiles of a beta distribution."""
    rates: Floats = betaincinv(a, b, QUANTILES)
    return rates


def mostly_solved() -> Floats:
    """Return 45 % prompts that always succeed, 10 % that never do, and Beta(4, 1.5) between."""
    rates = beta(4, 1.5)
    return np.concatenate([np.ones(len(rates)), rates, np.zeros(2 * len(rates) // 9)])


DISTRIBUTIONS = {"Beta(0.5, 0.5)": beta(0.5, 0.5), "mostly solved": mostly_solved(), "Beta(5, 3)": beta(5, 3)}


@dataclass(frozen=True)
class Layout:
    """Prompts of a log, their visits, and how fast the policy learns: 1 - p becomes (1 - p)^(1 + learning visit)."""

    prompts: int
    visits: int
    learning: float = 0.0

    def rates(self, rates: Floats) -> Floats:
        """Return success rates [visits, prompts] of prompts that begin with `rates`."""
        return 1 - (1 - rates) ** (1 + self.learning * np.arange(self.visits)[:, None])

    def log(self, rng: np.random.Generator, rates: Floats) -> GroupTable:
        """Return a log of prompts whose first success rates are drawn from `rates`."""
        visited = self.rates(rng.choice(rates, self.prompts))
        order = [rng.permutation(self.prompts) for _ in range(self.visits)]
        prompt = np.concatenate(order)
        return table(prompt, rng.binomial(SIZE, np.concatenate([p[i] for p, i in zip(visited, order, strict=True)])))


LAYOUTS = {
    "256 prompts": Layout(256, 1),
    "64 prompts, 4 visits": Layout(64, VISITS),
    "64 prompts, 4 visits, learning": Layout(64, VISITS, 0.5),
}


def table(prompt: npt.NDArray[np.int64], successes: npt.NDArray[np.int64], size: int = SIZE) -> GroupTable:
    """Return groups of `size` rollouts with a verifier's rewards alone."""
    number, missing = len(prompt), np.full(len(prompt), -1)
    return GroupTable(
        step=np.arange(number) // GROUPS_A_STEP,
        prompt=prompt,
        size=np.full(number, size),
        verdicts=np.full(number, size),
        successes=successes,
        degenerate=(successes == 0) | (successes == size),
        length=LENGTHS["success"] * successes + LENGTHS["failure"] * (size - successes),
        truncated=missing,
        num_texts=missing,
        file=np.zeros(number, dtype=np.int64),
        line=np.arange(number),
        last_line=np.arange(number),
        unit="tokens",
    )


@dataclass(frozen=True)
class Truth:
    """The shares that a layout has in the distribution of success rates."""

    layout: Layout
    rates: Floats

    def same(self, size: int) -> float:
        """Return the share of groups of a size that are all right or all wrong."""
        rates = self.layout.rates(self.rates)
        return float((rates**size + (1 - rates) ** size).mean())

    def parts(self, last: bool) -> dict[str, float]:
        """Return the shares of groups and of length, over all visits or in the last."""
        rates = self.layout.rates(self.rates)[-1 if last else 0 :]
        right, wrong = float((rates**SIZE).mean()), float(((1 - rates) ** SIZE).mean())
        mean_length = LENGTHS["success"] * rates.mean() + LENGTHS["failure"] * (1 - rates.mean())
        lost = (LENGTHS["success"] * right + LENGTHS["failure"] * wrong) / float(mean_length)
        return {"no gradient": right + wrong, "all right": right, "all wrong": wrong, "tokens without gradient": lost}

    def skipping(self) -> dict[int, tuple[float, float]]:
        """Return streak -> share of visits saved, and share of them with a gradient, by a large log."""
        large = Layout(100_000, self.layout.visits, self.layout.learning).log(np.random.default_rng(1), self.rates)
        rules = replay_skipping(large).rules
        return {rule.streak: (rule.groups.value, rule.with_gradient.value) for rule in rules if rule.with_gradient}


def quantities(log: GroupTable, truth: Truth, saved: Mapping[int, tuple[float, float]]) -> Iterator[Named]:
    """Yield a log's estimates, except for larger sizes, with their truth."""
    for name, groups in (("", log), (", last fifth", recent_groups(log))):
        shares, true = measure_shares(groups), truth.parts(last=bool(name))
        lengths = (shares.lengths or {})["no_gradient"]
        estimates = (*(shares.groups[part] for part in ("no_gradient", "all_success", "all_fail")), lengths)
        yield from ((f"{part}{name}", (e, true[part])) for part, e in zip(true, estimates, strict=True))
    for size in SMALLER:
        yield f"G = {size}", (exact_share(log, size).same, truth.same(size))
    if truth.layout.learning == 0 and (trend := fit_trend(log)):
        yield "trend", (trend.per_100_steps, 0.0)
    for rule in replay_skipping(log).rules:
        if rule.streak in saved:
            yield f"saved by skipping after {rule.streak}", (rule.groups, saved[rule.streak][0])
            yield f"lost by skipping after {rule.streak}", (rule.with_gradient, saved[rule.streak][1])


def larger_sizes(log: GroupTable, truth: Truth) -> Iterator[Named]:
    """Yield a log's estimates for larger sizes with their truth."""
    curve = measure_sizes(log)
    for share in curve.shares if curve else []:
        if share.extrapolated:
            yield f"G = {share.size}", (share.same, truth.same(share.size))


def summary(pairs: Sequence[Quantity]) -> dict[str, object]:
    """Return coverage, mean width of the intervals, truth, and the values' mean and mean absolute error."""
    rows = [(e.value, e.low, e.high, true) for e, true in pairs if e and e.low is not None and e.high is not None]
    value, low, high, true = np.array(rows).T
    return {
        "logs": len(rows),
        "covered": f"{np.mean((low <= true) & (true <= high)):.3f}",
        "width": f"{np.mean(high - low):.4f}",
        "truth": f"{true[0]:.4f}",
        "value": f"{value.mean():.4f}",
        "error": f"{np.abs(value - true).mean():.4f}",
    }


def simulated(logs: int, larger_logs: int) -> Iterator[dict[str, object]]:
    """Yield a row for each distribution, layout and quantity."""
    for name, rates in DISTRIBUTIONS.items():
        for layout_name, layout in LAYOUTS.items():
            rng, pairs, truth = np.random.default_rng(0), defaultdict(list), Truth(layout, rates)
            saved = truth.skipping() if layout.visits > 1 else {}
            for number in range(logs):
                log = layout.log(rng, rates)
                larger = larger_sizes(log, truth) if number < larger_logs else ()
                for quantity, pair in (*quantities(log, truth, saved), *larger):
                    pairs[quantity].append(pair)
            print(f"{name}, {layout_name}", flush=True)
            head = {"success rates": name, "log": layout_name}
            yield from ({**head, "quantity": quantity, **summary(each)} for quantity, each in pairs.items())


def parts_of_prompts(
    rights: npt.NDArray[np.int64], total: int, drawn: int, sizes: Sequence[int], logs: int
) -> Iterator[tuple[int, Quantity]]:
    """Yield the predictions from `drawn` of each prompt's `total` rollouts, `rights` of them right, with the truth."""
    rng, prompts = np.random.default_rng(0), np.arange(len(rights))
    whole = table(prompts, rights, total)
    true = {size: float(draws(whole, size)[:, [0, -1]].sum(1).mean()) for size in sizes}
    for _ in range(logs):
        curve = measure_sizes(table(prompts, rng.hypergeometric(rights, total - rights, drawn), drawn))
        for share in curve.shares if curve else []:
            if share.size in true:
                yield share.size, (share.same, true[share.size])


def stored_counts() -> Iterator[tuple[str, npt.NDArray[np.int64]]]:
    """Yield a policy's name and its successes of 32 rollouts on every test prompt of its study."""
    for study, arm in POLICIES.items():
        runs = read_pack(STUDIES / f"{study}.jsonl.gz").runs
        run = next(files for name, files in runs.items() if name.startswith(f"{arm}/") and name.endswith("/seed-0"))
        scores = [file["value"] for name, file in run.items() if name.startswith("scores-")]
        yield f"{study}, {arm}", np.concatenate([each["right"] for each in scores])


def labelled_counts(path: Path) -> npt.NDArray[np.int64]:
    """Return the successes of each prompt of a file of labelled rollouts."""
    counts: dict[str, int] = defaultdict(int)
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        counts[row["id"].rsplit("-", 1)[0]] += row["correct"]
    return np.array(list(counts.values()))


def real(logs: int, rollouts: Path | None) -> Iterator[dict[str, object]]:
    """Yield a row for each set of real rollouts and each predicted size."""
    cases = [(name, rights, 32, 8, [2, 4, 16, 32]) for name, rights in stored_counts()]
    if rollouts is not None:
        cases.append(("Qwen2.5-Math on MATH", labelled_counts(rollouts), 8, 4, [2, 4, 8]))
    for name, rights, total, drawn, sizes in cases:
        pairs = defaultdict(list)
        for size, pair in parts_of_prompts(rights, total, drawn, sizes, logs):
            pairs[size].append(pair)
        head = {"rollouts": f"{name}: {len(rights)} prompts", "drawn": f"{drawn} of {total}"}
        yield from ({**head, "quantity": f"G = {size}", **summary(each)} for size, each in pairs.items())


def show(rows: Sequence[Mapping[str, object]]) -> None:
    """Print rows as a table in Markdown."""
    for cells in (rows[0].keys(), ("---" for _ in rows[0]), *(row.values() for row in rows)):
        print("| " + " | ".join(map(str, cells)) + " |")


def main() -> None:
    """Write both tables and print them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--logs", type=int, default=200, help="logs of each kind")
    parser.add_argument("--larger", type=int, default=50, help="of them, logs for sizes above the logged one")
    parser.add_argument("--only", choices=["simulated", "real"], help="one of the two tables")
    parser.add_argument("--rollouts", type=Path, help="labelled rollouts, 8 a prompt")
    arguments = parser.parse_args()
    tables: dict[str, Callable[[], Iterator[dict[str, object]]]] = {
        "simulated": lambda: simulated(arguments.logs, arguments.larger),
        "real": lambda: real(arguments.larger, arguments.rollouts),
    }
    for name, make in tables.items():
        if arguments.only not in (None, name):
            continue
        rows = list(make())
        show(rows)
        write_csv(f"audit_coverage_{name}", rows, module="audit_coverage")


if __name__ == "__main__":
    main()

r"""How many wrong reference answers `echorl audit` finds, and how many right ones it suspects, by its thresholds.

    python -m benchmarks.audit_mislabelled [--rollouts qwen25_math_100x8.jsonl] [--prompts 20000]

A wrong reference answer takes the place of the right one at 5 % of the prompts of a log, and the rollouts are graded
again. A prompt is suspected if `min_agreeing` of its rollouts, and a share `min_agreement`, give one answer, and none
is accepted. The share is that among the rollouts with a readable answer, or among all.

Simulated logs ("easy", "even", "hard") have prompts with a success rate p. The harder the prompt, the more its wrong rollouts
favour one answer (a share of them from Beta(1 + 4(1 - p), 2)), so that prompts with a right reference answer can be
suspected, too, and the more rollouts have no answer (2 % + 15 % (1 - p)). Half of the wrong reference answers are the
answer that wrong rollouts favour, the other half one that no rollout gives.

`--rollouts`: JSON lines with `question`, `solution` and `answer`, 8 lines for each question. Each prompt is given the
reference answers of three others in turn, and keeps its own once.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.results import write_csv
from echorl.lab.audit.evidence import PromptEvidence
from echorl.lab.audit.groups import GroupTable
from echorl.lab.audit.suspects import MIN_AGREEING, MIN_AGREEMENT, find_suspects
from echorl.tasks.verify import GRADERS
from tests.lab.audit.rollouts import rollout
from tests.lab.audit.simulated import group_table

MISLABELLED = 0.05
RATES = {"easy": (6.0, 1.5), "even": (1.0, 1.0), "hard": (0.6, 1.4)}
"""Simulated log -> the beta distribution of its prompts' success rates."""
SIZES = ((4, 1), (8, 1), (16, 1), (8, 4), (8, 8))
"""Group sizes and visits of the simulated logs."""
AGREEING, AGREEMENT = (2, 3, 4, 6), (0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
ROTATIONS = (17, 38, 61)
RIGHT, FAVOURED, NEVER = 0, 1, -1
"""Answers in the simulated logs; the others, from 2 to 21, are wrong ones that no rollout favours."""


@dataclass(frozen=True)
class Prompts:
    """Prompts of a log: their responses and reference answers, and which of these are wrong."""

    responses: Sequence[Sequence[str]]
    references: Sequence[str]
    wrong: npt.NDArray[np.bool_]


def simulate(rng: np.random.Generator, rates: tuple[float, float], size: int, number: int) -> Prompts:
    """Return prompts with these success rates, each with `size` responses."""
    rate = rng.beta(*rates, number)
    favour = rng.beta(1 + 4 * (1 - rate), 2)
    shape = (size, number)
    wrong_answers = np.where(rng.random(shape) < favour, FAVOURED, rng.integers(2, 22, shape))
    given = np.where(rng.random(shape) < rate, RIGHT, wrong_answers).T
    is_readable = (rng.random(shape) > 0.02 + 0.15 * (1 - rate)).T
    wrong = rng.random(number) < MISLABELLED
    references = np.where(wrong, rng.choice([FAVOURED, NEVER], number), RIGHT)
    responses = [
        [f"So it is \\boxed{{{answer}}}." if readable else "Wait," for answer, readable in zip(*rows, strict=True)]
        for rows in zip(given.tolist(), is_readable.tolist(), strict=True)
    ]
    return Prompts(responses, [str(reference) for reference in references.tolist()], wrong)


def read(path: Path, size: int) -> Prompts:
    """Return the prompts of a file, each with its own reference answer and with those of three others."""
    rows = [json.loads(line) for line in path.open(encoding="utf-8")]
    groups = [list(group) for _, group in itertools.groupby(rows, key=lambda row: row["question"])]
    answers = [group[0]["answer"] for group in groups]
    parts = [
        ([row["solution"] for row in group[start : start + size]], number)
        for number, group in enumerate(groups)
        for start in range(0, len(group) - size + 1, size)
    ]
    labelled = [(texts, answers[number], False) for texts, number in parts]
    for rotation in ROTATIONS:
        others = [answers[(number + rotation) % len(answers)] for _, number in parts]
        labelled += [
            (texts, other, True)
            for (texts, number), other in zip(parts, others, strict=True)
            if GRADERS["math"].answer(f"\\boxed{{{other}}}") != GRADERS["math"].answer(f"\\boxed{{{answers[number]}}}")
        ]
    responses, references, wrong = zip(*labelled, strict=True)
    return Prompts(responses, references, np.array(wrong))


def graded(prompts: Prompts) -> tuple[PromptEvidence, GroupTable]:
    """Return the evidence and the groups of the log, a group for each prompt, graded by the grader of mathematics."""
    rows = [
        (number, text, prompts.references[number]) for number, texts in enumerate(prompts.responses) for text in texts
    ]
    verdicts = GRADERS["math"].grade([text for _, text, _ in rows], [reference for _, _, reference in rows])
    evidence, successes = PromptEvidence(), [0] * len(prompts.references)
    for line, ((number, text, reference), verdict) in enumerate(zip(rows, verdicts, strict=True), 1):
        success = verdict.score == 1.0
        successes[number] += success
        evidence.add(rollout(text, verdict.score, line, reference_answer=reference), number, success)
    return evidence, group_table(successes, size=len(prompts.responses[0]))


def measure(prompts: Prompts) -> Iterator[dict[str, object]]:
    """Yield a row for each pair of thresholds and each way to count rollouts without a readable answer."""
    evidence, groups = graded(prompts)
    counts = np.zeros((len(prompts.wrong), 3), dtype=np.int64)
    for number, rejected in evidence.rejected.items():
        counts[number] = rejected.commonest()[1].count, rejected.readable, rejected.count
    agreeing, readable, rejected_rollouts = counts.T
    for of, total in (("readable", readable), ("all", rejected_rollouts)):
        for least, share in itertools.product(AGREEING, AGREEMENT):
            suspected = (agreeing >= least) & (agreeing >= share * total)
            if (of, least, share) == ("readable", MIN_AGREEING, MIN_AGREEMENT):
                assert set(np.flatnonzero(suspected)) == suspected_by_default(groups, evidence)
            first = sorted(np.flatnonzero(suspected), key=lambda number: -agreeing[number] / (total[number] + 2))[:50]
            found, false = suspected[prompts.wrong].mean(), suspected[~prompts.wrong].mean()
            suspects = MISLABELLED * found + (1 - MISLABELLED) * false
            alike = (groups.successes >= share * groups.size).sum()
            yield {
                "share_of": of,
                "min_agreeing": least,
                "min_agreement": share,
                "found": round(float(found), 4),
                "false_alarms_per_1000": round(1000 * float(false), 2),
                "suspects_mislabelled": round(MISLABELLED * float(found) / suspects, 4) if suspects else "",
                "first_50_mislabelled": round(float(prompts.wrong[first].mean()), 4) if first else "",
                "implied_rate": round(float(suspected.sum() / (suspected.sum() + alike)), 4),
            }


def suspected_by_default(groups: GroupTable, evidence: PromptEvidence) -> set[int | None]:
    """Return the prompts that `find_suspects` takes for mislabelled, or whose reference answer the verifier rejects."""
    suspects = find_suspects(groups, evidence, max_listed=10**9)
    return {suspect.prompt for suspect in suspects.listed if suspect.kind in ("mislabelled", "rejected_match")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rollouts", type=Path)
    parser.add_argument("--prompts", type=int, default=20_000, help="of each simulated log")
    options = parser.parse_args()
    rows: list[dict[str, object]] = []
    for (name, rates), (size, visits) in itertools.product(RATES.items(), SIZES):
        prompts = simulate(np.random.default_rng(0), rates, size * visits, options.prompts)
        head = {"log": name, "prompts": options.prompts, "group_size": size, "visits": visits}
        rows += [{**head, **row} for row in measure(prompts)]
    for size in (4, 8) if options.rollouts else ():
        prompts = read(options.rollouts, size)
        head = {"log": options.rollouts.stem, "prompts": len(prompts.wrong), "group_size": size, "visits": 1}
        rows += [{**head, **row} for row in measure(prompts)]
    print(write_csv("audit_mislabelled", rows))


if __name__ == "__main__":
    main()

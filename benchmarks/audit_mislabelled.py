"""How many wrong reference answers `echorl audit` finds, and how many right ones it suspects, by its thresholds.

    python -m benchmarks.audit_mislabelled [--rollouts qwen25_math_100x8.jsonl] [--prompts 20000]

A wrong reference answer takes the place of the right one at 5 % of the prompts of a log, and the rollouts are graded
again. A prompt is suspected if `min_agreeing` of its rollouts, and a share `min_agreement`, give one answer, and none
is accepted. The share is that among the rollouts with a readable answer, or among all. `rejected_share` is the share of
rejected answers among the answers that so many rollouts agree on; the default rule reads its threshold off it.

Simulated logs (easy, even, hard) have prompts with a success rate p. The harder the prompt, the more its wrong rollouts
favour one answer (a share of them from Beta(1 + 4(1 - p), 2)), so that prompts with a right reference answer can be
suspected, too, and the more rollouts have no answer (2 % + 15 % (1 - p)). Half of the wrong reference answers are the
answer that wrong rollouts favour, the other half one that no rollout gives.

`--rollouts`: JSON lines with `question`, `solution` and `answer`, 8 lines for each question. In each of 60 logs another
5 % of the questions have the reference answer of another question.
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
from echorl.lab.audit.answers import normal_answer
from echorl.lab.audit.evidence import PromptEvidence
from echorl.lab.audit.groups import GroupTable
from echorl.lab.audit.mislabelled import MIN_AGREEING
from echorl.lab.audit.suspects import find_suspects
from echorl.tasks.verify import GRADERS
from tests.lab.audit.rollouts import rollout
from tests.lab.audit.simulated import group_table

MISLABELLED = 0.05
RATES = {"easy": (6.0, 1.5), "even": (1.0, 1.0), "hard": (0.6, 1.4)}
"""Simulated log -> the beta distribution of its prompts' success rates."""
SIZES = ((4, 1), (8, 1), (16, 1), (8, 4), (8, 8))
"""Group sizes and visits of the simulated logs."""
AGREEING, AGREEMENT = (3, 4), (0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
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


def read(path: Path, size: int) -> Iterator[Prompts]:
    """Yield the logs made of a file's rollouts, the first `size` of each question."""
    rows = [json.loads(line) for line in path.open(encoding="utf-8")]
    groups = [list(group)[:size] for _, group in itertools.groupby(rows, key=lambda row: row["question"])]
    responses = [[row["solution"] for row in group] for group in groups]
    answers = [group[0]["answer"] for group in groups]
    period = round(1 / MISLABELLED)
    for rotation, start in itertools.product(ROTATIONS, range(period)):
        others = answers[rotation:] + answers[:rotation]
        differ = [normal_answer(other) != normal_answer(answer) for other, answer in zip(others, answers, strict=True)]
        wrong = (np.arange(len(groups)) % period == start) & differ
        references = np.where(wrong, others, answers).tolist()
        yield Prompts(responses, references, wrong)


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
    """Yield a row for `find_suspects`, and one for each pair of thresholds and each way to count unreadable answers."""
    evidence, groups = graded(prompts)
    suspects = find_suspects(groups, evidence, max_listed=10**9)
    numbers = {suspect.prompt for suspect in suspects.listed if suspect.kind == "mislabelled"}
    suspected = np.array([number in numbers for number in range(len(prompts.wrong))])
    head = {"rule": "default", "share_of": "all", "min_agreeing": MIN_AGREEING}
    yield {
        **head,
        "min_agreement": suspects.agreement,
        **_rates(suspected, prompts.wrong),
        "rejected_share": round(suspects.rejected_share, 4),
    }
    counts = np.zeros((len(prompts.wrong), 3), dtype=np.int64)
    for number, rejected in evidence.rejected.items():
        counts[number] = rejected.agreeing, rejected.count - rejected.unreadable.count, rejected.count
    for of, total in (("readable", counts[:, 1]), ("all", counts[:, 2])):
        for least, agreement in itertools.product(AGREEING, AGREEMENT):
            suspected = (counts[:, 0] >= least) & (counts[:, 0] >= agreement * total)
            accepted = int((groups.successes >= agreement * groups.size).sum())
            share = suspected.sum() / max(1, suspected.sum() + accepted)
            head = {"rule": "fixed", "share_of": of, "min_agreeing": least}
            rates = _rates(suspected, prompts.wrong)
            yield {**head, "min_agreement": agreement, **rates, "rejected_share": round(float(share), 4)}


def _rates(suspected: npt.NDArray[np.bool_], wrong: npt.NDArray[np.bool_]) -> dict[str, object]:
    """Return the suspected share of the prompts with a wrong reference answer, and of the others."""
    return {
        "found": round(float(suspected[wrong].mean()), 4),
        "false_alarms_per_1000": round(1000 * float(suspected[~wrong].mean()), 2),
    }


def precision(found: float, false_alarms_per_1000: float) -> float | str:
    """Return the share of suspects whose reference answer is wrong; "" where there is no suspect."""
    wrong, right = MISLABELLED * found, (1 - MISLABELLED) * false_alarms_per_1000 / 1000
    return round(wrong / (wrong + right), 4) if wrong + right else ""


def mean(logs: Sequence[Sequence[dict[str, object]]]) -> list[dict[str, object]]:
    """Return the rows of several logs with the mean of each number; of the default rule's threshold the median."""
    rows = []
    for same in zip(*logs, strict=True):
        row = dict(same[0])
        for name in ("found", "false_alarms_per_1000", "rejected_share"):
            row[name] = round(float(np.mean([each[name] for each in same])), 4)
        row["min_agreement"] = float(np.median([each["min_agreement"] for each in same]))
        rows.append(row)
    return rows


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
        logs = [list(measure(prompts)) for prompts in read(options.rollouts, size)]
        head = {"log": options.rollouts.stem, "prompts": 100, "group_size": size, "visits": 1}
        rows += [{**head, **row} for row in mean(logs)]
    for row in rows:
        row["precision"] = precision(row["found"], row["false_alarms_per_1000"])  # type: ignore[arg-type]
    print(write_csv("audit_mislabelled", rows))


if __name__ == "__main__":
    main()

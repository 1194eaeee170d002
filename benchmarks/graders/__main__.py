"""Find the errors of a grader on reference answers in other forms, on wrong answers, and on labelled rollouts.

    python -m benchmarks.graders [MODULE:FUNCTION] [--data FOLDER] [--kinds math number choice geometry]
                                 [--seeds 0..19] [--held_out] [--timeout 5] [--show 2] [--errors FILE.jsonl]

Without MODULE:FUNCTION it measures echorl's graders, plain math-verify and lighteval's extractive match (`make
graders-lighteval`); with --data it writes the table to `results/graders.csv`. FUNCTION takes a completion and a
reference answer as texts and returns a score, 1 for right. It runs in separate processes. --data is the folder with the
benchmarks' files; without it a small list of reference answers is used.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.graders.columns import ROOT, Function, Outcome, ours
from benchmarks.graders.forms import forms_of
from benchmarks.graders.reference_answers import ReferenceAnswer, built_in, read_reference_answers, read_rollouts
from benchmarks.graders.table import errors_of, rows_of, text_of_errors, text_of_rows, totals_of, write_errors
from benchmarks.graders.wrong import Case, wrong_answers

KINDS = ("math", "number", "choice", "geometry")
LIGHTEVAL = ROOT / ".venv-lighteval/bin/python"
Column = Callable[[Sequence[Case]], list[Outcome]]


def cases_of(
    references: Sequence[ReferenceAnswer],
    seeds: Sequence[int],
    rollouts: Sequence[tuple[ReferenceAnswer, str, bool]],
) -> list[Case]:
    """All cases: the forms of the reference answers, which are right, the wrong answers, and the labelled rollouts."""
    right = [
        Case(reference.kind, "forms", name, reference.text, answer, True)
        for reference in references
        for name, answer in forms_of(reference)
    ]
    labelled = [
        Case(
            reference.kind,
            f"labels, {'right' if label else 'wrong'}",
            "rollout",
            reference.text,
            answer,
            label,
        )
        for reference, answer, label in rollouts
    ]
    return right + wrong_answers(references, seeds) + labelled


def seeds_of(text: str, *, held_out: bool) -> list[int]:
    """The first half of the seeds FIRST..LAST, or the second.

    >>> seeds_of("0..5", held_out=False), seeds_of("0..5", held_out=True)
    ([0, 1, 2], [3, 4, 5])
    """
    first, dots, last = text.partition("..")
    if not (first.isdigit() and dots and last.isdigit() and int(first) < int(last)):
        raise ValueError(f"--seeds {text} is not of the form FIRST..LAST with FIRST below LAST, such as 0..19")
    seeds = list(range(int(first), int(last) + 1))
    half = len(seeds) // 2
    return seeds[half:] if held_out else seeds[:half]


def columns_of(name: str | None, timeout: float) -> dict[str, Column]:
    """The functions that grade the cases, by the name of their column."""
    if name is not None:
        return {name: Function(name, timeout)}
    import echorl

    print(f"ours: echorl in {Path(echorl.__file__).parent}")
    columns: dict[str, Column] = {
        "ours": ours,
        "math-verify": Function("benchmarks.graders.with_math_verify:score", 30.0),
    }
    if LIGHTEVAL.exists():
        columns["lighteval"] = Function("benchmarks.graders.with_lighteval:score", 30.0, python=str(LIGHTEVAL))
    else:
        print("no column for lighteval: `make graders-lighteval` sets up its environment")
    return columns


def measure(columns: dict[str, Column], cases: Sequence[Case]) -> dict[str, list[Outcome]]:
    """The outcomes of each column."""
    outcomes = {}
    for name, column in columns.items():
        start = time.perf_counter()
        outcomes[name] = column(cases)
        print(f"{name}: {len(cases)} cases in {time.perf_counter() - start:.0f} s", flush=True)
    return outcomes


def run(args: argparse.Namespace) -> None:
    """Measure the graders, print the tables and write the files."""
    seeds = seeds_of(args.seeds, held_out=args.held_out)
    references = read_reference_answers(args.data) if args.data else built_in()
    references = [reference for reference in references if reference.kind in args.kinds]
    rollouts = read_rollouts(args.data) if args.data and "math" in args.kinds else []
    source = f"of the files in {args.data}" if args.data else "of the built-in list (--data FOLDER for others)"
    print(f"{len(references)} reference answers {source}, seeds {seeds}")
    cases = wrong_answers(references, seeds) if args.held_out else cases_of(references, seeds, rollouts)
    outcomes = measure(columns_of(args.grader, args.timeout), cases)
    names, rows = list(outcomes), rows_of(cases, outcomes)
    print(f"\n{text_of_rows(rows, names)}\n\n{text_of_rows(totals_of(cases, outcomes), names)}\n")
    print("A grader should accept all of `forms` and of `labels, right`, and no other case.")
    report_errors(args, cases, outcomes)
    if args.grader is None and args.data:
        from benchmarks.results import write_csv

        file = "graders-held-out" if args.held_out else "graders"
        print(write_csv(file, [*rows, *totals_of(cases, outcomes)], sources="src/echorl/tasks", module="graders"))


def report_errors(args: argparse.Namespace, cases: Sequence[Case], outcomes: dict[str, list[Outcome]]) -> None:
    """Print some errors of each kind in the first column, and write all of them to the file."""
    name = next(iter(outcomes))
    errors = list(errors_of(cases, outcomes[name]))
    print(f"\n{name} errs on {len(errors)} of {len(cases)} cases; at most {args.show} of each kind:")
    print(text_of_errors(errors, args.show))
    if args.errors:
        write_errors(args.errors, errors)
        print(f"all errors: {args.errors}")


def main() -> None:
    """Run the measurement from the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.graders", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("grader", nargs="?", metavar="MODULE:FUNCTION")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--seeds", default="0..19", help="range of seeds; its first half is for development")
    parser.add_argument("--held_out", action="store_true", help="only wrong answers, by the second half of the seeds")
    parser.add_argument("--timeout", type=float, default=5.0, help="seconds for a call of MODULE:FUNCTION")
    parser.add_argument("--show", type=int, default=2, help="errors listed of each kind")
    parser.add_argument("--errors", type=Path, help="a JSON-lines file for all errors")
    try:
        run(parser.parse_args())
    except ValueError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()

"""Find the holes of a grader: golds in other forms, wrong answers, and labelled rollouts.

    python -m benchmarks.graders [MODULE:FUNCTION] [--data FOLDER] [--kinds math number choice geometry]
                                 [--seeds 0..19] [--held_out] [--timeout 5] [--show 2] [--errors FILE.jsonl]

Without MODULE:FUNCTION: our graders, plain math-verify and lighteval's extractive match (`make graders-lighteval`), and
with --data the table goes to `results/graders.csv`. FUNCTION takes a completion and a gold as texts and returns a
score, 1 for right; it runs in processes of its own. --data: the folder with the benchmarks' files; without it a small
list of golds.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.graders.columns import ROOT, Function, Outcome, ours
from benchmarks.graders.forms import forms_of
from benchmarks.graders.golds import Gold, built_in, read_golds, read_rollouts
from benchmarks.graders.table import errors_of, rows_of, text_of_errors, text_of_rows, totals_of, write_errors
from benchmarks.graders.wrong import Case, wrong_answers

KINDS = ("math", "number", "choice", "geometry")
LIGHTEVAL = ROOT / ".venv-lighteval/bin/python"
Column = Callable[[Sequence[Case]], list[Outcome]]


def cases_of(golds: Sequence[Gold], seeds: Sequence[int], rollouts: Sequence[tuple[Gold, str, bool]]) -> list[Case]:
    """All cases: the golds' forms, which are right, the wrong answers of the seeds, and the labelled rollouts."""
    right = [
        Case(gold.kind, "forms", name, gold.text, answer, True) for gold in golds for name, answer in forms_of(gold)
    ]
    labelled = [
        Case(gold.kind, f"labels, {'right' if label else 'wrong'}", "rollout", gold.text, answer, label)
        for gold, answer, label in rollouts
    ]
    return right + wrong_answers(golds, seeds) + labelled


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
    outcomes = {}
    for name, column in columns.items():
        start = time.perf_counter()
        outcomes[name] = column(cases)
        print(f"{name}: {len(cases)} cases in {time.perf_counter() - start:.0f} s", flush=True)
    return outcomes


def run(args: argparse.Namespace) -> None:
    seeds = seeds_of(args.seeds, held_out=args.held_out)
    golds = read_golds(args.data) if args.data else built_in()
    golds = [gold for gold in golds if gold.kind in args.kinds]
    rollouts = read_rollouts(args.data) if args.data and "math" in args.kinds else []
    source = f"of the files in {args.data}" if args.data else "of the built-in list (--data FOLDER for others)"
    print(f"{len(golds)} golds {source}, seeds {seeds}")
    cases = wrong_answers(golds, seeds) if args.held_out else cases_of(golds, seeds, rollouts)
    outcomes = measure(columns_of(args.grader, args.timeout), cases)
    names, rows = list(outcomes), rows_of(cases, outcomes)
    print(f"\n{text_of_rows(rows, names)}\n\n{text_of_rows(totals_of(cases, outcomes), names)}\n")
    print("Accepted: all of `forms` should be, all of `labels, right`, and nothing else.")
    report_errors(args, cases, outcomes)
    if args.grader is None and args.data:
        from benchmarks.results import write_csv

        file = "graders-held-out" if args.held_out else "graders"
        print(write_csv(file, [*rows, *totals_of(cases, outcomes)], sources="src/echorl/tasks", module="graders"))


def report_errors(args: argparse.Namespace, cases: Sequence[Case], outcomes: dict[str, list[Outcome]]) -> None:
    """The errors of the first column: on the screen some of each kind, in the file all."""
    name = next(iter(outcomes))
    errors = list(errors_of(cases, outcomes[name]))
    print(f"\n{name} errs on {len(errors)} of {len(cases)} cases; at most {args.show} of each kind:")
    print(text_of_errors(errors, args.show))
    if args.errors:
        write_errors(args.errors, errors)
        print(f"all of them: {args.errors}")


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.graders", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("grader", nargs="?", metavar="MODULE:FUNCTION")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--seeds", default="0..19", help="the first half is for development")
    parser.add_argument("--held_out", action="store_true", help="wrong answers of the second half of the seeds alone")
    parser.add_argument("--timeout", type=float, default=5.0, help="seconds for a call of MODULE:FUNCTION")
    parser.add_argument("--show", type=int, default=2, help="errors listed of each kind")
    parser.add_argument("--errors", type=Path, help="a JSON-lines file for all errors")
    try:
        run(parser.parse_args())
    except ValueError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()

"""`echorl compare`: arms from one YAML, on equal rollout tokens, and a table of their paired differences."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from echorl.cli.models import say_loading
from echorl.cli.parser import CommandOptions, required
from echorl.core.options import option
from echorl.lab.compare.add import add_method, pack_addition
from echorl.lab.compare.checks import check_arms, check_arms_early
from echorl.lab.compare.pack import Pack, is_pack, pack_path, read_pack
from echorl.lab.compare.packed import open_pack, pack_study
from echorl.lab.compare.plan import Comparison, Run
from echorl.lab.compare.plan_checks import RESULTS
from echorl.lab.compare.read import read_comparison
from echorl.lab.compare.run import check_study
from echorl.lab.compare.study import Study
from echorl.lab.jobs import View
from echorl.lab.options import COUNT
from echorl.support.errors import UserError
from echorl.support.folder import ResultFolder
from echorl.train.recipe import read_recipe, read_recipes

NEEDED = {"trl,lab": ("transformers", "datasets", "filelock", "rich", "scipy")}
SHOWN = ("method", "echo_coef", "echo_select")
"""Options of an arm that results.json keeps, for a report."""


@dataclass(frozen=True, kw_only=True)
class CompareOptions(CommandOptions):
    """Train every arm of a study with every seed on equal rollout tokens, choose learning rates on a validation split,
    and print paired differences. What is finished is kept; the same command goes on. Of a packed study
    (NAME.jsonl.gz) the tables are printed; nothing is trained, except a method that `--add` names. See
    docs/guides/compare.md.
    """

    study: Path = required(
        "A YAML file with recipe, arms, rollout_tokens or steps, seeds and more; or a packed study, NAME.jsonl.gz.",
        positional=True,
    )
    output_dir: Path | None = option(None, "Folder of the runs and results, instead of the study's.")
    parallel: int | None = option(None, "Runs at a time, instead of the study's.", ge=1, le=10**4)
    num_seeds: int | None = option(None, "Only the first seeds of the study; the rest may follow.", **COUNT)
    add: str | None = option(
        None, "Train this method, FILE.py:CLASS, as one more arm of a packed study, and show it in the study's tables."
    )
    method_options: dict | None = option(None, "Options of the added method, '{\"bonus\": 0.2}'.")
    dry_run: bool = option(False, "Check the study, list its runs and stop.")
    pack: bool = option(False, "Write the finished runs to one file, OUTPUT_DIR.jsonl.gz, and stop.")


def run(args: CompareOptions) -> None:
    """Run the command.

    Raises:
        UserError: the study or a run's recipe has something wrong, a run failed, or another process is at the study.
        Interrupted: Ctrl-C.
    """
    _check_combination(args)
    if args.add is not None:
        _add(args, args.add)
        return
    if is_pack(args.study):
        _show_packed(args)
        return
    study = _read(args)
    output = Path(study.comparison.output_dir)
    check_study(output)
    check_arms_early(study, args.study)
    say_loading("PyTorch and TRL")
    arms = check_arms(study, args.study)
    if args.dry_run:
        _list(study)
        return
    from echorl.lab.compare.conduct import run_study

    methods, comparison = _methods(arms), study.comparison
    if args.pack:
        _pack(lambda: pack_study(study, methods), output)
    else:
        _run(lambda bars: run_study(study, methods, bars), comparison, output)


def _check_combination(args: CompareOptions) -> None:
    """Check that the options can stand beside each other."""
    packed = is_pack(args.study)
    if args.add is None and args.method_options is not None:
        raise UserError("--method_options are those of a method that --add names: give --add FILE.py:CLASS, too.")
    if args.add is not None and not packed:
        raise UserError(
            f"--add needs stored runs, and {args.study} is no packed study: give NAME.jsonl.gz, which `echorl compare "
            "STUDY.yaml --pack` writes."
        )
    if args.add is None and packed and (args.pack or args.parallel is not None):
        raise UserError(
            f"--pack and --parallel cannot be used with the packed study {args.study}, which runs nothing: give the "
            "study's YAML."
        )
    if args.pack and (args.dry_run or (args.num_seeds is not None and args.add is None)):
        raise UserError(
            "--pack cannot be combined with --dry_run or --num_seeds: it packs every finished run of the study."
        )


def _add(args: CompareOptions, method: str) -> None:
    """Run a method as one more arm of a packed study, and show it in the study's tables."""
    stored = open_pack(args.study)
    say_loading("PyTorch and TRL")
    addition = add_method(stored, method, args.method_options, args.output_dir)
    comparison = _with_seeds(addition.added.comparison, args.num_seeds)
    comparison = replace(comparison, parallel=args.parallel or comparison.parallel)
    addition = replace(addition, added=replace(addition.added, comparison=comparison))
    output = Path(comparison.output_dir)
    check_study(output)
    check_arms_early(addition.added, args.study)
    _try_method(method, args.method_options)
    methods = _methods(check_arms(addition.added, args.study))
    if args.dry_run:
        print(f"repeat {addition.repeat.name}{_state(addition.repeated, addition.repeat, list(comparison.tests))}")
        _list(addition.added)
        return
    from echorl.lab.compare.conduct import run_addition

    if args.pack:
        _pack(lambda: pack_addition(addition, methods), output)
    else:
        _run(lambda bars: run_addition(addition, methods, bars), addition.comparison, output)


def _try_method(method: str, options: Mapping[str, Any] | None) -> None:
    from echorl.methods import load_method
    from echorl.methods.rules import try_rules

    try_rules(load_method(method, options))


def _run(make_results: Callable[[View], dict[str, Any]], comparison: Comparison, output: Path) -> None:
    """Make the results, write them to the folder and print them."""
    from echorl.cli.bars import working_in
    from echorl.lab.compare.conduct import write_results

    with working_in(ResultFolder(output, "compare")) as bars:
        results = make_results(bars)
        write_results(comparison, results, output)
    _show(comparison, results)  # when the bars are gone, which take what is printed beside them
    print(f"results: {output / RESULTS[1]}  page: echorl report {shlex.quote(str(output))}")


def _pack(make_pack: Callable[[], Pack], output: Path) -> None:
    """Write the finished runs of the folder to its pack, and print a sentence about it.

    Raises:
        UserError: no run is finished.
    """
    from echorl.cli.bars import working_in

    with working_in(ResultFolder(output, "compare")):
        pack = make_pack()
        if not pack.runs:
            raise UserError(f"{output} has no finished run to pack: run the study first.")
        pack.write()
    print(f"{pack.path} holds {len(pack.runs)} finished runs; their policies stay in {output}.")


def _methods(arms: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    return {arm: {name: options.get(name) for name in SHOWN} for arm, options in arms.items()}


def _read(args: CompareOptions) -> Study:
    """Return the study in a YAML file, whose arms, tests and notes may stand in files of their own beside it."""
    mapping = read_recipe(args.study, "")
    for name in ("arms", "tests", "notes"):
        value = mapping.get(name)
        if isinstance(value, str) and (name != "tests" or value.endswith((".yaml", ".yml"))):  # else a test's name
            mapping[name] = read_recipe(args.study.parent / value, f"{name} ")
    changes = {"output_dir": args.output_dir and str(args.output_dir), "parallel": args.parallel}
    comparison = _with_seeds(read_comparison(args.study, mapping, changes), args.num_seeds)
    recipe, path = read_recipes(comparison.recipe, "recipe "), pack_path(comparison.output_dir)
    options = {**recipe.options, "env": dict(recipe.env)} if recipe.env else recipe.options
    return Study(comparison, options, read_pack(path) if path.exists() else None)


def _show_packed(args: CompareOptions) -> None:
    """Print the tables of a packed study; with an --output_dir write them there, too."""
    from echorl.lab.compare.conduct import write_results
    from echorl.lab.compare.results import make_results

    study = open_pack(args.study)
    study = replace(study, comparison=_with_seeds(study.comparison, args.num_seeds))
    if args.dry_run:
        _list(study)
        return
    results = make_results(study, study.methods)
    if args.output_dir is None:
        _show(study.comparison, results)
        return
    check_study(args.output_dir)
    ResultFolder(args.output_dir, "compare").check_writable()
    write_results(study.comparison, results, args.output_dir)
    _show(study.comparison, results)


def _show(comparison: Comparison, results: Mapping[str, Any]) -> None:
    """Print the results: tables in a terminal, elsewhere the Markdown of results.md."""
    from echorl.cli.tables import in_terminal, print_paragraph, print_table
    from echorl.lab.compare.results import first_sentences, results_markdown, results_tables

    if not in_terminal():
        print(results_markdown(comparison, results))
        return
    for sentence in first_sentences(results):
        print_paragraph(sentence)
    for table in results_tables(comparison, results):
        print()
        print_table(table.title, table.head, _without_repeats(table.rows))
        if table.note:
            print_paragraph(table.note)


def _without_repeats(rows: Sequence[Sequence[str]]) -> list[list[str]]:
    """Return the rows, whose first cell is empty where it is that of the row above."""
    above = [None, *(row[0] for row in rows)]
    return [["" if row[0] == before else row[0], *row[1:]] for before, row in zip(above, rows, strict=False)]


def _with_seeds(comparison: Comparison, number: int | None) -> Comparison:
    """Return the comparison on its first seeds; None takes all."""
    if number is not None and number > len(comparison.seeds):
        raise UserError(
            f"--num_seeds {number} is not allowed: the study has {len(comparison.seeds)} seeds; give at most as many."
        )
    return replace(comparison, seeds=comparison.seeds[:number])


def _list(study: Study) -> None:
    """Print every planned run; those at the chosen rates are planned once the grid is done."""
    comparison, grid, validation = study.comparison, study.comparison.grid(), study.validation()
    for run in grid:
        print(f"grid   {run.name}{_state(study, run, ['validation'])}")
    if validation is None:
        print(f"then   {len(comparison.arms) * len(comparison.seeds)} runs at the chosen rates")
    else:
        for run in comparison.final(comparison.chosen(validation)):
            print(f"{'then' if grid else 'run ':6} {run.name}{_state(study, run, list(comparison.tests))}")
    name, number = comparison.budget
    print(f"       {number} {name.replace('_', ' ')} each, {comparison.parallel} at a time")
    print(f"       to the folder {comparison.output_dir}")


def _state(study: Study, run: Run, tests: Sequence[str]) -> str:
    state = study.state(run, tests)
    return f"  ({state})" if state else ""

"""`echorl probe`: what the gradients of EchoRL and its rivals hold at a checkpoint, before anything is trained."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from echorl.cli.models import BENCHMARK, ModelOptions, base_name, find_benchmarks, find_checkpoint, load_model
from echorl.cli.parser import part_of, required
from echorl.core.options import option
from echorl.lab.options import COUNT, Sampling
from echorl.lab.probe.plan import Plan
from echorl.support.folder import ResultFolder

if TYPE_CHECKING:
    from echorl.lab.evaluate.checkpoint import Checkpoint
    from echorl.lab.evaluate.plan import Work

NEEDED = {"trl,tasks": ("transformers", "pyarrow", "filelock", "rich")}
SIZE_HEAD = ["rule", "groups", "acts on", "signal", "z", "coef 10 %", "saves", "z"]
COSINES = {"pass_at_1": "pass@1", "length": "length", "entropy": "entropy"}
COSINE_HEAD = ["rule", "groups", *(text for name in COSINES.values() for text in (name, "z"))]


@dataclass(frozen=True, kw_only=True)
class ProbeOptions(Plan, ModelOptions):
    """Take the gradients of EchoRL and its rivals at a checkpoint; print how much of each is signal, where it points,
    and the most that it can add to the policy gradient. What is finished is kept; the same command goes on, with more
    prompts, too. See docs/guides/probe.md.
    """

    benchmark: str = required(BENCHMARK)
    data: str | None = option(None, "The benchmark's file, instead of the hub's data set.")
    prompts: int = option(128, "Prompts, drawn by the seed.", **COUNT)
    samples: int = option(8, "Rollouts of each prompt.", **COUNT)
    max_new_tokens: int | None = option(
        None, "Most tokens of a rollout, as in your training; default: 8192, or what fits the model's context.", **COUNT
    )
    output_dir: Path | None = option(None, "Folder of the results; default: runs/probe/MODEL.")


def run(args: ProbeOptions) -> None:
    """Run the command.

    Raises:
        UserError, ValueError: something that the user can fix.
        Interrupted: Ctrl-C.
    """
    find_benchmarks([args.benchmark])
    plan = part_of(args, Plan)
    checkpoint = find_checkpoint(args.model)

    from echorl.cli.bars import working_in
    from echorl.lab.probe.run import probe

    work = _work(args, plan, checkpoint)
    folder = args.output_dir or Path("runs/probe", base_name(args.model))
    with working_in(ResultFolder(folder, "probe")) as bars:
        result = probe(folder, work, plan, checkpoint, partial(load_model, checkpoint, args.device), bars)
    _show(result, folder)


def _work(args: ProbeOptions, plan: Plan, checkpoint: Checkpoint) -> Work:
    from echorl.lab.evaluate.run import prepare
    from echorl.lab.probe.run import draw_items

    sampling = Sampling(samples=args.samples, max_new_tokens=args.max_new_tokens, temperature=plan.temperature)
    [work] = prepare([args.benchmark], checkpoint, sampling, args.data)
    return draw_items(work, args.prompts, plan.seed)


def _show(result: Mapping[str, Any], folder: Path) -> None:
    """Print the verdict in a sentence, the sizes, tables with a row for each rule, and the verdict on each."""
    from echorl.cli.tables import print_paragraph, print_table
    from echorl.lab.probe.run import RESULT
    from echorl.lab.probe.verdict import cosine_note, headline

    sizes, solved = result["sizes"], result["pass_at_1"]
    print(f"{headline(result)}\n")
    shares = ", ".join(f"{share:.0%} {kind.replace('_', '-')}" for kind, share in result["groups"].items())
    print(f"{sizes['rollouts']} rollouts of {sizes['prompts']} prompts: {shares}; ", end="")
    print(f"pass@1 {solved['value']:.3f} +- {solved['se']:.3f}, {result['length']['value']:.1f} tokens a rollout")
    rows = (result["policy_gradient"], *result["rules"])
    title = f"\n{result['model']}: share of the gradient of {sizes['prompts_per_batch']} prompts that is signal"
    print_table(title, SIZE_HEAD, [_size_cells(row) for row in rows])
    print_table("\nCosines of the mean gradient with those of", COSINE_HEAD, [_cosine_cells(row) for row in rows])
    print_paragraph(cosine_note(result))
    for sentence in result["verdict"]:
        print(f"- {sentence}")
    print(f"numbers: {folder / RESULT}")


def _size_cells(row: Mapping[str, Any]) -> list[str]:
    share, coefficient, saves = row["signal_share"], row["coef_at"]["0.1"], row["saves"]
    cells = [*_rule_cells(row), f"{row['acts_on']:.0%}", _cell(share, ".1%"), _cell(share, ".1f", "z")]
    cells.append("" if coefficient is None else f"{coefficient:.2g}")
    return [*cells, _cell(saves, ".1%"), _cell(saves, "+.1f", "z")]


def _cosine_cells(row: Mapping[str, Any]) -> list[str]:
    cosines = [row["cosine"][name] for name in COSINES]
    cells = [(_cell(cosine, "+.2f"), _cell(cosine, "+.1f", "z")) for cosine in cosines]
    return [*_rule_cells(row), *itertools.chain(*cells)]


def _rule_cells(row: Mapping[str, Any]) -> list[str]:
    return [row["label"], row["groups"].replace("_", "-")]


def _cell(measure: Mapping[str, Any], form: str, name: str = "value") -> str:
    return "-" if measure[name] is None else format(measure[name], form)

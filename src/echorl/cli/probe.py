"""`echorl probe`: what the gradients of EchoRL and its rivals hold at a checkpoint, before anything is trained."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from echorl.cli.options import add_device, spellings
from echorl.support.bounds import ANY, COUNT, SEED, TEMPERATURE, Bounds, add_option
from echorl.support.errors import as_user_error, resumable
from echorl.support.installed import check_installed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from echorl.lab.evaluate.checkpoint import Checkpoint
    from echorl.lab.evaluate.plan import Work
    from echorl.lab.probe import Plan

NEEDED = ("transformers", "pyarrow", "filelock", "rich")
PLAN = {
    "prompts_per_batch": (int, "N", "prompts in an optimiser step of the training that you ask about"),
    "baseline_samples": (int, "K", "further rollouts of each prompt, for the tracked baseline; 0 leaves it out"),
    "loss_type": (str, "NAME", "dapo, grpo or dr_grpo: the policy loss that coefficients are compared with"),
    "projection": (int, "D", "numbers kept of a gradient; 0 keeps all, for small models"),
    "parameters": (str, "REGEX", "only the gradients of parameters in whose names this is found"),
    "temperature": (float, "T", "of the sampling, and of the policy"),
    "batch_size": (int, "N", "rollouts sampled at once"),
    "seed": (int, "S", "of prompts, samples and projection"),
    "method": (str, "NAME", "also measure a method: agpo, rl_zvp, file.py:Class ... (docs/own-method.md)"),
    "method_options": (json.loads, "JSON", "the method's options, '{\"right\": 0.5}'"),
}
BOUNDS = {
    "prompts_per_batch": COUNT,
    "baseline_samples": Bounds(0, 10**6),
    "projection": Bounds(0, 10**7),
    "temperature": TEMPERATURE,
    "batch_size": COUNT,
    "seed": SEED,
}
HEAD = ["rule", "groups", "acts on", "signal", "z", "pass@1", "z", "length", "z", "entropy", "z"]
HEAD += ["coef 10 %", "saves", "z"]


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the command and its options."""
    from echorl.lab.probe import Plan

    parser = subparsers.add_parser(
        "probe",
        help="ask whether EchoRL would help, without training: echorl probe --model FOLDER --benchmark quickstart",
        description="Take the gradients of EchoRL and its rivals at a checkpoint; print how much of each is signal, "
        "where it points, and the most that it can add to the policy gradient. What is finished is kept; the same "
        "command goes on, with more prompts, too. See docs/probe.md.",
    )
    parser.add_argument(
        "--model", required=True, metavar="MODEL", help="a folder, a model of the hub, 'quickstart' or 'smollm2'"
    )
    parser.add_argument("--benchmark", required=True, metavar="NAME", help="math500, gsm8k ..., or TASK[:SPLIT]")
    parser.add_argument("--data", metavar="PATH", help="the benchmark's file, instead of the hub's data set")
    for name, metavar, default, text in (
        ("prompts", "N", 128, "default: %(default)s"),
        ("samples", "G", 8, "rollouts of each; default: %(default)s"),
        ("max_new_tokens", "N", None, "default 8192, or less where the context is shorter"),
    ):
        add_option(parser, *spellings(name), bounds=COUNT, type=int, default=default, metavar=metavar, help=text)
    defaults = vars(Plan())
    for name, (kind, metavar, text) in PLAN.items():
        default = defaults[name]
        shown = f"; default: {default}" if default not in ("", None) else ""
        bounds = BOUNDS.get(name, ANY)
        add_option(
            parser, *spellings(name), bounds=bounds, type=kind, default=default, metavar=metavar, help=text + shown
        )
    add_device(parser)
    parser.add_argument(*spellings("output_dir"), metavar="DIR", help="default: runs/probe/MODEL")


def run(args: argparse.Namespace) -> int:
    """Run the command. Returns 0.

    Raises:
        UserError, ValueError: something that the user can fix.
        Interrupted: Ctrl-C.
    """
    check_installed("`echorl probe`", NEEDED, "trl,tasks")
    with resumable():
        return _probe(args)


def _probe(args: argparse.Namespace) -> int:
    from functools import partial

    from echorl.cli.bars import Bars
    from echorl.cli.models import find_checkpoint, load_model
    from echorl.lab.probe import Plan, probe
    from echorl.support.lock import alone

    plan = Plan(**{name: getattr(args, name) for name in PLAN})
    checkpoint = find_checkpoint(args.model)
    work = _work(args, plan, checkpoint)
    folder = Path(args.output_dir or Path("runs/probe", Path(os.path.abspath(args.model)).name))
    with alone(folder, "probe"), Bars() as bars:
        result = probe(folder, work, plan, checkpoint, partial(load_model, checkpoint, args.device), bars)
    show_result(result, folder)
    return 0


def _work(args: argparse.Namespace, plan: Plan, checkpoint: Checkpoint) -> Work:
    from echorl.lab.evaluate.plan import Sampling
    from echorl.lab.evaluate.run import prepare
    from echorl.lab.probe.run import draw_items

    sampling = Sampling(samples=args.samples, max_new_tokens=args.max_new_tokens, temperature=plan.temperature)
    with as_user_error(ImportError, doing="a benchmark needs a package (pip install 'echorl[tasks]')"):
        [work] = prepare([args.benchmark], checkpoint, sampling, args.data)
    return draw_items(work, args.prompts, plan.seed)


def show_result(result: Mapping[str, Any], folder: Path) -> None:
    """Print the sizes, a row a rule, and the verdict."""
    from echorl.cli.eval_table import print_table
    from echorl.lab.probe.folder import RESULT

    sizes, solved = result["sizes"], result["pass_at_1"]
    shares = ", ".join(f"{share:.0%} {kind.replace('_', '-')}" for kind, share in result["groups"].items())
    print(f"{sizes['rollouts']} rollouts of {sizes['prompts']} prompts: {shares}; ", end="")
    print(f"pass@1 {solved['value']:.3f} +- {solved['se']:.3f}, {result['length']['value']:.1f} tokens a rollout")
    title = (
        f"{result['model']}: share of a batch's gradient that is signal ({sizes['prompts_per_batch']} prompts), cosines"
    )
    print_table(title, HEAD, [_line(row) for row in (result["policy_gradient"], *result["rules"])])
    for sentence in result["verdict"]:
        print(f"- {sentence}")
    print(f"numbers: {folder / RESULT}")


def _line(row: Mapping[str, Any]) -> list[str]:
    cosines = [row["cosine"][name] for name in ("pass_at_1", "length", "entropy")]
    cells = [row["label"], row["groups"].replace("_", "-"), f"{row['acts_on']:.0%}"]
    cells += [_cell(row["signal_share"], ".1%"), _cell(row["signal_share"], ".1f", "z")]
    for cosine in cosines:
        cells += [_cell(cosine, "+.2f"), _cell(cosine, "+.1f", "z")]
    coefficient = row["coef_at"]["0.1"]
    cells.append("" if coefficient is None else f"{coefficient:.2g}")
    return [*cells, _cell(row["saves"], ".1%"), _cell(row["saves"], "+.1f", "z")]


def _cell(measure: Mapping[str, Any], form: str, name: str = "value") -> str:
    return "-" if measure[name] is None else format(measure[name], form)

"""`echorl mine`: score stored rollouts with a model and show the EchoClips that they hold."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from echorl.cli.models import ModelOptions, base_name, find_checkpoint, load_model
from echorl.cli.parser import part_of, required
from echorl.core.config import ClipConfig, EchoConfig
from echorl.core.options import option
from echorl.core.statistics import MEANING
from echorl.lab.logs.files import find_files, notes_on_earlier_runs
from echorl.lab.logs.layouts import check_columns
from echorl.lab.mine.plan import Plan, Reading, results_in
from echorl.lab.options import COUNT, Columns, Mining, Prompts

NEEDED = {"trl": ("transformers", "pyarrow", "filelock", "rich")}


@dataclass(frozen=True, kw_only=True)
class MineOptions(Mining, ClipConfig, Prompts, Columns, ModelOptions):
    """Score stored rollouts with a model, write the EchoClips that they hold, and print what they are. What is scored
    is kept; the same command goes on. See docs/guides/mine.md.
    """

    rollouts: tuple[Path, ...] = required(
        "Files of rollouts, JSONL or Parquet, or folders of them: logs of TRL or verl, or a prompt, a response and a "
        "reward in every row (docs/reference/files.md).",
        positional=True,
    )
    no_end: bool = option(False, "Put no end token behind the responses.")
    max_length: int | None = option(
        None,
        "Longest rollout (prompt and response, in tokens) that is scored; a longer one gives no clip and counts in its "
        "group; default: the model's context.",
        **COUNT,
    )
    output_dir: Path | None = option(None, "Folder of the results; default: runs/mine/NAME, of the first file.")


def run(args: MineOptions) -> None:
    """Run the command.

    Raises:
        UserError, ValueError: something that the user can fix.
        Interrupted: Ctrl-C.
    """
    files = find_files(args.rollouts)
    check_columns(files[0], part_of(args, Columns))

    plan = Plan(
        files=files,
        columns=part_of(args, Columns),
        reading=Reading(chat=args.chat, end=not args.no_end, max_length=args.max_length),
        echo=EchoConfig(**vars(part_of(args, ClipConfig))),
        **vars(part_of(args, Mining)),
    )
    folder = args.output_dir or Path("runs/mine", Path(base_name(args.rollouts[0])).stem)
    results_in(folder).check_early(plan.settings())
    checkpoint = find_checkpoint(args.model)

    from echorl.cli.bars import working_in
    from echorl.lab.mine.run import mine

    start = cache(lambda: load_model(checkpoint, args.device)[0])
    with working_in(results_in(folder)) as bars:
        for note in notes_on_earlier_runs(args.rollouts):
            bars.say(note)
        summary = mine(folder, plan, checkpoint, start, bars)
    if not start.cache_info().misses:
        print("All rollouts were scored by an earlier call: nothing was scored again.", file=sys.stderr)
    _show(summary, folder, args.format)


def _show(summary: Mapping[str, Any], folder: Path, format: str) -> None:
    """Print the groups by kind, and a column of numbers for each kind whose groups gave clips."""
    from echorl.cli.tables import print_paragraph, print_table
    from echorl.lab.mine.summary import FEW_NOTE, has_few, headline, table_rows

    total = summary["all"]
    for sentence in headline(summary):
        print_paragraph(sentence)
    for kind, row in summary.items():
        if kind != "all":
            print(f"  {row['groups']:>7} {row['share_of_groups']:>6.1%}  {kind}: {MEANING[kind]}")
    if total["groups_of_one"]:
        print(f"  {total['groups_of_one']} groups have one rollout, so that they are degenerate whatever it earned")
    if total["too_long"]:
        print(f"  {total['too_long']} rollouts were too long for the model: they were not scored and gave no clip")
    if names := [name for name, row in summary.items() if row["clips"]["count"]]:
        print_table("EchoClips by kind of group", ["", *names], table_rows(summary))
        if has_few(summary):
            print(FEW_NOTE)
    print(f"{total['clips']['count']} clips: {folder / f'clips.{format}'}  numbers: {folder / 'summary.json'}")
    print(f"page: echorl report {shlex.quote(str(folder))}")

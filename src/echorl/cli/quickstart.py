"""`echorl quickstart`: GRPO and GRPO + EchoRL on a small policy, on the CPU, in minutes."""

from __future__ import annotations

import os
import sys
import time
import warnings
from dataclasses import dataclass
from pathlib import Path

from echorl.cli.parser import CommandOptions
from echorl.core.options import option
from echorl.lab.options import SEED
from echorl.support.folder import ResultFolder

NEEDED = {"trl,lab": ("trl", "transformers", "datasets", "reasoning_gym", "pyarrow", "matplotlib", "jinja2", "rich")}


@dataclass(frozen=True, kw_only=True)
class QuickstartOptions(CommandOptions):
    """Train the shipped policy with GRPO and with GRPO + EchoRL, on the CPU; then show a table, and leave a page and a
    picture. A second run with the same settings trains nothing again.
    """

    output_dir: Path = option(Path("quickstart-run"), "Folder of the results.")
    seed: int = option(0, "Seed of both runs.", **SEED)
    tiny: bool = option(
        False, "A run of 4 steps, in half a minute: it shows the page, and is too small to show a difference."
    )


def run(args: QuickstartOptions) -> None:
    """Run the quickstart, without a network, and without the bars and deprecation notes of the libraries.

    Raises:
        ValueError: the output folder cannot be used.
        Interrupted: Ctrl-C.
    """
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    for category in (FutureWarning, DeprecationWarning):
        warnings.filterwarnings("ignore", category=category)
    from echorl.cli.bars import working_in
    from echorl.lab.quickstart import quickstart

    if not args.tiny:
        print("Some minutes on two cores; `echorl quickstart --tiny` shows the page in half a minute.", file=sys.stderr)
    start = time.monotonic()
    with working_in(ResultFolder(args.output_dir, "quickstart")) as bars:
        quickstart(args.output_dir, seed=args.seed, tiny=args.tiny, view=bars)
    _show(args.output_dir, time.monotonic() - start)


def _show(folder: Path, seconds: float) -> None:
    """Print what the study can tell, its tables, how the groups changed, the findings, and the places of the files."""
    from echorl.cli.tables import print_paragraph, print_table
    from echorl.lab.quickstart import PAGE, PICTURE
    from echorl.lab.report.compared import read_comparison
    from echorl.lab.report.curves import groups_table
    from echorl.lab.report.training import group_by_seed

    source = read_comparison(folder)
    for text in source.lead:
        print_paragraph(text)
        print()
    for table in (*source.tables[:2], *groups_table(group_by_seed(source.runs))):
        print_table(table.title, table.head, table.rows)
        print(f"{table.note}\n" if table.note else "")
    for text in source.findings:
        print(f"* {text}")
    print(f"\nDone in {seconds / 60:.1f} min. Page: {folder / PAGE}  Picture: {folder / PICTURE}")

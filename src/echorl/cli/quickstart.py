"""`echorl quickstart`: GRPO and GRPO + EchoRL on a small policy, on the CPU, in minutes."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from echorl.cli.parser import parse
from echorl.core.options import option
from echorl.lab.options import SEED
from echorl.support.errors import resumable
from echorl.support.folder import ResultFolder
from echorl.support.installed import check_installed

if TYPE_CHECKING:
    import rich.table

    from echorl.lab.report.page import Table

NEEDED = ("trl", "transformers", "datasets", "reasoning_gym", "pyarrow", "matplotlib", "jinja2", "rich")


@dataclass(frozen=True, kw_only=True)
class QuickstartOptions:
    """Train the shipped policy with GRPO and with GRPO + EchoRL, on the CPU; then show a table, and leave a page and a
    picture. A second run with the same settings trains nothing again.
    """

    output_dir: Path = option(Path("quickstart-run"), "Folder of the results.")
    seed: int = option(0, "Seed of both runs.", **SEED)
    tiny: bool = option(
        False, "A run of 4 steps, in half a minute: it shows the page, and is too small to show a difference."
    )


def run(argv: Sequence[str]) -> int:
    """Run the quickstart. Returns 0.

    Raises:
        ImportError: something is not installed.
        ValueError: the output folder will not do.
        Interrupted: Ctrl-C.
    """
    args = parse("quickstart", QuickstartOptions, argv)
    started = time.monotonic()
    check_installed("the quickstart", NEEDED, "trl,lab")
    _be_quiet()
    from echorl.cli.bars import Bars
    from echorl.lab.quickstart import quickstart

    with resumable(), ResultFolder(args.output_dir, "quickstart").locked(), Bars() as bars:
        quickstart(args.output_dir, seed=args.seed, tiny=args.tiny, view=bars)
    _show(args.output_dir, time.monotonic() - started)
    return 0


def _be_quiet() -> None:
    """No network, and none of the libraries' bars and deprecation notes between our own lines."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    warnings.filterwarnings("ignore", category=FutureWarning)
    warnings.filterwarnings("ignore", category=DeprecationWarning)


def _show(folder: Path, seconds: float) -> None:
    """Print the table of the arms, how the groups changed, the findings, and where the page is."""
    from rich.console import Console

    from echorl.lab.quickstart import PAGE, PICTURE
    from echorl.lab.report.compared import read_comparison
    from echorl.lab.report.curves import groups_table
    from echorl.lab.report.training import group_by_seed

    source = read_comparison(folder)
    console = Console()
    if not console.is_terminal:
        console = Console(width=118)
    for table in (*source.tables[:2], *groups_table(group_by_seed(source.runs))):
        console.print(_drawn(table))
        if table.note:
            console.print(f"{table.note}\n", style="dim", markup=False, highlight=False)
    for text in source.findings:
        console.print(f"• {text}", markup=False, highlight=False)
    places = f"Page: {folder / PAGE}  Picture: {folder / PICTURE}"
    console.print(f"\nDone in {seconds / 60:.1f} min. {places}", markup=False)


def _drawn(table: Table) -> rich.table.Table:
    import rich.table
    from rich.text import Text

    drawn = rich.table.Table(title=table.title, title_justify="left", title_style="bold")
    for i, name in enumerate(table.head):
        drawn.add_column(name, justify="right" if i else "left")
    for row in table.rows:
        drawn.add_row(*map(Text, row))
    return drawn

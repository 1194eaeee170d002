"""`echorl report`: one page for one or several runs: curves, tables, and the rollouts with their EchoClips."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from echorl.cli.parser import CommandOptions, required
from echorl.core.options import option
from echorl.lab.report.sources import name_of
from echorl.support.errors import UserError

NEEDED = {"trl,lab": ("matplotlib", "jinja2", "yaml", "pyarrow")}


@dataclass(frozen=True, kw_only=True)
class ReportOptions(CommandOptions):
    """Write one self-contained HTML page on one or several runs: folders of echorl train, compare, quickstart, audit,
    mine, eval, probe and analyze. A run may still be going on. See docs/guides/report.md.
    """

    runs: tuple[Path, ...] = required("Folders that echorl commands wrote, or packed studies.", positional=True)
    output: Path | None = option(None, "File of the page; default: runs/report/NAME.html (NAME of the first).")
    png: bool = option(
        False,
        "Write each chart as FILE-TITLE.png, too (the second of a title as FILE-TITLE-2.png), and three EchoClips of "
        "each training run with rollout dumps as FILE-clips.png.",
    )
    over: Literal["step", "tokens"] = option(
        "step", "The x axis of curves: 'step', or rollout 'tokens', for methods that sample more for a step."
    )
    rollouts: int = option(
        2000,
        "Rollouts in the gallery, at most: whole groups of dumps (or clips), spread evenly over the run; the page "
        "says what it left out.",
        ge=1,
        le=10**7,
    )


def run(args: ReportOptions) -> None:
    """Run the command.

    Raises:
        UserError, ValueError: something that the user can fix.
    """
    from echorl.lab.report.assemble import make_report
    from echorl.lab.report.page import write

    output = args.output
    if output is None:
        output = Path("runs/report", f"{_page_name(args.runs[0])}{'-and-others' if len(args.runs) > 1 else ''}.html")
    elif output.suffix.lower() not in (".html", ".htm"):
        raise UserError(f"--output {output} is not the name of a page: let it end in .html.")
    report = make_report(args.runs, over=args.over, limit=args.rollouts)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        write(report.page, output)
        pictures = report.write_pngs(output.with_suffix("")) if args.png else []
    except OSError as error:
        raise UserError(f"--output {output} cannot be written ({error.strerror}): give another.") from None
    for line in (*report.page.lead, output, *pictures):
        print(line)


def _page_name(place: Path) -> str:
    """Return the name of a page: that of the folder, with its parent's in front unless that is `runs`.

    So pages of `runs/quickstart` and `runs/eval/quickstart` do not replace each other.
    """
    parent = Path(os.path.abspath(place)).parent.name if len(place.parts) > 1 else ""
    return f"{parent}-{name_of(place)}" if parent not in ("", "runs") else name_of(place)

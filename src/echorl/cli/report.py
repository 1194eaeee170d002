"""`echorl report`: one page for one or several runs: curves, tables, and the rollouts with their EchoClips."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from echorl.cli.parser import parse, required
from echorl.core.options import option
from echorl.support.errors import UserError
from echorl.support.installed import check_installed

NEEDED = ("matplotlib", "jinja2", "yaml", "pyarrow")


@dataclass(frozen=True, kw_only=True)
class ReportOptions:
    """Write one self-contained HTML page on one or several runs: folders of echorl train, compare, quickstart, mine,
    eval, probe and analyze. A run may still be going on. See docs/report.md.
    """

    runs: tuple[Path, ...] = required("Folders that echorl commands wrote, or packed studies.", positional=True)
    output: Path | None = option(None, "File of the page; default: runs/report/NAME.html, NAME the first run's.")
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


def run(argv: Sequence[str]) -> int:
    """Run the command. Returns 0.

    Raises:
        UserError, ValueError: something that the user can fix.
    """
    args = parse("report", ReportOptions, argv)
    check_installed("`echorl report`", NEEDED, "trl,lab")
    from echorl.lab.report.assemble import make_report
    from echorl.lab.report.page import write

    output = _output(args)
    report = make_report(args.runs, over=args.over, limit=args.rollouts)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        write(report.page, output)
        pictures = report.write_pngs(output.with_suffix("")) if args.png else []
    except OSError as error:
        raise UserError(f"--output {output} cannot be written ({error.strerror}): give another.") from None
    for note in report.page.lead:
        print(note)
    for path in (output, *pictures):
        print(path)
    return 0


def _output(args: ReportOptions) -> Path:
    from echorl.lab.report.sources import name_of

    if args.output is None:
        return Path("runs/report", f"{name_of(args.runs[0])}{'-and-others' if len(args.runs) > 1 else ''}.html")
    if args.output.suffix.lower() not in (".html", ".htm"):
        raise UserError(f"--output {args.output} is no page's name: let it end in .html.")
    return args.output

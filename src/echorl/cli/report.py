"""`echorl report`: one page for one or several runs: curves, tables, and the rollouts with their EchoClips."""

from __future__ import annotations

import argparse
from pathlib import Path

from echorl.cli.options import as_path
from echorl.support.bounds import Bounds, add_option
from echorl.support.errors import UserError
from echorl.support.installed import check_installed

NEEDED = ("matplotlib", "jinja2", "yaml", "pyarrow")


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the command and its options."""
    parser = subparsers.add_parser(
        "report",
        help="draw runs as one page, to be opened in a browser: echorl report RUN [RUN ...]",
        description="Write one self-contained HTML page on one or several RUNs: folders of echorl train, compare, "
        "quickstart, mine, eval, probe and analyze. A run may still be going on. See docs/report.md.",
    )
    parser.add_argument("runs", nargs="+", type=as_path, metavar="RUN", help="a folder that an echorl command wrote")
    parser.add_argument("--output", type=as_path, metavar="FILE", help="default: runs/report/NAME.html")
    parser.add_argument("--png", action="store_true", help="write each chart as FILE-TITLE.png, too")
    parser.add_argument("--over", choices=("step", "tokens"), default="step", help="of curves; default: %(default)s")
    text = "in the gallery, at most; default: %(default)s"
    add_option(parser, "--rollouts", bounds=Bounds(most=10**7), type=int, default=2000, metavar="N", help=text)
    parser.add_argument("--open", action="store_true", help="open the page in a browser")


def run(args: argparse.Namespace) -> int:
    """Run the command. Returns 0.

    Raises:
        UserError, ValueError: something that the user can fix.
    """
    check_installed("`echorl report`", NEEDED, "trl,lab")
    from echorl.lab.report.assemble import make_report
    from echorl.lab.report.page import write

    if args.rollouts < 1:
        raise UserError(f"--rollouts {args.rollouts} is not allowed: it must be a positive whole number.")
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
    if args.open:
        _open(output)
    return 0


def _output(args: argparse.Namespace) -> Path:
    from echorl.lab.report.sources import name_of

    if args.output is None:
        return Path("runs/report", f"{name_of(args.runs[0])}{'-and-others' if len(args.runs) > 1 else ''}.html")
    if args.output.suffix.lower() not in (".html", ".htm"):
        raise UserError(f"--output {args.output} is no page's name: let it end in .html.")
    return args.output


def _open(page: Path) -> None:
    import webbrowser

    if not webbrowser.open(page.resolve().as_uri()):
        print("there is no browser that this machine can open; open the page yourself")

"""Writes the option tables of the pages from the declarations: `python -m docs.option_tables`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import fields, replace
from importlib import import_module
from pathlib import Path

from echorl.core.options import BOUNDS, Option, options_of

DOCS = Path(__file__).parent
TABLE = re.compile(r"<!-- options: (\S+) -->\n.*?<!-- end of options -->", re.DOTALL)
ABSURD = 10**4
HEAD = ["| option | default | meaning |", "|---|---|---|"]


def page_with_tables(text: str) -> str:
    """Return a page with its tables as the declarations have them."""
    return TABLE.sub(lambda match: f"<!-- options: {match[1]} -->\n{table(match[1])}\n<!-- end of options -->", text)


def table(name: str) -> str:
    """Return the table of a command, of `train.data` or of `EchoGRPOConfig`."""
    if name == "EchoGRPOConfig":
        from echorl.trl import EchoGRPOConfig

        return rows((each, each.name) for each in options_of(EchoGRPOConfig) if each.name.startswith("echo_"))
    if name == "train.data":
        from echorl.train.options import TrainArguments

        return rows((each, each.name) for each in options_of(TrainArguments))
    settings = getattr(import_module(f"echorl.cli.{name}"), f"{name.capitalize()}Options")
    positional = {each.name for each in fields(settings) if each.metadata.get("positional")}
    ordered = sorted(options_of(settings), key=lambda each: each.name not in positional)
    return rows((each, each.name.upper() if each.name in positional else f"--{each.name}") for each in ordered)


def rows(options: Iterable[tuple[Option, str]]) -> str:
    """Return the rows of options and the names under which they are given."""
    return "\n".join(HEAD + [f"| `{name}` | {_default(each)} | {_meaning(each)} |" for each, name in options])


def _default(option: Option) -> str:
    if option.kind is bool:
        return "on" if option.default else "off"
    return "" if option.default in (None, "") else f"`{option.default}`"


def _meaning(option: Option) -> str:
    """Return the help and the allowed values, without bounds that only keep absurd values out."""
    shown = {name: getattr(option, name) for name in BOUNDS}
    shown = {name: None if value is None or abs(value) >= ABSURD else value for name, value in shown.items()}
    if not option.choices and all(value is None for value in shown.values()):
        return option.help
    return f"{option.help} {replace(option, optional=False, **shown).allowed.capitalize()}."


def main() -> None:
    """Write all pages."""
    for path in sorted(DOCS.rglob("*.md")):
        path.write_text(page_with_tables(path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()

"""Writes the option tables of the pages from the declarations: `python -m docs.option_tables`."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from importlib import import_module
from pathlib import Path

from echorl.core.options import BOUNDS, Option, options_of

DOCS = Path(__file__).parent
TABLE = re.compile(r"<!-- options: (\S+) -->\n.*?<!-- end of options -->", re.DOTALL)
ABSURD = 10**4
BY_METHODS = " Not written: the method's value, or "
LONG = 40
"""Characters of a meaning from which on it is not repeated."""
HEAD = ["| option | default | meaning |", "|---|---|---|"]


def page_with_tables(text: str) -> str:
    """Return a page with its tables as the declarations have them; a long meaning stands once, then by reference."""
    earlier: dict[str, Row] = {}
    return TABLE.sub(
        lambda match: f"<!-- options: {match[1]} -->\n{table(match[1], earlier)}\n<!-- end of options -->", text
    )


@dataclass(frozen=True)
class Row:
    """An option in a table: the heading of the table, the name as it is given, and the default."""

    section: str
    name: str
    default: str

    def reference(self, name: str) -> str:
        """Return where this row stands, for an option `name` that means the same."""
        if name == self.name:
            return f"As in [{self.section}](#{self.section})."
        if self.name == name.replace("--", "echo_"):
            return f"As the options `echo_...` of [training](#{self.section})."
        return f"As [`{self.name}`](#{self.section})."

    def mention(self, name: str, default: str) -> str:
        """Return an option `name` that means the same, with its default where that is another one."""
        return f"`{name}`" if default == self.default else f"`{name}` ({default or 'none'})"


def table(name: str, earlier: dict[str, Row]) -> str:
    """Return the table of a command, of `train.data` or of `EchoGRPOConfig`.

    `earlier` has the rows of the tables before, by meaning. Options of equal meaning stand together at the end.
    """
    lines, references = [*HEAD], defaultdict[str, list[str]](list)
    section = {"train.data": "train-what-to-train-on", "EchoGRPOConfig": "train-echorl"}.get(name, name)
    for option, shown in _options(name):
        default, meaning = _default(option), option.help.partition(BY_METHODS)[0]
        if row := earlier.get(meaning):
            references[row.reference(shown)].append(row.mention(shown, default))
        else:
            lines.append(f"| `{shown}` | {default} | {_meaning(option)} |")
            if len(meaning) > LONG:
                earlier[meaning] = Row(section, shown, default)
    return "\n".join([*lines, *(f"| {', '.join(names)} | | {reference} |" for reference, names in references.items())])


def _options(name: str) -> Iterator[tuple[Option, str]]:
    """Yield the options of a table and the names under which they are given."""
    if name == "EchoGRPOConfig":
        from echorl.trl import EchoGRPOConfig

        yield from ((each, each.name) for each in options_of(EchoGRPOConfig) if each.name.startswith("echo_"))
    elif name == "train.data":
        from echorl.train.options import TrainArguments

        yield from ((each, each.name) for each in options_of(TrainArguments))
    else:
        settings = getattr(import_module(f"echorl.cli.{name}"), f"{name.capitalize()}Options")
        positional = {each.name for each in fields(settings) if each.metadata.get("positional")}
        for each in sorted(options_of(settings), key=lambda each: each.name not in positional):
            yield each, each.name.upper() if each.name in positional else f"--{each.name}"


def _default(option: Option) -> str:
    """Return the cell of the default, which may be another one in each method."""
    if by_methods := option.help.partition(BY_METHODS)[2]:
        return f"`{by_methods.strip(chr(39) + '.')}`, or the method's"
    if option.kind is bool:
        return "on" if option.default else "off"
    return "" if option.default in (None, "") else f"`{option.default}`"


def _meaning(option: Option) -> str:
    """Return the help, and the allowed values where it does not name them and they are not what one expects."""
    shown = {name: getattr(option, name) for name in BOUNDS}
    shown = {name: None if value is None or abs(value) >= ABSURD else value for name, value in shown.items()}
    if option.choices:
        expected = all(f"'{choice}'" in option.help for choice in option.choices)
    else:
        expected = {name: value for name, value in shown.items() if value is not None} in ({}, {"ge": 0}, {"ge": 1})
    text = option.help.partition(BY_METHODS)[0]
    if expected:
        return text
    return f"{text} {replace(option, optional=False, **shown).allowed.capitalize()}."


def main() -> None:
    """Write all pages."""
    for path in sorted(DOCS.rglob("*.md")):
        path.write_text(page_with_tables(path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()

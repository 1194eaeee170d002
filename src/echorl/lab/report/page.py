"""One self-contained HTML page of text, tables, charts and EchoClips, without a URL and without other scripts."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from echorl.lab.report import charts
from echorl.lab.report.gallery import EDGES, Exhibit
from echorl.lab.report.plots import COLOUR_NAMES, DASHES
from echorl.support.files import write_bytes

if TYPE_CHECKING:
    from markupsafe import Markup

KIND_TITLES = {
    "all_success": "from an all-success group: GRPO has no gradient here",
    "mixed": "from a mixed group: GRPO has a gradient, EchoRL adds to it",
}


@dataclass(frozen=True)
class Table:
    """A table of texts; the first column names the row. `prose`: backticks in its cells stand for code.

    `details`: for each row a text that folds out below its name, or "". `folded`: the line in whose place the table
    folds out, or "".
    """

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""
    prose: bool = False
    details: Sequence[str] = ()
    folded: str = ""


@dataclass(frozen=True, kw_only=True)
class Section:
    """A part of a page; `legend` names the lines of all its charts, in the order of their looks (`Line.look`)."""

    title: str = ""
    lead: Sequence[str] = ()
    findings: Sequence[str] = ()
    legend: Sequence[str] = ()
    charts: Sequence[charts.Drawn] = ()
    tables: Sequence[Table] = ()


@dataclass(frozen=True)
class Page:
    """The contents of a page.

    `gallery` is the result of `viewer.gallery_json`: with it the page has a script, which can fetch nothing.
    """

    title: str
    lead: Sequence[str]
    sections: Sequence[Section] = ()
    exhibits: Sequence[Exhibit] = ()
    gallery: str = ""
    foot: Sequence[str] = ()


def render(page: Page) -> str:
    """Return the page as HTML: every text is escaped, and the page's policy allows the gallery's script by its hash."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    loader = PackageLoader("echorl.lab.report", "templates")
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["code"] = _with_code
    script = (files("echorl.lab.report") / "templates" / "gallery.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return environment.get_template("page.html.j2").render(
        page=page,
        svg=charts.svg,
        kinds=KIND_TITLES,
        edges=EDGES,
        colours=COLOUR_NAMES,
        dashes=[" ".join(map(str, dash)) for dash in DASHES],
        script=script if page.gallery else "",
        num_looks=max([len(section.legend) for section in page.sections], default=0),
        policy=f"script-src 'sha256-{digest}'" if page.gallery else "script-src 'none'",
    )


def _with_code(text: str) -> Markup:
    """Return a text as HTML, escaped, in which `backticks` stand for code."""
    from markupsafe import Markup, escape

    return Markup(re.sub(r"`([^`\n]+)`", r"<code>\1</code>", str(escape(text))))


def write(page: Page, path: Path) -> None:
    """Write the page as UTF-8, in one move; lone surrogates, which UTF-8 can't hold, become `?`."""
    write_bytes(path, render(page).encode("utf-8", "replace"))

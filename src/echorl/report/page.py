"""One self-contained HTML page: text, tables, figures, and the gallery of EchoClips. No URL, no script."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from echorl.report.gallery import EDGES, Exhibit

KIND_TITLES = {
    "all_success": "from an all-success group: GRPO has no gradient here",
    "mixed": "from a mixed group: GRPO has a gradient, EchoRL adds to it",
}


@dataclass(frozen=True)
class Table:
    """A table of texts; the first column names the row."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""


@dataclass(frozen=True)
class Page:
    """What a page shows, all of it plain text but `figures`, which are `<svg>` elements from `plots.panel_svg`."""

    title: str
    lead: Sequence[str]
    findings: Sequence[str] = ()
    figures: Sequence[str] = ()
    tables: Sequence[Table] = ()
    exhibits: Sequence[Exhibit] = ()
    foot: Sequence[str] = ()


def render(page: Page) -> str:
    """The page as HTML; every text is escaped."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    loader = PackageLoader("echorl.report", "templates")
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.get_template("page.html.j2")
    return template.render(page=page, kinds=KIND_TITLES, edges=EDGES)


def write(page: Page, path: Path) -> None:
    """Write the page as UTF-8; lone surrogates, which UTF-8 can't hold, become `?`."""
    path.write_bytes(render(page).encode("utf-8", "replace"))

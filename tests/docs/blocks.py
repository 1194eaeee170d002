"""The fenced blocks of docs/start, guides and reference, each with the comment before it that says what the tests do.

`<!-- runs -->`: they run it. `<!-- writes FILE -->`: they write it to a file. `<!-- not run: REASON -->`: nothing.
`<!-- prints -->`: it is all that the block before it prints; `<!-- printed by: COMMAND -->`: all that a command prints.
In a printed block `...` stands for any text and any white space for any other; where the mark ends with
`; numbers vary` (by machine or time), a number stands for any number.
`python -m tests.docs.blocks` lists the blocks that are not run, with the reasons.
"""

from __future__ import annotations

import os
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = sorted(path for folder in ("start", "guides", "reference") for path in (ROOT / "docs" / folder).glob("*.md"))
CODE = ("python", "console", "bash", "sh")
MARK = re.compile(
    r"<!-- (runs|not run: (?P<reason>\S.*)|writes (?P<file>\S+)"
    r"|(?P<prints>prints|printed by: (?P<command>\S.*?))(?P<varies>; numbers vary)?) -->"
)
FENCE = re.compile(r"^(`{3,})([\w.+{}-]*)$")


@dataclass(frozen=True)
class Block:
    """A fenced block: its place, its language, its text and the mark on the line before it, if there is one."""

    page: Path
    line: int  # of the opening fence, from 1
    language: str
    text: str
    mark: re.Match[str] | None

    def __str__(self) -> str:
        return f"{os.path.relpath(self.page, ROOT)}:{self.line}"

    @property
    def runs(self) -> bool:
        return self.mark is not None and self.mark["reason"] is None

    @property
    def problem(self) -> str | None:
        """What must be changed in the page, or None."""
        if not self.language:
            return f"{self}: the block has no language; write text, yaml or json where it holds no code"
        if self.mark is None and self.language in CODE:
            return f"{self}: write <!-- runs -->, <!-- writes FILE --> or <!-- not run: REASON --> on the line before"
        return None


def blocks(page: Path) -> Iterator[Block]:
    """Yield a page's fenced blocks, those of a list included."""
    before, fence, opened, text = "", "", 0, []
    language = ""
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        stripped = line.strip()
        if fence:
            if stripped == fence:
                yield Block(page, opened, language, textwrap.dedent("\n".join(text) + "\n"), MARK.fullmatch(before))
                fence, before = "", ""
            else:
                text.append(line)
        elif match := FENCE.match(stripped):
            fence, language, opened, text = match[1], match[2], number, []
        else:
            before = stripped
    assert not fence, f"{page}: the block of line {opened} is not closed"


if __name__ == "__main__":
    for block in (block for page in PAGES for block in blocks(page)):
        if block.mark and block.mark["reason"]:
            print(f"{block}: {block.mark['reason']}")

"""Progress bars for work in several processes."""

from __future__ import annotations

import sys
from collections.abc import Callable

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn


class Bars:
    """One bar a piece of work; where the output is no terminal, one line when it begins."""

    def __init__(self) -> None:
        self.console = Console(stderr=True)
        columns = (TextColumn("{task.description:<24}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self.progress = Progress(*columns, console=self.console, disable=not self.console.is_terminal)

    def __enter__(self) -> Bars:
        self.progress.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.progress.stop()

    def begin(self, text: str, total: int | None) -> Callable[[int], None]:
        if not self.console.is_terminal:
            print(text, file=sys.stderr, flush=True)
        bar = self.progress.add_task(text, total=total)
        return lambda done: self.progress.update(bar, completed=done)

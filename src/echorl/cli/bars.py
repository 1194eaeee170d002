"""Progress bars, and the lock of a folder while a command works in it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from echorl.support.errors import Interrupted
from echorl.support.folder import ResultFolder


class Bars:
    """One bar for each piece of work; where the output is not a terminal, one line when it begins."""

    def __init__(self) -> None:
        self.console = Console(stderr=True)
        columns = (TextColumn("{task.description:<24}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self.progress = Progress(*columns, console=self.console, disable=not self.console.is_terminal)

    def begin(self, text: str, total: int | None) -> Callable[[int], None]:
        """Add the bar of a piece of work of `total` parts; the result takes the number of finished parts."""
        if not self.console.is_terminal:
            print(text, file=sys.stderr, flush=True)
        bar = self.progress.add_task(text, total=total)
        return lambda done: self.progress.update(bar, completed=done)


@contextmanager
def working_in(folder: ResultFolder | None) -> Iterator[Bars]:
    """Lock the folder of a command's results, if there is one, and yield the bars of its work.

    Raises:
        Interrupted: Ctrl-C; the message says that the same command goes on from what is stored.
        UserError: as `ResultFolder.locked`.
    """
    bars = Bars()
    try:
        with folder.locked() if folder else nullcontext(), bars.progress:
            yield bars
    except KeyboardInterrupt:
        raise Interrupted("stopped; what is finished is kept, and the same command goes on from there.") from None

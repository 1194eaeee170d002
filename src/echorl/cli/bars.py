"""Progress bars, and the lock of a folder while a command works in it."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from echorl.support.errors import Interrupted
from echorl.support.folder import ResultFolder

SECONDS_BETWEEN_LINES = 60
"""Least time between two lines of progress where the output is not a terminal."""
SECONDS_OF_SPEED = 120
"""The remaining time follows from the speed over the last so many seconds."""


class Bars:
    """A bar for each piece of work, with its remaining time; elsewhere than in a terminal a line a minute."""

    def __init__(self) -> None:
        self.console = Console(stderr=True)
        columns = (
            TextColumn("{task.description:<24}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
        )
        self.progress = Progress(
            *columns,
            console=self.console,
            disable=not self.console.is_terminal,
            speed_estimate_period=SECONDS_OF_SPEED,
        )
        self._last_line = time.monotonic()

    def begin(
        self, text: str, total: int | None, done: int = 0, note: Callable[[], str] = lambda: ""
    ) -> Callable[[int], None]:
        """Add the bar of a piece of work of `total` parts; the result takes the number of finished parts."""
        if done and done != total:
            self.say(f"{text} goes on at {done:,} of {total:,}.")
        elif not self.console.is_terminal:
            self.say(text)
        bar = self.progress.add_task(text, total=total, completed=done, note="")

        def advance(done: int) -> None:
            self.progress.update(bar, completed=done, note=note())
            if not self.console.is_terminal and time.monotonic() - self._last_line >= SECONDS_BETWEEN_LINES:
                unfinished = [task for task in self.progress.tasks if not task.finished]
                self.say("; ".join(map(_line, unfinished or self.progress.tasks[-1:])))

        return advance

    def say(self, text: str) -> None:
        """Show a sentence, above the bars."""
        self._last_line = time.monotonic()
        if self.console.is_terminal:
            self.console.print(text, markup=False, highlight=False)
        else:
            print(text, file=sys.stderr, flush=True)


def _line(task: Task) -> str:
    """Return how a piece of work stands, such as `GRPO: 120 of 240, reward 0.61, about 3 min left`."""
    total = "" if task.total is None else f" of {task.total:,.0f}"
    left = task.time_remaining  # None: not yet known; 0: all parts are done
    time_left = f"about {max(1, round(left / 60))} min left" if left else ""
    return ", ".join(
        filter(None, [f"{task.description}: {task.completed:,.0f}{total}", task.fields["note"], time_left])
    )


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

"""Errors of the command line: one sentence for what a user can fix, a traceback for the rest."""

from __future__ import annotations

import errno
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager

USER, BUG, INTERRUPTED = 2, 1, 130


class UserError(Exception):
    """Something that the user can fix; the message is one sentence that names the value and the fix."""


class Interrupted(Exception):
    """Ctrl-C; the message is one line that says how to go on."""


def guard(command: Callable[[], int]) -> int:
    """Run a command and turn what it raises into a line on stderr and an exit code."""
    try:
        return command()
    except Interrupted as error:
        _say(str(error))
        return INTERRUPTED
    except KeyboardInterrupt:
        _say("interrupted.")
        return INTERRUPTED
    except Exception as error:
        known = is_for_the_user(error)
        if not known:
            _say(_unexpected(error))
        if not known or os.environ.get("ECHORL_TRACEBACK", "0") not in ("", "0"):
            traceback.print_exc()
        if known:
            full = not isinstance(error, UserError) and disk_is_full(error)
            _say(f"error: {one_line(error)}{': free some space, and run the same command again.' if full else ''}")
        return USER if known else BUG


def is_for_the_user(error: BaseException) -> bool:
    """Return whether the message alone tells what to do: a `UserError`, or a refusal by echorl's or TRL's own code."""
    if isinstance(error, UserError) or disk_is_full(error):
        return True
    return isinstance(error, (ValueError, ImportError, FileNotFoundError)) and _raised_in(error) in ("echorl", "trl")


def disk_is_full(error: BaseException) -> bool:
    """Return whether the disk is full; some libraries say so in the message alone."""
    number = error.errno if isinstance(error, OSError) else None
    return number in (errno.ENOSPC, errno.EDQUOT) or os.strerror(errno.ENOSPC) in str(error)


def one_line(error: BaseException | str) -> str:
    """Return the message without line breaks.

    >>> one_line("no file a.yaml;\\n   give one")
    'no file a.yaml; give one'
    """
    return " ".join(str(error).split())


@contextmanager
def as_user_error(*kinds: type[Exception], doing: str, by: tuple[str, ...] = ()) -> Iterator[None]:
    """Turn errors of these kinds (raised by these packages, if any is named) into the user's: "DOING: message"."""
    try:
        yield
    except kinds as error:
        if is_for_the_user(error) or (by and _raised_in(error) not in by):
            raise
        raise UserError(f"{doing}: {one_line(error)}") from error


@contextmanager
def resumable() -> Iterator[None]:
    """Turn Ctrl-C into `Interrupted`, whose message says that the same command goes on from what is stored."""
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted("stopped; what is finished is kept, and the same command goes on from there.") from None


def where(error: BaseException) -> str:
    """Return the innermost place outside all libraries, in brackets."""
    frames = [(frame.f_code.co_filename, line) for frame, line in traceback.walk_tb(error.__traceback__)]
    file, line = [place for place in frames if "site-packages" not in place[0]][-1]
    return f"({file}, line {line})"


def _raised_in(error: BaseException) -> str:
    frames = list(traceback.walk_tb(error.__traceback__))
    return frames[-1][0].f_globals.get("__name__", "").partition(".")[0] if frames else ""


def _unexpected(error: Exception) -> str:
    return (
        f"stopped by an unexpected {type(error).__name__}: {one_line(error)} (the traceback follows; if you think that "
        "echorl is to blame, report it with the output of `echorl env`)"
    )


def _say(text: str) -> None:
    many = os.environ.get("WORLD_SIZE", "1") not in ("", "1")
    print(f"echorl: {'[rank ' + os.environ.get('RANK', '0') + '] ' if many else ''}{text}", file=sys.stderr, flush=True)

"""Errors of the command line: one sentence for what a user can fix, a traceback for the rest."""

from __future__ import annotations

import difflib
import errno
import os
import re
import select
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import FrameType

from echorl.support.visible import visible

USER, BUG, INTERRUPTED, UNREAD = 2, 1, 130, 141
"""Exit codes: the user can fix it, a bug or a crash, Ctrl-C, nobody reads the output (as in `echorl ... | head -1`)."""
STDOUT = 1
ON_A_CPU = " On a CPU: use_cpu=True, bf16=False (in a recipe use_cpu: true, bf16: auto)."
"""The end of transformers' sentence that the machine has no bf16."""
NO_BF16 = "doesn't support bf16/gpu"
PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
PERMISSION = ": change its permissions, or give another file or folder."
FREE_SPACE = ": free some space, and run the same command again."


class UserError(Exception):
    """Something that the user can fix; the message is one sentence that names the value and the fix."""


class Interrupted(Exception):
    """Ctrl-C; the message is one line that says how to go on."""


def guard(command: Callable[[], int | None]) -> int:
    """Run a command, and turn an error into a line on stderr. Returns the exit code; the command may return its own."""
    try:
        with _noting_interrupts() as interrupts:
            code = command()
        sys.stdout.flush()
        return code or 0
    except Interrupted as error:
        _say(str(error))
        return INTERRUPTED
    except KeyboardInterrupt:
        _say("interrupted.")
        return INTERRUPTED
    except Exception as error:
        if isinstance(error, BrokenPipeError) and _output_is_unread():
            return UNREAD
        if interrupts:
            _say("interrupted.")
            return INTERRUPTED
        if not is_for_the_user(error):
            _say(
                f"stopped by an unexpected {type(error).__name__}: {one_line(error)} (the traceback follows; if you "
                "think that echorl is to blame, report it with the output of `echorl env`)"
            )
            traceback.print_exc()
            return BUG
        if os.environ.get("ECHORL_TRACEBACK", "0") not in ("", "0"):
            traceback.print_exc()
        advice = "" if isinstance(error, UserError) or not _disk_is_full(error) else FREE_SPACE
        advice = PERMISSION if isinstance(error, PermissionError) else advice
        _say(f"error: {one_line(error)}{advice}")
        return USER


@contextmanager
def _noting_interrupts() -> Iterator[list[int]]:
    """Yield a list that gets the signal of each Ctrl-C: a library whose import it ends may raise another error."""
    interrupts: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        interrupts.append(number)
        signal.default_int_handler(number, frame)

    is_main = threading.current_thread() is threading.main_thread()  # no other thread may set a handler
    if not is_main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield interrupts
        return
    signal.signal(signal.SIGINT, note)
    try:
        yield interrupts
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _output_is_unread() -> bool:
    """Return whether the reader of standard output is gone; what is left to write then goes nowhere."""
    if not hasattr(select, "poll"):  # Windows
        return False
    output = select.poll()
    output.register(STDOUT, 0)  # errors are reported in any case
    if not any(event & select.POLLERR for _, event in output.poll(0)):
        return False
    os.dup2(os.open(os.devnull, os.O_WRONLY), STDOUT)
    return True


def is_for_the_user(error: BaseException) -> bool:
    """Return whether the message alone helps the user: a `UserError`, or a refusal by the system, echorl or TRL."""
    if isinstance(error, (UserError, PermissionError)) or _disk_is_full(error):
        return True
    return isinstance(error, (ValueError, ImportError, FileNotFoundError)) and _raised_in(error) in ("echorl", "trl")


def _disk_is_full(error: BaseException) -> bool:
    """Return whether the error is that of a full disk; some libraries name it in the message alone."""
    number = error.errno if isinstance(error, OSError) else None
    return number in (errno.ENOSPC, errno.EDQUOT) or os.strerror(errno.ENOSPC) in str(error)


def one_line(error: BaseException | str) -> str:
    """Return the message without line breaks.

    >>> one_line("no file a.yaml;\\n   give one")
    'no file a.yaml; give one'
    """
    return " ".join(str(error).split())


def bad_argument(message: str) -> UserError:
    """Return the error with argparse's message on an option."""
    return UserError(re.sub(r"argument (--\w+)\S*: ", r"\1: ", message) + ".")


def unknown_word(word: str, names: Iterable[str], listing: str) -> UserError:
    """Return the error for a word of the command line that no option takes; `listing` is the command that lists all."""
    if not word.startswith("-"):
        return UserError(f"unexpected {word!r} on the command line: options are written --name value.")
    option = word.partition("=")[0]
    advice = nearest(option.lstrip("-").replace("-", "_"), names, listing, "--")
    return UserError(f"unknown option {option!r} on the command line{advice}")


def nearest(name: str, names: Iterable[str], listing: str, prefix: str = "") -> str:
    """Return the end of a sentence on an unknown option: the option of the most similar name, or where all are listed.

    Args:
        prefix: text that the user writes before a name.

    >>> nearest("echo_cof", ["seed", "echo_coef"], "echorl train --help_all")
    "; did you mean 'echo_coef'?"
    """
    similar = difflib.get_close_matches(name, list(names), n=1, cutoff=0.5)
    return f"; did you mean {prefix + similar[0]!r}?" if similar else f"; `{listing}` lists them all."


@contextmanager
def located(place: str) -> Iterator[None]:
    """Put a place, such as a file and a line, in front of the message of a ValueError."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{place}: {error}") from None


@contextmanager
def as_user_error(*kinds: type[Exception], doing: str, by: tuple[str, ...] = ()) -> Iterator[None]:
    """Turn errors of these kinds (raised by these packages, if any is named) into a `UserError`, "DOING: message"."""
    try:
        yield
    except kinds as error:
        if is_for_the_user(error) or (by and _raised_in(error) not in by):
            raise
        raise UserError(f"{doing}: {one_line(error)}") from error


def where(error: BaseException) -> str:
    """Return " (FILE, line N)", the innermost place outside echorl and all libraries; "" where there is none."""
    frames = [(frame.f_code.co_filename, line) for frame, line in traceback.walk_tb(error.__traceback__)]
    places = [place for place in frames if "site-packages" not in place[0] and not place[0].startswith(PACKAGE)]
    return " ({}, line {})".format(*places[-1]) if places else ""


def _raised_in(error: BaseException) -> str:
    frames = list(traceback.walk_tb(error.__traceback__))
    return frames[-1][0].f_globals.get("__name__", "").partition(".")[0] if frames else ""


def _say(text: str) -> None:
    many = os.environ.get("WORLD_SIZE", "1") not in ("", "1")
    print(
        f"echorl: {'[rank ' + os.environ.get('RANK', '0') + '] ' if many else ''}{visible(text)}",
        file=sys.stderr,
        flush=True,
    )

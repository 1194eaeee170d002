"""Where an error was raised, for a sentence that names the place."""

from __future__ import annotations

import errno
import os
import signal
import threading

import pytest

from echorl.support.errors import PACKAGE, guard, where


@pytest.mark.parametrize("folder", ["site-packages/echorl/", PACKAGE])
def test_the_place_is_the_user_s_and_there_may_be_none(folder):
    """As where echorl itself lies in site-packages, and where it does not."""
    with pytest.raises(ZeroDivisionError) as caught:
        exec(compile("\n1 / 0", f"{folder}rule.py", "exec"))
    assert where(caught.value).startswith(f" ({__file__}, line ")
    assert where(caught.value.with_traceback(caught.tb.tb_next)) == ""


def test_ctrl_c_counts_though_a_library_raises_another_error(capsys):
    """As an import does that it ends."""

    def interrupted():
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            raise RuntimeError("failed to import") from None

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        assert guard(interrupted) == 130
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
    assert capsys.readouterr().err == "echorl: interrupted.\n"


def test_a_command_in_another_thread():
    codes = []
    thread = threading.Thread(target=lambda: codes.append(guard(lambda: 3)))
    thread.start()
    thread.join()
    assert codes == [3]


def test_a_file_that_may_not_be_read_is_the_users(capsys):
    def denied():
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), "log.jsonl")

    assert guard(denied) == 2
    assert "Permission denied: 'log.jsonl': change its permissions, or give another" in capsys.readouterr().err

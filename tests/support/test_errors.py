"""Where an error was raised, for a sentence that names the place."""

from __future__ import annotations

import pytest

from echorl.support.errors import where


def test_an_error_inside_the_libraries_alone_has_a_place(tmp_path):
    """As where echorl itself lies in site-packages."""
    place = tmp_path / "site-packages" / "rule.py"
    with pytest.raises(ZeroDivisionError) as caught:
        exec(compile("\n1 / 0", str(place), "exec"))
    assert where(caught.value).startswith(f"({__file__}, line ")
    in_libraries = caught.value.with_traceback(caught.tb.tb_next)
    assert where(in_libraries) == f"({place}, line 2)"

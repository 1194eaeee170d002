"""Where an error was raised, for a sentence that names the place."""

from __future__ import annotations

import pytest

from echorl.support.errors import PACKAGE, where


@pytest.mark.parametrize("folder", ["site-packages/echorl/", PACKAGE])
def test_the_place_is_the_user_s_and_there_may_be_none(folder):
    """As where echorl itself lies in site-packages, and where it does not."""
    with pytest.raises(ZeroDivisionError) as caught:
        exec(compile("\n1 / 0", f"{folder}rule.py", "exec"))
    assert where(caught.value).startswith(f" ({__file__}, line ")
    assert where(caught.value.with_traceback(caught.tb.tb_next)) == ""

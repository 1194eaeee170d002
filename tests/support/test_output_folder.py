"""Whether a command may write to a folder."""

from __future__ import annotations

import pytest

from echorl.support.output_folder import check_empty, claim, contents, remove_scratch

MINE = {"command": "`echorl mine`", "holds": "clips made"}


def test_a_lock_and_scratch_files_are_nobodys(tmp_path):
    for name in (".lock", ".echorl-0123456789abcdef.tmp"):
        (tmp_path / name).touch()
    check_empty(tmp_path, "`echorl mine`")
    check_empty(tmp_path / "none", "`echorl mine`")
    (tmp_path / "notes.tmp").touch()
    assert contents(tmp_path) == ["notes.tmp"]
    with pytest.raises(ValueError, match=r"holds files that `echorl mine` did not write \(notes.tmp\): give another"):
        check_empty(tmp_path, "`echorl mine`")


def test_a_folder_is_claimed_once(tmp_path):
    claim(tmp_path / "out", {"a": 1}, **MINE)
    claim(tmp_path / "out", {"a": 1}, **MINE)
    with pytest.raises(ValueError, match=r"out holds clips made with other settings \(a 1 then, 2 now\)"):
        claim(tmp_path / "out", {"a": 2}, **MINE)
    (tmp_path / "paper.tex").touch()
    with pytest.raises(ValueError, match="did not write"):
        claim(tmp_path, {"a": 1}, **MINE)
    assert contents(tmp_path) == ["out", "paper.tex"]
    (tmp_path / "settings.json").write_text("[1, 2]")
    with pytest.raises(ValueError, match="did not write"):
        claim(tmp_path, {"a": 1}, **MINE)


def test_what_killed_commands_left_of_scratch_files_goes(tmp_path):
    """But for that in a folder with a lock of its own, where another command may be writing it just now."""
    for name in ("below", "locked"):
        (tmp_path / name).mkdir()
        (tmp_path / name / ".echorl-00000000000000ff.tmp").touch()
    for name in ("locked/.lock", ".lock", ".echorl-0123456789abcdef.tmp", "notes.tmp", ".echorl-x.tmp"):
        (tmp_path / name).touch()
    remove_scratch(tmp_path)
    found = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.tmp"))
    assert found == [".echorl-x.tmp", "locked/.echorl-00000000000000ff.tmp", "notes.tmp"]

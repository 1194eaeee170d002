"""Folders of results: whose they are, and which of their parts count as finished."""

from __future__ import annotations

import math

import pytest

from echorl.support.folder import ResultFolder, contents, json_parts, remove_scratch


def mined(path):
    return ResultFolder(path, "mine", holds="clips made")


def test_a_lock_and_scratch_files_are_nobodys(tmp_path):
    for name in (".lock", ".echorl-0123456789abcdef.tmp"):
        (tmp_path / name).touch()
    mined(tmp_path).check_owner()
    mined(tmp_path / "none").check_owner()
    (tmp_path / "notes.tmp").touch()
    assert contents(tmp_path) == ["notes.tmp"]
    with pytest.raises(ValueError, match=r"holds files that `echorl mine` did not write \(notes.tmp\): give another"):
        mined(tmp_path).check_owner()


def test_a_folder_is_claimed_once(tmp_path):
    mined(tmp_path / "out").claim({"a": 1})
    mined(tmp_path / "out").claim({"a": 1})
    with pytest.raises(ValueError, match=r"out holds clips made with other settings \(a 1 then, 2 now\)"):
        mined(tmp_path / "out").claim({"a": 2})
    (tmp_path / "paper.tex").touch()
    with pytest.raises(ValueError, match="did not write"):
        mined(tmp_path).claim({"a": 1})
    assert contents(tmp_path) == ["out", "paper.tex"]
    (tmp_path / "settings.json").write_text("[1, 2]")
    with pytest.raises(ValueError, match="did not write"):
        mined(tmp_path).claim({"a": 1})


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


def test_the_first_setting_that_differs_is_named_also_inside_objects(tmp_path):
    mined(tmp_path).claim({"a": 1, "echo": {"b": 2, "c": [3]}})
    with pytest.raises(ValueError, match=r"\(c \[3\] then, None now\): give another output_dir, or the settings as"):
        mined(tmp_path).claim({"a": 1, "echo": {"b": 2}})


def test_a_part_counts_as_long_as_its_key_and_its_bytes_are_the_same(tmp_path):
    parts, made = json_parts(tmp_path / "parts"), []

    def ensure(key):
        parts.ensure(0, key, lambda: made.append(key) or [len(made), float("inf")])
        return parts.load(0)

    assert not parts.has(0, {"a": 1})
    assert [ensure({"a": 1}), ensure({"a": 1}), ensure({"a": 2})] == [[1, math.inf], [1, math.inf], [2, math.inf]]
    parts.path(0).write_text("[2, 3]\n")
    assert ensure({"a": 2}) == [3, math.inf]
    parts.path(0).with_name("000000.key.json").unlink()
    assert ensure({"a": 2}) == [4, math.inf]
    parts.remove()
    assert contents(tmp_path) == []

"""Results in JSON files: what is written is on the disk before it takes the place of the old."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import echorl
from echorl.support.files import is_scratch, read_json, replacing, write_json, write_text


def test_the_text_is_on_the_disk_before_the_file_has_its_name(tmp_path, monkeypatch):
    path, seen = tmp_path / "a.json", []
    write_json(path, {"a": 1})
    fsync, replace = os.fsync, os.replace

    def synced(number):
        seen.append(("synced", os.fstat(number).st_size, read_json(path)))
        fsync(number)

    def renamed(source, target):
        seen.append(("renamed", source.stat().st_size, read_json(path)))
        replace(source, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", renamed)
    write_json(path, {"a": 22})
    size = len(b'{"a": 22}\n')
    assert seen == [("synced", size, {"a": 1}), ("renamed", size, {"a": 1})]
    assert read_json(path) == {"a": 22}
    assert [each.name for each in tmp_path.iterdir()] == ["a.json"]


def test_a_scratch_file_takes_nobodys_name_and_follows_no_link(tmp_path):
    """A user's file of the name that a scratch file once had, and a link to another, stay as they are."""
    page, kept, secret = tmp_path / "mypage.html", tmp_path / "mypage.tmp", tmp_path / "secret"
    kept.write_text("mine")
    secret.write_text("mine, too")
    (tmp_path / "linked.tmp").symlink_to(secret)
    page.symlink_to(secret)
    write_text(page, "new")
    write_json(tmp_path / "linked.json", {})
    assert (page.read_text(), page.is_symlink(), kept.read_text(), secret.read_text()) == (
        "new", False, "mine", "mine, too",
    )  # fmt: skip
    assert not [each.name for each in tmp_path.iterdir() if is_scratch(each.name)]


def half_written(path):
    path.write_text("half")
    return 1 / 0


def test_what_fails_leaves_the_old_file_and_no_scratch_file(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"a": 1})
    with pytest.raises(ZeroDivisionError), replacing(path) as scratch:
        half_written(scratch)
    assert read_json(path) == {"a": 1}
    assert [each.name for each in tmp_path.iterdir()] == ["a.json"]


def test_a_new_file_has_the_permissions_of_any_other(tmp_path):
    before = os.umask(0o027)
    try:
        write_json(tmp_path / "a.json", {})
    finally:
        os.umask(before)
    assert (tmp_path / "a.json").stat().st_mode & 0o777 == 0o640


def test_no_module_makes_a_scratch_file_of_its_own():
    """All of them by `replacing` and `scratch_in`, whose names nobody has."""
    package = Path(echorl.__file__).parent
    text = {path: path.read_text() for path in package.rglob("*.py") if path.name != "files.py"}
    assert not [str(path) for path, code in text.items() if '.tmp"' in code or "mkstemp" in code]

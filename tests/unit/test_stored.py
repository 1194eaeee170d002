"""Results in JSON files: what is written is on the disk before it takes the place of the old."""

from __future__ import annotations

import os

from echorl.stored import read_json, write_json


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

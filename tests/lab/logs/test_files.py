"""Every file of rollouts is read once: however often it is named, and from a pipe, which cannot be read again."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from echorl.lab.logs.files import find_files
from echorl.lab.logs.layouts import read_rollouts
from echorl.lab.options import Columns
from tests.lab.conftest import rows, save_model, write


def read(*places):
    return [rollout.response for rollout in read_rollouts(find_files(places), Columns(), lambda done: None)]


def through(pipe, content):
    """A thread that writes the content into the pipe, as a program before `|` does."""
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_bytes(content), daemon=True)
    writer.start()
    return writer


def test_a_file_named_twice_is_read_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dumps").mkdir()
    path = tmp_path / "dumps" / "2.jsonl"
    write(path, rows(8))
    write(tmp_path / "dumps" / "1.jsonl", rows(4))
    (tmp_path / "link.jsonl").symlink_to(path)
    os.link(path, tmp_path / "same.jsonl")
    places = [path, path.relative_to(tmp_path), tmp_path / "link.jsonl", tmp_path / "same.jsonl", tmp_path / "dumps"]
    assert find_files([*places, tmp_path / "dumps"]) == [path, tmp_path / "dumps" / "1.jsonl"]
    assert len(read(*places)) == 12


def test_a_pipe_gives_all_its_rows(tmp_path):
    path, pipe = tmp_path / "rows.jsonl", tmp_path / "pipe"
    write(path, rows(600))
    writer = through(pipe, path.read_bytes())
    assert read(pipe) == read(path)
    writer.join()


def test_parquet_from_a_pipe_is_refused(tmp_path):
    pq.write_table(pa.Table.from_pylist(rows(4)), tmp_path / "rows.parquet")
    pipe = tmp_path / "pipe"
    through(pipe, (tmp_path / "rows.parquet").read_bytes())
    with pytest.raises(ValueError, match="parquet from a pipe, but parquet is read from its end: write it to a file"):
        read(pipe)


def test_a_hyphen_is_no_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"-: there is no such file .* the standard input is /dev/stdin"):
        find_files([Path("-")])


@pytest.mark.skipif(not os.path.exists("/dev/stdin"), reason="needs /dev/stdin")
def test_mine_reads_the_standard_input(tmp_path):
    write(tmp_path / "rows.jsonl", rows(8))
    words = ["mine", "/dev/stdin", "--model", str(save_model(tmp_path / "model")), "--output_dir", "out"]
    command = [sys.executable, "-m", "echorl", *words, "--device", "cpu"]
    text = (tmp_path / "rows.jsonl").read_bytes()
    done = subprocess.run(command, input=text, cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout.decode().startswith("8 rollouts in ")

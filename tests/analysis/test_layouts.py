"""Each layout that is known gives the same rollouts; a row that can't be used is named by file and line."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from echorl.analysis.layouts import Columns
from echorl.analysis.rows import find_files, read_rollouts

MESSAGES = [{"role": "user", "content": "1+1"}]
SAID = [{"role": "assistant", "content": "2"}]


def read(files, **columns):
    return list(read_rollouts(files, Columns(**columns), lambda done: None))


def jsonl(path, *rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def parquet(path, *rows):
    pq.write_table(pa.Table.from_pylist(list(rows)), path)
    return path


@pytest.mark.parametrize("write", [jsonl, parquet])
@pytest.mark.parametrize(
    ("row", "columns"),
    [
        ({"id": "set-7-3", "question": "1+1", "solution": "2", "answer": "2", "correct": True}, {}),
        ({"step": 5, "prompt": "1+1", "completion": "2", "is_right": 1.0, "advantage": 0.3}, {}),
        ({"step": 5, "prompt": "1+1", "completion": "2", "a": 0.0, "b": 1.0, "advantage": 0.3}, {"reward": "b"}),
        ({"input": "1+1", "output": "2", "gts": "2", "score": 1.0, "step": 5, "acc": False}, {}),
        ({"input": "1+1", "output": "2", "gts": "2", "score": 0.1, "step": 5, "acc": True}, {"reward": "acc"}),
        ({"prompt": "1+1", "response": "2", "reward": 1}, {}),
        ({"prompt": "1+1", "completion": "2", "label": True}, {}),
        ({"p": "1+1", "r": "2", "ok": 1, "n": 4}, dict(prompt="p", response="r", reward="ok", group="n")),
    ],
)
def test_layouts(tmp_path, write, row, columns):
    (found,) = read([write(tmp_path / "rows", row)], **columns)
    assert (found.prompt, found.response, found.reward) == ("1+1", "2", 1.0)
    assert found.place == (str(tmp_path / "rows"), 1)


@pytest.mark.parametrize("write", [jsonl, parquet])
def test_messages(tmp_path, write):
    parts = [{"role": "user", "content": [{"type": "text", "text": "1+"}, {"type": "text", "text": "1"}]}]
    for prompt in (MESSAGES, parts):
        (found,) = read([write(tmp_path / "rows", {"prompt": prompt, "completion": SAID, "reward": 1})])
        assert (found.prompt, found.response) == (MESSAGES, "2")


def test_groups(tmp_path):
    numbered = [{"id": f"set-{i // 2}-{i % 2}", "question": "1", "solution": "", "correct": True} for i in range(4)]
    assert [one.group for one in read([jsonl(tmp_path / "a", *numbered)])] == ["set-0", "set-0", "set-1", "set-1"]
    dump = [{"input": "1", "output": "", "score": 1.0, "step": step} for step in (1, 1, 2)]
    first, second, third = (one.group for one in read([jsonl(tmp_path / "b", *dump)]))
    assert first == second != third  # the same prompt in another training step is another group


def test_files_of_a_folder_stand_in_the_order_of_their_numbers(tmp_path):
    for name in ("10.jsonl", "9.jsonl", "notes.txt"):
        (tmp_path / name).touch()
    assert [path.name for path in find_files([tmp_path])] == ["9.jsonl", "10.jsonl"]
    with pytest.raises(ValueError, match="no such file"):
        find_files([tmp_path / "none"])


GOOD = {"prompt": "1", "response": "2", "reward": 1}


@pytest.mark.parametrize(
    ("rows", "line", "words"),
    [
        ([GOOD, {"prompt": "1", "response": "2"}], 2, "there is no reward (column 'reward')"),
        ([GOOD, GOOD, {**GOOD, "reward": None}], 3, "there is no reward"),
        ([{**GOOD, "reward": "good"}], 1, "the reward 'good' (column 'reward') is no number"),
        ([{**GOOD, "reward": float("nan")}], 1, "the reward nan"),
        ([{"prompt": "1", "response": "2"}], 1, "there is no reward among the columns 'prompt', 'response'"),
        ([{"text": "1"}], 1, "no layout that is known: known are TRL's"),
        ([[1]], 1, "no JSON object"),
        ([{**GOOD, "response": 5}], 1, "'response' is neither text nor a list of chat messages"),
        ([{**GOOD, "response": SAID * 2}], 1, "holds 2 messages"),
        ([{**GOOD, "prompt": [{"role": "user", "content": [{"type": "image"}]}]}], 1, "images"),
        ([{"prompt": "1", "completion": "2", "a": 1.0, "b": 0.5, "advantage": 0.1}], 1, "'a', 'b' may be"),
    ],
)
def test_what_cannot_be_used(tmp_path, rows, line, words):
    path = jsonl(tmp_path / "rows.jsonl", *rows)
    with pytest.raises(ValueError) as caught:
        read([path])
    assert str(caught.value).startswith(f"{path}, line {line}: ")
    assert words in str(caught.value)


def test_files_that_hold_nothing(tmp_path):
    (tmp_path / "empty.jsonl").write_text("\n")
    with pytest.raises(ValueError, match=r"empty\.jsonl is empty"):
        read([tmp_path / "empty.jsonl"])
    (tmp_path / "cut.jsonl").write_text(json.dumps(GOOD) + "\n\n" + '{"prompt": "1", ')
    with pytest.raises(ValueError, match=r"cut\.jsonl, line 3: this is no JSON"):
        read([tmp_path / "cut.jsonl"])
    (tmp_path / "cut.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(ValueError, match="no readable parquet"):
        read([tmp_path / "cut.parquet"])

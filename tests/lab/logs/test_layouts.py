"""Each layout that is known gives the same rollouts; a row that can't be used is named by file and line."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from echorl.lab.logs.files import find_files
from echorl.lab.logs.layouts import read_rollouts
from echorl.lab.options import Columns
from tests.lab.logs.written import jsonl, parquet

MESSAGES = [{"role": "user", "content": "1+1"}]
SAID = [{"role": "assistant", "content": "2"}]


def read(files, **columns):
    return list(read_rollouts(files, Columns(**columns), lambda done: None))


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
        ({"problem": "1+1", "generated_text": "2", "answer": "3", "is_correct": True}, {}),
        ({"query": "1+1", "answer": "2", "ground_truth": "3", "score": 1.0}, {}),
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
        ([GOOD, GOOD, {"prompt": "1", "response": "2"}], 3, "there is no reward"),
        ([{**GOOD, "reward": "good"}], 1, "the reward 'good' (column 'reward') is neither a finite number"),
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


ROW = {"prompt": "1", "response": "2", "reward": 1}
PART = {"type": "text", "text": "1"}


@pytest.mark.parametrize("write", [jsonl, parquet])
@pytest.mark.parametrize("row", [
    {"input": "1", "output": "2", "score": 1.0, "step": 5},
    {"step": 5, "prompt": "1", "completion": "2", "is_right": 1.0, "advantage": 0.3},
    {"prompt": "1", "response": "2", "reward": 1.0},
])  # fmt: skip
def test_null_is_no_verdict_and_hides_no_column(tmp_path, write, row):
    reward = next(name for name, value in row.items() if value == 1.0)
    found = read([write(tmp_path / "rows", {**row, reward: None}, row, {**row, reward: 0.0})])
    assert [one.reward for one in found] == [None, 1.0, 0.0]


@pytest.mark.parametrize("write", [jsonl, parquet])
@pytest.mark.parametrize(("text", "number"), [("1", 1.0), ("0.5", 0.5), ("-1e2", -100.0), (" 1\n", 1.0)])
def test_numbers_that_are_text(tmp_path, write, text, number):
    verl = {"input": "1", "output": "2", "score": text, "step": 5}
    trl = {"step": 5, "prompt": "1", "completion": "2", "is_right": text, "advantage": 0.3}
    for name, row in (("verl", verl), ("trl", trl), ("general", {**ROW, "reward": text})):
        (found,) = read([write(tmp_path / name, row)])
        assert found.reward == number


def test_a_column_of_nulls_may_be_the_reward(tmp_path):
    row = {"prompt": "1", "completion": "2", "a": 1.0, "b": None, "advantage": 0.1}
    path = jsonl(tmp_path / "rows", *[row] * 300, {**row, "b": 1.0})
    with pytest.raises(ValueError, match="'a', 'b' may be"):
        read([path])
    assert read([path], reward="b")[-1].reward == 1.0


def test_text_is_a_reward_only_where_no_column_has_numbers(tmp_path):
    row = {"prompt": "1", "completion": "2", "is_right": 1.0, "answer": "42", "advantage": 0.1}
    assert read([jsonl(tmp_path / "rows", row)])[0].reward == 1.0


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({**ROW, "reward": 10**400}, "the reward 1000"),
        ({**ROW, "reward": "1" * 400}, "the reward '1111"),
        ({**ROW, "reward": float("inf")}, "the reward inf"),
        ({**ROW, "reward": "nan"}, "the reward 'nan'"),
        ({**ROW, "reward": "inf"}, "the reward 'inf'"),
        ({**ROW, "reward": [1.0]}, "the reward [1.0]"),
        ({**ROW, "response": "12 \ud83d + 5"}, "half of a character"),
        ({**ROW, "prompt": "12 \ud83d + 5"}, "half of a character"),
        ({**ROW, "prompt": [{"role": "user", "content": "\ud83d"}]}, "half of a character"),
        ({**ROW, "prompt": [{"role": "user", "content": "1", "name": "\udc00"}]}, "half of a character"),
        ({**ROW, "prompt": 5}, "'prompt' is neither text nor a list"),
        ({**ROW, "prompt": None}, "there is no prompt"),
        ({**ROW, "prompt": {}}, "'prompt' is neither text nor a list"),
        ({**ROW, "prompt": []}, "'prompt' is an empty list"),
        ({**ROW, "prompt": [{"role": "user", "content": 5}]}, "whose content is neither text nor"),
        ({**ROW, "prompt": [{"role": "user", "content": {"text": "1"}}]}, "whose content is neither text nor"),
        ({**ROW, "prompt": [{"role": "user", "content": ["1", "2"]}]}, "whose content is neither text nor"),
        ({**ROW, "prompt": [{"role": "user", "content": [{"type": "text"}]}]}, "that has no text"),
        ({**ROW, "response": [{"role": "assistant", "content": [{**PART, "text": 5}]}]}, "that has no text"),
    ],
)  # fmt: skip
def test_hostile_rows(tmp_path, row, words):
    path = jsonl(tmp_path / "rows.jsonl", ROW, row)
    with pytest.raises(ValueError) as caught:
        read([path])
    assert str(caught.value).startswith(f"{path}, line 2: ")
    assert words in str(caught.value)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"[" * 100_000 + b"]" * 100_000, "nested more than 100 deep"),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "nested more than 100 deep"),
        (b'{"prompt": ' + b"[" * 300 + b"]" * 300 + b"}", "nested more than 100 deep"),
        (b'{"prompt": "\xff"}', "not UTF-8 at byte 12"),
        (b'{"prompt": "\xed\xa0\xbd"}', "not UTF-8"),
        (b'{"reward": ' + b"1" * 5000 + b"}", "this is no JSON"),
        (b"\x00\x01", "this is no JSON"),
    ],
)
def test_lines_that_are_no_json(tmp_path, line, words):
    (tmp_path / "rows.jsonl").write_bytes(json.dumps(ROW).encode() + b"\n\n" + line + b"\n")
    with pytest.raises(ValueError) as caught:
        read([tmp_path / "rows.jsonl"])
    assert str(caught.value).startswith(f"{tmp_path / 'rows.jsonl'}, line 3: ")
    assert words in str(caught.value)


def test_a_folder_that_is_named_like_a_file(tmp_path):
    (tmp_path / "x.jsonl").mkdir()
    with pytest.raises(ValueError, match=r"holds no \*\.jsonl"):
        find_files([tmp_path])
    with pytest.raises(ValueError, match=r"x\.jsonl cannot be read"):
        read([tmp_path / "x.jsonl"])


def test_parquet_whose_text_is_not_utf8(tmp_path):
    column = pa.array([b"\xff"]).view(pa.utf8())
    pq.write_table(pa.table({"prompt": column, "response": column, "reward": [1.0]}), tmp_path / "rows.parquet")
    with pytest.raises(ValueError, match="no readable parquet file"):
        read([tmp_path / "rows.parquet"])


def test_a_folder_of_folders_is_refused_with_those_that_have_rollouts(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    (tmp_path / "b" / "1.jsonl").write_text("{}\n")
    with pytest.raises(ValueError, match=rf"give a folder of rollouts, such as {tmp_path / 'b'}, or files\.$"):
        find_files([tmp_path])

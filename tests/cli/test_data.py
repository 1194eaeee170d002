"""The rows and rewards of a run: whatever a file of prompts holds, there are rows or a sentence with its line."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from echorl.support.errors import UserError
from echorl.train.data import _guarded, make_dataset
from echorl.train.options import TrainArguments

GOOD = {"prompt": "1+1?"}
CHAT = {"role": "user", "content": "1"}


def rows_of(path, *lines, **options):
    path.write_bytes(b"".join(line if isinstance(line, bytes) else json.dumps(line).encode() + b"\n" for line in lines))
    return make_dataset(TrainArguments(train_file=str(path), reward_funcs=["f"], **options), None, "train")


@pytest.mark.parametrize(
    "prompt",
    [
        "1",
        "[" * 1001,
        [CHAT],
        [CHAT, {"role": "assistant", "content": None}],
        [{"role": "user", "content": [{"type": "text", "text": "1"}, {"type": "image"}]}],
    ],
)
def test_prompts(tmp_path, prompt):
    assert len(rows_of(tmp_path / "rows.jsonl", {"prompt": prompt}, {"prompt": prompt})) == 2


@pytest.mark.parametrize(
    ("prompts", "words"),
    [
        (["1", None], "line 3: the prompt is null"),
        ([5, 5], "line 1: the prompt is neither text nor a list of chat messages"),
        ([{"a": 1}, {"a": 2}], "line 1: the prompt is neither text nor a list of chat messages"),
        ([["1", "2"]], "line 1: the prompt is neither text nor a list of chat messages"),
        ([[{"content": "1"}]], "line 1: the prompt is neither text nor a list of chat messages"),
        ([[{"role": 1, "content": "1"}]], "line 1: the prompt is neither text nor a list of chat messages"),
        ([[CHAT], []], "line 3: the prompt is an empty list"),
        ([[{**CHAT, "content": 5}]], "line 1: the prompt has a message whose content"),
        ([[{**CHAT, "content": ["1"]}]], "line 1: the prompt has a message whose content"),
        ([[{**CHAT, "content": [{"type": "text"}]}]], "line 1: the prompt has a message whose content"),
        ([["1", {}]], "one table"),
        (["1 \ud83d"], "line 1: a text holds half of a character"),
    ],
)
def test_prompts_that_cannot_be_sampled_from(tmp_path, prompts, words):
    lines = [line for prompt in prompts for line in ({"prompt": prompt}, b"\n")]
    with pytest.raises(UserError) as caught:
        rows_of(tmp_path / "rows.jsonl", *lines)
    assert str(caught.value).startswith(str(tmp_path / "rows.jsonl"))
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"[" * 100_000 + b"]" * 100_000, "line 2: not JSON (nested more than 100 deep)"),
        (b'{"prompt": "\xff"}', "line 2: not JSON (not UTF-8"),
        (b'{"prompt": "1", "n": ' + b"1" * 400 + b"}", "one table"),
        (b'{"prompt": "1", "completions": 1}', "the column 'completions' has the name of something"),
        (b'{"prompt": "1", "trainer_state": 1}', "the column 'trainer_state' has the name of something"),
    ],
)
def test_lines_that_are_no_rows(tmp_path, line, words):
    with pytest.raises(UserError) as caught:
        rows_of(tmp_path / "rows.jsonl", GOOD, line)
    assert words in str(caught.value)


def test_a_column_that_the_first_row_lacks_is_there(tmp_path):
    found = rows_of(tmp_path / "rows.jsonl", GOOD, {**GOOD, "answer": "2"})
    assert found["answer"][:] == [None, "2"]


def test_a_row_func_may_make_the_prompt(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "func.py").write_text("def good(row): return {'prompt': 'x'}\ndef bad(row): return {'prompt': None}\n")
    assert rows_of(tmp_path / "rows.jsonl", {"prompt": 5}, row_func="func.py:good")["prompt"][0] == "x"
    with pytest.raises(UserError, match="line 1: the prompt is null"):
        rows_of(tmp_path / "rows.jsonl", {"prompt": 5}, row_func="func.py:bad")


NUMBERS = [None, True, 1, 0.5, np.float32(0.5), np.int64(1), np.bool_(True), torch.tensor(0.5)]


@pytest.mark.parametrize("reward", NUMBERS)
def test_rewards_are_numbers_of_any_kind(reward):
    (found,) = _guarded(lambda completions: [reward])(completions=["a"])
    assert found is None if reward is None else (type(found) is float and found == float(reward))


@pytest.mark.parametrize("reward", ["1", b"1", [1.0], {}, 10**400, 1j, torch.ones(2)])
def test_rewards_that_are_no_numbers(reward):
    def odd(completions):
        return [1.0, reward]

    with pytest.raises(
        UserError, match=r"reward function 'odd': the reward .* is not a number; return a number or None"
    ):
        _guarded(odd)(completions=["a", "b"])

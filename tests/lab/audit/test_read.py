"""Each framework's log gives the groups that its trainer compared; what the log cannot tell is noted."""

from __future__ import annotations

import gzip
import json
import math
import os
import random
import re
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from echorl.core.groups import classify_groups
from echorl.lab.audit.evidence import Place
from echorl.lab.audit.export import rollouts_at
from echorl.lab.audit.read import read_log
from echorl.lab.audit.repeats import overlap
from echorl.lab.options import Columns
from tests.lab.logs.written import episode, jsonl, parquet, trl, verl


def read(*places, **columns):
    return read_log(places, Columns(**columns), 1.0)


def column(log, name):
    return getattr(log.groups, name).tolist()


def noted(log, words):
    return any(words in note for note in log.notes)


REWARDS = st.one_of(st.none(), st.sampled_from([0.0, 0.5, 0.9, 1.0]), st.floats(-2, 2))


@st.composite
def batches(draw):
    """Groups of one size, in any order of rows: (group of each row, verifier's rewards, a second function's)."""
    size, num = draw(st.integers(2, 5)), draw(st.integers(1, 4))
    groups = draw(st.permutations([group for group in range(num) for _ in range(size)]))
    rewards = [draw(st.lists(REWARDS, min_size=len(groups), max_size=len(groups))) for _ in range(2)]
    return groups, *rewards


@given(batches())
def test_groups_are_those_of_classify_groups(tmp_path_factory, batch):
    groups, verifier, second = batch
    path = tmp_path_factory.mktemp("log") / "log.jsonl"
    rows = zip(groups, verifier, second, strict=True)
    jsonl(path, *({"prompt": f"p{group}", "correct": a, "reward_2": b, "group": group} for group, a, b in rows))
    table = read(path, reward="correct").groups
    as_tensor = [torch.tensor([math.nan if each is None else each for each in each_reward], dtype=torch.float64)
                 for each_reward in (verifier, second)]  # fmt: skip
    expected = classify_groups(
        as_tensor[0].float() >= 1, ~as_tensor[0].isnan(), torch.stack(as_tensor, 1), torch.tensor(groups)
    )
    order = list(dict.fromkeys(groups))
    assert table.kind.tolist() == expected.kind[order].tolist()
    assert table.degenerate.tolist() == expected.degenerate[order].tolist()
    assert table.size.tolist() == [groups.count(group) for group in order]


def write_trl(folder, steps=3, repeat=1, prompts=2, size=4, seed=0):
    """A log of batches that are each shown at `repeat` steps, of two reward functions."""
    rng = random.Random(seed)
    for index in range(steps):
        names = [f"p{index}-{prompt}" for prompt in range(prompts) for _ in range(size)]
        accuracy = [float(rng.random() < 0.5) for _ in names]
        messages = [[{"role": "user", "content": name}] for name in names]
        responses = [[{"role": "assistant", "content": f"r{rng.random()}"}] for _ in names]
        formats = [rng.choice([0.5, 1.0]) for _ in names]
        totals = np.array(accuracy).reshape(-1, size) + np.array(formats).reshape(-1, size)
        advantages = (totals - totals.mean(1, keepdims=True)).ravel().tolist()
        rewards = {"accuracy_reward": accuracy, "format_reward": formats}
        for shown in range(repeat):
            trl(folder, index * repeat + shown + 1, messages, responses, rewards, advantages, {"solution": names})


def test_trl(tmp_path):
    write_trl(tmp_path / "run" / "completions")
    log = read(tmp_path / "run")
    assert column(log, "step") == [1, 1, 2, 2, 3, 3]
    assert column(log, "prompt") == list(range(6))
    assert column(log, "size") == [4] * 6
    assert column(log, "line") == [1, 5] * 3
    assert column(log, "last_line") == [4, 8] * 3
    assert column(log, "file") == [0, 0, 1, 1, 2, 2]
    assert log.columns.rewards == ("accuracy_reward", "format_reward")
    assert log.columns.reference_answer == "solution"
    assert noted(log, "'accuracy_reward' is read as the verifier's reward, by its name, beside 'format_reward'")
    assert noted(log, "no number of response tokens: lengths are in characters")
    assert str(log.columns).startswith("prompt 'prompt', response 'completion', verifier's reward 'accuracy_reward'")


def test_trl_shows_a_batch_at_every_step_that_it_serves(tmp_path):
    write_trl(tmp_path / "once", repeat=1)
    write_trl(tmp_path / "twice", repeat=2)
    once, twice = read(tmp_path / "once"), read(tmp_path / "twice")
    assert column(twice, "successes") == column(once, "successes")
    assert column(twice, "step") == [1, 1, 3, 3, 5, 5]
    assert noted(twice, "Rows that were left out: 24, which repeat a batch of an earlier step")
    assert not noted(twice, "sampled in between")  # every step was logged


def test_trl_logs_that_skip_steps(tmp_path):
    write_trl(tmp_path / "all")
    for path in sorted((tmp_path / "all").iterdir(), reverse=True):
        number = int(path.stem[-5:])
        table = pd_read(path)
        table["step"] = number * 5
        table.to_parquet(path.with_name(f"completions_{number * 5:05d}.parquet"))
        if number % 5:
            path.unlink()
    assert noted(
        read(tmp_path / "all"), "a batch at every 5 steps: batches that were sampled in between, if there were"
    )


def pd_read(path):
    import pandas as pd

    return pd.read_parquet(path)


def test_the_rolling_log_after_a_smaller_batch(tmp_path):
    """After an evaluation of two rollouts the log still holds the end of the last training batch."""
    a, b, c = ([f"{name}1", f"{name}2"] for name in "abc")
    for step, responses in ((1, [*a, *b]), (2, [*b, *c])):
        rewards = {"correct": [float(each[1]) - 1 for each in responses]}
        trl(tmp_path / "log", step, [each[0] for each in responses], responses, rewards, [-0.7, 0.7] * 2)
    log = read(tmp_path / "log")
    assert column(log, "step") == [1, 1, 2]
    assert column(log, "size") == [2, 2, 2]


def test_a_group_without_gradient_is_told_by_the_advantages(tmp_path):
    """A reward of weight 0 differs; the total does not, and neither do TRL's advantages, off by rounding."""
    rewards = {"accuracy": [0.9] * 4 + [1.0, 0.0, 0.0, 0.0], "length_reward": [0.1, 0.2, 0.3, 0.4] * 2}
    trl(tmp_path / "log", 1, list("aaaabbbb"), list("12345678"), rewards, [1e-4] * 4 + [1.5, -0.5, -0.5, -0.5])
    log = read(tmp_path / "log")
    assert column(log, "degenerate") == [True, False]


def test_a_reward_function_named_length(tmp_path):
    trl(tmp_path / "log", 1, ["p", "p"], ["1", "2"], {"accuracy": [1.0, 1.0], "length": [-0.5, 0.5]}, [-0.7, 0.7])
    log = read(tmp_path / "log")
    assert log.columns.rewards == ("accuracy", "length")
    assert column(log, "degenerate") == [False]
    assert log.groups.unit == "characters"


def test_a_missing_reward_is_no_verdict(tmp_path):
    rewards = {"accuracy": [None, None, 1.0, 1.0, None, None], "format": [1.0, 0.5, 1.0, 1.0, None, None]}
    trl(tmp_path / "log", 1, list("aabbcc"), list("123456"), rewards, [0.7, -0.7, 0.0, 0.0, 0.0, 0.0])
    log = read(tmp_path / "log")
    assert column(log, "verdicts") == [0, 2, 0]
    assert column(log, "degenerate") == [False, True, True]
    assert noted(log, "Rollouts without a verdict of the verifier: 4.")


@pytest.mark.parametrize(
    ("rewards", "advantages", "degenerate"),
    [
        ([1.0, 1.0, 1.0, None], [0.5, 0.5, 0.5, -1.5], False),  # TRL adds 0 for a missing reward
        ([1.0, 1.0, 1.0, None], [None] * 4, False),
        ([1.0, 1.0, 1.0, 1.0], [0.1] * 4, False),  # a method that gives solved groups an advantage
        ([1.0, 1.0, 1.0, 1.0], [6e-4] * 4, True),  # rounding
        ([1.0, 0.0, 1.0, 1.0], [0.0] * 4, True),  # a weight of 0
        ([1.0, 1.0, 1.0, 1.0], [None] * 4, True),
        ([1.0, 0.0, 1.0, 1.0], [0.0, None, 0.0, 0.0], False),
    ],
)
def test_advantages_tell_whether_a_group_has_a_gradient(tmp_path, rewards, advantages, degenerate):
    trl(tmp_path / "log", 1, list("aaaabb"), list("123456"), {"accuracy": [*rewards, 1.0, 0.0]}, [*advantages, 1, -1])
    assert column(read(tmp_path / "log"), "degenerate") == [degenerate, False]


def test_rewards_of_32_bits_reach_their_threshold(tmp_path):
    rewards = [float(np.float32(0.9)), 0.89]
    path = jsonl(tmp_path / "log.jsonl", *({"prompt": "p", "reward": each} for each in rewards))
    log = read_log([path], Columns(), 0.9)
    assert column(log, "successes") == [1]
    assert not noted(log, "No reward")


def test_groups_of_one_rollout_are_left_out(tmp_path):
    log = read(jsonl(tmp_path / "log.jsonl", *({"prompt": each, "reward": 1.0} for each in "aabcc")))
    assert column(log, "prompt") == [0, 2]
    assert noted(log, "Groups of one rollout, which were left out: 1.")
    with pytest.raises(ValueError, match="no prompt has two rollouts in one step, so there are no groups to compare"):
        read(jsonl(tmp_path / "log.jsonl", *({"prompt": each, "reward": 1.0} for each in "abc")))


def test_a_last_group_that_is_not_whole(tmp_path):
    rows = [{"step": i // 8, "prompt": f"p{i // 4}", "reward": i % 2} for i in range(82)]
    log = read(jsonl(tmp_path / "log.jsonl", *rows))
    assert column(log, "size") == [4] * 20
    assert noted(log, "The log ends within a group, which was left out.")


def test_lengths_that_are_missing(tmp_path):
    rows = [{"prompt": f"p{i // 4}", "response": "text", "reward": 1, "num_tokens": 3 if i else None} for i in range(8)]
    log = read(jsonl(tmp_path / "log.jsonl", *rows))
    assert (column(log, "length"), log.groups.unit) == ([12, 12], "tokens")
    assert noted(log, "Rollouts without a number of response tokens: 1.")
    log = read(jsonl(tmp_path / "log.jsonl", *({**row, "num_tokens": None} for row in rows[:7]), rows[7]))
    assert (column(log, "length"), log.groups.unit) == ([16, 16], "characters")


def test_verl_with_echorl_has_its_verdict(tmp_path):
    rows = [("p", "r", "42", 0.9 * right, {"uid": f"a_{i}_0", "echo_success": right}) for i, right in enumerate((1, 0))]
    log = read(verl(tmp_path, 1, rows))
    assert log.columns.reward == "echo_success"
    assert column(log, "successes") == [1]
    assert noted(log, "Every group of the log gives a gradient: a run that filters the others does not log them.")


def test_rewards_that_never_reach_success(tmp_path):
    log = read(jsonl(tmp_path / "log.jsonl", *({"prompt": "p", "reward": each} for each in (0.9, 0.5))))
    assert noted(log, "No reward in 'reward' reaches 1: the largest is 0.9. --success_reward sets")


def verl_rows(shuffled=False, uid=False):
    rng = random.Random(1)
    rows = []
    for prompt in range(4):
        for sample in range(4):
            acc = prompt == 0 or (prompt > 1 and rng.random() < 0.5)
            key = {"uid": f"prompt_{prompt}_{sample}_0"} if uid else {}
            rows.append((f"p{prompt}", f"r{sample}", "42", 0.9 * acc + 0.1, {"acc": acc, **key}))
    if shuffled:
        rng.shuffle(rows)
    return rows


@pytest.mark.parametrize("uid", [False, True])
def test_verl_rows_of_a_group_need_not_be_neighbours(tmp_path, uid):
    verl(tmp_path / "a", 1, verl_rows(uid=uid))
    verl(tmp_path / "b", 1, verl_rows(shuffled=True, uid=uid))
    first, second = read(tmp_path / "a"), read(tmp_path / "b")

    def groups(log):
        return sorted(zip(column(log, "successes"), column(log, "size"), column(log, "degenerate"), strict=True))

    assert groups(first) == groups(second)
    assert column(first, "successes")[:2] == [4, 0]
    assert first.columns.reward == "acc"
    assert first.columns.compared == ("score",)
    assert first.columns.reference_answer == "gts"


def test_verl_names_the_groups_of_a_prompt_that_comes_twice(tmp_path):
    rows = [("p", f"r{i}", "42", float(i < 2), {"uid": f"{i % 2}abc_{i}_0"}) for i in range(4)]
    log = read(verl(tmp_path, 7, rows).parent)
    assert column(log, "size") == [2, 2]
    assert column(log, "prompt") == [0, 0]
    assert column(log, "step") == [7, 7]


@pytest.mark.parametrize(
    ("rows", "sizes", "words"),
    [
        ("aabbaabbccccddddeeee", [4] * 5, None),  # not in order
        ("aaaabbbbaaaacccc", [4, 4, 4, 4], "Groups that were told apart from another group of their prompt"),
        ("aaaaaaaabbbbcccc", [4, 4, 4, 4], "Groups that were told apart"),
        ("abcabcabcabcaaaa", [8, 4, 4], "Groups with a multiple of the usual size: 1."),
        ("aabbaabb", [4, 4], None),  # two prompts that alternate, or each twice: not told
        ("aabb" * 8, [16, 16], None),
        ("aaab", [3], "Groups of one rollout, which were left out: 1."),
    ],
)
def test_a_prompt_that_comes_twice_in_a_step(tmp_path, rows, sizes, words):
    path = jsonl(tmp_path / "log.jsonl", *({"step": 1, "prompt": each, "reward": 1.0} for each in rows))
    log = read(path)
    assert column(log, "size") == sizes
    assert not words or noted(log, words)
    assert words or not any(note.startswith("Groups") for note in log.notes)


@pytest.mark.parametrize(
    ("rows", "open_steps"), [("aaaa", 1), ("aabbaabb", 1), ("aabb", 0), ("abab", 0), ("aabbaa", 0)]
)
def test_prompts_that_may_all_come_several_times(tmp_path, rows, open_steps):
    path = tmp_path / "log.jsonl"
    log = read(jsonl(path, *({"step": 1, "prompt": each, "uid": "u", "reward": 1.0} for each in rows)))
    assert (
        noted(log, "Steps in which the log does not tell whether a prompt's rollouts are one group or several: 1.")
        == open_steps
    )
    assert not noted(read(path, group="uid"), "Steps in which the log does not tell")


@pytest.mark.parametrize("shift", [0.0, 0.1])
def test_trl_groups_of_a_single_prompt_are_told_by_their_advantages(tmp_path, shift):
    rng = np.random.default_rng(0)
    correct = (rng.random((10, 4, 4)) < 0.5).astype(float)
    advantages = correct - correct.mean(2, keepdims=True) + shift
    for step in range(10):
        responses = [f"r{step}-{i}" for i in range(16)]
        rewards = {"correct": correct[step].ravel().tolist()}
        trl(tmp_path / "log", step, ["p"] * 16, responses, rewards, advantages[step].ravel().tolist())
    log = read(tmp_path / "log")
    if shift:
        assert column(log, "size") == [16] * 10
        assert noted(log, "Steps in which the log does not tell")
    else:
        assert column(log, "successes") == correct.sum(2).ravel().tolist()
        assert not noted(log, "Steps in which the log does not tell")


@pytest.mark.parametrize(("times", "sizes"), [(8, [2] * 16), (7, [14, 14])])
def test_visits_of_a_log_without_steps(tmp_path, times, sizes):
    path = jsonl(tmp_path / "log.jsonl", *({"prompt": each, "reward": 1.0} for each in "aabb" * times))
    assert column(read(path), "size") == sizes  # so many runs of equal length are no coincidence


@given(st.integers(2, 5), st.integers(1, 4), st.randoms())
def test_the_order_of_rows_within_a_step_does_not_matter(tmp_path_factory, size, num, rng):
    path = tmp_path_factory.mktemp("log") / "log.jsonl"
    rows = [{"step": step, "prompt": f"p{p}", "response": f"r{rng.random():.0f}", "score": rng.random() < 0.5}
            for step in (1, 2) for p in range(num) for _ in range(size)]  # fmt: skip
    tables = []
    for _ in range(2):
        jsonl(path, *rows)
        groups = read(path).groups
        names = ("step", "size", "successes", "degenerate", "num_texts", "length")
        tables.append(sorted(zip(*(getattr(groups, name).tolist() for name in names), strict=True)))
        rng.shuffle(rows)
        rows.sort(key=lambda row: row["step"])
    assert tables[0] == tables[1]


def swift_row(step, shown_as=1):
    """A line of ms-swift: a batch, the step as text, a reward that is missing as NaN."""
    return {
        "step": [str(shown_as)] * 4,
        "prompt": [f"p{step}", f"p{step}", "q", "q"],
        "completion": [f"r{step}{i}" for i in range(4)],
        "MathAccuracy": [1.0, 0.0, 1.0, 1.0],
        "Format": [1.0, 1.0, float("nan"), 1.0],
        "advantages": [0.7, -0.7, 0.0, 0.0],
        "solution": ["4", "4", "5", "5"],
        "num_turns": [1, 1, 1, 1],
    }


def swift(path, steps, repeat=1):
    rows = [swift_row(step, step * repeat + shown + 1) for step in range(steps) for shown in range(repeat)]
    return jsonl(path, *rows)


def test_ms_swift(tmp_path):
    swift(tmp_path / "run" / "completions.jsonl", 3, repeat=2)
    jsonl(tmp_path / "run" / "logging.jsonl", {"loss": 0.0})
    log = read(tmp_path / "run")
    assert column(log, "step") == [1, 1, 3, 3, 5, 5]
    assert column(log, "prompt") == [0, 1, 2, 1, 3, 1]
    assert column(log, "successes") == [1, 2] * 3
    assert column(log, "degenerate") == [False, True] * 3
    assert column(log, "line") == [1, 3, 9, 11, 17, 19]  # the rollouts of the file are counted
    assert log.columns.reward == "MathAccuracy"
    (rollout,) = rollouts_at([Place(0, 11)], log.files, Columns())
    assert (rollout.batch, rollout.position) == (3, 2)


def test_a_batch_with_one_step_for_all(tmp_path):
    log = read(jsonl(tmp_path / "log.jsonl", *({**swift_row(step), "step": step} for step in (4, 5))))
    assert column(log, "step") == [4, 4, 5, 5]


def test_a_run_that_was_resumed_samples_steps_again(tmp_path):
    path = swift(tmp_path / "completions.jsonl", 2)
    first, second = path.read_text().splitlines()
    path.write_text("\n".join([first, second, first.replace('"r0', '"other')]))
    log = read(path)
    assert column(log, "step") == [1, 1, 1, 1, 2, 2]
    assert column(log, "size") == [2] * 6
    assert noted(log, "Steps that came again after others, and count as batches of their own: 1.")


def test_two_lines_of_a_step(tmp_path):
    """The training's line, and the evaluation's, which still has the end of the training batch."""
    path = swift(tmp_path / "completions.jsonl", 1)
    row = json.loads(path.read_text())
    later = {**swift_row(1), "step": row["step"]}
    later = {name: row[name][2:] + later[name][:2] for name in row}
    jsonl(path, row, later)
    log = read(path)
    assert column(log, "size") == [2, 2, 2]
    assert noted(log, "Rows that were left out: 2, which repeat")


def test_prime_rl(tmp_path):
    for step in (9, 10):
        path = tmp_path / "run" / "rollouts" / f"step_{step}" / "train" / "effective" / "traces.jsonl"
        rewards = [
            ({"correct": 1.0, "brevity": 0.5}, "a"),
            ({"correct": 0.0, "brevity": 1.5}, "a"),
            ({"correct": 0.0}, "b"),
        ]
        jsonl(path, *(episode(f"p{group}", str(i), each, f"{step}{group}") for i, (each, group) in enumerate(rewards)))
    cut = {"calls": [{"finish_reason": "length", "usage": {"prompt_tokens": 9, "completion_tokens": 7}}]}
    jsonl(path, episode("pa", "0", {"correct": 1.0}, "x", **cut), {**episode("pa", "1", {}, "x")})
    log = read(tmp_path / "run")
    assert column(log, "step") == [9, 10]
    assert column(log, "prompt") == [0, 0]
    assert column(log, "successes") == [1, 1]
    assert column(log, "verdicts") == [2, 1]
    assert column(log, "degenerate") == [True, True]  # the totals are equal, or single
    assert column(log, "length") == [10, 12]
    assert column(log, "truncated") == [0, 1]
    assert noted(log, "Groups of one rollout, which were left out: 1.")
    assert log.groups.unit == "tokens"


def dump(folder, step, process, rows):
    """EchoRL's own dump: of each process a file, whose groups may go on in the next one's."""
    columns = [
        {
            "step": step, "group": group, "kind": kind, "success": success, "written_by_policy": policy, "prompt": "p",
            "completion": f"r{index}", "tokens": ["a", "b"], "entropy": [0.1, 0.2], "step_ids": [0] * (index + 1),
            "clip_end": 0, "clip_step": -1, "clip_entropy": None,
        } for index, (group, kind, success, policy) in enumerate(rows)
    ]  # fmt: skip
    parquet(folder / "rollouts" / f"step-{step:06d}-process-{process}.parquet", *columns)


def test_echorl(tmp_path):
    dump(tmp_path, 1, 0, [(0, "mixed", True, True), (0, "mixed", True, True), (1, "all_fail", False, True)])
    dump(tmp_path, 1, 1, [(0, "mixed", False, True), (1, "all_fail", False, True), (1, "all_fail", True, False)])
    dump(tmp_path, 2, 0, [(0, "uniform_reward", True, True), (0, "uniform_reward", False, True)])
    dump(tmp_path, 3, 0, [(0, "unscored", False, True)] * 2)
    log = read(tmp_path)
    assert column(log, "step") == [1, 1, 2, 3]
    assert column(log, "size") == [3, 2, 2, 2]
    assert column(log, "successes") == [2, 0, 1, 0]
    assert column(log, "verdicts") == [3, 2, 2, 0]
    assert column(log, "degenerate") == [False, True, True, True]
    assert column(log, "length") == [1 + 2 + 1, 3 + 2, 3, 3]
    assert noted(log, "Rows that were left out: 1, which the policy did not sample for training.")
    assert noted(log, "The log has verdicts and no rewards")


def test_rewards_beside_the_verdicts_of_echorl(tmp_path):
    rows = [(1, True, 1.0), (1, True, 1.5), (2, True, 1.0), (2, True, 1.0), (3, False, 0.0), (3, True, None)]
    columns = [
        {"step": 1, "group": group, "kind": "mixed", "success": success, "reward": reward, "written_by_policy": True,
         "prompt": str(group), "completion": "r", "step_ids": [0]}
        for group, success, reward in rows
    ]  # fmt: skip
    parquet(tmp_path / "rollouts" / "step-000001-process-0.parquet", *columns)
    log = read(tmp_path)
    assert column(log, "successes") == [2, 2, 1]
    assert column(log, "degenerate") == [False, True, True]  # one reward alone differs from no other
    assert not noted(log, "is read as the verifier's reward")
    assert not noted(log, "no rewards")


def test_a_run_with_two_logs(tmp_path):
    write_trl(tmp_path / "completions")
    dump(tmp_path, 1, 0, [(0, "mixed", True, True)] * 2)
    assert len(read(tmp_path).files) == 3
    assert noted(read(tmp_path), f"{tmp_path / 'rollouts'} too has rollouts")
    assert len(read(tmp_path / "rollouts").files) == 1


def test_files_of_an_earlier_run(tmp_path):
    folder, metrics = tmp_path / "completions", tmp_path / "metrics.jsonl"
    write_trl(folder, steps=6)
    metrics.write_text("")  # the next run has begun, and logged nothing
    assert len(read(tmp_path).files) == 6
    write_trl(folder, steps=3, seed=1)
    metrics.write_text('{"step": 2, "seed": 0}\n{"step": 3, "seed": 0}\n')
    for place in (tmp_path, folder):
        log = read(place)
        assert len(log.files) == 3
        assert noted(log, "left out: 3 from completions_00004.parquet on, of steps after the run's last one")
    named = read(*sorted(folder.iterdir()))
    assert len(named.files) == 6
    assert not noted(named, "earlier run")


def test_a_plain_table(tmp_path):
    rows = [
        {"question": f"q{i % 3}", "correct": i < 5, "finish_reason": "length" if i == 1 else "stop"} for i in range(9)
    ]
    log = read(jsonl(tmp_path / "log.jsonl", *rows))
    assert column(log, "step") == [-1] * 3
    assert column(log, "successes") == [2, 2, 1]
    assert column(log, "truncated") == [0, 1, 0]
    assert column(log, "num_texts") == [-1] * 3
    assert noted(log, "The log has no step")
    assert noted(log, "lengths are not known")
    log = read(jsonl(tmp_path / "log.jsonl", *({"group": i // 2, "step": i // 4, "reward": i % 2} for i in range(8))))
    assert column(log, "size") == [2] * 4
    assert noted(log, "The log has no prompt")


def test_steps_may_alternate(tmp_path):
    rows = [{"step": step, "prompt": f"p{step}", "reward": i % 2} for i in range(4) for step in (3, 2, 1)]
    log = read(jsonl(tmp_path / "log.jsonl", *rows))
    assert column(log, "step") == [1, 2, 3]
    assert column(log, "size") == [4, 4, 4]
    late = [{"step": step, "prompt": "p", "reward": 1.0} for step in [*range(20), *range(20)]]
    log = read(jsonl(tmp_path / "log.jsonl", *late))
    assert column(log, "size") == [2] * 20


def test_files_of_other_columns(tmp_path):
    jsonl(tmp_path / "1.jsonl", {"step": 1, "prompt": "p", "reward": 1.0})
    jsonl(tmp_path / "2.jsonl", {"step": 1, "question": "p", "correct": 0, "length": 5})
    log = read(tmp_path)
    assert column(log, "size") == [2]
    assert noted(
        log, f"The columns of {tmp_path / '2.jsonl'} differ from those of {tmp_path / '1.jsonl'}: prompt 'question'"
    )


GOOD = {"step": 1, "prompt": "p", "response": "r", "reward": 1.0}


@pytest.mark.parametrize("write", [jsonl, parquet])
@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"reward": "good"}, "the reward 'good' (column 'reward') is neither a finite number"),
        ({"reward": float("nan")}, "the reward nan"),
        ({"reward": float("inf")}, "the reward inf"),
        ({"prompt": None}, "there is no prompt (column 'prompt')"),
        ({"response": None}, "there is no response (column 'response')"),
        ({"step": -1}, "the step -1 (column 'step') is no whole number from 0"),
        ({"step": 1.5}, "the step 1.5"),
        ({"step": None}, "the step None"),
    ],
)  # fmt: skip
def test_rows_that_cannot_be_used(tmp_path, write, row, words):
    good = {**GOOD, "reward": "1.0"} if isinstance(row.get("reward"), str) else GOOD
    path = write(tmp_path / "log", good, {**good, **row})
    with pytest.raises(ValueError) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path}, line 2: ")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({**GOOD, "reward": 10**400}, "the reward 1000"),
        ({**GOOD, "reward": [1.0]}, "the reward [1.0]"),
        ({**GOOD, "prompt": "\ud83d"}, "half of a character"),
        ({**GOOD, "response": "\ud83d"}, "half of a character"),
        ({**GOOD, "step": "five"}, "the step 'five'"),
        ({**GOOD, "step": 10**30}, "the step 1000"),
        ({**GOOD, "length": -1}, "the length -1"),
        ({**GOOD, "length": "long"}, "the length 'long'"),
        ({"prompt": "p", "step": 1, "response": "r"}, "there is no 'reward'"),
        ([1], "no JSON object"),
        ({"reward": 1}, "there is no prompt"),
    ],
)  # fmt: skip
def test_rows_of_json_that_cannot_be_used(tmp_path, row, words):
    path = jsonl(tmp_path / "log.jsonl", {**GOOD, "length": 3}, row)
    with pytest.raises(ValueError) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path}, line 2: ")
    assert words in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"text": "1"}, "neither a prompt nor a group among the columns 'text': name one with --prompt or --group."),
        ({"prompt": "p", "response": "r"}, "there is no reward among the columns 'prompt', 'response'"),
        (
            {"prompt": "p", "completion": "r", "a": 1.0, "b": 0.5, "advantage": 0.1},
            "each of the columns 'a', 'b' may be",
        ),
        ({"prompt": "p", "correct": True, "accuracy": 1.0, "reward": 1.0}, "each of the columns 'correct', 'accuracy'"),
        ({"prompt": "p", "completion": "r", "format": "x", "advantage": 0.1}, "there is no reward among"),
        ({"prompt": "p", "format_reward": 1.0}, "the only reward, 'format_reward', has no verifier's name"),
        ({"prompt": "p", "format_reward": 1.0, "length_reward": 1.0}, "'format_reward', 'length_reward' may be"),
    ],
)
def test_a_log_that_leaves_something_open(tmp_path, row, words):
    path = jsonl(tmp_path / "log.jsonl", row)
    with pytest.raises(ValueError) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path}, line 1: ")
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("names", "reward"),
    [
        (("math_accuracy", "format_reward"), "math_accuracy"),
        (("exact_match", "length_reward"), "exact_match"),
        (("reward", "math_accuracy"), "math_accuracy"),
        (("reward", "success_rate", "correct_answer", "math_level"), "reward"),
        (("score", "num_correct", "format_reward"), "score"),
    ],
)
def test_the_verifiers_column_of_a_table(tmp_path, names, reward):
    log = read(jsonl(tmp_path / "log.jsonl", *[{"prompt": "p", **dict.fromkeys(names, 1.0)}] * 2))
    assert log.columns.reward == reward


def test_group_numbers_that_begin_again_at_steps_that_are_not_logged(tmp_path):
    rows = [{"group_id": i // 2 % 3, "prompt": f"p{i // 2}", "reward": i % 2} for i in range(12)]
    path = jsonl(tmp_path / "log.jsonl", *rows)
    assert column(read(path), "size") == [2] * 6
    assert column(read(path, group="group_id"), "size") == [4] * 3
    jsonl(path, *({**row, "step": i // 6} for i, row in enumerate(rows)))
    assert column(read(path), "size") == [2] * 6


def test_epochs_tell_visits_apart(tmp_path):
    rows = [{"epoch": i // 6, "prompt": f"p{i // 2 % 3}", "reward": i % 2} for i in range(18)]
    log = read(jsonl(tmp_path / "log.jsonl", *rows))
    assert column(log, "prompt") == [0, 1, 2] * 3
    assert column(log, "size") == [2] * 9
    assert "epoch 'epoch'" in str(log.columns)


@pytest.mark.parametrize("write", [jsonl, parquet])
@pytest.mark.parametrize("differ", [True, False])
def test_a_solution_is_a_response_only_if_it_differs_within_a_group(tmp_path, write, differ):
    rows = [{"problem": f"p{i // 2}", "solution": f"s{i if differ else i // 2}", "correct": i % 2} for i in range(4)]
    columns = read(write(tmp_path / "log", *rows)).columns
    assert (columns.response, columns.reference_answer) == (("solution", None) if differ else (None, "solution"))


def test_columns_of_parquet(tmp_path):
    rows = [{"step": 1, "prompt": "p", "completion": f"r{i}", "accuracy": i % 2, "advantage": i - 0.5,
             "__index_level_0__": i} for i in range(2)]  # fmt: skip
    assert read(parquet(tmp_path / "index.parquet", *rows)).columns.rewards == ("accuracy",)
    tokens = pa.array([[("a", 1)], [("b", 1), ("c", 2)]], type=pa.map_(pa.string(), pa.int64()))
    table = pa.table({"prompt": ["p", "p"], "reward": [0.0, 1.0], "completion_ids": tokens})
    pq.write_table(table, tmp_path / "map.parquet")
    assert column(read(tmp_path / "map.parquet"), "length") == [3]
    pq.write_table(pa.table([["p"], [1.0], [0.0]], names=["prompt", "reward", "reward"]), tmp_path / "twice.parquet")
    with pytest.raises(ValueError, match="two columns are named 'reward'"):
        read(tmp_path / "twice.parquet")


@pytest.mark.parametrize("content", [b"", b'{"prompt": "p", "re', b"PAR1 and no end"])
def test_the_newest_file_may_be_one_that_a_run_is_writing(tmp_path, content):
    path = jsonl(tmp_path / "1.jsonl", GOOD, GOOD)
    newest = tmp_path / "2.jsonl"
    newest.write_bytes(content)
    os.utime(path, (1, 1))
    log = read(tmp_path)
    assert log.files == [path]
    assert noted(log, f"{newest} is empty or not whole and was left out")
    with pytest.raises(ValueError, match=r"2\.jsonl"):
        read(path, newest)  # a file that is named is read
    os.utime(newest, (0, 0))
    with pytest.raises(ValueError, match=r"2\.jsonl"):
        read(tmp_path)


WHOLE = b'{"prompt": "p", "response": "r", "reward": 1.0}'


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (WHOLE + b"\n{broken\n" + WHOLE + b"\n", "2.jsonl, line 2: this is no JSON"),
        (b"[1]\n", "2.jsonl, line 1: this is no JSON object"),
        ((WHOLE + b"\n").decode().encode("utf-16"), "2.jsonl, line 1: this is no JSON"),
        (gzip.compress(WHOLE + b"\n", mtime=0), "2.jsonl is gzipped: unpack it first"),
        (b"hello", "2.jsonl has no whole line of JSON"),
    ],
    ids=["line 2", "list", "utf-16", "gzip", "text"],
)
def test_the_newest_file_with_another_defect_is_an_error(tmp_path, content, message):
    """Not left out: a run that is writing the file would not explain it."""
    os.utime(jsonl(tmp_path / "1.jsonl", GOOD, GOOD), (1, 1))
    (tmp_path / "2.jsonl").write_bytes(content)
    with pytest.raises(ValueError, match=re.escape(message)):
        read(tmp_path)


def test_rows_without_line_ends_are_not_called_empty(tmp_path):
    (tmp_path / "log.jsonl").write_bytes(WHOLE + b"\r" + WHOLE)
    with pytest.raises(ValueError, match=r"log.jsonl has no whole line of JSON: give JSONL, lines of one object"):
        read(tmp_path / "log.jsonl")


def test_columns_that_the_user_names(tmp_path):
    path = jsonl(tmp_path / "log.jsonl", *[{"q": "p", "completion": "r", "a": 1.0, "b": 0.5, "n": 7}] * 2)
    assert read(path, prompt="q", reward="b", group="n").columns.rewards == ("b",)
    with pytest.raises(ValueError, match="there is no column 'c' among 'q', 'completion', 'a', 'b', 'n'"):
        read(path, prompt="q", reward="c")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ({"prompt": ["a", "b"], "completion": ["1"], "r": [1.0, 0.0], "advantages": [0.1, 0.1]}, "lists of one length"),
        ({"prompt": "a", "completion": ["1"], "r": [1.0], "advantages": [0.1]}, "lists of one length"),
    ],
)
def test_batches_that_cannot_be_used(tmp_path, line, words):
    path = swift(tmp_path / "log.jsonl", 1)
    path.write_text(path.read_text() + json.dumps(line) + "\n")
    with pytest.raises(ValueError) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path}, line 2: ")
    assert words in str(caught.value)


@pytest.mark.parametrize("damage", [{"traces": 5}, {"traces": [{"nodes": []}]}, {"traces": [5]}, {"group": 5}])
def test_episodes_that_cannot_be_used(tmp_path, damage):
    good = episode("p", "r", {"correct": 1.0}, "g")
    path = jsonl(tmp_path / "traces.jsonl", good, {**good, **damage})
    with pytest.raises(ValueError, match="no episode as verifiers writes it"):
        read(path)


@pytest.mark.parametrize(
    ("previous", "rows", "size"),
    [
        ("a1 a2 b1 b2", "b1 b2 c1 c2", 2),
        ("a1 a2 a3 a4", "a4 a5 a6 a7", 0),  # a part of a group
        ("a1 a2 b1 b1", "b1 c1 c2 c3", 0),
        ("a1 a2 b1 b2", "b1 b2 c1 c2 d1 d2", 0),  # one group of three
        ("a1 a2 b1 b2", "a1 a2 b1 b2 c1 c2 d1 d2 e1 e2", 4),  # two prompts
        ("a1 a2", "a1 a2", 2),
    ],
)
def test_overlaps_are_of_whole_groups(previous, rows, size):
    previous, rows = ([(each[0], each) for each in text.split()] for text in (previous, rows))
    assert overlap(previous, rows) == size


def write_trl_texts(folder, batches):
    """A log of prompts a and b with groups of two, in this order; two digits are one group's responses."""
    for step, batch in enumerate(batches, 1):
        rewards = {"correct": [float(each == "1") for each in batch]}
        trl(folder, step, list("aabb"), list(batch), rewards, [0.7 if len(set(batch)) > 1 else 0.0] * 4)


@pytest.mark.parametrize(
    ("batches", "num_groups", "words"),
    [
        (["1234", "5678", "1122", "1122", "1122"], 10, None),  # a collapsed policy; each batch was shown once
        (["1234", "1234", "5678", "5678", "1122", "1122", "1122", "1122"], 8, "Rows that were left out: 16"),
        (["1122", "1122", "1234"], 6, "count as new ones: 4."),
        (["1234", "1234", "5678", "1122", "1122"], 8, "count as new ones: 4."),  # no constant pattern
    ],
)
def test_equal_batches_are_repeats_only_if_that_is_proven(tmp_path, batches, num_groups, words):
    write_trl_texts(tmp_path / "log", batches)
    log = read(tmp_path / "log")
    assert len(log.groups) == num_groups
    assert noted(log, words) if words else not noted(log, "left out") and not noted(log, "count as new")


def test_two_runs_are_not_merged(tmp_path):
    for run in "ab":
        for step in (1, 2):
            verl(tmp_path / run, step, [("p", f"{run}{i}", "4", float(i), {}) for i in range(2)])
        rows = [{"step": step, "prompt": "p", "reward": i % 2} for step in (1, 2) for i in range(2)]
        jsonl(tmp_path / "together" / f"{run}.jsonl", *rows)
    assert column(read(tmp_path / "a", tmp_path / "b"), "size") == [2] * 4
    assert column(read(tmp_path / "together"), "size") == [2] * 4


def test_a_line_that_a_run_is_writing(tmp_path):
    path = jsonl(tmp_path / "log.jsonl", GOOD, GOOD, GOOD)
    path.write_bytes(path.read_bytes()[:-5])
    log = read(path)
    assert column(log, "size") == [2]
    assert noted(log, f"The last line of {path} is not whole and was left out")
    path.write_bytes(path.read_bytes() + b"\n")
    with pytest.raises(ValueError, match="line 3: this is no JSON"):
        read(path)


def test_places_that_hold_no_log(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"holds no \*\.jsonl and no \*\.parquet"):
        read(tmp_path / "empty")
    verl(tmp_path / "runs" / "first" / "dumps", 1, [("p", "r", "42", 1.0, {})] * 2)
    with pytest.raises(ValueError, match=r"such as .*runs/first, or files"):
        read(tmp_path / "runs")
    with pytest.raises(ValueError, match="there is no such file or folder"):
        read(tmp_path / "none")
    (tmp_path / "empty.jsonl").touch()
    with pytest.raises(ValueError, match=r"empty\.jsonl is empty: give a file of rollouts"):
        read(tmp_path / "empty.jsonl")
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(ValueError, match="no readable parquet"):
        read(tmp_path / "bad.parquet")
    dump(tmp_path, 1, 0, [(0, "unscored", True, False)])
    with pytest.raises(ValueError, match="no row of the log is a rollout that was sampled for training"):
        read(tmp_path / "rollouts")


@pytest.mark.parametrize("line", [b"[" * 10**5, b'{"a":' * 10**5 + b"1" + b"}" * 10**5, b"\xff", b'{"prompt": "a'])
def test_lines_that_are_no_json(tmp_path, line):
    path = jsonl(tmp_path / "log.jsonl", GOOD)
    path.write_bytes(path.read_bytes() + line + b"\n")
    with pytest.raises(ValueError, match="line 2: this is no JSON"):
        read(path)


NAMES = st.sampled_from(
    "prompt question completion response reward score accuracy advantage advantages group uid input output gts step "
    "length tokens truncated finish_reason kind written_by_policy echo/kind task traces nodes rewards other".split()
)
TEXTS = ["", "p", "a_1_0", "1.0", "nan", "\ud800", "length"]
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(TEXTS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES | st.just("content"), inner, max_size=3),
    max_leaves=4,
)


def refusal(path):
    """The message with which a log is refused, "" of one that is read."""
    try:
        log = read(path)
    except ValueError as error:
        return str(error)
    assert (log.groups.successes <= log.groups.verdicts).all()
    return ""


@given(st.lists(st.dictionaries(NAMES, VALUES, max_size=8), min_size=1, max_size=3), st.booleans())
def test_any_rows_are_read_or_refused_in_one_sentence(tmp_path_factory, rows, alike):
    path = tmp_path_factory.mktemp("log") / "log.jsonl"
    jsonl(path, *([{"prompt": "p", "completion": "r", "reward": 1.0, **row} for row in rows] if alike else rows))
    message = refusal(path)
    assert not message or (message.startswith(str(path)) and message.endswith(".") and "\n" not in message)


def test_no_torch():
    code = "import sys, echorl.lab.audit.read; assert not {'torch', 'transformers', 'pyarrow'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)

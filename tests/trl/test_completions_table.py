"""The columns that EchoRL adds to TRL's table of completions (`log_completions`): each rollout's EchoClip."""

from __future__ import annotations

import random
import re

import pandas as pd
import pyarrow.parquet as pq
import pytest

from echorl.core.statistics import KINDS
from echorl.lab.audit.read import read_log
from echorl.lab.options import Columns
from echorl.trl.dump import LOGGED_COLUMNS
from tests.trl.scripted import by_number, dapo
from tests.trl.tiny import all_right, build, make_dataset, run, some_right


def table(folder, step):
    """The rows of EchoRL's columns; None where there is no value."""
    rows = read(folder, step)[list(LOGGED_COLUMNS)].to_dict("records")
    return [{name: None if pd.isna(value) else value for name, value in row.items()} for row in rows]


def read(folder, step):
    return pd.read_parquet(folder / "completions" / f"completions_{step:05d}.parquet")


def dumped(folder, step):
    """The same of a dump of all rollouts, which has been tested by itself."""
    rows = pq.read_table(folder / "rollouts" / f"step-{step:06d}-process-0.parquet").to_pylist()
    return [dict(zip(LOGGED_COLUMNS, _clip(row), strict=True)) for row in rows]


def _clip(row):
    if not row["clip_end"]:
        return row["kind"], None, None, None
    start = row["step_ids"].index(row["clip_step"])
    parts = (row["tokens"][:start], row["tokens"][start : row["clip_end"]])
    return row["kind"], *("".join(part) for part in parts), row["clip_entropy"]


def audited(folder):
    """The number of groups of each kind, and without gradient, as `echorl audit` reads a log."""
    groups = read_log([folder], Columns(), 1.0).groups
    kinds = groups.kind.tolist()
    return {name: kinds.count(index) for index, name in enumerate(KINDS)}, int(groups.degenerate.sum())


def test_each_rollout_has_its_clip_in_the_table(tmp_path):
    trainer, *_ = run(tmp_path, some_right, log_completions=True, max_steps=2, echo_rollouts_every=1)
    for step in (1, 2):
        rows = table(tmp_path, step)
        assert rows == dumped(tmp_path, step)
        assert 0 < sum(row["echo/step"] is not None for row in rows) <= 4
        text = read(tmp_path, step)["completion"]
        for row, completion in zip(rows, text, strict=True):
            clip = "" if row["echo/step"] is None else row["echo/before_step"] + row["echo/step"]
            assert completion.startswith(re.sub("<pad>|<eos>|<unk>", "", clip))  # TRL leaves special tokens out
    counts = trainer.statistics.groups, sum(trainer.statistics.degenerate.values())
    assert audited(tmp_path / "completions") == audited(tmp_path / "rollouts") == counts


@pytest.mark.parametrize("number", [None, 2])
def test_the_printed_table_is_that_of_trl(tmp_path, capsys, number):
    """EchoRL's columns, texts as long as a completion, would leave the others a few letters each."""
    printed = []
    for coef in (0.001, 0.0):
        settings = dict(log_completions=True, max_steps=1, num_completions_to_print=number, echo_mine_only=coef > 0)
        random.seed(0)
        run(tmp_path / str(coef), some_right, echo_coef=coef, **settings)
        text = capsys.readouterr().out
        printed.append(text[text.index("Step 1") : text.rindex("┘")])
    assert printed[0] == printed[1]
    assert "some_right" in printed[0]
    assert "echo" not in printed[0]
    assert read(tmp_path / "0.001", 1)["echo/step"].notna().any()


def test_rollouts_of_an_evaluation_have_none(tmp_path):
    evaluating = dict(eval_strategy="steps", eval_steps=2, eval_dataset=make_dataset(4), per_device_eval_batch_size=4)
    run(tmp_path, all_right, log_completions=True, max_steps=3, eval_on_start=True, **evaluating)
    assert {row["echo/kind"] for row in table(tmp_path, 1)} == {"all_success"}
    assert not read(tmp_path, 2)[list(LOGGED_COLUMNS)].notna().any(axis=None)  # the evaluation's, of the same name
    assert len(read(tmp_path, 3)) == 16
    log = read_log([tmp_path], Columns(), 1.0)
    assert set(log.groups.step.tolist()) == {1}  # an evaluation ends the run, too
    assert "Rows that were left out: 48, which the policy did not sample for training." in log.notes


def test_a_batch_that_is_used_twice_stays(tmp_path):
    trainer, *_ = run(tmp_path, all_right, log_completions=True, num_iterations=2, max_steps=2)
    assert table(tmp_path, 1) == table(tmp_path, 2)
    assert audited(tmp_path)[0] == trainer.statistics.groups  # read once


def test_without_echorl_or_without_the_table_there_are_none(tmp_path):
    run(tmp_path, all_right, log_completions=True, echo_coef=0.0, max_steps=1)
    assert not set(LOGGED_COLUMNS) & set(read(tmp_path, 1))
    trainer, *_ = run(tmp_path, all_right, max_steps=1)
    assert not trainer._logs["extra"]


def test_rounds_of_dynamic_sampling_stay_in_step(tmp_path):
    changes = {**dapo(), "max_steps": 2, "log_completions": True}
    trainer = build(tmp_path, by_number, **changes)
    trainer.train()
    assert trainer.state.log_history[0]["method/rounds"] > 1
    for step in (1, 2):
        rows = read(tmp_path, step)
        assert (rows["echo/kind"] == "mixed").equals(rows.groupby("prompt")["by_number"].transform("std") > 0)


def test_the_real_wandb_offline(tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    run(tmp_path, all_right, report_to="wandb", log_completions=True, max_steps=1)
    (found,) = tmp_path.rglob("completions*.table.json")
    assert "echo/before_step" in found.read_text()

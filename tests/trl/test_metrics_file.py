"""What a run leaves to look at: its metrics, and the command that makes a page of it."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from transformers import TrainerControl, TrainerState, TrainingArguments

from echorl.lab.report.sources import read_sources
from echorl.trl.metrics_file import MetricsFile, read_metrics
from echorl.trl.statistics import page_commands
from tests.trl.tiny import build, run


def test_the_run_of_a_script_can_be_reported(tmp_path, capsys):
    trainer, *_ = run(tmp_path, max_steps=3, logging_steps=2, seed=7)
    assert capsys.readouterr().out.splitlines()[-1] == f"The run as a page: echorl report {tmp_path}"
    [source] = read_sources([tmp_path])
    assert [row["step"] for row in source.runs[0].rows] == [2, 3]  # the last step is logged, and stands for itself
    logged = [entry for entry in trainer.state.log_history if "train_loss" not in entry]
    assert source.runs[0].rows == [{"seed": 7, **json.loads(json.dumps(entry))} for entry in logged]
    assert source.runs[0].seed == "7"  # there is no config.yaml


@pytest.mark.parametrize(
    ("folders", "every", "audits"),
    [
        (["completions", "rollouts"], 2, ["echorl audit '{}/completions'"]),
        (["completions", "rollouts"], 1, ["echorl audit '{}/rollouts'"]),
        (["rollouts"], 2, ["echorl audit '{}/rollouts'"]),
        ([], 0, []),
    ],
)
def test_a_page_is_made_of_the_rollouts_that_were_kept(tmp_path, folders, every, audits):
    run_dir = tmp_path / "my run"
    for name in folders:
        (run_dir / name).mkdir(parents=True)
        pq.write_table(pa.table({"prompt": ["1+1=?"]}), run_dir / name / "0.parquet")
    commands = [line.rpartition(": ")[2] for line in page_commands(str(run_dir), every)]
    assert commands == [command.format(run_dir) for command in ["echorl report '{}'", *audits]]


def test_an_evaluation_before_training_begins_the_file_with_it(tmp_path):
    metrics, args = MetricsFile(tmp_path / "new" / "metrics.jsonl"), TrainingArguments(seed=3)
    state, control = TrainerState(), TrainerControl()
    metrics.on_log(args, state, control, {"eval_loss": 1.0})
    assert not metrics.path.parent.exists()
    metrics.on_train_begin(args, state, control)
    metrics.on_log(args, state, control, {"eval_loss": 2.0})
    assert read_metrics(metrics.path) == [{"step": 0, "seed": 3, "eval_loss": loss} for loss in (1.0, 2.0)]


def test_a_folder_holds_the_dumps_of_one_run(tmp_path):
    rollouts = tmp_path / "rollouts"
    rollouts.mkdir()
    for name in ("step-000007-process-0.parquet", "step-x-process-0.parquet", "mine.parquet"):
        (rollouts / name).touch()
    run(tmp_path, max_steps=2, echo_rollouts_every=2, save_strategy="steps", save_steps=1)
    kept = ["mine.parquet", "step-000001-process-0.parquet", "step-x-process-0.parquet"]
    assert sorted(path.name for path in rollouts.iterdir()) == kept
    trainer = build(tmp_path, max_steps=3, echo_rollouts_every=1)
    trainer.train(resume_from_checkpoint=str(tmp_path / "checkpoint-1"))
    kept[2:2] = ["step-000002-process-0.parquet", "step-000003-process-0.parquet"]
    assert sorted(path.name for path in rollouts.iterdir()) == kept

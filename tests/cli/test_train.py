"""Real runs through the command line: what they leave behind, and that a run that was cut off ends as if it wasn't."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from echorl.cli import main
from echorl.train import run_folder
from echorl.train.parsing import Settings, parse
from echorl.train.recipe import read_recipes
from echorl.train.run import TRAIN
from echorl.train.sft import SFT
from echorl.trl.metrics_file import MetricsFile, read_metrics
from tests.cli.conftest import REWARDS
from tests.processes import command, start

RECIPES = Path(__file__).resolve().parents[2] / "recipes"
CLOCK = ("runtime", "per_second", "step_time", "total_flos")


def weights(run):
    return load_file(run / "model.safetensors")


def curves(run):
    """Every line of the metrics, without what depends on the clock."""
    lines = read_metrics(run / "metrics.jsonl")
    return [{key: v for key, v in line.items() if not any(c in key for c in CLOCK)} for line in lines]


def same(one, other):
    return one.keys() == other.keys() and all((one[name] == other[name]).all() for name in one)


def test_what_a_run_leaves_behind(tmp_path, recipe, rows, model, capsys):
    path = recipe(eval_strategy="steps", eval_steps=2, eval_file=str(rows), eval_size=8, report_to="tensorboard")
    assert main(["train", "--config", path, "--echo_coef", "0.01", "--seed", "3"]) == 0
    run = tmp_path / "run"
    lines = read_metrics(run / "metrics.jsonl")
    assert [line["step"] for line in lines if "loss" in line] == [1, 2]
    assert [line["step"] for line in lines if "eval_loss" in line] == [2]
    assert all("echo/groups/all_success" in line for line in lines if "loss" in line)
    assert list(run.rglob("events.out.tfevents*"))
    again = yaml.safe_load((run / "config.yaml").read_text())
    assert again["echo_coef"] == 0.01
    assert again["seed"] == 3
    assert again["model_name_or_path"] == str(model)
    loaded, tokenizer = AutoModelForCausalLM.from_pretrained(run), AutoTokenizer.from_pretrained(run)
    assert loaded.generate(**tokenizer("1+1=?\n", return_tensors="pt", return_token_type_ids=False)).shape[0] == 1
    said = capsys.readouterr().out
    assert "step 2/2  reward" in said
    assert "Where the rollouts went" in said


def test_the_recorded_config_gives_the_same_run(tmp_path, recipe):
    assert main(["train", "--config", recipe(), "--max_steps", "1", "--echo_coef", "0.1"]) == 0
    recorded = str(tmp_path / "run" / "config.yaml")
    assert main(["train", "--config", recorded, "--output_dir", str(tmp_path / "again")]) == 0
    assert same(weights(tmp_path / "run"), weights(tmp_path / "again"))


@pytest.fixture
def killed_run(tmp_path, recipe, monkeypatch):
    """A run of 6 steps that kill -9 ended in its second generation, after checkpoint 4; and its recipe."""
    path = recipe(
        reward_funcs=[f"{REWARDS}:killed"],
        max_steps=6,
        save_strategy="steps",
        save_steps=1,
        steps_per_generation=4,
        num_iterations=2,
        save_total_limit=4,
    )
    monkeypatch.setenv("ECHORL_TEST_KILL_AT", "2")
    process = start(command, ["train", "--config", path], tmp_path / "log")
    process.join()
    assert process.exitcode == -signal.SIGKILL, (tmp_path / "log").read_text()
    monkeypatch.delenv("ECHORL_TEST_KILL_AT")
    return path


def test_kill_and_resume_equal_an_undisturbed_run(tmp_path, killed_run, capsys):
    run, whole = tmp_path / "run", tmp_path / "whole"
    assert main(["train", "--config", killed_run, "--output_dir", str(whole)]) == 0
    assert run_folder.checkpoints(run)[0].name == "checkpoint-4"
    # As if the kill had come while checkpoint 4 was written: number 3 lies in the middle of a generation batch.
    state = run / "checkpoint-4" / "trainer_state.json"
    state.write_text(state.read_text()[:100])
    assert main(["train", "--config", killed_run, "--resume_from_checkpoint", "true"]) == 0
    said = capsys.readouterr().err
    assert "checkpoint-4 is incomplete" in said
    assert "resuming from" in said
    assert same(weights(run), weights(whole))
    steps = [line["step"] for line in read_metrics(run / "metrics.jsonl") if "loss" in line]
    assert steps == [1, 2, 3, 4, 5, 6]
    assert [line["loss"] for line in curves(run)] == [line["loss"] for line in curves(whole)]


@pytest.mark.usefixtures("ctrl_c")
@pytest.mark.parametrize("limit", [{"max_steps": 3}, {"max_steps": 9, "max_rollout_tokens": 300}])
def test_a_run_stopped_after_its_last_checkpoint_has_all_its_lines(tmp_path, recipe, monkeypatch, limit):
    path = recipe(save_strategy="steps", save_steps=1, logging_steps=2, **limit)
    assert main(["train", "--config", path, "--output_dir", str(tmp_path / "whole")]) == 0
    whole = curves(tmp_path / "whole")
    assert [line["step"] for line in whole] == [2, 3]
    assert whole[-1].keys() == whole[0].keys()  # the last step stands by itself, not in the Trainer's summary

    def stop(self, args, state, control, **kwargs):
        if state.global_step == 3:  # the checkpoint is written, and nothing after it
            raise KeyboardInterrupt

    monkeypatch.setattr(MetricsFile, "on_save", stop)
    assert main(["train", "--config", path]) == 130
    assert main(["train", "--config", path, "--resume_from_checkpoint", "true"]) == 0
    assert curves(tmp_path / "run") == whole
    assert same(weights(tmp_path / "run"), weights(tmp_path / "whole"))


def test_resuming_a_finished_run_changes_nothing(tmp_path, recipe, capsys):
    path = recipe(save_strategy="steps", save_steps=1)
    assert main(["train", "--config", path]) == 0
    run = tmp_path / "run"
    before, lines = weights(run), (run / "metrics.jsonl").read_text()
    (run / "model.safetensors").unlink()  # the kill came just before the model was saved
    assert main(["train", "--config", path, "--resume_from_checkpoint", "true"]) == 0
    assert "is the end of this run" in capsys.readouterr().err
    assert same(weights(run), before)
    assert (run / "metrics.jsonl").read_text() == lines
    assert not (run / "optimizer.pt").exists()


def test_resuming_a_run_whose_tokens_are_spent_changes_nothing(tmp_path, recipe, capsys):
    path = recipe(save_strategy="steps", save_steps=1, max_steps=9, max_rollout_tokens=100, num_iterations=2)
    assert main(["train", "--config", path]) == 0
    run = tmp_path / "run"
    before, lines = weights(run), (run / "metrics.jsonl").read_text()
    last = run_folder.checkpoints(run)[0]
    assert last.name == "checkpoint-2"
    (run / "model.safetensors").unlink()  # the kill came just before the model was saved
    assert main(["train", "--config", path, "--resume_from_checkpoint", "true"]) == 0
    assert "checkpoint-2 is the end of this run (max_rollout_tokens=100)" in capsys.readouterr().err
    assert same(weights(run), before)
    assert (run / "metrics.jsonl").read_text() == lines
    assert run_folder.progress(last) == {
        "updates": 2,
        "rollout_tokens": read_metrics(run / "metrics.jsonl")[-1]["echo/rollout_tokens"],
    }


def test_a_spent_budget_ends_a_run_only_with_its_generation_batch(tmp_path, recipe):
    path = recipe(save_strategy="steps", save_steps=1, max_steps=9, max_rollout_tokens=100, num_iterations=2)
    assert main(["train", "--config", path]) == 0
    run = tmp_path / "run"
    before = weights(run)
    shutil.rmtree(run / "checkpoint-2")
    assert main(["train", "--config", path, "--resume_from_checkpoint", "true"]) == 0
    assert run_folder.checkpoints(run)[0].name == "checkpoint-2"
    assert same(weights(run), before)


def test_a_run_whose_tokens_are_spent_can_be_prolonged(tmp_path, recipe):
    path = recipe(save_strategy="steps", save_steps=1, max_steps=9, max_rollout_tokens=100)
    assert main(["train", "--config", path]) == 0
    more = ["--max_rollout_tokens", "300", "--resume_from_checkpoint", "true"]
    assert main(["train", "--config", path, *more]) == 0
    assert read_metrics(tmp_path / "run" / "metrics.jsonl")[-1]["echo/rollout_tokens"] >= 300


def test_a_finished_run_can_be_prolonged(tmp_path, recipe):
    path = recipe(save_strategy="steps", save_steps=1)
    assert main(["train", "--config", path]) == 0
    assert main(["train", "--config", path, "--max_steps", "3", "--resume_from_checkpoint", "true"]) == 0
    lines = read_metrics(tmp_path / "run" / "metrics.jsonl")
    assert [line["step"] for line in lines if "loss" in line] == [1, 2, 3]
    assert len(lines) == 3  # without a summary, whose means would be those of step 3 alone


def test_resume_without_a_checkpoint_starts_from_the_beginning(recipe, capsys):
    assert main(["train", "--config", recipe(max_steps=1, resume_from_checkpoint=True)]) == 0
    assert "no complete checkpoint" in capsys.readouterr().err


def test_smollm2_is_recorded_by_its_name(tmp_path, recipe, model, monkeypatch):
    """So that a run goes on on another machine, or after the cache has moved."""
    monkeypatch.setattr("echorl.models.smollm2.fetch", lambda: model)
    path = recipe(model_name_or_path="smollm2", save_strategy="steps", save_steps=1, max_steps=1)
    assert main(["train", "--config", path]) == 0
    recorded = tmp_path / "run" / "config.yaml"
    assert yaml.safe_load(recorded.read_text())["model_name_or_path"] == "smollm2"
    moved = shutil.copytree(model, tmp_path / "moved")
    monkeypatch.setattr("echorl.models.smollm2.fetch", lambda: moved)
    again = ["train", "--config", str(recorded), "--max_steps", "2", "--resume_from_checkpoint", "true"]
    assert main(again) == 0
    assert [line["step"] for line in read_metrics(tmp_path / "run" / "metrics.jsonl") if "loss" in line] == [1, 2]


def test_overwrite_deletes_the_earlier_checkpoints(tmp_path, recipe):
    path = recipe(save_strategy="steps", save_steps=1)
    assert main(["train", "--config", path]) == 0
    assert main(["train", "--config", path, "--max_steps", "1", "--overwrite_output_dir"]) == 0
    assert [p.name for p in run_folder.checkpoints(tmp_path / "run")] == ["checkpoint-1"]
    assert [line["step"] for line in read_metrics(tmp_path / "run" / "metrics.jsonl") if "loss" in line] == [1]


@pytest.fixture
def ctrl_c():
    """SIGINT as in a terminal: a shell's background jobs ignore it, and their children with them."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c")
def test_interrupt_says_how_to_resume(tmp_path, recipe, capsys):
    path = recipe(reward_funcs=[f"{REWARDS}:interrupted"], max_steps=4, save_strategy="steps", save_steps=1)
    assert main(["train", "--config", path]) == 130
    last = capsys.readouterr().err.strip().splitlines()[-1]
    config = tmp_path / "run" / "config.yaml"
    command = f"echorl train --config {config} --resume_from_checkpoint true"
    assert last == f"echorl: interrupted; go on with: {command}"


@pytest.mark.usefixtures("ctrl_c")
def test_interrupt_before_the_first_checkpoint(recipe, capsys):
    assert main(["train", "--config", recipe(reward_funcs=[f"{REWARDS}:interrupted"], max_steps=4)]) == 130
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert "interrupted before the first checkpoint" in last
    again = last.partition("start again with: echorl ")[2].split()
    capsys.readouterr()
    assert main([*again, "--reward_funcs", f"{REWARDS}:some_right", "--max_steps", "1"]) == 0
    assert "starting from the beginning" in capsys.readouterr().err


def test_lora(tmp_path, recipe):
    path = recipe(max_steps=1, use_peft=True, lora_r=2, lora_target_modules=["q_proj"], beta=0.1)
    assert main(["train", "--config", path]) == 0
    assert (tmp_path / "run" / "adapter_model.safetensors").exists()
    AutoModelForCausalLM.from_pretrained(tmp_path / "run")  # plain transformers reads the adapter and its base


@pytest.mark.slow
def test_two_processes(tmp_path, recipe):
    path = recipe(per_device_train_batch_size=2, save_strategy="steps", save_steps=1)
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"]
    launch += ["--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0"]
    command = [*launch, "-m", "echorl", "train", "--config", path]
    done = subprocess.run(
        command, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    run = tmp_path / "run"
    assert [line["step"] for line in read_metrics(run / "metrics.jsonl") if "loss" in line] == [1, 2]
    assert run_folder.is_complete(run / "checkpoint-2")
    (run / "checkpoint-2" / "rng_state_1.pth").unlink()  # the second process had not finished writing
    assert not run_folder.is_complete(run / "checkpoint-2")
    AutoModelForCausalLM.from_pretrained(run)


ARMS = [path for name in ("arms", "notes", "tests") for path in RECIPES.rglob(f"{name}.yaml")]  # which studies name
STUDIES = [path for path in sorted({*RECIPES.rglob("*.yaml")} - {*ARMS}) if "\narms:" in path.read_text()]


PARTS = RECIPES.glob("paper/**/*.yaml")  # run together: test_paper_recipes.py


@pytest.mark.parametrize("path", sorted({*RECIPES.rglob("*.yaml")} - {*STUDIES, *PARTS, *ARMS}), ids=lambda p: p.stem)
def test_recipes_parse(path):
    command = SFT if "echorl sft" in path.read_text() else TRAIN
    settings = parse(command, read_recipes([path]), ["--use_cpu", "true", "--bf16", "false"])
    assert settings.training.output_dir.startswith("runs/")
    assert settings.given["model_name_or_path"]


@pytest.mark.parametrize("path", STUDIES, ids=lambda p: p.stem)
def test_studies_parse(path, capsys):
    assert main(["compare", str(path), "--dry_run"]) == 0
    assert "rollout tokens each" in capsys.readouterr().out


def test_quickstart_recipe_runs(tmp_path):
    path = str(RECIPES / "cpu" / "quickstart.yaml")
    small = {"max_steps": 1, "train_size": 8, "per_device_train_batch_size": 8, "eval_strategy": "no"}
    more = [word for name, value in small.items() for word in (f"--{name}", str(value))]
    assert main(["train", "--config", path, *more]) == 0
    line = read_metrics(tmp_path / "runs" / "quickstart-echo" / "metrics.jsonl")[0]
    assert 0.0 < line["reward"] <= 1.0


def test_secrets_are_not_recorded(tmp_path):
    given = {"hub_token": "secret-1", "output_dir": "x"}
    training = SimpleNamespace(output_dir=tmp_path)
    settings = Settings(data=None, training=training, model=None, given=given, defaults={"hub_token": None})
    run_folder.write_config("train", settings, {"WANDB_API_KEY": "secret-2"})
    text = (tmp_path / "config.yaml").read_text()
    assert "secret" not in text
    assert "WANDB_API_KEY" in text


def test_checkpoints_are_sorted_by_number(tmp_path):
    for name in ("checkpoint-9", "checkpoint-10", "checkpoint-x", "other"):
        (tmp_path / name).mkdir()
    assert [p.name for p in run_folder.checkpoints(tmp_path)] == ["checkpoint-10", "checkpoint-9"]
    assert not run_folder.is_complete(tmp_path / "checkpoint-10")
    (tmp_path / "checkpoint-9" / "trainer_state.json").write_text(json.dumps({"global_step": 9}))
    said: list[str] = []
    assert run_folder.choose_checkpoint("true", tmp_path, said.append) == tmp_path / "checkpoint-9"
    assert "incomplete" in said[0]
    shutil.rmtree(tmp_path / "checkpoint-9")
    assert run_folder.choose_checkpoint(True, tmp_path, said.append) is None


def test_a_finished_run_has_its_best_model_where_that_was_wanted(tmp_path):
    last, best = tmp_path / "checkpoint-4", tmp_path / "checkpoint-2"
    for folder in (last, best):
        folder.mkdir()
    state = {"global_step": 4, "best_model_checkpoint": "somewhere/else/checkpoint-2"}
    (last / "trainer_state.json").write_text(json.dumps(state))
    assert run_folder.final(last, SimpleNamespace(load_best_model_at_end=True)) == best
    assert run_folder.final(last, SimpleNamespace(load_best_model_at_end=False)) == last
    best.rmdir()  # by save_total_limit
    assert run_folder.final(last, SimpleNamespace(load_best_model_at_end=True)) == last


def test_a_model_alone_cannot_be_resumed(tmp_path, recipe, fails):
    own = {"save_strategy": "steps", "save_steps": 1, "save_only_model": True}
    assert main(["train", "--config", recipe(max_steps=1, **own)]) == 0
    words = ["train", "--config", recipe(max_steps=2, **own), "--resume_from_checkpoint", "true"]
    fails(words, "checkpoint-1 holds a model and no state of the optimiser (save_only_model) to resume from")

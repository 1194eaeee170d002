"""`echorl sft`: it learns the demonstrations, and shares its command line with `echorl train`."""

from __future__ import annotations

import json
import re
from types import SimpleNamespace

import pytest
import yaml
from accelerate.utils.deepspeed import HfDeepSpeedConfig
from transformers import AutoModelForCausalLM

from echorl.cli import main
from echorl.train.offload import offload_warning
from echorl.trl.metrics_file import read_metrics


@pytest.fixture
def worked(tmp_path):
    def write(rows: list[dict]) -> str:
        path = tmp_path / "worked.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return str(path)

    return write


@pytest.fixture
def sft(recipe, worked):
    """Writes a recipe for supervised training on 16 demonstrations."""
    rl_only = dict.fromkeys(("reward_funcs", "num_generations", "max_completion_length"))
    rows = [{"prompt": f"{i}+1=?\n", "demonstration": f"{i}+1={i + 1}\n"} for i in range(8)] * 2

    def write(rows=rows, **changes) -> str:
        values = dict(train_file=worked(rows), gradient_accumulation_steps=1, max_length=64, report_to="none")
        return recipe(**{**rl_only, **values, **changes})

    return write


def test_demonstrations_become_likely_and_the_model_loads(tmp_path, sft):
    assert main(["sft", "--config", sft(max_steps=40, learning_rate=1e-2)]) == 0
    lines = [line["loss"] for line in read_metrics(tmp_path / "run" / "metrics.jsonl") if "loss" in line]
    assert lines[-1] < 0.7 * lines[0]
    AutoModelForCausalLM.from_pretrained(tmp_path / "run")
    assert "echorl sft --config" in (tmp_path / "run" / "config.yaml").read_text()


def test_a_task_gives_its_own_demonstrations(tmp_path, sft):
    path = sft(train_file=None, task="word_problems", task_options={"chat": False}, train_size=16, max_length=512)
    assert main(["sft", "--config", path]) == 0
    assert yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())["task"] == "word_problems"


def test_it_resumes(tmp_path, sft):
    assert main(["sft", "--config", sft(save_strategy="steps", save_steps=1)]) == 0
    assert main(["sft", "--config", sft(), "--max_steps", "3", "--resume_from_checkpoint", "true"]) == 0
    steps = [line["step"] for line in read_metrics(tmp_path / "run" / "metrics.jsonl") if "loss" in line]
    assert steps == [1, 2, 3]


@pytest.mark.parametrize(
    ("device", "steps", "warns"), [("cpu", 8, True), ("cpu", 1, False), ("none", 8, False), (None, 8, False)]
)
def test_gradient_accumulation_under_deepspeeds_cpu_offload_has_a_warning(device, steps, warns):
    config = {"zero_optimization": {"stage": 2, **({"offload_optimizer": {"device": device}} if device else {})}}
    warning = offload_warning(SimpleNamespace(hf_ds_config=HfDeepSpeedConfig(config)), steps)
    assert (warning is not None) == warns
    assert offload_warning(None, steps) is None
    assert not warns or re.fullmatch(r"warning: DeepSpeed's CPU offload .* here of 8 \(arXiv [^.]*\.[^.]*\.", warning)


def test_it_says_the_warning(sft, monkeypatch, capsys):
    monkeypatch.setattr("echorl.train.run.offload_warning", lambda plugin, steps: f"warning: {plugin}, {steps}")
    assert main(["sft", "--config", sft(max_steps=1, gradient_accumulation_steps=2)]) == 0
    assert "echorl: warning: None, 2\n" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([{"prompt": "a"}], ("no demonstrations to train on", "'demonstration' or 'target'", "prompt")),
        ([{"prompt": "a", "target": 4}], ("row 0: demonstration 4 is neither a string nor messages",)),
        ([{"prompt": "a", "target": " "}], ("row 0: demonstration ' ' is empty",)),
        ([{"prompt": "a", "target": None}], ("holds no demonstration in any row",)),
    ],
)
def test_bad_demonstrations(sft, fails, rows, words):
    fails(["sft", "--config", sft(rows)], *words)


def test_options_of_rl_are_unknown_here(sft, fails):
    fails(["sft", "--config", sft(), "--echo_coef", "0.1"], "unknown option '--echo_coef'")


def test_help(capsys):
    assert main(["sft", "--help"]) == 0
    shown = capsys.readouterr().out
    assert "usage: echorl sft" in shown
    assert "SFTConfig" in shown
    assert "reward_funcs" not in shown

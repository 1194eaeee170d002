"""A tiny model in a folder, recipes and a study for it, and the command line called in this process."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import yaml

from echorl.cli import main
from tests.trl import tiny

REWARDS = Path(__file__).with_name("rewards.py")
RECIPE = {
    "model_name_or_path": "quickstart",
    "task": "quickstart",
    "train_size": 16,
    "num_generations": 4,
    "per_device_train_batch_size": 8,
    "max_completion_length": 16,
    "lr_scheduler_type": "constant",
    "use_cpu": True,
    "bf16": False,
    "activation_checkpointing": False,
    "dataloader_pin_memory": False,
    "logging_steps": 1,
    "save_steps": 1,
    "report_to": "none",
}
STUDY = {
    "recipe": "recipe.yaml",
    "arms": {"grpo": {"echo_coef": 0.0}, "echorl": {"echo_coef": 0.001}},
    "learning_rates": [1e-5, 1e-4, 1e-3],
    "seeds": [0, 1],
    "rollout_tokens": 200,
    "prompts": 2,
    "samples": 2,
    "output_dir": "study",
}


@pytest.fixture(autouse=True)
def _alone(monkeypatch, tmp_path):
    """In an empty folder, on one thread (a subprocess is compared bit for bit), without asking the network."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.delenv("ECHORL_TRACEBACK", raising=False)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def save_model(folder: Path, **changes) -> Path:
    tiny.make_model(**changes).save_pretrained(folder)
    tiny.make_tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def model(tmp_path_factory) -> Path:
    return save_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="session")
def rows(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("rows") / "rows.jsonl"
    path.write_text("".join(json.dumps({"prompt": f"{i}+{i}=?\n"}) + "\n" for i in range(24)))
    return path


@pytest.fixture
def recipe(tmp_path, model, rows):
    """Writes a recipe: the tiny model's, with changes (None takes an option out)."""

    def write(**changes) -> str:
        values = dict(
            model_name_or_path=str(model),
            train_file=str(rows),
            reward_funcs=[f"{REWARDS}:some_right"],
            num_generations=4,
            per_device_train_batch_size=8,
            gradient_accumulation_steps=2,
            max_completion_length=12,
            max_steps=2,
            logging_steps=1,
            save_strategy="no",
            learning_rate=1e-3,
            bf16=False,
            use_cpu=True,
            activation_checkpointing=False,
            dataloader_pin_memory=False,
            output_dir=str(tmp_path / "run"),
        )
        values = {key: value for key, value in {**values, **changes}.items() if value is not None}
        path = tmp_path / "recipe.yaml"
        path.write_text(yaml.safe_dump(values))
        return str(path)

    return write


@pytest.fixture
def fails(capsys):
    """Calls `echorl` and expects exit code 2 and one sentence, without a traceback, that holds all the words."""

    def call(argv: list[str], *words: str) -> str:
        assert main(argv) == 2
        text = capsys.readouterr().err
        assert "Traceback" not in text
        last = text.strip().splitlines()[-1]
        assert last.startswith("echorl: error: ")
        for word in words:
            assert word in last
        return last

    return call


@pytest.fixture
def write_study(tmp_path):
    """Writes a study and its recipe: STUDY and RECIPE with changes (None takes an option out)."""

    def call(recipe: dict | None = None, **changes) -> str:
        for name, values in (("recipe", {**RECIPE, **(recipe or {})}), ("study", {**STUDY, **changes})):
            kept = {key: value for key, value in values.items() if value is not None}
            (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(kept, sort_keys=False))
        return str(tmp_path / "study.yaml")

    return call

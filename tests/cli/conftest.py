"""A tiny model in a folder, a recipe for it, and the command line called in this process."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import yaml

from echorl.cli import main
from tests.trl import tiny

REWARDS = Path(__file__).with_name("rewards.py")


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

"""A tiny model as a scorer, and rollouts for it."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from transformers import LlamaForCausalLM

from echorl.core.config import EchoConfig
from echorl.lab.evaluate.checkpoint import Checkpoint
from echorl.lab.jobs import Silent
from echorl.lab.mine.plan import Plan, Reading
from echorl.lab.mine.run import mine
from echorl.lab.options import Columns
from echorl.models.loading import load_policy
from tests.tiny import make_tokenizer, random_model

GROUP_SIZE = 4


def rows(count: int, seed: int = 0) -> list[dict[str, Any]]:
    """Rollouts of a few lines, groups of 4 one after another."""
    rng = random.Random(seed)
    return [
        {
            "prompt": f"{i // GROUP_SIZE}=?\n",
            "response": "".join(f"{rng.randrange(100)}+a{end}" for end in rng.choices(["\n", ".\n", "\n\n"], k=3)),
            "reward": float(rng.random() < 0.8),
        }
        for i in range(count)
    ]


def write(path: Path, values: Sequence[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in values), encoding="utf-8")
    return path


def run(folder: Path, files: Sequence[Path], model: Path, start: Any = None, **changes: Any) -> dict[str, Any]:
    """`mine` without the command line; `start` loads the model."""
    checkpoint = Checkpoint("tiny", str(model))
    values = dict(columns=Columns(), echo=EchoConfig(), reading=Reading(max_length=checkpoint.context))
    plan = Plan(files=files, **{**values, **changes})
    folder.mkdir(exist_ok=True)
    return mine(folder, plan, checkpoint, start or (lambda: load_policy(model)[0]), Silent())


@pytest.fixture(scope="session")
def model(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    return save_model(folder)


def save_model(folder: Path, tokenizer: Any = None, context: int = 256) -> Path:
    """A random Llama: beside a Qwen2, transformers would give the tokenizer Qwen's own way of splitting text."""
    tokenizer = tokenizer or make_tokenizer()
    model = random_model(
        LlamaForCausalLM,
        hidden=16,
        vocab_size=len(tokenizer),
        num_key_value_heads=2,
        max_position_embeddings=context,
        pad_token_id=None,
        initializer_range=0.5,
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder

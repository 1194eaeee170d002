"""Wrong arguments of the trainer: one sentence with the value and the way out, before a model is loaded."""

from __future__ import annotations

import re

import pytest
from datasets import Dataset

from echorl import models
from echorl.trl import arguments
from tests.trl.tiny import all_right, build, make_dataset

QUESTIONS = Dataset.from_dict({"question": ["1+1=?"] * 8})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "no/such/folder"}, "model='no/such/folder' is no folder here, and no name on the hub"),
        ({"model": "runs/none"}, "model='runs/none' is no folder here, and no name on the hub, but a path"),
        ({"model": "/no/such"}, "model='/no/such' is no folder here"),
        ({"model": "quickstart"}, "give echorl.models.path('quickstart')"),
        ({"model": "no/such"}, "'no/such' is no folder here, and the hub does not give it ("),
        ({"reward": [all_right, 3]}, "reward_funcs has 3, which is no function: give functions"),
        ({"reward": ["./scorer"]}, "reward_funcs='./scorer' is no folder here"),
        ({"dataset": QUESTIONS}, "train_dataset has no column 'prompt' among question: rename"),
        ({"dataset": QUESTIONS.to_iterable_dataset()}, "train_dataset has no column 'prompt' among question: rename"),
        ({"eval_dataset": {"a": QUESTIONS}}, "eval_dataset['a'] has no column 'prompt'"),
        ({"dataset": make_dataset(0)}, "train_dataset has no rows: give at least one prompt."),
    ],
)
def test_a_wrong_argument(tmp_path, monkeypatch, changes, message):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        build(tmp_path, **changes)
    assert str(caught.value).endswith((".", ")."))
    assert "\n" not in str(caught.value)


def test_the_models_of_echorl_are_known():
    assert arguments.NAMES == models.NAMES

"""An infinite reward ends a training with a sentence; NaN is TRL's own mark for None, no verdict."""

from __future__ import annotations

import math
import re

import pytest
import torch

from echorl.core.verdicts import check_finite
from tests.trl import tiny


@pytest.mark.parametrize("value", [math.inf, -math.inf, 1e400, 1e39])
def test_the_function_and_the_value_are_named(value):
    rewards = torch.tensor([[0.0, 1.0], [1.0, value], [0.5, 0.0]])
    with pytest.raises(ValueError, match=re.escape(f"reward function 'b' returned {rewards[1, 1].item()} (or")):
        check_finite(rewards, ["a", "b"])
    check_finite(rewards[:, :1], ["a"])


def test_nan_is_no_verdict():
    check_finite(torch.tensor([[math.nan], [1.0]]), ["a"])
    check_finite(torch.empty(0, 1), ["a"])


def infinite(completions, **_):
    return [math.inf, *[0.0] * (len(completions) - 1)]


@pytest.mark.parametrize("coef", [0.0, 0.01])
def test_a_training_ends(tmp_path, coef):
    trainer = tiny.build(tmp_path, infinite, echo_coef=coef)
    with pytest.raises(ValueError, match="reward function 'infinite' returned inf"):
        trainer.train()
    assert trainer.state.global_step == 0


def test_of_a_demonstration_too(tmp_path):
    trainer = tiny.build(tmp_path, infinite)
    with pytest.raises(ValueError, match="reward function 'infinite' returned inf"):
        trainer.stations.verifiers.verify([{"prompt": "1+1=?\n"}], ["2"], [[12]], trainer.context)

from __future__ import annotations

import dataclasses
import math

import pytest

from echorl import EchoConfig


def test_the_defaults_are_the_papers() -> None:
    config = EchoConfig()
    assert (config.coef, config.scope, config.select, config.clip_per) == (0.001, "verified", "max_entropy", "prompt")
    assert (config.average_over, config.length_norm, config.success_reward) == ("prompt", "clip", 1.0)
    assert (config.top_k, config.min_step_tokens, config.entropy_quantile, config.warmup_steps) == (1, 1, None, 0)
    assert (config.without_policy_gradient, config.max_step_entropy) == ("allow", None)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *((name, "nonsense") for name in ("scope", "select", "clip_per", "average_over", "length_norm")),
        *(("without_policy_gradient", value) for value in ("nonsense", "scale", None)),
        *(("coef", value) for value in (-0.1, math.nan, math.inf, "0.1", None, True)),
        *(("mine_only", value) for value in (1, "true", None)),
        *(("success_reward", value) for value in (math.nan, -math.inf, "1")),
        *(("top_k", value) for value in (0, -1, 1.0, True)),
        *(("min_step_tokens", value) for value in (0, 2.5)),
        *(("warmup_steps", value) for value in (-1, 0.5)),
        *(("seed", value) for value in (-1, None)),
        *(("entropy_quantile", value) for value in (0, 1, 1.5, math.nan, "0.5")),
        *(("max_step_entropy", value) for value in (0, -1.0, math.inf, "5")),
        *(("max_completion_length", value) for value in (0, -8, 8.0)),
    ],
)
def test_a_wrong_value_is_named(name: str, value: object) -> None:
    with pytest.raises(ValueError) as error:
        EchoConfig(**{name: value})
    assert f"{name}={value!r}" in str(error.value)


@pytest.mark.parametrize(
    ("coef", "mine_only", "mines", "trains"),
    [(0.0, False, False, False), (0.1, False, True, True), (0.0, True, True, False), (0.1, True, True, False)],
)
def test_mining_only_is_mining_without_a_coefficient(coef: float, mine_only: bool, mines: bool, trains: bool) -> None:
    config = EchoConfig(coef=coef, mine_only=mine_only)
    assert (config.mines, config.trains) == (mines, trains)
    assert config.coef_at(0) == (coef if trains else 0.0)


def test_a_constant_norm_needs_its_constant() -> None:
    with pytest.raises(ValueError, match="max_completion_length"):
        EchoConfig(length_norm="constant")
    assert EchoConfig(length_norm="constant", max_completion_length=8).max_completion_length == 8


def test_it_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        EchoConfig().coef = 1.0  # type: ignore[misc]


def test_coef_at_without_warmup_is_constant() -> None:
    assert {EchoConfig(coef=0.3).coef_at(step) for step in range(10)} == {0.3}


def test_coef_at_rises_linearly_and_stays() -> None:
    config = EchoConfig(coef=0.5, warmup_steps=10)
    assert [config.coef_at(step) for step in (0, 4, 9, 10, 1000)] == pytest.approx([0.05, 0.25, 0.5, 0.5, 0.5])

"""Wrong settings end in one sentence."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from swift.trainers.trainer_factory import TrainerFactory

from echorl import EchoConfig
from echorl.swift import use_echo
from echorl.swift.settings import EchoSettings, active_settings, check_run
from tests.swift.runs import run


def trainer(**changes):
    template = dict(padding_free=False, sequence_parallel_size=1)
    template |= {name: changes.pop(name) for name in list(changes) if name in template}
    values = dict(dynamic_sample=False, use_liger_loss=False, num_generations=4, _has_teacher_explicit=lambda: False)
    return SimpleNamespace(template=SimpleNamespace(**template), **values | changes)


@pytest.mark.parametrize(
    ("changes", "options", "sentence"),
    [
        (dict(dynamic_sample=True), {}, "--dynamic_sample true drops the groups that EchoRL needs"),
        (dict(padding_free=True), {}, "--padding_free true"),
        (dict(sequence_parallel_size=2), {}, "--sequence_parallel_size 2"),
        (dict(use_liger_loss=True), {}, "--use_liger_kernel true"),
        (dict(num_generations=1), {}, "--num_generations 1 gives no groups"),
        (dict(_has_teacher_explicit=lambda: True), {}, "--teacher_model"),
        ({}, dict(without_policy_gradient="skip"), "without_policy_gradient='skip'"),
    ],
)
def test_refusals(changes, options, sentence):
    with pytest.raises(ValueError, match=sentence):
        check_run(trainer(**changes), EchoSettings(EchoConfig(**options)))
    check_run(trainer(**changes), EchoSettings(EchoConfig(coef=0, **options)))
    check_run(trainer(), EchoSettings(EchoConfig()))


def test_a_run_that_drops_the_groups_is_refused(tmp_path):
    with pytest.raises(ValueError, match="--dynamic_sample true drops the groups"):
        run(tmp_path, "all_right", dict(coef=0.1), dynamic_sample="true")


def test_a_verifier_that_does_not_exist(tmp_path):
    with pytest.raises(ValueError, match=r"use_echo\(success_reward_func=...\)='Exact' does not exist; there are: A"):
        run(tmp_path, "all_right", dict(success_reward_func="Exact"))


@pytest.mark.parametrize("name", ["all_right", "AllRight"])
def test_a_verifier_goes_by_the_flag_or_by_the_class(name):
    settings = EchoSettings(EchoConfig(), (name,))
    assert settings.columns(SimpleNamespace(reward_func_names=["SomeRight", "AllRight"])) == [1]


def test_several_reward_functions_and_none_named():
    several = SimpleNamespace(reward_func_names=["SomeRight", "AllRight"])
    with pytest.raises(ValueError, match=r"Name it in use_echo\(success_reward_func=\.\.\.\)"):
        EchoSettings(EchoConfig()).columns(several)
    assert EchoSettings(EchoConfig(coef=0)).columns(several) is None


def test_unknown_options_and_values():
    with pytest.raises(ValueError, match=r"use_echo\(coeff=...\) does not exist: did you mean coef\?"):
        use_echo(coeff=1.0)
    with pytest.raises(ValueError, match="coef=-1 is not allowed"):
        use_echo(coef=-1)
    with pytest.raises(ValueError, match=r"call echorl\.swift\.use_echo"):
        active_settings()


def test_another_training_method():
    use_echo()
    trainer_class = TrainerFactory.get_trainer_cls(SimpleNamespace(rlhf_type="dpo"))
    with pytest.raises(ValueError, match="use_echo extends `swift rlhf --rlhf_type grpo` alone"):
        trainer_class(model=None)

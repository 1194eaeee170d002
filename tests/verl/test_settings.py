"""What stands under +echo.*, and every refusal, on verl's own configuration."""

from __future__ import annotations

import pytest

pytest.importorskip("verl", reason="verl is not installed: run `make test-verl`")

from echorl import EchoConfig
from echorl.verl.__main__ import check_plugins
from echorl.verl.settings import check_launch, check_run, read_settings
from tests.verl.batches import make_config


def test_the_paper_s_settings_are_the_default():
    settings = read_settings(make_config())
    assert settings.echo == EchoConfig()
    assert settings.success_key is None
    check_launch(make_config("+echo.coef=0.001"))


def test_every_setting_can_be_given():
    flags = dict(coef=0.01, scope="degenerate", select="random", top_k=2, entropy_quantile=0.5, warmup_steps=5, seed=1)
    config = make_config(*(f"+echo.{name}={value}" for name, value in flags.items()), "+echo.success_key=acc")
    settings = read_settings(config)
    assert settings.echo == EchoConfig(**flags)
    assert settings.success_key == "acc"
    assert settings.line().startswith("EchoRL is active: ")
    assert "coef=0.01" in settings.line()
    assert "succeeds by 'acc' of the reward function" in settings.line()


def test_the_constant_length_is_verl_s():
    config = make_config("+echo.length_norm=constant", "data.max_response_length=77")
    assert read_settings(config).echo.max_completion_length == 77


@pytest.mark.parametrize(
    ("key", "nearest"), [("coeff", "coef"), ("lam", "seed"), ("success", "success_key"), ("topk", "top_k")]
)
def test_an_unknown_key_is_refused_with_the_nearest(key, nearest):
    with pytest.raises(ValueError, match=rf"\+echo\.{key} does not exist: did you mean \+echo\."):
        read_settings(make_config(f"+echo.{key}=1"))


def test_a_value_out_of_range_is_refused():
    with pytest.raises(ValueError, match="coef=-1 is not allowed"):
        read_settings(make_config("+echo.coef=-1"))


REFUSED = {
    "bypass_mode=True skips the pass": ["algorithm.rollout_correction.bypass_mode=True"],
    "distillation.enabled=True trains with a loss": ["distillation.enabled=True"],
    "custom_sampler.name=Mine drops groups whose clips EchoRL": [
        "algorithm.filter_groups.enable=True",
        "trainer.v1.sampler.custom_sampler.path=mine.py",
        "trainer.v1.sampler.custom_sampler.name=Mine",
    ],
    "actor.shuffle=True would spread": ["algorithm.filter_groups.enable=True", "actor_rollout_ref.actor.shuffle=True"],
    "skip.rollout_tq.enable=True replays": ["algorithm.filter_groups.enable=True", "skip.rollout_tq.enable=True"],
    "micro-batches of a fixed size": ["algorithm.filter_groups.enable=True"],
    "log_prob_use_dynamic_bsz=True.": [
        "algorithm.filter_groups.enable=True",
        "actor_rollout_ref.actor.use_dynamic_bsz=True",
        "actor_rollout_ref.rollout.log_prob_use_dynamic_bsz=False",
    ],
    "adv_estimator=gae": ["algorithm.adv_estimator=gae"],
    "adv_estimator=remax": ["algorithm.adv_estimator=remax"],
    "critic.enable=True": ["critic.enable=True"],
    "rollout.n=1 gives no groups": ["actor_rollout_ref.rollout.n=1"],
    "dynamic_context_parallel=True": ["+actor_rollout_ref.actor.megatron.dynamic_context_parallel=True"],
    "without_policy_gradient=skip acts on single optimiser steps": ["+echo.without_policy_gradient=skip"],
    "success_key=acc is not known where a colocated": ["+echo.success_key=acc", "reward.reward_model.enable=True"],
}


@pytest.mark.parametrize("message", REFUSED)
def test_it_refuses_in_one_sentence(message):
    config = make_config(*REFUSED[message])
    with pytest.raises(ValueError) as error:
        check_run(config, read_settings(config))
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("message", REFUSED)
def test_at_coef_0_it_refuses_nothing(message):
    config = make_config(*REFUSED[message], "+echo.coef=0")
    check_run(config, read_settings(config))


@pytest.mark.parametrize("estimator", ["grpo", "rloo", "opo", "grpo_passk", "reinforce_plus_plus_baseline"])
def test_group_estimators_are_allowed(estimator):
    config = make_config(f"algorithm.adv_estimator={estimator}")
    check_run(config, read_settings(config))


def test_dynamic_sampling_is_allowed():
    options = ["algorithm.filter_groups.enable=True", "algorithm.filter_groups.max_num_gen_batches=10"]
    check_launch(make_config(*options, "actor_rollout_ref.actor.use_dynamic_bsz=True"))


def test_launching_without_echorl_s_trainer_is_refused():
    with pytest.raises(ValueError, match=r"trainer_mode=sync is verl without EchoRL: .*echo_sync"):
        check_launch(make_config("trainer.v1.trainer_mode=sync"))
    with pytest.raises(ValueError, match="use_v1=False has no hooks"):
        check_launch(make_config("trainer.use_v1=False"))


def test_plug_ins_that_keep_echorl_out_are_refused():
    check_plugins("auto")
    check_plugins("other, echorl")
    for policy in ("none", "other"):
        with pytest.raises(ValueError, match=f"VERL_USE_EXTERNAL_PLUGINS={policy} keeps EchoRL out"):
            check_plugins(policy)

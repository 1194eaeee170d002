"""EchoRL's settings from verl's configuration, and the settings of verl that EchoRL refuses."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, fields
from typing import Any

from omegaconf import DictConfig, OmegaConf
from verl.trainer.distillation import is_distillation_enabled
from verl.trainer.ppo.utils import need_critic

from echorl.core.config import EchoConfig
from echorl.core.refusals import refuse_if

PREFIX = "echo_"
MODES = ("sync", "colocate_async", "separate_async")
# Their advantages do not come from comparing the rollouts of a prompt, so an all-success group is not without gradient.
OTHER_ESTIMATORS = (
    "gae",
    "remax",
    "reinforce_plus_plus",
    "optimal_token_baseline",
    "tir_optimal_token_baseline",
    "gdpo",
)


@dataclass(frozen=True)
class EchoSettings:
    """The settings under `+echo.*`.

    Attributes:
        echo: the `EchoConfig`.
        success_key: the key of the reward function's extra information that verifies; None: the reward itself.
    """

    echo: EchoConfig
    success_key: str | None = None

    def line(self) -> str:
        """Return a line for the log: whether EchoRL is active, and with which settings."""
        if not self.echo.mines:
            return "EchoRL is off (echo.coef=0): this is plain verl."
        source = f"{self.success_key!r} of the reward function" if self.success_key else "the reward"
        settings = ", ".join(f"{f.name}={getattr(self.echo, f.name)!r}" for f in fields(EchoConfig))
        return f"EchoRL is active: {settings}; a rollout succeeds by {source}."


def read_settings(config: DictConfig) -> EchoSettings:
    """Return the settings under `echo` of verl's configuration; the paper's where there are none.

    Raises:
        ValueError: a key does not exist (the message has the nearest one), or a value is out of range.
    """
    section = config.get("echo")
    values: dict[str, Any] = {} if section is None else OmegaConf.to_container(section, resolve=True)
    names = [*(field.name for field in fields(EchoConfig)), "success_key"]
    for key in values:
        if key not in names:
            nearest = difflib.get_close_matches(key, names, n=1, cutoff=0.0)[0]
            raise ValueError(f"+echo.{key} does not exist: did you mean +echo.{nearest}?")
    key = values.pop("success_key", None)
    if values.get("length_norm") == "constant":
        values.setdefault("max_completion_length", config.data.max_response_length)
    return EchoSettings(echo=EchoConfig(**values), success_key=key)


def check_run(config: DictConfig, settings: EchoSettings) -> None:
    """Refuse settings that EchoRL cannot be combined with; at coef 0, which is plain verl, there are none.

    Raises:
        ValueError: one sentence that names the setting and the way out.
    """
    if not settings.echo.mines:
        return
    sampling = _sampling_refusals(config) if filters_groups(config) else {}
    refuse_if({**sampling, **_refusals(config, settings)})


def _refusals(config: DictConfig, settings: EchoSettings) -> dict[str, bool]:
    """Return the sentence on each setting that EchoRL cannot be combined with, and whether it is set."""
    algorithm, actor = config.algorithm, config.actor_rollout_ref.actor
    estimator, reward = algorithm.adv_estimator, config.reward.reward_model
    return {
        (
            "algorithm.rollout_correction.bypass_mode=True skips the pass that gives EchoRL its entropies: "
            "set it to False, or +echo.coef=0."
        ): bool(OmegaConf.select(algorithm, "rollout_correction.bypass_mode")),
        (
            "distillation.enabled=True trains with a loss that EchoRL does not extend: "
            "set it to False, or +echo.coef=0."
        ): bool(is_distillation_enabled(config.get("distillation"))),
        (
            f"algorithm.adv_estimator={estimator} with critic.enable={config.critic.enable} does not compare the "
            "rollouts of a prompt, as EchoRL supposes: use grpo, rloo or another group estimator without a critic."
        ): bool(need_critic(config)) or estimator in OTHER_ESTIMATORS,
        (
            f"actor_rollout_ref.rollout.n={config.actor_rollout_ref.rollout.n} gives no groups to compare: "
            "set it to at least 2."
        ): config.actor_rollout_ref.rollout.n < 2,
        (
            "actor.megatron.dynamic_context_parallel=True spreads a rollout's tokens over ranks in a way that "
            "EchoRL's weights do not follow: set it to False."
        ): bool(OmegaConf.select(actor, "megatron.dynamic_context_parallel")),
        (
            f"+echo.without_policy_gradient={settings.echo.without_policy_gradient} acts on single optimiser steps, "
            "which verl takes inside its workers: leave it at 'allow'."
        ): settings.echo.without_policy_gradient != "allow",
        (
            f"+echo.success_key={settings.success_key} is not known where a colocated reward model scores: "
            "set reward.reward_model.enable_resource_pool=True, or leave the key out."
        ): settings.success_key is not None and bool(reward.enable) and not reward.enable_resource_pool,
    }


def filters_groups(config: DictConfig) -> bool:
    """Return whether verl drops groups whose metric is the same in all rollouts (DAPO's dynamic sampling)."""
    return bool(OmegaConf.select(config, "algorithm.filter_groups.enable"))


def _sampling_refusals(config: DictConfig) -> dict[str, bool]:
    """Return as `_refusals` what dynamic sampling, whose filtered groups EchoRL mines, cannot be combined with."""
    model, sampler = config.actor_rollout_ref, OmegaConf.select(config, "trainer.v1.sampler.custom_sampler.name")
    return {
        (
            f"trainer.v1.sampler.custom_sampler.name={sampler} drops groups whose clips EchoRL "
            "would mine with algorithm.filter_groups.enable=True: leave one of the two out, or set +echo.coef=0."
        ): bool(sampler),
        (
            "actor_rollout_ref.actor.shuffle=True would spread the clips of filtered groups unevenly over the "
            "mini-batches: set it to False, or algorithm.filter_groups.enable=False."
        ): bool(model.actor.shuffle),
        (
            "skip.rollout_tq.enable=True replays batches without the groups that dynamic sampling filtered: "
            "set it to False, or algorithm.filter_groups.enable=False."
        ): bool(OmegaConf.select(config, "skip.rollout_tq.enable")),
        (
            "algorithm.filter_groups.enable=True adds the clips of filtered groups to a batch, whose size "
            "micro-batches of a fixed size must divide: set actor_rollout_ref.actor.use_dynamic_bsz=True and "
            "actor_rollout_ref.rollout.log_prob_use_dynamic_bsz=True."
        ): not (model.actor.use_dynamic_bsz and model.rollout.log_prob_use_dynamic_bsz),
    }


def check_launch(config: DictConfig) -> None:
    """Check a run before `python -m echorl.verl` starts anything; the trainers check the same.

    Raises:
        ValueError: EchoRL would not be active, or could not work.
    """
    mode = config.trainer.v1.trainer_mode
    if not config.trainer.use_v1:
        raise ValueError("trainer.use_v1=False has no hooks for EchoRL: leave it at True.")
    if mode not in [PREFIX + name for name in MODES]:
        raise ValueError(plain_verl(mode))
    check_run(config, read_settings(config))


def plain_verl(mode: str) -> str:
    """Return the sentence for a trainer of plain verl."""
    allowed = ", ".join(PREFIX + name for name in MODES)
    return f"trainer.v1.trainer_mode={mode} is verl without EchoRL: set it to one of {allowed}."

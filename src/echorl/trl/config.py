"""`EchoGRPOConfig`: TRL's `GRPOConfig` and EchoRL's settings as flat `echo_*` fields."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Literal

from trl import GRPOConfig

from echorl.core.config import EchoConfig
from echorl.core.options import argument, options_of
from echorl.methods import METHODS, SET_BY_METHODS, Method, load_method, method_settings
from echorl.support.errors import NO_BF16, ON_A_CPU
from echorl.support.texts import parse_mapping

_OPTIONS = {each.name: each for each in options_of(EchoConfig)}

CHOICES = {
    "echo_entropy_from": ("logits", "top_logprobs", "surprisal"),
    "loss_type": ("grpo", "dr_grpo", "dapo", "bnpo", "cispo", "sapo", "luspo", "vespo"),
    "scale_rewards": ("group", "batch", "none"),
    "importance_sampling_level": ("token", "sequence"),
    "multi_objective_aggregation": ("sum_then_normalize", "normalize_then_sum"),
    "vllm_mode": ("colocate", "server"),
    "vllm_importance_sampling_mode": ("token_truncate", "token_mask", "sequence_truncate", "sequence_mask"),
}
"""Fields with fixed values; TRL refuses another value of its fields only when the training comes to use it."""


def _setting(name: str) -> Any:
    """Return a field with the default and the help of `EchoConfig`'s option; TRL's parser takes no other metadata."""
    option = _OPTIONS[name]
    if f"echo_{name}" in SET_BY_METHODS:
        return _left_to_methods(f"echo_{name}", option.help, option.default)
    return argument(option.default, option.help)


def _trl_setting(name: str) -> Any:
    """Return TRL's field of that name, as one that methods set."""
    field = next(field for field in fields(GRPOConfig) if field.name == name)
    return _left_to_methods(name, field.metadata["help"], field.default)


def _left_to_methods(name: str, text: str, default: Any) -> Any:
    """Return a field that is None until it is written, so that a written default differs from none."""
    _WITHOUT_A_METHOD[name] = default
    return argument(None, f"{text} Not written: the method's value, or {default!r}.")


_WITHOUT_A_METHOD: dict[str, Any] = {}
"""Fields that methods set -> the value that holds where neither the user nor the method sets them."""


@dataclass
class EchoGRPOConfig(GRPOConfig):
    """`GRPOConfig` plus the settings of EchoRL. An `echo_*` field of a name in `echorl.EchoConfig` is that option.

    Raises:
        ValueError: a value is out of range; the message names the field and what is allowed.
    """

    echo_coef: float | None = _setting("coef")
    echo_mine_only: bool = _setting("mine_only")
    echo_scope: Literal["verified", "degenerate"] = _setting("scope")
    echo_select: Literal["max_entropy", "min_entropy", "random", "full"] | None = _setting("select")
    echo_clip_per: Literal["prompt", "rollout"] | None = _setting("clip_per")
    echo_average_over: Literal["prompt", "clip"] | None = _setting("average_over")
    echo_length_norm: Literal["clip", "constant"] = _setting("length_norm")
    echo_top_k: int = _setting("top_k")
    echo_min_step_tokens: int = _setting("min_step_tokens")
    echo_entropy_quantile: float | None = _setting("entropy_quantile")
    echo_max_step_entropy: float | None = _setting("max_step_entropy")
    echo_warmup_steps: int = _setting("warmup_steps")
    echo_success_reward: float = _setting("success_reward")
    echo_without_policy_gradient: Literal["allow", "skip"] = _setting("without_policy_gradient")
    echo_seed: int = _setting("seed")
    echo_success_reward_func: list[str] | None = argument(
        None,
        "Name(s) of the reward function(s) that verify, as a list or comma-separated; not needed with one function. "
        "With several named, a rollout succeeds if every one that returns a number for it accepts it.",
    )
    echo_rollouts_every: int = argument(
        0, "Optimiser steps between dumps of a generation batch to output_dir/rollouts; 0: none."
    )
    echo_entropy_from: Literal["logits", "top_logprobs", "surprisal"] = argument(
        "logits",
        "Source of entropies where nothing else has the logits of a batch: 'logits' makes an extra forward; "
        "'top_logprobs' takes those of vLLM's 20 most likely tokens, which is nearly exact; 'surprisal' takes -log pi "
        "of the sampled tokens, which often picks another clip (docs/reference/trl.md).",
    )
    share_prompts: bool = argument(
        False,
        "Compute a prompt once for all of its rollouts, while sampling and in the loss: the same numbers but for "
        "rounding, and fewer tokens to compute. Needs attn_implementation 'sdpa' and a model without images.",
    )

    loss_type: str | None = _trl_setting("loss_type")  # type: ignore[assignment]
    scale_rewards: str | None = _trl_setting("scale_rewards")  # type: ignore[assignment]
    importance_sampling_level: str | None = _trl_setting("importance_sampling_level")  # type: ignore[assignment]
    epsilon: float | None = _trl_setting("epsilon")  # type: ignore[assignment]
    epsilon_high: float | None = _trl_setting("epsilon_high")
    beta: float | None = _trl_setting("beta")  # type: ignore[assignment]
    use_bias_correction_kl: bool | None = _trl_setting("use_bias_correction_kl")  # type: ignore[assignment]
    entropy_coef: float | None = _trl_setting("entropy_coef")  # type: ignore[assignment]
    top_entropy_quantile: float | None = _trl_setting("top_entropy_quantile")  # type: ignore[assignment]

    method: str | None = argument(
        None,
        f"A method: {', '.join(METHODS)}; or my_rule.py:MyRule, a class in a file (relative to the working directory). "
        "Each field that the method sets takes the method's value, unless it is written; none: TRL's own.",
    )
    method_options: dict | str | None = argument(
        None,
        "The method's own options, a mapping (JSON on the command line); also a field that the method sets, to set it "
        "otherwise.",
    )
    max_rollout_tokens: int = argument(
        0,
        "End training with the generation batch that brings the sampled response tokens to this number, so that runs "
        "can be compared at equal cost; 0: no limit.",
    )

    def __post_init__(self) -> None:
        apply_method(self)
        try:
            super().__post_init__()
        except ValueError as error:
            if NO_BF16 in str(error):  # TRL's default is bf16
                raise ValueError(f"{error}{ON_A_CPU}") from None
            raise
        check_choices(self)
        check_fixed(self)
        for name in ("echo_rollouts_every", "max_rollout_tokens"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}={getattr(self, name)} is not allowed: it must be 0 (never) or positive.")
        self.echo_config()

    def echo_config(self) -> EchoConfig:
        """The `EchoConfig` that these fields describe."""
        names = [field.name for field in fields(EchoConfig) if hasattr(self, f"echo_{field.name}")]
        values = {name: getattr(self, f"echo_{name}") for name in names}
        try:
            return EchoConfig(**values, max_completion_length=self.max_completion_length)
        except ValueError as error:
            raise ValueError(f"echo_{error}") from None

    def load_method(self) -> Method:
        """The `Method` that these fields describe."""
        return load_method(self.method, self.parsed_method_options())

    def parsed_method_options(self) -> dict[str, Any]:
        """`method_options` as a mapping; empty if not set."""
        return parse_mapping("method_options", self.method_options, '{"gamma": 0.1}')

    def success_reward_func_names(self) -> list[str]:
        """`echo_success_reward_func` as a list; empty if not set."""
        names = self.echo_success_reward_func or []
        return [name.strip() for name in names.split(",")] if isinstance(names, str) else list(names)


def apply_method(config: EchoGRPOConfig) -> None:
    """Give the fields that were not written the method's values, or those that hold without a method.

    Raises:
        ValueError: a field and `method_options` name different values.
    """
    config.load_method()  # refuses an unknown method or option
    options = config.parsed_method_options()
    values = {**_WITHOUT_A_METHOD, **method_settings(config.method, options)}
    for name, value in values.items():
        written = getattr(config, name)
        if written is None:
            setattr(config, name, value)
        elif name in options and written != value:
            raise ValueError(f"{name}={written!r} and method_options={{{name!r}: {value!r}}} differ: keep one of them.")


def check_choices(config: EchoGRPOConfig) -> None:
    """Check the fields of `CHOICES`. A value of a newer TRL is allowed, too, if the field's help names it.

    Raises:
        ValueError: one has another value.
    """
    for field in fields(config):
        value, choices = getattr(config, field.name), CHOICES.get(field.name)
        if choices and value is not None and value not in choices and repr(value) not in field.metadata["help"]:
            allowed = ", ".join(map(repr, choices))
            raise ValueError(f"{field.name}={value!r} is not allowed: it must be one of {allowed}.")


def check_fixed(config: EchoGRPOConfig) -> None:
    """Check that the fields which the method fixes have its values.

    Raises:
        ValueError: one has another value.
    """
    method = config.load_method()
    for name in method.fixed:
        value, needed = getattr(config, name), method.settings[name]
        if value != needed:
            raise ValueError(
                f"{name}={value!r} cannot be combined with method={config.method!r}, whose term needs {needed!r}: "
                f"leave {name} to the method."
            )

"""`EchoGRPOConfig`: TRL's `GRPOConfig` and EchoRL's settings as flat `echo_*` fields."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields
from typing import Any

from trl import GRPOConfig

from echorl.core.config import EchoConfig
from echorl.methods import METHODS, SET_BY_METHODS, Method, load_method, method_settings

_DEFAULT = EchoConfig()

ENTROPY_FROM = ("logits", "surprisal")
"""The values of `echo_entropy_from`."""


def _setting(name: str, text: str):
    """A field with `EchoConfig`'s default, so that each default lives in one place."""
    if f"echo_{name}" in SET_BY_METHODS:
        return _left_to_methods(f"echo_{name}", text, getattr(_DEFAULT, name))
    return field(default=getattr(_DEFAULT, name), metadata={"help": text})


def _trl_setting(name: str):
    """TRL's field of that name, as one that methods set."""
    own = next(own for own in fields(GRPOConfig) if own.name == name)
    return _left_to_methods(name, own.metadata["help"], own.default)


def _left_to_methods(name: str, text: str, default: Any):
    """A field that is None until it is written, since only so a written default differs from one that was left out."""
    _WITHOUT_A_METHOD[name] = default
    return field(default=None, metadata={"help": f"{text} Not written: the method's value, or {default!r}."})


_WITHOUT_A_METHOD: dict[str, Any] = {}
"""Fields that methods set -> the value that holds where neither the user nor the method sets them."""


@dataclass
class EchoGRPOConfig(GRPOConfig):
    """`GRPOConfig` plus EchoRL's settings (see `echorl.EchoConfig` for what each means).

    Beyond those:
        echo_success_reward_func: name(s) of the reward function(s) that verify, as a list or comma-separated. Not
            needed with one function. With several named (one a task), a rollout succeeds if all that judged it agree.
        echo_rollouts_every: optimiser steps between dumps of a generation batch to `output_dir/rollouts` (0: never).
        echo_entropy_from: what is done where no pass and no recorder has the logits of a batch. `"logits"` makes one
            extra forward for them; `"surprisal"` takes -log pi of the sampled tokens instead, where the engine returns
            it: no forward, but a noisy estimate that often picks another clip (docs/trl.md).
        method: a name in `echorl.methods.METHODS` ("grpo", "dapo", "luffy", "uft", ...), or "my_rule.py:MyRule", a
            class in a file (relative to the working directory). Each field that the method sets takes the method's
            value, unless it is written, with whatever value. None: TRL's own.
        method_options: the method's own options, a mapping (JSON on a command line); also a field that the method sets,
            to set it otherwise.
        echo_mine_demonstrations: whether an expert's trace in a group (LUFFY) can give an EchoClip.
        max_rollout_tokens: end training with the generation batch that brings the response tokens sampled so far to
            this number (0: no limit), so that runs can be compared at equal cost.

    Raises:
        ValueError: a value is out of range; the message names the field and what is allowed.
    """

    echo_coef: float | None = _setting(
        "coef", "lambda, the weight of the EchoClips' negative log-likelihood; 0: plain GRPO."
    )
    echo_mine_only: bool = _setting("mine_only", "Find EchoClips and log them, and add nothing to the loss.")
    echo_scope: str = _setting(
        "scope", "'verified': every group with a success; 'degenerate': all-success groups only."
    )
    echo_select: str | None = _setting(
        "select", "'max_entropy' (EchoRL), or a control: 'min_entropy', 'random', 'full'."
    )
    echo_clip_per: str | None = _setting("clip_per", "One clip a 'prompt', or one for each successful 'rollout'.")
    echo_average_over: str | None = _setting(
        "average_over", "Divide the sum over clips by all prompts ('prompt') or by 'clip's."
    )
    echo_length_norm: str = _setting(
        "length_norm", "Clip tokens weigh 1/L ('clip') or 1/max_completion_length ('constant')."
    )
    echo_top_k: int = _setting("top_k", "Clips a prompt (or a rollout).")
    echo_min_step_tokens: int = _setting("min_step_tokens", "Steps with fewer tokens cannot end a clip.")
    echo_entropy_quantile: float | None = _setting(
        "entropy_quantile", "Only steps at or above this running quantile of step entropies can end a clip."
    )
    echo_max_step_entropy: float | None = _setting(
        "max_step_entropy", "A rollout with a step above this many nats (gibberish) gives no clip."
    )
    echo_warmup_steps: int = _setting("warmup_steps", "Optimiser steps over which lambda rises linearly.")
    echo_success_reward: float = _setting("success_reward", "A rollout succeeds from this reward of its verifier on.")
    echo_without_policy_gradient: str = _setting(
        "without_policy_gradient",
        "In an optimiser step without policy gradient: 'allow' or 'skip' EchoRL's part (Adam undoes lambda there).",
    )
    echo_seed: int = _setting("seed", "Seed of the random choices of the controls.")
    echo_success_reward_func: list[str] | None = field(
        default=None, metadata={"help": "Name(s) of the reward function(s) that verify; needed with several functions."}
    )
    echo_rollouts_every: int = field(
        default=0,
        metadata={"help": "Dump a generation batch to output_dir/rollouts every so many optimiser steps; 0: never."},
    )
    echo_entropy_from: str = field(
        default="logits",
        metadata={
            "help": "Where no logits exist anyway: 'logits' makes an extra forward for them, 'surprisal' takes "
            "-log pi of the sampled tokens, a noisy estimate of the entropies."
        },
    )

    loss_type: str | None = _trl_setting("loss_type")
    scale_rewards: str | None = _trl_setting("scale_rewards")
    importance_sampling_level: str | None = _trl_setting("importance_sampling_level")
    epsilon: float | None = _trl_setting("epsilon")
    epsilon_high: float | None = _trl_setting("epsilon_high")
    beta: float | None = _trl_setting("beta")
    use_bias_correction_kl: bool | None = _trl_setting("use_bias_correction_kl")
    entropy_coef: float | None = _trl_setting("entropy_coef")
    top_entropy_quantile: float | None = _trl_setting("top_entropy_quantile")

    method: str | None = field(
        default=None, metadata={"help": f"{', '.join(METHODS)}, or file.py:Class; none: TRL's own."}
    )
    method_options: dict | str | None = field(
        default=None, metadata={"help": "The method's own options, a mapping (JSON on the command line)."}
    )
    echo_mine_demonstrations: bool = field(
        default=False, metadata={"help": "Let an expert's trace in a group give an EchoClip, too."}
    )
    max_rollout_tokens: int = field(
        default=0, metadata={"help": "End training when so many response tokens have been sampled; 0: no limit."}
    )

    def __post_init__(self):
        apply_method(self)
        super().__post_init__()
        check_fixed(self)
        if self.echo_entropy_from not in ENTROPY_FROM:
            allowed = ", ".join(map(repr, ENTROPY_FROM))
            raise ValueError(
                f"echo_entropy_from={self.echo_entropy_from!r} is not allowed: it must be one of {allowed}."
            )
        for name in ("echo_rollouts_every", "max_rollout_tokens"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}={getattr(self, name)} is not allowed: it must be 0 (never) or positive.")
        self.echo_config()

    def echo_config(self) -> EchoConfig:
        """The `EchoConfig` that these fields describe."""
        own = {f.name: getattr(self, f"echo_{f.name}") for f in fields(EchoConfig) if hasattr(self, f"echo_{f.name}")}
        try:
            return EchoConfig(**own, max_completion_length=self.max_completion_length)
        except ValueError as error:
            raise ValueError(f"echo_{error}") from None

    def load_method(self) -> Method:
        """The `Method` that these fields describe."""
        return load_method(self.method, self.parsed_method_options())

    def parsed_method_options(self) -> dict[str, Any]:
        """`method_options` as a mapping; empty if not set."""
        options = self.method_options
        if isinstance(options, str):
            try:
                options = json.loads(options)
            except ValueError as error:
                example = "'{\"gamma\": 0.1}'"
                raise ValueError(f"method_options={options!r} is not JSON ({error}): write e.g. {example}.") from None
        if options is not None and not isinstance(options, dict):
            raise ValueError(f"method_options={options!r} is not a mapping of option names to values.")
        return options or {}

    def success_reward_func_names(self) -> list[str]:
        """`echo_success_reward_func` as a list; empty if not set."""
        names = self.echo_success_reward_func or []
        return [name.strip() for name in names.split(",")] if isinstance(names, str) else list(names)


def apply_method(config: EchoGRPOConfig) -> None:
    """Give the fields that were not written the method's values, or those that hold without a method.

    Raises:
        ValueError: a field and `method_options` name different values.
    """
    config.load_method()  # refuses what does not exist
    options = config.parsed_method_options()
    values = {**_WITHOUT_A_METHOD, **method_settings(config.method, options)}
    for name, value in values.items():
        written = getattr(config, name)
        if written is None:
            setattr(config, name, value)
        elif name in options and written != value:
            raise ValueError(f"{name}={written!r} and method_options={{{name!r}: {value!r}}} differ: keep one of them.")


def check_fixed(config: EchoGRPOConfig) -> None:
    """ValueError for a field that the method needs as it is, and that was set otherwise."""
    method = config.load_method()
    for name in method.fixed:
        value, needed = getattr(config, name), method.settings[name]
        if value != needed:
            raise ValueError(
                f"{name}={value!r} does not go with method={config.method!r}, whose own term is made for {needed!r}: "
                f"leave {name} to the method."
            )

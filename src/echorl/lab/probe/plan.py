"""Settings of `echorl probe`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from echorl.core.options import check_options, option
from echorl.lab.options import COUNT, SEED, TEMPERATURE
from echorl.support.method_names import check_method_name

if TYPE_CHECKING:
    from echorl.lab.probe.rules import Rule


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Settings of a probe: its samples, the projection of its gradients, and the batch that it reports on.

    Raises:
        ValueError: a value is out of range; the message says what is allowed.
    """

    prompts_per_batch: int = option(
        32,
        "Prompts in an optimiser step of the training that you plan; may be changed later in the same folder.",
        **COUNT,
    )
    baseline_samples: int = option(
        8,
        "Further rollouts of each prompt, only for the success rate that the tracked baseline takes for an "
        "earlier visit's; 0 excludes that rule.",
        ge=0,
        le=10**6,
    )
    loss_type: Literal["dapo", "grpo", "dr_grpo"] = option(
        "dapo",
        "The policy loss that coefficients are compared with, as in TRL: 'dapo' and 'grpo' divide advantages by the "
        "group's deviation, 'dr_grpo' does not; tokens are averaged over the batch, the rollout, or max_new_tokens.",
    )
    projection: int = option(
        8192, "Numbers that are kept of a gradient; 0 keeps it whole, for small models.", ge=0, le=10**7
    )
    parameters: str = option(
        "", "A regular expression: only parameters in whose names it is found count; default: all."
    )
    temperature: float = option(
        1.0, "Temperature of the sampling and of the policy, as in your training.", **TEMPERATURE
    )
    batch_size: int = option(64, "Rollouts that are sampled at once, unless one prompt has more.", **COUNT)
    seed: int = option(0, "Seed of prompts, samples, random rules and projection.", **SEED)
    method: str | None = option(
        None, "A method whose gradient is measured beside the rules: agpo, rl_zvp, file.py:Class ... (own-method.md)."
    )
    method_options: dict | None = option(None, "The method's options, '{\"right\": 0.5}'.")

    def __post_init__(self) -> None:
        check_options(self)
        try:
            re.compile(self.parameters)
        except re.error as error:
            raise ValueError(
                f"parameters={self.parameters!r} is no regular expression ({error}): write one, such as 'lm_head'."
            ) from None
        if self.method is not None:
            check_method_name(self.method, "method")
        if self.method is not None or self.method_options:  # else torch is not needed yet
            self.rules()

    def rules(self) -> dict[str, Rule]:
        """Return the rules to measure; there is no tracked baseline without `baseline_samples`.

        Raises:
            ValueError: the method cannot be loaded, or not be probed.
        """
        from echorl.lab.probe.methods import NAME, method_rule  # here, since torch takes its time
        from echorl.lab.probe.rules import RULES
        from echorl.methods import load_method

        rules = {name: rule for name, rule in RULES.items() if self.baseline_samples or name != "tracked"}
        method = load_method(self.method, self.method_options)
        return rules if self.method is None else {**rules, NAME: method_rule(method, self.method, self.loss_type)}

    def settings(self) -> dict[str, Any]:
        """Return the settings as a result shows them, those of a method only with one."""
        settings = {name: value for name, value in vars(self).items() if not name.startswith("method")}
        if self.method is None:
            return settings
        from echorl.methods import find_method

        rule = {"method": self.method, "method_options": dict(self.method_options or {})}
        return {**settings, **rule, "method_hash": find_method(self.method).source_hash}

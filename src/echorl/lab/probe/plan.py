"""The settings of a probe."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from echorl.lab.probe.methods import NAME, method_rule
from echorl.lab.probe.rules import RULES, Rule
from echorl.methods import find_method, load_method

LOSS_TYPES = ("dapo", "grpo", "dr_grpo")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How a probe samples, what it keeps of a gradient, and for what batch it reports.

    Attributes:
        prompts_per_batch: B, prompts in an optimiser step of the training that is asked about.
        baseline_samples: further rollouts a prompt, which give nothing but the success rate that the tracked baseline
            takes for an earlier visit's; 0 leaves that rule out.
        loss_type: how the policy gradient is weighed that coefficients are compared with, as in TRL: "dapo" and "grpo"
            divide advantages by the group's deviation, "dr_grpo" does not; tokens are averaged over the batch, over the
            rollout, or over `max_new_tokens`.
        projection: d, numbers kept of a gradient; 0 keeps it whole, for small models.
        parameters: a regular expression; gradients are those of the parameters in whose names it is found. "": all.
        temperature: of the sampling, and of the policy whose gradients these are.
        batch_size: rollouts sampled at once, unless one prompt has more.
        seed: of prompts, samples, random rules and the projection.
        method: a method whose gradient is measured beside the rules: a name, or "my_rule.py:MyRule".
        method_options: its options.

    Raises:
        ValueError: a value is out of range; the message says what is allowed.
    """

    prompts_per_batch: int = 32
    baseline_samples: int = 8
    loss_type: str = "dapo"
    projection: int = 8192
    parameters: str = ""
    temperature: float = 1.0
    batch_size: int = 64
    seed: int = 0
    method: str | None = None
    method_options: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        for name, least in (("prompts_per_batch", 1), ("baseline_samples", 0), ("projection", 0), ("batch_size", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name}={getattr(self, name)} is not allowed: give {least} or more.")
        if self.loss_type not in LOSS_TYPES:
            raise ValueError(f"loss_type={self.loss_type!r} is not allowed: give one of {', '.join(LOSS_TYPES)}.")
        if not 0 < self.temperature < math.inf:
            raise ValueError(f"temperature={self.temperature} is not allowed: a policy to probe needs more than 0.")
        if not 0 <= self.seed < 2**32:
            raise ValueError(f"seed={self.seed} is not allowed: give 0 to {2**32 - 1}.")
        try:
            re.compile(self.parameters)
        except re.error as error:
            raise ValueError(f"parameters={self.parameters!r} is no regular expression: {error}.") from None
        self.rules()

    def rules(self) -> dict[str, Rule]:
        """Return the rules to measure: without other rollouts there is no tracked baseline.

        Raises:
            ValueError: the method cannot be loaded, or not be probed.
        """
        rules = {name: rule for name, rule in RULES.items() if self.baseline_samples or name != "tracked"}
        method = load_method(self.method, self.method_options)
        return rules if self.method is None else {**rules, NAME: method_rule(method, self.method, self.loss_type)}

    def settings(self) -> dict[str, Any]:
        """Return the settings as a result shows them, those of a method only with one."""
        settings = {name: value for name, value in vars(self).items() if not name.startswith("method")}
        if self.method is None:
            return settings
        rule = {"method": self.method, "method_options": dict(self.method_options or {})}
        return {**settings, **rule, "method_hash": find_method(self.method).source_hash}

"""DAPO: clip-higher, token-level loss, dynamic sampling, soft overlong punishment."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

from echorl.core.options import option
from echorl.methods.base import Method
from echorl.methods.registry import register_method


@register_method("dapo")
@dataclass(frozen=True, kw_only=True)
class DAPO(Method):
    """Clip 0.2 / 0.28, token-level mean, no KL, and groups without a mix of verdicts replaced (arXiv 2503.14476)."""

    addresses = MappingProxyType(
        {"all_success": "is replaced: another prompt is sampled", "all_fail": "is replaced: another prompt is sampled"}
    )
    settings = MappingProxyType(
        {"loss_type": "dapo", "scale_rewards": "group", "epsilon": 0.2, "epsilon_high": 0.28, "beta": 0.0}
    )
    dynamic_sampling: bool = option(
        True,
        "Filter groups whose accuracy is 0 or 1 out of the policy loss and draw prompts until the batch is full. A "
        "filtered group with a success still gives its EchoClip. False: groups stay as they are.",
    )
    max_rounds: int = option(
        10,
        "Most rounds of sampling for a batch, the first included; after them filtered groups fill the empty places.",
        ge=1,
    )
    overlong_buffer: int | None = option(
        None,
        "Tokens below max_completion_length over which the soft punishment min(-(length - (max - buffer)) / buffer, 0) "
        "grows from 0 to -1; 0: none. It changes no verdict. None: a fifth of max_completion_length, "
        "as the paper's 4,096 of 20,480.",
        ge=0,
    )

    @property
    def trl_hooks(self) -> str | None:  # type: ignore[override]
        return "echorl.trl.methods.dapo:DynamicSamplingHooks" if self.dynamic_sampling else None

    @property
    def needs_verdicts(self) -> bool:
        return self.dynamic_sampling

    def overlong_tokens(self, max_completion_length: int) -> int:
        """Return the tokens of the overlong buffer."""
        return max_completion_length // 5 if self.overlong_buffer is None else self.overlong_buffer

"""DAPO: clip-higher, token-level loss, dynamic sampling, soft overlong punishment."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

from echorl.methods.base import Method, check_flag, check_whole


@dataclass(frozen=True, kw_only=True)
class DAPO(Method):
    """Clip 0.2 / 0.28, token-level mean, no KL, and groups without a mix of verdicts replaced (arXiv 2503.14476).

    Args:
        dynamic_sampling: drop groups whose accuracy is 0 or 1 from the policy loss and draw prompts until the batch is
            full. A dropped group with a success still gives its EchoClip. False: groups stay as they are.
        max_rounds: at most so many rounds of sampling for a batch, the first included; then dropped groups fill up.
        overlong_buffer: tokens below `max_completion_length` over which the soft punishment
            min(-(length - (max - buffer)) / buffer, 0) grows from 0 to -1; 0: none. A success is still the verifier's
            word. None: a fifth of `max_completion_length`, as the paper's 4,096 of 20,480.

    Raises:
        ValueError: a value is out of range.
    """

    settings = MappingProxyType(
        {"loss_type": "dapo", "scale_rewards": "group", "epsilon": 0.2, "epsilon_high": 0.28, "beta": 0.0}
    )
    dynamic_sampling: bool = True
    max_rounds: int = 10
    overlong_buffer: int | None = None

    def __post_init__(self) -> None:
        check_flag(dynamic_sampling=self.dynamic_sampling)
        check_whole(1, max_rounds=self.max_rounds)
        if self.overlong_buffer is not None:
            check_whole(0, overlong_buffer=self.overlong_buffer)

    @property
    def part(self) -> str | None:  # type: ignore[override]
        return "dynamic_sampling" if self.dynamic_sampling else None

    @property
    def needs_verdicts(self) -> bool:  # type: ignore[override]
        return self.dynamic_sampling

    def buffer_of(self, max_completion_length: int) -> int:
        """Tokens of the overlong buffer."""
        return max_completion_length // 5 if self.overlong_buffer is None else self.overlong_buffer

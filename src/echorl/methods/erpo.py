"""ERPO: hotter sampling where a prompt's history is all-success."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

from echorl.core.options import option
from echorl.methods.grpo import GRPO
from echorl.methods.registry import register_method


@register_method("erpo")
@dataclass(frozen=True, kw_only=True)
class ERPO(GRPO):
    """GRPO; a prompt's sampling temperature rises with each of its all-success visits (arXiv 2511.04800).

    So its rollouts differ more, and some of them can fail. The temperature is the trainer's plus `step` times the
    number of these visits, at most `highest`. Ratios and log-probs stay at the trainer's temperature.
    """

    addresses = MappingProxyType({"all_success": "samples it hotter from then on"})
    trl_hooks = "echorl.trl.methods.erpo:HotterSamplingHooks"
    needs_verdicts = True

    step: float = option(0.05, "Rise of the temperature for each all-success visit; 0: GRPO.", ge=0)
    highest: float = option(1.5, "Highest temperature; one below the trainer's changes nothing.", gt=0)

    def temperature(self, base: float, visits: int) -> float:
        """Return a prompt's temperature after so many all-success visits.

        >>> [round(ERPO(step=0.1, highest=1.2).temperature(1.0, visits), 2) for visits in range(4)]
        [1.0, 1.1, 1.2, 1.2]
        """
        return max(base, min(base + self.step * visits, self.highest))

"""RL with an SFT loss on the expert's trace: LUFFY's baseline."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

from torch import Tensor

from echorl.core.options import option
from echorl.methods.luffy import Traced
from echorl.methods.registry import register_method


@register_method("rl_sft")
@dataclass(frozen=True, kw_only=True)
class RLWithSFT(Traced):
    """Dr.GRPO on the G - 1 rollouts, plus `weight` times the NLL of the trace (mean over its tokens).

    The first term is divided by all G rows, the trace's included, as TRL divides: it is (G - 1) / G of Dr.GRPO's.
    """

    addresses = MappingProxyType({"all_fail": "learns the demonstration by its NLL"})
    settings = MappingProxyType({"loss_type": "dr_grpo", "scale_rewards": "none", "epsilon": 0.2, "beta": 0.0})

    in_group = False
    mean_over_tokens = True

    weight: float = option(1.0, "Weight of the trace's NLL.", gt=0)

    def trace_loss(self, logp: Tensor, advantages: Tensor) -> Tensor:
        return -self.weight * logp

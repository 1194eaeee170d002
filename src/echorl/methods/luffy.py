"""LUFFY: an expert's trace in the group, learned off-policy."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

import torch
from torch import Tensor

from echorl.core.options import option
from echorl.methods.base import Method
from echorl.methods.registry import register_method

NO_CLIP = 1e6
"""A bound on the ratio's distance from 1 that nothing reaches."""


@dataclass(frozen=True, kw_only=True)
class Traced(Method):
    """A method in which the demonstration, verified like a rollout, takes the place of one rollout of its group."""

    trl_hooks = "echorl.trl.methods.luffy:TraceHooks"
    needs_verdicts = True

    in_group: ClassVar[bool] = True
    """Whether the trace's reward counts in the group's mean, and the trace has an advantage."""
    mean_over_tokens: ClassVar[bool] = False
    """Whether the loss is the mean over a batch's trace tokens, else as Dr.GRPO's: the sum over B x max length."""

    def trace_loss(self, logp: Tensor, advantages: Tensor) -> Tensor:
        """Return the loss [B, T] of a trace's tokens; `logp` [B, T] with graph, `advantages` [B, 1]."""
        raise NotImplementedError


@register_method("luffy")
@dataclass(frozen=True, kw_only=True)
class LUFFY(Traced):
    """One of a group's G rollouts is the expert's trace; A = r - mean over all G (arXiv 2504.14945).

    A trace's token has old probability 1 and no clip: its loss is -A f(pi), f(pi) = pi / (pi + gamma). On-policy tokens
    have no clip either. Token sums over `max_completion_length`; entropy bonus 0.001; no KL.

    The paper divides by the group's std, the authors' script does not: as the script. The mean is the whole group's,
    trace included, as they answer in issue 44 of their repository.
    """

    addresses = MappingProxyType({"all_fail": "gets the demonstration as one of its rollouts"})
    settings = MappingProxyType(
        {
            "loss_type": "dr_grpo",
            "scale_rewards": "none",
            "epsilon": NO_CLIP,
            "epsilon_high": NO_CLIP,
            "beta": 0.0,
            "entropy_coef": 0.001,
        }
    )

    fixed = ("loss_type",)  # a trace's term is normalised as in Dr.GRPO

    gamma: float = option(0.1, "gamma in the shaping f(pi) = pi / (pi + gamma).", gt=0)

    def trace_loss(self, logp: Tensor, advantages: Tensor) -> Tensor:
        """-A pi / (pi + gamma), as sigmoid(logp - log gamma), whose gradient stays finite as pi goes to 0."""
        return -advantages * torch.sigmoid(logp - torch.tensor(self.gamma).log().to(logp))

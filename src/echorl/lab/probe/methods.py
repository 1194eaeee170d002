"""A method as a rule of the probe: the gradient of its advantages on a prompt's rollouts."""

from __future__ import annotations

import torch
from torch import Tensor

from echorl.core.refusals import refuse_if
from echorl.lab.probe.rules import Group, Rule, group_relative, loss_weights
from echorl.methods import Method
from echorl.methods.base import NO_FILE
from echorl.methods.rules import apply_advantages, apply_token_advantages, excluded_rows

NAME = "method"
"""The rule's name in a result."""
KINDS = ("all", "all_success", "all_fail")


def method_rule(method: Method, name: str, loss_type: str) -> Rule:
    """Return the rule that weighs a group by the method's advantages, as the policy loss of this type weighs them.

    The method sees one group at a time, with a verdict for each rollout and rewards of 1 and 0.

    Args:
        name: the string that names the method, for tables.

    Raises:
        ValueError: the method changes what is sampled, has settings that a probe does not read, or is in no file.
    """
    _check(method, name)
    scale = method.settings.get("scale_rewards", "none" if loss_type == "dr_grpo" else "group") != "none"

    def weigh(group: Group) -> Tensor:
        return loss_weights(_advantages(method, group, scale), group, loss_type)

    return Rule(label=name, kinds=KINDS, weigh=weigh)


def _advantages(method: Method, group: Group, scale: bool) -> Tensor:
    """Return float [G, T], 0 on the rollouts that the method excludes."""
    rollouts = group.rollouts
    advantages = apply_advantages(method, group_relative(rollouts.rewards, scale=scale), rollouts)
    advantages = advantages.masked_fill(excluded_rows(method, rollouts), 0.0)
    if not method.needs_entropy:
        return advantages.unsqueeze(1).expand_as(group.logp)
    entropy = torch.where(group.mask, group.entropy, torch.nan)
    return apply_token_advantages(method, advantages, entropy, rollouts)


def _check(method: Method, name: str) -> None:
    unread = [field for field in method.settings if field.startswith("echo_") or field == "top_entropy_quantile"]
    refuse_if(
        {
            f"method={name!r} changes what is sampled, and a probe samples plain rollouts: take a method that changes "
            "advantages alone.": method.trl_hooks is not None,
            f"method={name!r} is made by {', '.join(unread)}, which a probe of a method does not read: see the rules "
            "that every probe measures.": bool(unread),
            f"method={name!r} has no file, so a later call could not tell whether it is the same: put it into a "
            "file.": method.source_hash == NO_FILE,
        }
    )

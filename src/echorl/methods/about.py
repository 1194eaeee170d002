"""What each method does on an all-success group, costs and is said to gain; what to do in which case: for tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class About:
    """Three cells of a table.

    Attributes:
        solved: what it does on a group that is all right.
        cost: beyond plain GRPO: rollouts, memory, time.
        claim: the gain that its source reports, as a rule against GRPO; "" where there is no source.
    """

    solved: str
    cost: str = "none"
    claim: str = ""


NO_NUMBER = "no number known to us"
ECHORL = About("NLL of one clip", "none (recorded entropies)", "up to 5.6 / 5.0 points in / out of distribution")

ABOUT: Mapping[str, About] = {
    "grpo": About("nothing; it dilutes the others"),
    "dapo": About("drops it and samples another prompt", "rollouts", "AIME24 30 to 50 with all its parts"),
    "luffy": About(
        "learns the demonstration off-policy",
        "demonstrations, one rollout of G sampled in vain",
        "over 6.4 / 6.2 points in / out of distribution",
    ),
    "uft": About(
        "begins with a part of the demonstration", "demonstrations, a reference model, longer contexts", NO_NUMBER
    ),
    "exclude_degenerate": About("leaves loss, denominator and KL", claim="2.4 points (a user's report)"),
    "reinforce_rej": About("leaves loss, denominator and KL", claim=NO_NUMBER),
    "w_reinforce": About("advantage +0.1", claim="better pass@k; no number known to us"),
    "rl_zvp": About("advantage in proportion to the token's entropy", "none (recorded entropies)", "up to 8.6 points"),
    "agpo": About("advantage +1", claim=NO_NUMBER),
    "avspo": About("a small positive advantage", claim="4 to 6 points"),
    "spo": About("advantage 1 - v, v the prompt's earlier rate", "two numbers a prompt", "3.4 points of maj@32"),
    "skip_solved": About("is passed over at the next turns", "two numbers a prompt"),
    "reinforce_ada": About("is sampled again until half are wrong", "rollouts", "up to twice as fast"),
    "hold_step": About("waits for mixed groups", "a copy of the gradient"),
    "failure_prefix": About(
        "begins with a stored failure",
        "a text a prompt, longer contexts",
        "as much as new, harder problems",
    ),
    "clip_prefix": About(
        "begins with its EchoClip less the last step", "recorded entropies, a text a prompt, longer contexts"
    ),
    "positive_nll": About("NLL of all rollouts", claim=NO_NUMBER),
    "top_entropy": About("nothing", claim="AIME25 +11.0 at 32B, none at 8B"),
}
"""Method -> its cells. Claims: docs/rivals-study.md has the sources."""

ADVICE: Sequence[tuple[str, str]] = (
    (
        "whatever your case",
        "Tune the learning rate of plain GRPO first, on a validation split: on sums it moved GRPO by 23 points over "
        "the grid, and no method by 8.",
    ),
    (
        "a third of the groups solved (sums)",
        "Nothing beat GRPO. Half the batch is free. At equal tokens sampling on until groups are mixed (reinforce_ada) "
        "lost points, uft and w_reinforce lost them out of distribution, and failure_prefix just missed the test.",
    ),
    (
        "two thirds solved (products)",
        "Nothing beat GRPO, and only few updates lost: reinforce_ada 1.1 points, four times the batch half a point. "
        "skip_solved spends a third fewer tokens outside mixed groups, and gains nothing by it.",
    ),
    (
        "pass@k or the greedy answer wanted",
        "Of two rates that tie on pass@1 take the lower, whatever the method; and look at the policy before RL, whose "
        "greedy answers may be the best.",
    ),
    (
        "demonstrations exist",
        "luffy and uft gained nothing on a policy that solves 60 % or more; they are for prompts that it never solves.",
    ),
    (
        "EchoRL at 0.001",
        "No further rollouts, and no difference of pass@1 that shows. At 0.1 it changes what the clip is about, not "
        "pass@1: `echorl probe` says beforehand where its gradient points.",
    ),
    ("other group sizes than 8, larger models", "Not measured: compare on your own prompts with `echorl compare`."),
)
"""Case -> what the rivals' study (docs/rivals-study.md) says to do."""

"""Methods whose rollouts begin with tokens that the policy did not just sample."""

from __future__ import annotations

from echorl.core.refusals import refuse_if
from echorl.trl.context import Context


def check_prefixes(context: Context) -> None:
    """Check that rollouts can begin with prefixes.

    Raises:
        ValueError: something else than TRL samples, or there are tools.
    """
    refuse_if(
        {
            "a rollout_func, which would have to continue its prefixes": "rollout_func" in context.features,
            "tools: its prefixes hold no tool calls": "tools" in context.features,
        },
        f"method={context.args.method!r} does not go with {{}}.",
    )

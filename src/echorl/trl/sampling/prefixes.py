"""The check of methods whose rollouts begin with a prefix."""

from __future__ import annotations

from echorl.core.refusals import refuse_if
from echorl.trl.context import Context


def check_prefixes(context: Context) -> None:
    """Check that rollouts can begin with prefixes.

    Raises:
        ValueError: a `rollout_func` samples, or there are tools.
    """
    refuse_if(
        {
            "a rollout_func, which would have to continue its prefixes": "rollout_func" in context.features,
            "tools: its prefixes hold no tool calls": "tools" in context.features,
        },
        f"method={context.args.method!r} cannot be combined with {{}}.",
    )

"""The check of methods that sample single rollouts from another distribution, in transformers' `generate`."""

from __future__ import annotations

from echorl.core.refusals import refuse_if
from echorl.trl.context import Context


def check_processors(context: Context) -> None:
    """Check that one plain `generate` samples all rows of a batch, so that each row can have its own distribution.

    Raises:
        ValueError: another engine samples, or `generate` samples a part of the rows or several tokens at once.
    """
    args, options = context.args, context.args.generation_kwargs or {}
    several = [name for name in ("prompt_lookup_num_tokens", "assistant_early_exit") if options.get(name)]
    refuse_if(
        {
            "use_vllm, which samples all rows from one distribution (set use_vllm=False)": args.use_vllm,
            "use_transformers_continuous_batching, which samples all rows from one distribution (set it to False)": (
                args.use_transformers_continuous_batching
            ),
            "a rollout_func, which samples by itself": "rollout_func" in context.features,
            "tools, whose turns sample a part of the rows": "tools" in context.features,
            "generation_kwargs['num_beams'] (sample without beams)": (options.get("num_beams") or 1) > 1,
            f"generation_kwargs[{several[0]!r}] (sample without it)" if several else "": bool(several),
        },
        f"method={args.method!r} samples rows of a batch in different ways and cannot be combined with {{}}.",
    )

"""DAPO's soft overlong punishment: one more reward function, which shapes the reward and not the verdict."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from trl.rewards import get_soft_overlong_punishment

from echorl.methods import Method


@contextmanager
def punishing(args: Any, method: Method, reward_funcs: Any, classes: Any) -> Iterator[tuple[Any, Any, int | None]]:
    """Yield the reward functions with the punishment after them, their processing classes, and its column (or None).

    In the context `args.reward_weights`, where given, ends with a weight of 1 for it; afterwards it is the user's.

    Raises:
        ValueError: the buffer is longer than a completion, or the user has the punishment already.
    """
    buffer = method.overlong_tokens(args.max_completion_length)
    if not buffer:
        yield reward_funcs, classes, None
        return
    functions = list(reward_funcs) if isinstance(reward_funcs, list) else [] if reward_funcs is None else [reward_funcs]
    punishment = get_soft_overlong_punishment(args.max_completion_length, buffer)
    _check(args, buffer, [getattr(function, "__name__", None) for function in functions], punishment.__name__)
    if classes is not None:
        classes = [*(classes if isinstance(classes, list) else [classes]), None]
    weights = args.reward_weights
    args.reward_weights = None if weights is None else [*weights, 1.0]
    try:
        yield [*functions, punishment], classes, len(functions)
    finally:
        args.reward_weights = weights


def _check(args: Any, buffer: int, names: list[str | None], punishment: str) -> None:
    if buffer > args.max_completion_length:
        raise ValueError(
            f"overlong_buffer={buffer} is not allowed: it must be at most max_completion_length="
            f"{args.max_completion_length}."
        )
    if punishment in names:
        raise ValueError(
            f"the reward function {punishment} is given, and method={args.method!r} adds it: take it out, or set "
            "method_options={'overlong_buffer': 0}."
        )

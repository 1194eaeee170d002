"""Walks over the trees of answers that `latex.parser` makes. `worker` imports this file without the rest of echorl."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any


def nodes(tree: Sequence[Any]) -> Iterator[Any]:
    """Yield the tree and all trees in it.

    >>> [node[0] for node in nodes(("+", ("sym", "x"), ("num", "1")))]
    ['+', 'sym', 'num']
    """
    yield tree
    for part in tree[1:]:
        if not isinstance(part, str):
            yield from nodes(part)


def mapped(tree: tuple[Any, ...], change: Callable[[tuple[Any, ...]], tuple[Any, ...]]) -> tuple[Any, ...]:
    """The tree with `change` applied to every tree in it, the innermost first."""
    return change(tuple(mapped(part, change) if isinstance(part, tuple) else part for part in tree))

r"""Where an answer stands in a completion. Everything here takes time linear in the text's length."""

from __future__ import annotations

import re

_BOX = re.compile(r"\\(?:boxed|fbox)\s*\{")
_BRACES = re.compile(r"\\.|[{}]", re.DOTALL)


def after_thinking(text: str) -> str:
    """What follows the last `</think>`; "" if thinking began and never ended; else the text.

    >>> after_thinking("<think>1</think> 2"), after_thinking("<think> 1"), after_thinking("1")
    (' 2', '', '1')
    """
    _, ended, rest = text.rpartition("</think>")
    if ended:
        return rest
    return "" if "<think>" in text else text


def last_box(text: str) -> str | None:
    r"""What the last `\boxed{...}` holds, stripped; None if there is none.

    A box that never closes is passed over for the one before it; of boxes in each other the inner one counts.

    >>> last_box(r"\boxed{1} so \boxed{\frac{1}{2}}."), last_box(r"\boxed{1} or \boxed{2"), last_box("1")
    ('\\frac{1}{2}', '1', None)
    """
    starts = [found.end() for found in _BOX.finditer(text)]
    ends = _closing_braces(text, starts[0] - 1) if starts else {}
    start = next((start for start in reversed(starts) if start in ends), None)
    return None if start is None else text[start : ends[start]].strip()


def last_tag(text: str) -> str | None:
    """What stands between the last `<answer>` and its `</answer>`, stripped; None if there is none that closes.

    >>> last_tag("<answer>1</answer> or <answer> 2 </answer>"), last_tag("<answer>1"), last_tag("1")
    ('2', None, None)
    """
    _, opened, rest = text.rpartition("<answer>")
    inside, closed, _ = rest.partition("</answer>")
    return inside.strip() if opened and closed else None


def depth(text: str) -> int:
    """How deep its brackets are nested; those that never close count.

    >>> depth("f(x[1], {2})"), depth("((("), depth("1")
    (2, 3, 0)
    """
    deepest = now = 0
    for character in text:
        if character in "([{":
            now += 1
            deepest = max(deepest, now)
        elif character in ")]}":
            now = max(0, now - 1)
    return deepest


def _closing_braces(text: str, begin: int) -> dict[int, int]:
    """Where each pair of braces starts, behind its opening brace -> where it ends; escaped braces are text."""
    pairs: dict[int, int] = {}
    opened: list[int] = []
    for found in _BRACES.finditer(text, begin):
        if found[0] == "{":
            opened.append(found.end())
        elif found[0] == "}" and opened:
            pairs[opened.pop()] = found.start()
    return pairs

"""Mutations of signs, brackets, lists, functions and relations. Each returns a changed text, or None."""

from __future__ import annotations

import re
from random import Random

from benchmarks.graders.latex import TOKEN, split
from benchmarks.graders.numbers import Mutation
from benchmarks.graders.values import balanced

INTERVAL = re.compile(r"(\(|\[)([^()\[\],]+),([^()\[\],]+)(\)|\])")
OPENING = ("(", "[", "{", "\\{", ",", "=", "+", "-", "/", "\\cdot", "&", "^", "\\cup")


def operator_changed(rng: Random, text: str) -> str | None:
    """The text with a minus in place of a plus, or the reverse."""
    parts = TOKEN.findall(text)
    positions = [i for i, part in enumerate(parts) if part in "+-" and _before(parts, i) not in (*OPENING, "")]
    if not positions:
        return None
    i = rng.choice(positions)
    parts[i] = "-" if parts[i] == "+" else "+"
    return "".join(parts)


def _before(parts: list[str], i: int) -> str:
    return next((part for part in reversed(parts[:i]) if not part.isspace()), "")


def is_interval(text: str) -> bool:
    """Return whether the brackets in the text are certainly brackets of intervals, and not of points."""
    return (
        re.search(r"\\infty|\\cup|\\in(?![a-z])|\([^()\[\]]*,[^()\[\]]*\]|\[[^()\[\]]*,[^()\[\]]*[)\]]", text)
        is not None
    )


def end_changed(rng: Random, text: str) -> str | None:
    """The text with one finite end of an interval opened or closed."""
    if not is_interval(text):
        return None
    ends = []
    for match in INTERVAL.finditer(text):
        ends += [match.start()] if "infty" not in match[2] else []
        ends += [match.end() - 1] if "infty" not in match[3] else []
    if not ends:
        return None
    place = rng.choice(ends)
    return text[:place] + {"(": "[", "[": "(", ")": "]", "]": ")"}[text[place]] + text[place + 1 :]


def ends_exchanged(rng: Random, text: str) -> str | None:
    """The set of the two ends of an interval."""
    match = INTERVAL.fullmatch(text)
    return f"\\{{{match[2]},{match[3]}\\}}" if match and is_interval(text) and "infty" not in text else None


def union_dropped(rng: Random, text: str) -> str | None:
    """One part of a union."""
    parts, _ = split(text, ("\\cup",))
    return rng.choice(parts) if len(parts) > 1 else None


def union_to_intersection(rng: Random, text: str) -> str | None:
    """The text with an intersection in place of each union."""
    return text.replace("\\cup", "\\cap") if "\\cup" in text else None


def _tuple(text: str) -> tuple[str, list[str], str] | None:
    match = re.fullmatch(r"(\(|\\\{)(.*)(\)|\\\})", text, re.DOTALL)
    if match is None or is_interval(text):
        return None
    parts = split(match[2], (",",))[0]
    return (match[1], parts, match[3]) if len(parts) > 1 and balanced(match[2]) else None


def _items(text: str) -> tuple[str, list[str], str] | None:
    """The elements of a list, a set or a tuple, and its brackets."""
    parts = split(text, (",",))[0]
    return ("", parts, "") if len(parts) > 1 else _tuple(text)


def element_dropped(rng: Random, text: str) -> str | None:
    """The collection without one element."""
    pieces = _items(text)
    if pieces is None or (pieces[0] == "(" and len(pieces[1]) == 2):
        return None
    parts = list(pieces[1])
    del parts[rng.randrange(len(parts))]
    return pieces[0] + ", ".join(parts) + pieces[2]


def element_added(rng: Random, text: str) -> str | None:
    """The collection with one more element."""
    pieces = _items(text)
    if pieces is None:
        return None
    parts = list(pieces[1])
    parts.insert(rng.randrange(len(parts) + 1), str(rng.randrange(200, 999)))
    return pieces[0] + ", ".join(parts) + pieces[2]


def element_replaced(rng: Random, text: str) -> str | None:
    """The collection with one element in place of another, so that the set of elements is smaller."""
    pieces = _items(text)
    if pieces is None:
        return None
    parts = list(pieces[1])
    i, j = rng.sample(range(len(parts)), 2)
    parts[i] = parts[j]
    return pieces[0] + ", ".join(parts) + pieces[2]


def element_repeated(rng: Random, text: str) -> str | None:
    """The tuple with one element repeated."""
    pieces = _tuple(text)
    if pieces is None or pieces[0] != "(":
        return None
    parts = list(pieces[1])
    i = rng.randrange(len(parts))
    return f"({', '.join([*parts[:i], parts[i], *parts[i:]])})"


def order_changed(rng: Random, text: str) -> str | None:
    """A tuple with two elements exchanged; the order of a list without brackets may not matter."""
    pieces = _tuple(text)
    if pieces is None or pieces[0] != "(":
        return None
    parts = list(pieces[1])
    i, j = rng.sample(range(len(parts)), 2)
    parts[i], parts[j] = parts[j], parts[i]
    return f"({', '.join(parts)})"


def tuple_to_element(rng: Random, text: str) -> str | None:
    """One element of a tuple."""
    pieces = _tuple(text)
    return rng.choice(pieces[1]) if pieces else None


def factor_before(rng: Random, text: str) -> str | None:
    """A tuple or a bounded interval with a factor before it."""
    if "infty" in text or not re.fullmatch(r"[(\[][^()\[\]]*,[^()\[\]]*[)\]]", text):
        return None
    return f"{rng.choice(['2', '3', 'k'])}{text}"


def derivative_dropped(rng: Random, text: str) -> str | None:
    """The text with the function in place of its derivative."""
    for pattern in (
        r"\\frac\{\s*d(?:\^\{?2\}?)?\s*([^{}]*(?:_\{[^{}]*\})?)\s*\}\{\s*d[^{}]*(?:\{[^{}]*\})?\s*\}",
        r"\\d?dot\{([^{}]*)\}",
        r"([a-z])\^\{\\prime\}",
    ):
        if (match := re.search(pattern, text)) and match[1].strip():
            return f"{text[: match.start()]}{match[1]} {text[match.end() :]}"
    return None


def argument_changed(rng: Random, text: str) -> str | None:
    """The text with 1 added in the brackets after a function or a letter."""
    matches = list(re.finditer(r"(?:\\(?:sin|cos|tan|cot|ln|exp|arcsin)|[A-Za-z])\s*[({]", text))
    matches = [
        match for match in matches if not re.search(r"\\[A-Za-z]+\s*[({]$", text[: match.end()]) or match[0][0] == "\\"
    ]
    if not matches:
        return None
    end = rng.choice(matches).end()
    return f"{text[:end]}1+{text[end:]}"


def function_changed(rng: Random, text: str) -> str | None:
    """The text with one function changed."""
    exchange = {
        "sin": "cos",
        "cos": "sin",
        "ln": "exp",
        "cot": "tan",
        "tan": "cot",
        "arcsin": "arccos",
        "exp": "ln",
        "arccos": "arcsin",
    }
    matches = list(re.finditer(r"\\(sin|cos|tan|cot|ln|exp|arcsin|arccos)(?![a-z])", text))
    if not matches:
        return None
    match = rng.choice(matches)
    return f"{text[: match.start()]}\\{exchange[match[1]]}{text[match.end() :]}"


def one_added(rng: Random, text: str) -> str | None:
    """The text plus 1."""
    return None if re.search(r",|\\cup|\\in(?![a-z])|\\ge|[<>]|begin|text", text) else f"{text}+1"


def root_dropped(rng: Random, text: str) -> str | None:
    """The text without one root sign."""
    matches = list(re.finditer(r"\\sqrt(?:\[[^\]]*\])?\s*\{([^{}]*)\}", text))
    if not matches:
        return None
    match = rng.choice(matches)
    return f"{text[: match.start()]}({match[1]}){text[match.end() :]}"


def root_index_changed(rng: Random, text: str) -> str | None:
    """The text with another degree of one root."""
    matches = list(re.finditer(r"\\sqrt(\[[^\]]*\])?(?=\s*\{)", text))
    if not matches:
        return None
    match = rng.choice(matches)
    return f"{text[: match.start()]}\\sqrt{'' if match[1] else '[3]'}{text[match.end() :]}"


def power_dropped(rng: Random, text: str) -> str | None:
    """The text without one power."""
    matches = list(re.finditer(r"\^\s*(?:\{[^{}\\]*\}|[A-Za-z0-9])", text))
    if not matches:
        return None
    match = rng.choice(matches)
    return f"{text[: match.start()]} {text[match.end() :]}"


def relation_changed(rng: Random, text: str) -> str | None:
    """The text with another relation."""
    match = re.search(r"\\(geqslant|leqslant|geq|leq|ge|le)(?![a-z])|[<>]", text)
    if match is None:
        return None
    new = rng.choice(["<", "\\le", "=", ">"] if "g" in match[0] else ["\\ge", ">", "=", "<"])
    return f"{text[: match.start()]}{new} {text[match.end() :]}"


def pieces_swapped(rng: Random, text: str) -> str | None:
    """The matrix with two rows exchanged."""
    match = re.fullmatch(r"(\\begin\{pmatrix\})(.*)(\\end\{pmatrix\})", text, re.DOTALL)
    if match is None:
        return None
    rows = match[2].split("\\\\")
    i, j = rng.sample(range(len(rows)), 2)
    rows[i], rows[j] = rows[j], rows[i]
    return match[1] + "\\\\".join(rows) + match[3]


STRUCTURES: dict[str, Mutation] = {
    "operator changed": operator_changed,
    "end of an interval": end_changed,
    "interval as a set": ends_exchanged,
    "part of a union": union_dropped,
    "intersection for union": union_to_intersection,
    "element dropped": element_dropped,
    "element added": element_added,
    "element replaced": element_replaced,
    "element repeated": element_repeated,
    "order changed": order_changed,
    "one element": tuple_to_element,
    "factor before brackets": factor_before,
    "derivative dropped": derivative_dropped,
    "argument changed": argument_changed,
    "function changed": function_changed,
    "one added": one_added,
    "root dropped": root_dropped,
    "index of a root": root_index_changed,
    "power dropped": power_dropped,
    "relation changed": relation_changed,
    "rows exchanged": pieces_swapped,
}
BY_CONSTRUCTION = (
    "intersection for union",
    "factor before brackets",
    "interval as a set",
    "one element",
    "end of an interval",
    "fraction appended",
    "thousandfold",
)
"""Mutations whose results are certainly wrong, although the reader may refuse them."""

"""Mutations of signs, brackets, lists, functions and relations: a random generator and a text -> a text or None."""

from __future__ import annotations

import re
from random import Random

from benchmarks.graders.latex import TOKEN, split
from benchmarks.graders.numbers import Mutation
from benchmarks.graders.values import balanced

INTERVAL = re.compile(r"(\(|\[)([^()\[\],]+),([^()\[\],]+)(\)|\])")
OPENING = ("(", "[", "{", "\\{", ",", "=", "+", "-", "/", "\\cdot", "&", "^", "\\cup")


def operator_changed(rng: Random, text: str) -> str | None:
    parts = TOKEN.findall(text)
    found = [i for i, part in enumerate(parts) if part in "+-" and _before(parts, i) not in (*OPENING, "")]
    if not found:
        return None
    i = rng.choice(found)
    parts[i] = "-" if parts[i] == "+" else "+"
    return "".join(parts)


def _before(parts: list[str], i: int) -> str:
    return next((part for part in reversed(parts[:i]) if not part.isspace()), "")


def is_interval(text: str) -> bool:
    """Whether brackets in the text are certainly those of intervals, and not those of points."""
    return (
        re.search(r"\\infty|\\cup|\\in(?![a-z])|\([^()\[\]]*,[^()\[\]]*\]|\[[^()\[\]]*,[^()\[\]]*[)\]]", text)
        is not None
    )


def end_changed(rng: Random, text: str) -> str | None:
    """One finite end of an interval opened or closed."""
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
    """An interval as the set of its two ends."""
    found = INTERVAL.fullmatch(text)
    return f"\\{{{found[2]},{found[3]}\\}}" if found and is_interval(text) and "infty" not in text else None


def union_dropped(rng: Random, text: str) -> str | None:
    parts, _ = split(text, ("\\cup",))
    return rng.choice(parts) if len(parts) > 1 else None


def union_to_intersection(rng: Random, text: str) -> str | None:
    return text.replace("\\cup", "\\cap") if "\\cup" in text else None


def _tuple(text: str) -> tuple[str, list[str], str] | None:
    found = re.fullmatch(r"(\(|\\\{)(.*)(\)|\\\})", text, re.DOTALL)
    if found is None or is_interval(text):
        return None
    parts = split(found[2], (",",))[0]
    return (found[1], parts, found[3]) if len(parts) > 1 and balanced(found[2]) else None


def _items(text: str) -> tuple[str, list[str], str] | None:
    """The elements of a list, a set or a tuple, with what stands around them."""
    parts = split(text, (",",))[0]
    return ("", parts, "") if len(parts) > 1 else _tuple(text)


def element_dropped(rng: Random, text: str) -> str | None:
    found = _items(text)
    if found is None or (found[0] == "(" and len(found[1]) == 2):
        return None
    parts = list(found[1])
    del parts[rng.randrange(len(parts))]
    return found[0] + ", ".join(parts) + found[2]


def element_added(rng: Random, text: str) -> str | None:
    found = _items(text)
    if found is None:
        return None
    parts = list(found[1])
    parts.insert(rng.randrange(len(parts) + 1), str(rng.randrange(200, 999)))
    return found[0] + ", ".join(parts) + found[2]


def element_replaced(rng: Random, text: str) -> str | None:
    """One element in the place of another, so that the set of elements shrinks."""
    found = _items(text)
    if found is None:
        return None
    parts = list(found[1])
    i, j = rng.sample(range(len(parts)), 2)
    parts[i] = parts[j]
    return found[0] + ", ".join(parts) + found[2]


def element_repeated(rng: Random, text: str) -> str | None:
    found = _tuple(text)
    if found is None or found[0] != "(":
        return None
    parts = list(found[1])
    i = rng.randrange(len(parts))
    return f"({', '.join([*parts[:i], parts[i], *parts[i:]])})"


def order_changed(rng: Random, text: str) -> str | None:
    """Two elements of a tuple exchanged: in lists without brackets the order may not matter."""
    found = _tuple(text)
    if found is None or found[0] != "(":
        return None
    parts = list(found[1])
    i, j = rng.sample(range(len(parts)), 2)
    parts[i], parts[j] = parts[j], parts[i]
    return f"({', '.join(parts)})"


def tuple_to_element(rng: Random, text: str) -> str | None:
    found = _tuple(text)
    return rng.choice(found[1]) if found else None


def factor_before(rng: Random, text: str) -> str | None:
    """A factor before a tuple or a bounded interval."""
    if "infty" in text or not re.fullmatch(r"[(\[][^()\[\]]*,[^()\[\]]*[)\]]", text):
        return None
    return f"{rng.choice(['2', '3', 'k'])}{text}"


def derivative_dropped(rng: Random, text: str) -> str | None:
    for pattern in (
        r"\\frac\{\s*d(?:\^\{?2\}?)?\s*([^{}]*(?:_\{[^{}]*\})?)\s*\}\{\s*d[^{}]*(?:\{[^{}]*\})?\s*\}",
        r"\\d?dot\{([^{}]*)\}",
        r"([a-z])\^\{\\prime\}",
    ):
        if (match := re.search(pattern, text)) and match[1].strip():
            return f"{text[: match.start()]}{match[1]} {text[match.end() :]}"
    return None


def argument_changed(rng: Random, text: str) -> str | None:
    """One more in the brackets behind a function or a letter."""
    found = list(re.finditer(r"(?:\\(?:sin|cos|tan|cot|ln|exp|arcsin)|[A-Za-z])\s*[({]", text))
    found = [
        match for match in found if not re.search(r"\\[A-Za-z]+\s*[({]$", text[: match.end()]) or match[0][0] == "\\"
    ]
    if not found:
        return None
    end = rng.choice(found).end()
    return f"{text[:end]}1+{text[end:]}"


def function_changed(rng: Random, text: str) -> str | None:
    other = {
        "sin": "cos",
        "cos": "sin",
        "ln": "exp",
        "cot": "tan",
        "tan": "cot",
        "arcsin": "arccos",
        "exp": "ln",
        "arccos": "arcsin",
    }
    found = list(re.finditer(r"\\(sin|cos|tan|cot|ln|exp|arcsin|arccos)(?![a-z])", text))
    if not found:
        return None
    match = rng.choice(found)
    return f"{text[: match.start()]}\\{other[match[1]]}{text[match.end() :]}"


def one_added(rng: Random, text: str) -> str | None:
    return None if re.search(r",|\\cup|\\in(?![a-z])|\\ge|[<>]|begin|text", text) else f"{text}+1"


def root_dropped(rng: Random, text: str) -> str | None:
    found = list(re.finditer(r"\\sqrt(?:\[[^\]]*\])?\s*\{([^{}]*)\}", text))
    if not found:
        return None
    match = rng.choice(found)
    return f"{text[: match.start()]}({match[1]}){text[match.end() :]}"


def root_index_changed(rng: Random, text: str) -> str | None:
    found = list(re.finditer(r"\\sqrt(\[[^\]]*\])?(?=\s*\{)", text))
    if not found:
        return None
    match = rng.choice(found)
    return f"{text[: match.start()]}\\sqrt{'' if match[1] else '[3]'}{text[match.end() :]}"


def power_dropped(rng: Random, text: str) -> str | None:
    found = list(re.finditer(r"\^\s*(?:\{[^{}\\]*\}|[A-Za-z0-9])", text))
    if not found:
        return None
    match = rng.choice(found)
    return f"{text[: match.start()]} {text[match.end() :]}"


def relation_changed(rng: Random, text: str) -> str | None:
    found = re.search(r"\\(geqslant|leqslant|geq|leq|ge|le)(?![a-z])|[<>]", text)
    if found is None:
        return None
    new = rng.choice(["<", "\\le", "=", ">"] if "g" in found[0] else ["\\ge", ">", "=", "<"])
    return f"{text[: found.start()]}{new} {text[found.end() :]}"


def pieces_swapped(rng: Random, text: str) -> str | None:
    """Two rows of a matrix exchanged."""
    found = re.fullmatch(r"(\\begin\{pmatrix\})(.*)(\\end\{pmatrix\})", text, re.DOTALL)
    if found is None:
        return None
    rows = found[2].split("\\\\")
    i, j = rng.sample(range(len(rows)), 2)
    rows[i], rows[j] = rows[j], rows[i]
    return found[1] + "\\\\".join(rows) + found[3]


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
"""Wrong for certain though the reader may refuse the result."""

r"""Writers of the reference answers' expressions: as LaTeX in several styles, and by sympy."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

from benchmarks.graders.latex import FUNCTIONS, GREEK, Node, Unreadable, plain
from benchmarks.graders.values import may_equal, structure

SIGNS = ("degree", "percent")


@dataclass(frozen=True)
class Style:
    """Style of an expression: the sign of products, and the order of terms and factors."""

    times: str = " "
    reverse_terms: bool = False
    reverse_factors: bool = False


def write(node: Node, style: Style) -> str:
    """An expression as LaTeX; `Unreadable` where it holds something whose LaTeX isn't known."""
    kind, parts = node[0], node[1:]
    if kind == "number":
        return str(parts[0])
    if kind == "name":
        return _name(parts[0])
    if kind == "sum":
        return _sum(list(parts), style)
    if kind == "minus":
        return "-" + _within(parts[0], style, ("sum", "minus"))
    if kind == "product":
        return _product(list(parts), style)
    if kind == "over":
        return f"\\frac{{{write(parts[0], style)}}}{{{write(parts[1], style)}}}"
    if kind == "power":
        return _within(parts[0], style, tuple(_COMPOUND)) + f"^{{{write(parts[1], style)}}}"
    return _special(kind, parts, style)


_COMPOUND = ("sum", "minus", "product", "over", "power", "call", "root", "mixed", "based")


def _special(kind: str, parts: tuple, style: Style) -> str:
    if kind == "root":
        index = "" if parts[1] == ("number", "2") else f"[{write(parts[1], style)}]"
        return f"\\sqrt{index}{{{write(parts[0], style)}}}"
    if kind == "mixed":
        return f"{parts[0]}\\frac{{{parts[1]}}}{{{parts[2]}}}"
    if kind == "based":
        return f"{parts[0]}_{{{parts[1]}}}"
    if kind == "call" and parts[0] in FUNCTIONS:
        return f"\\{parts[0]}({write(parts[1], style)})"
    if kind == "call" and parts[0] == "factorial":
        return _within(parts[1], style, _COMPOUND) + "!"
    if kind == "call" and parts[0] in ("floor", "ceiling"):
        short = {"floor": "floor", "ceiling": "ceil"}[parts[0]]
        return f"\\l{short}{{}}{write(parts[1], style)}\\r{short}{{}}".replace("{}", " ")
    raise Unreadable(kind)


def _within(node: Node, style: Style, kinds: tuple[str, ...]) -> str:
    text = write(node, style)
    return f"({text})" if node[0] in kinds else text


def _sum(terms: list[Node], style: Style) -> str:
    texts = [write(term, style) for term in (terms[::-1] if style.reverse_terms else terms)]
    return texts[0] + "".join(text if text.startswith("-") else f"+{text}" for text in texts[1:])


def _product(factors: list[Node], style: Style) -> str:
    if factors[-1] in [("name", sign) for sign in SIGNS]:
        sign = {"degree": "^{\\circ}", "percent": "\\%"}[factors.pop()[1]]
        return _within(("product", *factors) if len(factors) > 1 else factors[0], style, _COMPOUND) + sign
    texts = [_within(factor, style, ("sum", "minus")) for factor in factors]
    if style.reverse_factors:
        texts.reverse()
    result = texts[0]
    for text in texts[1:]:
        digit = text[0].isdigit() or text[0] == "."
        sign = style.times if style.times.strip() else ("\\cdot" if digit or result[-1] == "!" else " ")
        result += f" {sign} {text}" if sign.strip() else f" {text}"
    return result


def _name(name: str) -> str:
    letter, _, below = name.partition("_")
    letter, below = (f"\\{part}" if part in (*GREEK, "pi") else part for part in (letter, below))
    if not re.fullmatch(r"[A-Za-z]|\\[A-Za-z]+", letter) or not re.fullmatch(r"|\w+|\\[A-Za-z]+", below):
        raise Unreadable(name)
    return f"{letter}_{{{below}}}" if below else letter


def rewritten(text: str, writer: Callable[[Node], str]) -> str | None:
    """The text with each expression in it written by `writer`; None unless it reads back as what it was."""
    try:
        result = _written(structure(text), writer)
        return result if may_equal(text, plain(result)) else None
    except Unreadable:
        return None


def _written(node: Node, writer: Callable[[Node], str]) -> str:
    if node[0] == "value":
        return writer(node[1])
    parts = [_written(part, writer) for part in node[1:] if isinstance(part, tuple)]
    if node[0] == "relation":
        return f"{parts[0]} {node[1]} {parts[1]}"
    if node[0] == "bracket" and node[1] == "matrix":
        width = int(node[2])
        rows = [" & ".join(parts[i : i + width]) for i in range(0, len(parts), width)]
        return "\\begin{pmatrix} " + " \\\\ ".join(rows) + " \\end{pmatrix}"
    if node[0] == "bracket":
        return f"{node[1]}{', '.join(parts)}{node[2]}"
    return (" \\cup " if node[0] == "union" else ", ").join(parts)


def in_latex_of_sympy(node: Node) -> str:
    """The expression in sympy's LaTeX."""
    import sympy

    return str(sympy.latex(_sympy(node)))


def in_text_of_sympy(node: Node) -> str:
    """The expression as sympy's text."""
    return str(_sympy(node))


def _sympy(node: Node):
    import sympy

    kind, parts = node[0], node[1:]
    if kind == "number":
        if "e" in parts[0].lower():
            raise Unreadable("a power of ten")
        return sympy.Rational(parts[0])
    if kind == "name":
        return _sympy_name(parts[0])
    if kind == "mixed":
        return sympy.Integer(parts[0]) + sympy.Rational(int(parts[1]), int(parts[2]))
    if kind == "call":
        return _sympy_call(node)
    if kind == "based" or any(part == ("name", sign) for part in parts for sign in SIGNS):
        raise Unreadable(kind)
    values = [_sympy(part) for part in parts]
    operations = {
        "sum": lambda: sympy.Add(*values),
        "product": lambda: sympy.Mul(*values),
        "minus": lambda: -values[0],
        "over": lambda: values[0] / values[1],
        "power": lambda: values[0] ** values[1],
        "root": lambda: sympy.root(values[0], values[1]),
    }
    return operations[kind]()


def _sympy_name(name: str):
    import sympy

    if name == "infty":
        return sympy.oo
    if name.endswith(("_max", "_odot")):
        raise Unreadable(name)
    _name(name)
    return {"pi": sympy.pi, "i": sympy.I, "e": sympy.E}.get(name) or sympy.Symbol(name)


def _sympy_call(node: Node):
    import sympy

    names = {"ln": "log", "arcsin": "asin", "arccos": "acos", "arctan": "atan"}
    return getattr(sympy, names.get(node[1], node[1]))(*map(_sympy, node[2:]))


def exact(node: Node) -> Fraction | None:
    """The rational number that is written as an integer, a decimal, a fraction or a mixed number; else None."""
    kind, parts = node[0], node[1:]
    if kind == "number":
        return Fraction(parts[0])
    if kind == "minus":
        inner = exact(parts[0])
        return None if inner is None else -inner
    if kind == "mixed":
        return int(parts[0]) + Fraction(int(parts[1]), int(parts[2]))
    if kind == "over" and [part[0] for part in parts] == ["number", "number"] and (parts[0][1] + parts[1][1]).isdigit():
        return Fraction(int(parts[0][1]), int(parts[1][1])) if int(parts[1][1]) else None
    return None

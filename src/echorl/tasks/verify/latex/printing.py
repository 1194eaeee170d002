r"""Printer of trees as LaTeX for math-verify, with renamed symbols, since math-verify confuses or drops some names."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

from echorl.tasks.verify.latex.product import Tree
from echorl.tasks.verify.latex.rational import rational, symbols_of

_RELATIONS = {
    "=": "=",
    "<": "<",
    ">": ">",
    "le": r"\le",
    "ge": r"\ge",
    "ne": r"\ne",
    "approx": r"\approx",
    "in": r"\in",
}
_AROUND = {
    "abs": (r"\left|", r"\right|"),
    "floor": (r"\left\lfloor ", r"\right\rfloor "),
    "ceil": (r"\left\lceil ", r"\right\rceil "),
}
_CONSTANTS = {"pi": r"\pi ", "e": "e", "i": " i ", "infty": r"\infty "}


def symbol_names(*trees: Tree) -> dict[str, str]:
    """New names for the symbols of all trees together: symbol -> name in LaTeX."""
    symbols = sorted({symbol for tree in trees for symbol in symbols_of(tree)})
    return {symbol: f"x_{{{n}}}" for n, symbol in enumerate(symbols)}


def without_plus_or_minus(tree: Tree) -> Tree:
    r"""The tree with `1 \pm x` replaced by both values, as a list or as items of its list or set.

    The list `x = 1, 2` becomes the list of both values, since both belong to the name.
    """
    if tree[0] == "list" and tree[1][:2] == ("rel", "=") and all(item[0] != "rel" for item in tree[2:]):
        tree = ("list", tree[1][-1], *tree[2:])
    if tree[0] == "list" or (tree[0] == "seq" and tree[1] == "{"):
        head = 1 if tree[0] == "list" else 3
        return (*tree[:head], *(value for item in tree[head:] for value in _both(item)))
    values = _both(tree)
    return values[0] if len(values) == 1 else ("list", *values)


def logarithms(*trees: Tree) -> list[Tree]:
    r"""The trees with `\log` as the natural logarithm if a tree has `\ln` or e, else as the one of base 10."""
    is_natural = any(_has(tree, ("fn", "ln")) or _has(tree, ("const", "e")) for tree in trees)
    return [_with_base(tree, natural=is_natural) for tree in trees]


def _has(tree: Tree, beginning: tuple[str, str]) -> bool:
    return tree[:2] == beginning or any(_has(part, beginning) for part in tree[1:] if isinstance(part, tuple))


def _with_base(tree: Tree, *, natural: bool) -> Tree:
    parts = tuple(_with_base(part, natural=natural) if isinstance(part, tuple) else part for part in tree)
    if parts[:2] != ("fn", "log"):
        return parts
    return ("fn", "ln", parts[2]) if natural else ("log", ("num", "10"), parts[2])


def without_approximation(tree: Tree, value: Fraction | None) -> Tree:
    r"""The root of `\sqrt2 \approx 1.414`; the rounded number if it is `value`."""
    operators = tree[1].split() if tree[0] == "rel" else []
    if "approx" not in operators:
        return tree
    if value is not None and rational(tree[-1]) == value:
        return tree[-1]
    place = operators.index("approx")
    return ("rel", " ".join(operators[:place]), *tree[2 : place + 3]) if place else tree[2]


def _both(tree: Tree) -> list[Tree]:
    if not _has_sign(tree):
        return [tree]
    return [_signed(tree, "+"), _signed(tree, "-")]


def _has_sign(tree: Tree) -> bool:
    return tree[0] == "pm" or any(_has_sign(part) for part in tree[1:] if isinstance(part, tuple))


def _signed(tree: Tree, sign: str) -> Tree:
    """The tree with `sign` in place of all plus-or-minus signs."""
    parts = tuple(_signed(part, sign) if isinstance(part, tuple) else part for part in tree)
    if parts[0] != "pm":
        return parts
    return ("+", parts[1], parts[2] if sign == "+" else ("neg", parts[2]))


def to_latex(tree: Tree, names: Mapping[str, str]) -> str:
    r"""The tree in LaTeX, with the symbols' new names.

    >>> to_latex(("*", ("num", "2"), ("+", ("sym", "a"), ("neg", ("num", "1")))), {"a": "x_{0}"})
    '2 \\cdot \\left(x_{0}-1\\right)'
    """
    kind, *parts = tree
    printed = [to_latex(part, names) if isinstance(part, tuple) else part for part in parts]
    match kind:
        case "num":
            return _number(parts[0])
        case "sym":
            return names[parts[0]]
        case "const":
            return _CONSTANTS[parts[0]]
        case "text":
            return f"\\text{{{parts[0]}}}"
        case "base":
            return parts[0]
        case "+":
            return "".join(part if part.startswith("-") or not n else f"+{part}" for n, part in enumerate(printed))
        case "neg":
            return f"-{_grouped(parts[0], printed[0])}"
        case "*":
            return r" \cdot ".join(map(_grouped, parts, printed))
        case "/":
            return f"\\frac{{{printed[0]}}}{{{printed[1]}}}"
        case "^":
            return f"{_grouped(parts[0], printed[0], power=True)}^{{{printed[1]}}}"
        case "binom":
            return f"\\binom{{{printed[0]}}}{{{printed[1]}}}"
        case "root":
            return f"\\sqrt{'' if parts[0] == ('num', '2') else f'[{printed[0]}]'}{{{printed[1]}}}"
        case "fn" if parts[1][0] == "seq":
            return f"\\{parts[0]}{printed[1]}"
        case "fn":
            return f"\\{parts[0]}\\left({printed[1]}\\right)"
        case "log":
            return f"\\log_{{{printed[0]}}}\\left({printed[1]}\\right)"
        case "fact":
            return f"{_grouped(parts[0], printed[0], power=True)}!"
        case "pct":
            return f"{printed[0]}\\%"
        case "abs" | "floor" | "ceil":
            return printed[0].join(_AROUND[kind])
        case _:
            return _structure(kind, parts, printed)


def _structure(kind: str, parts: list[Tree], printed: list[str]) -> str:
    match kind:
        case "list":
            return ", ".join(printed)
        case "rel":
            operators = [_RELATIONS[name] for name in str(parts[0]).split()]
            return printed[1] + "".join(f" {sign} {side}" for sign, side in zip(operators, printed[2:], strict=True))
        case "seq" if parts[0] == "{":
            return r"\left\{" + ", ".join(printed[2:]) + r"\right\}" if printed[2:] else r"\emptyset"
        case "seq":
            return f"\\left{parts[0]}{', '.join(printed[2:])}\\right{parts[1]}"
        case "matrix":
            return r"\begin{pmatrix}" + r" \\ ".join(printed) + r"\end{pmatrix}"
        case "row":
            return " & ".join(printed)
        case _:  # cup, cap, setminus
            return f"{printed[0]} \\{kind} {printed[1]}"


def _number(digits: str) -> str:
    number, exponential, power = digits.lower().partition("e")
    number = number.rstrip(".") or "0"
    number = f"0{number}" if number.startswith(".") else number
    return f"{number} \\cdot 10^{{{int(power)}}}" if exponential else number


def _grouped(tree: Tree, printed: str, *, power: bool = False) -> str:
    """The printed tree, in parentheses where a neighbour would bind to a part of it."""
    loose = ("+", "neg", "pct", "rel", "list", "cup", "cap", "setminus")
    tight = (*loose, "*", "/", "^", "fact", "root", "log", "fn", "binom")
    is_loose = tree[0] in (tight if power else loose) or (tree[0] == "num" and "e" in tree[1].lower())
    return f"\\left({printed}\\right)" if is_loose else printed


def words(tree: Tree) -> str:
    """The letters and digits in lower case of a tree of words or a product of letters; "" for any other tree."""
    kind, *parts = tree
    if kind in ("text", "sym", "const"):
        return "".join(filter(str.isalnum, parts[0])).casefold()
    if kind != "*":
        return ""
    letters = [words(part) if part[0] in ("sym", "const", "text") else "" for part in parts]
    return "".join(letters) if all(letters) else ""

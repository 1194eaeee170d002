r"""Printer of trees as LaTeX for math-verify, with renamed symbols, since math-verify confuses or drops some names."""

from __future__ import annotations

from collections.abc import Mapping, Set
from fractions import Fraction

from echorl.tasks.verify.latex.product import Tree
from echorl.tasks.verify.latex.rational import rational
from echorl.tasks.verify.trees import mapped, nodes

_RELATIONS = {"=": "=", "<": "<", ">": ">"} | {name: f"\\{name}" for name in ("le", "ge", "ne", "approx", "in")}
_CONSTANTS = {"pi": r"\pi ", "e": "e", "i": " i ", "infty": r"\infty "}
_FORMS = {
    "text": r"\text{{{0}}}",
    "base": "{0}",
    "/": r"\frac{{{0}}}{{{1}}}",
    "binom": r"\binom{{{0}}}{{{1}}}",
    "log": r"\log_{{{0}}}\left({1}\right)",
    "pct": r"{0}\%",
    "abs": r"\left|{0}\right|",
    "floor": r"\left\lfloor {0}\right\rfloor ",
    "ceil": r"\left\lceil {0}\right\rceil ",
    **{kind: f"{{0}} \\{kind} {{1}}" for kind in ("cup", "cap", "setminus")},
}
"""Kind of a tree -> its LaTeX around the parts."""
_JOINED = {"list": ("", ", ", ""), "row": ("", " & ", ""), "matrix": (r"\begin{pmatrix}", r" \\ ", r"\end{pmatrix}")}
"""Kind of a tree -> its LaTeX before, between and after the parts."""
_LOOSE = frozenset(("+", "neg", "pct", "rel", "list", "cup", "cap", "setminus"))
_TIGHT = _LOOSE | {"*", "/", "^", "fact", "root", "log", "fn", "binom"}
"""Kinds of trees that need parentheses as a term or factor, and as the base of a power."""


def symbol_names(*trees: Tree) -> dict[str, str]:
    """New names for the symbols of all trees together: symbol -> name in LaTeX."""
    symbols = sorted({node[1] for tree in trees for node in nodes(tree) if node[0] == "sym"})
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
    is_natural = any(node[:2] in (("fn", "ln"), ("const", "e")) for tree in trees for node in nodes(tree))

    def with_base(node: Tree) -> Tree:
        if node[:2] != ("fn", "log"):
            return node
        return ("fn", "ln", node[2]) if is_natural else ("log", ("num", "10"), node[2])

    return [mapped(tree, with_base) for tree in trees]


def without_approximation(tree: Tree, value: Fraction | None) -> Tree:
    r"""The root of `\sqrt2 \approx 1.414`; the rounded number if it is `value`."""
    operators = tree[1].split() if tree[0] == "rel" else []
    if "approx" not in operators:
        return tree
    if value is not None and rational(tree[-1]) == value:
        return tree[-1]
    position = operators.index("approx")
    return ("rel", " ".join(operators[:position]), *tree[2 : position + 3]) if position else tree[2]


def _both(tree: Tree) -> list[Tree]:
    """The values of the tree with plus and with minus in place of all its plus-or-minus signs."""
    if all(node[0] != "pm" for node in nodes(tree)):
        return [tree]
    plus = mapped(tree, lambda node: ("+", *node[1:]) if node[0] == "pm" else node)
    minus = mapped(tree, lambda node: ("+", node[1], ("neg", node[2])) if node[0] == "pm" else node)
    return [plus, minus]


def to_latex(tree: Tree, names: Mapping[str, str]) -> str:
    r"""The tree in LaTeX, with the symbols' new names.

    >>> to_latex(("*", ("num", "2"), ("+", ("sym", "a"), ("neg", ("num", "1")))), {"a": "x_{0}"})
    '2 \\cdot \\left(x_{0}-1\\right)'
    """
    kind, *parts = tree
    printed = [to_latex(part, names) if isinstance(part, tuple) else part for part in parts]
    if kind in _FORMS:
        return _FORMS[kind].format(*printed)
    if kind in _JOINED:
        before, between, after = _JOINED[kind]
        return before + between.join(printed) + after
    match kind:
        case "num":
            return _number(parts[0])
        case "sym":
            return names[parts[0]]
        case "const":
            return _CONSTANTS[parts[0]]
        case "+":
            return "".join(part if part.startswith("-") or not n else f"+{part}" for n, part in enumerate(printed))
        case "neg":
            return f"-{_grouped(parts[0], printed[0])}"
        case "*":
            return r" \cdot ".join(map(_grouped, parts, printed))
        case "^":
            return f"{_grouped(parts[0], printed[0], _TIGHT)}^{{{printed[1]}}}"
        case "fact":
            return f"{_grouped(parts[0], printed[0], _TIGHT)}!"
        case "root":
            return f"\\sqrt{'' if parts[0] == ('num', '2') else f'[{printed[0]}]'}{{{printed[1]}}}"
        case "fn":
            return f"\\{parts[0]}" + (printed[1] if parts[1][0] == "seq" else f"\\left({printed[1]}\\right)")
        case "rel":
            operators = [_RELATIONS[name] for name in parts[0].split()]
            return printed[1] + "".join(f" {sign} {side}" for sign, side in zip(operators, printed[2:], strict=True))
        case "seq" if parts[0] == "{":
            return r"\left\{" + ", ".join(printed[2:]) + r"\right\}" if printed[2:] else r"\emptyset"
        case "seq":
            return f"\\left{parts[0]}{', '.join(printed[2:])}\\right{parts[1]}"
    raise ValueError(f"the tree {kind!r} cannot be printed")


def _number(digits: str) -> str:
    number, exponential, power = digits.lower().partition("e")
    number = number.rstrip(".") or "0"
    number = f"0{number}" if number.startswith(".") else number
    return f"{number} \\cdot 10^{{{int(power)}}}" if exponential else number


def _grouped(tree: Tree, printed: str, kinds: Set[str] = _LOOSE) -> str:
    """The printed tree, in parentheses where a neighbour would bind to a part of it: for a tree of these kinds."""
    is_loose = tree[0] in kinds or (tree[0] == "num" and "e" in tree[1].lower())
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

"""Parser of values that begin with a command, a bracket or a bar.

Each function reads its tokens from the parser, which reads their contents, and returns their tree.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from echorl.tasks.verify.latex.product import Tree, Unreadable, derivative, product
from echorl.tasks.verify.latex.rational import has_symbols
from echorl.tasks.verify.latex.tokens import FUNCTIONS

if TYPE_CHECKING:
    from echorl.tasks.verify.latex.parser import Parser

GREEK = frozenset(
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi rho sigma tau upsilon phi chi psi omega "
    "Gamma Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi Omega varsigma varpi hbar ell mho odot partial nabla "
    "ldots".split()
)
CLOSING = {"(": (")", "]"), "[": ("]", ")"), "lset": ("rset",), "langle": ("rangle",)}
BRACKETED = {"lfloor": ("floor", "rfloor"), "lceil": ("ceil", "rceil")}
VALUES: Mapping[str, Tree] = {
    **{name: ("const", name) for name in ("pi", "e", "i", "infty")},
    "varnothing": ("seq", "{", "}"),
}
ACCENTS = frozenset("dot ddot hat bar vec tilde overline widehat widetilde overrightarrow mathcal mathbb".split())


def repeating(parser: Parser, number: str) -> Tree:
    r"""The number; a fraction if `\overline{3}` follows its decimals."""
    if "." not in number or parser.peek() not in ("overline", "dot", "bar"):
        return ("num", number)
    parser.take()
    digits = parser.raw_text()
    if not digits.isdigit() or "e" in number.lower():
        raise Unreadable("a line over something other than a digit")
    decimals = len(number.partition(".")[2])
    whole = int((number.replace(".", "") + digits) or 0) - int(number.replace(".", "") or 0)
    return ("/", ("num", str(whole)), ("num", str((10 ** len(digits) - 1) * 10**decimals)))


def sequence(parser: Parser, opening: str) -> Tree:
    """The content of a bracket that was opened: an expression, a tuple, an interval or a set."""
    bars, parser.bars = parser.bars, 0
    if opening == "lset" and parser.skip("rset"):
        return ("seq", "{", "}")
    items = parser.items()
    closing = parser.expect(*CLOSING[opening])
    parser.bars = bars
    if opening in ("lset", "langle"):
        return ("seq", *("{}" if opening == "lset" else "()"), *items)
    if len(items) == 1:
        if opening + closing not in ("()", "[]") or items[0][0] == "rel":
            raise Unreadable("brackets of two kinds around one value")
        return items[0] if items[0][0] not in ("num", "neg") else ("+", items[0])
    return ("seq", opening, closing, *items)


def absolute(parser: Parser) -> Tree:
    """The absolute value whose first bar was read."""
    parser.bars += 1
    tree = parser.sum()
    parser.bars -= 1
    parser.expect("|")
    return ("abs", tree)


def matrix(parser: Parser, environment: str) -> Tree:
    """The matrix whose beginning was read."""
    if environment == "array":
        parser.raw_argument()
    elif environment not in ("matrix", "pmatrix", "bmatrix", "smallmatrix"):
        raise Unreadable(f"the environment {environment!r}")
    rows: list[list[Tree]] = [[]]
    while parser.kind() != "end":
        if parser.skip("\\"):
            rows.append([])
        elif not parser.skip("&"):
            rows[-1].append(parser.sum())
    parser.take()
    rows = rows if rows[-1] else rows[:-1]
    if not rows or len({len(row) for row in rows}) != 1:
        raise Unreadable("a matrix with rows of different lengths")
    return ("matrix", *(("row", *row) for row in rows))


def named(parser: Parser, name: str) -> Tree:
    """The value that begins with this command, word or letter, which was read."""
    if name in VALUES:
        return VALUES[name]
    if name in ("frac", "binom"):
        over, under = parser.argument(), parser.argument()
        return ("binom", over, under) if name == "binom" else derivative(over, under) or ("/", over, under)
    if name == "sqrt":
        return root(parser)
    if name in FUNCTIONS:
        return function(parser, name)
    if name in ("floor", "ceil"):
        return (name, function_argument(parser))
    if name == "binomial":
        pair = function_argument(parser)
        if pair[0] != "seq" or len(pair) != 5:
            raise Unreadable("a binomial coefficient without two numbers")
        return ("binom", *pair[3:])
    if name in ("lset", "langle"):
        return sequence(parser, name)
    if name in BRACKETED:
        kind, closing = BRACKETED[name]
        tree = parser.sum()
        parser.expect(closing)
        return (kind, tree)
    if name == "mathbb" and "R" in (parser.peek(), parser.peek(1)) and not has_power(parser):
        parser.raw_argument()
        return ("seq", "(", ")", ("neg", ("const", "infty")), ("const", "infty"))
    if name in ACCENTS:
        return ("sym", f"{name} {parser.raw_text()}")
    if len(name) == 1 or name in GREEK:
        return symbol(parser, name)
    raise Unreadable(f"the command {name!r}")


def has_power(parser: Parser) -> bool:
    """Return whether a power or a subscript stands behind the next group."""
    start = parser.next
    parser.raw_argument()
    has_power = parser.peek() in ("^", "_")
    parser.next = start
    return has_power


def symbol(parser: Parser, name: str) -> Tree:
    """A letter as a symbol; `I(0)` is one symbol, the value of I at 0."""
    return ("sym", f"{name}(0)" if parser.skip("(", "0", ")") else name)


def root(parser: Parser) -> Tree:
    """The root behind the command sqrt, with its degree."""
    degree: Tree = ("num", "2")
    if parser.skip("["):
        degree = parser.sum()
        parser.expect("]")
    under = parser.atom() if parser.peek() == "(" else parser.argument()
    if degree[0] == "num" and degree[1][-1] in "13579" and under[0] == "neg":
        return ("neg", ("root", degree, under[1]))  # the real root
    return ("root", degree, under)


def function(parser: Parser, name: str) -> Tree:
    """The function with its base, its exponent and its argument."""
    scripts: dict[str, Tree] = {}
    while parser.peek() in ("_", "^"):
        sign = parser.take().text
        scripts[sign] = parser.argument(whole=True)
    tree, exponent = applied(parser, name, scripts.get("_")), scripts.get("^")
    if exponent == ("neg", ("num", "1")):
        if name not in ("sin", "cos", "tan"):
            raise Unreadable("an inverse of a function without one")
        return ("fn", f"arc{name}", tree[2])
    return tree if exponent is None else ("^", tree, exponent)


def applied(parser: Parser, name: str, base: Tree | None) -> Tree:
    """The function of the argument that comes next; exp, log and lg as powers and logarithms."""
    start = parser.next
    argument = function_argument(parser)
    in_degrees = any(token.text == "circ" for token in parser.tokens[start : parser.next])
    if in_degrees and name in ("sin", "cos", "tan", "cot", "sec", "csc") and not has_symbols(argument):
        argument = ("*", argument, ("/", ("const", "pi"), ("num", "180")))
    if name in ("max", "min", "gcd", "lcm") and argument[0] == "seq":
        argument = ("seq", "(", ")", *argument[3:])
    if name == "exp":
        return ("^", ("const", "e"), argument)
    if name in ("log", "lg") and (base or name == "lg"):
        return ("log", base or ("num", "10"), argument)
    if base:
        raise Unreadable("a base of a function without one")
    return ("fn", name, argument)


def function_argument(parser: Parser) -> Tree:
    """The argument of a function: a group, or else the adjacent factors up to the next function."""
    if parser.peek() in ("(", "[", "{"):
        return parser.factor() if parser.peek() == "{" else parser.atom()
    factors = [parser.factor()]
    while parser.begins_factor(factors[-1]) and parser.kind() in ("name", "number") and parser.peek() not in FUNCTIONS:
        factors.append(parser.factor())
    return product(factors)

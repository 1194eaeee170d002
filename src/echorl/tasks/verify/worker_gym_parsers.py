"""Replacements of `eval` and of sympy's `parse_expr` that evaluate no code.

`worker` imports this file without the rest of echorl.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Mapping
from typing import Any

import sympy

from .worker_gym_syntax import ARITHMETIC, Operators, evaluate

MAX_CHARS = 5_000
"""A longer text is refused by both parsers."""
MAX_BITS = 20_000
"""The size of the integers that a power or a shift may give."""
MAX_EXPONENT, MAX_COMPOUND_EXPONENT = 1_000, 100
"""The largest exponent of a variable or number, and of a sum, product or function, which sympy may expand."""
MAX_NESTED_CALLS = 5
"""The deepest nesting of function calls: sympy's time to simplify them grows steeply."""

FUNCTIONS: Mapping[str, int] = {
    **dict.fromkeys(("exp", "ln", "sqrt", "cbrt", "Abs", "abs"), 1),
    **dict.fromkeys(("sin", "cos", "tan", "cot", "sec", "csc", "asin", "acos", "atan", "acot"), 1),
    **dict.fromkeys(("sinh", "cosh", "tanh", "coth", "asinh", "acosh", "atanh"), 1),
    **dict.fromkeys(("log", "Rational"), 2),
}
"""Function of sympy that an expression may call -> number of its arguments. `Integral` would repeat the question."""
CONSTANTS = ("E", "I", "pi")

_EXPRESSION = re.compile(r"[A-Za-z0-9_+\-*/(),.\s]*", re.ASCII)
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9]*(_[A-Za-z0-9]+)*", re.ASCII)
_INTEGER = re.compile(r"\d+", re.ASCII)
_DECIMAL = re.compile(r"(\d+\.\d*|\.\d+|\d+)([eE][+-]?\d{1,2})?", re.ASCII)


def evaluate_literal(text: str, *_: Any) -> Any:
    """Return the value of the Python literal, or of the arithmetic with integers, in `text`.

    >>> evaluate_literal("[[1, 2], ['a']]"), evaluate_literal("(0x10 + 2) << 1")
    ([[1, 2], ['a']], 36)
    """
    tree = _syntax_tree(text).body
    if isinstance(tree, ast.BinOp):
        return evaluate(tree, _integer, _INTEGER_OPERATORS)
    return ast.literal_eval(tree)


def parse_expression(text: str, local_dict: Mapping[str, Any] | None = None, *_: Any, **__: Any) -> Any:
    """Return the sympy expression that `text` writes: numbers, names, + - * / **, and calls of `FUNCTIONS`.

    It takes the arguments of sympy's `parse_expr`, and uses `text` and `local_dict`.

    >>> parse_expression("2*x**3/3 + sqrt(4)")
    2*x**3/3 + 2
    """
    if not _EXPRESSION.fullmatch(text):
        raise ValueError("an expression has letters, digits and + - * / ( ) , . only")
    text = " ".join(text.split())
    names = {**{name: getattr(sympy, name) for name in CONSTANTS}, **(local_dict or {})}
    expression = _Builder(text, names).build(_syntax_tree(text).body)
    if expression.has(sympy.nan, sympy.zoo, sympy.oo, -sympy.oo):
        raise ValueError("the expression has no finite value")
    return expression


def _syntax_tree(text: str) -> ast.Expression:
    if not isinstance(text, str) or len(text) > MAX_CHARS:
        raise ValueError(f"not a text of up to {MAX_CHARS} characters")
    return ast.parse(text.strip(), mode="eval")


def _integer(node: ast.expr) -> int:
    if isinstance(node, ast.Constant) and type(node.value) is int:
        return node.value
    raise ValueError(f"not an integer or an operator of the list: {type(node).__name__}")


def _shifted_left(value: int, places: int) -> int:
    if value.bit_length() + places > MAX_BITS:
        raise ValueError("the shifted number is too large")
    return value << places


def _power(base: Any, exponent: Any) -> Any:
    """The power; ValueError if its integers or its expansion may be large."""
    if exponent.is_Number:
        limit = MAX_EXPONENT if base.is_Symbol or base.is_Number else MAX_COMPOUND_EXPONENT
        bits = sum(int(part).bit_length() for number in base.atoms(sympy.Rational) for part in (number.p, number.q))
        if abs(exponent) > limit or bits * abs(exponent) > MAX_BITS:
            raise ValueError("the power is too large")
    return base**exponent


_INTEGER_OPERATORS: Operators = {
    **ARITHMETIC,
    ast.FloorDiv: operator.floordiv,
    ast.LShift: _shifted_left,
    ast.RShift: operator.rshift,
}
_EXPRESSION_OPERATORS: Operators = {**ARITHMETIC, ast.UAdd: operator.pos, ast.Pow: _power}


class _Builder:
    """Builder of a sympy expression from a syntax tree; any node that is not listed is an error."""

    def __init__(self, text: str, names: Mapping[str, Any]) -> None:
        self.text = text
        self.names = names
        self.open_calls = 0

    def build(self, node: ast.expr) -> Any:
        """The expression of the tree; ValueError for a node that is not allowed."""
        return evaluate(node, self._leaf, _EXPRESSION_OPERATORS)

    def _leaf(self, node: ast.expr) -> Any:
        match node:
            case ast.Constant():
                return self._number(node)
            case ast.Name():
                return self._name(node.id)
            case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]):
                return self._call(name, arguments)
        raise ValueError(f"an expression has no {type(node).__name__}")

    def _number(self, node: ast.Constant) -> Any:
        digits = ast.get_source_segment(self.text, node) or ""
        if _INTEGER.fullmatch(digits):
            return sympy.Integer(int(digits))
        if _DECIMAL.fullmatch(digits):
            return sympy.Float(digits)
        raise ValueError("a number is written with digits and a point")

    def _name(self, name: str) -> Any:
        if name in self.names:
            return self.names[name]
        if hasattr(sympy, name) or not _NAME.fullmatch(name):
            raise ValueError("a name is a variable or a constant, not one of sympy's functions or infinities")
        return sympy.Symbol(name)

    def _call(self, name: str, arguments: list[ast.expr]) -> Any:
        if self.open_calls == MAX_NESTED_CALLS:
            raise ValueError(f"more than {MAX_NESTED_CALLS} functions of functions")
        if not 1 <= len(arguments) <= FUNCTIONS.get(name, 0):
            raise ValueError(f"a call is of one of {', '.join(FUNCTIONS)}, with one argument")
        self.open_calls += 1
        values = [self.build(argument) for argument in arguments]
        self.open_calls -= 1
        return (sympy.Abs if name == "abs" else getattr(sympy, name))(*values)

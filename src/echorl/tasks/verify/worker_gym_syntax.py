"""The value of a syntax tree by a table of operators. `worker` imports this file without the rest of echorl."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

Operators = Mapping[type[ast.AST], Callable[..., Any]]

ARITHMETIC: Operators = MappingProxyType(  # which no call can change
    {
        ast.USub: operator.neg,
        ast.Add: operator.add,
        ast.Sub: operator.sub,
        ast.Mult: operator.mul,
        ast.Div: operator.truediv,
    }
)


def evaluate(node: ast.expr, leaf: Callable[[ast.expr], Any], operators: Operators) -> Any:
    """The value of a tree: `operators` gives that of an operation, `leaf` that of every other node, or an error."""
    match node:
        case ast.UnaryOp(op=kind, operand=operand) if type(kind) in operators:
            return operators[type(kind)](evaluate(operand, leaf, operators))
        case ast.BinOp(left=left, op=kind, right=right) if type(kind) in operators:
            return operators[type(kind)](evaluate(left, leaf, operators), evaluate(right, leaf, operators))
    return leaf(node)

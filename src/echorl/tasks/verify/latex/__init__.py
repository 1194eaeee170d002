r"""Answers in LaTeX or plain text as trees: read, compared exactly where they are rational, printed for math-verify."""

from __future__ import annotations

from echorl.tasks.verify.latex.parser import read_tree
from echorl.tasks.verify.latex.printing import (
    logarithms,
    symbol_names,
    to_latex,
    without_approximation,
    without_plus_or_minus,
    words,
)
from echorl.tasks.verify.latex.product import Tree, Unreadable
from echorl.tasks.verify.latex.rational import has_decimals, has_symbols, rational
from echorl.tasks.verify.latex.tokens import FUNCTIONS, ORDERS, SYNONYMS, Token, tokenize

__all__ = [
    "FUNCTIONS",
    "ORDERS",
    "SYNONYMS",
    "Token",
    "Tree",
    "Unreadable",
    "has_decimals",
    "has_symbols",
    "logarithms",
    "rational",
    "read_tree",
    "symbol_names",
    "to_latex",
    "tokenize",
    "without_approximation",
    "without_plus_or_minus",
    "words",
]

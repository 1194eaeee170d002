"""Parser of values that begin with a command, a bracket or a bar."""

from __future__ import annotations

from abc import ABC, abstractmethod

from echorl.tasks.verify.latex.cursor import Cursor
from echorl.tasks.verify.latex.product import Tree, Unreadable, derivative, product
from echorl.tasks.verify.latex.rational import has_symbols
from echorl.tasks.verify.latex.tokens import FUNCTIONS

GREEK = frozenset(
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi rho sigma tau upsilon phi chi psi omega "
    "Gamma Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi Omega varsigma varpi hbar ell mho odot partial nabla "
    "ldots".split()
)
CLOSING = {"(": (")", "]"), "[": ("]", ")"), "lset": ("rset",), "langle": ("rangle",)}
BRACKETED = {"lfloor": ("floor", "rfloor"), "lceil": ("ceil", "rceil")}
ACCENTS = frozenset("dot ddot hat bar vec tilde overline widehat widetilde overrightarrow mathcal mathbb".split())


class Commands(Cursor, ABC):
    """Part of the parser that reads such values; `parser` has the methods that read their contents."""

    @abstractmethod
    def items(self) -> list[Tree]:
        """Relations with commas or semicolons between them."""

    @abstractmethod
    def sum(self) -> Tree:
        """Terms with signs between them."""

    @abstractmethod
    def factor(self) -> Tree:
        """A value with its powers, subscripts, factorials, ..."""

    @abstractmethod
    def atom(self) -> Tree:
        """A value."""

    @abstractmethod
    def argument(self, *, whole: bool = False) -> Tree:
        """The argument of a command: a group in braces, or one token."""

    @abstractmethod
    def begins_factor(self, before: Tree) -> bool:
        """Return whether the next token begins another factor of the product."""

    def repeating(self, number: str) -> Tree:
        r"""The number; a fraction if `\overline{3}` follows its decimals."""
        if "." not in number or self.peek() not in ("overline", "dot", "bar"):
            return ("num", number)
        self.next += 1
        digits = "".join(token.text for token in self.raw_argument())
        if not digits.isdigit() or "e" in number.lower():
            raise Unreadable("a line over something other than a digit")
        decimals = len(number.partition(".")[2])
        whole = int((number.replace(".", "") + digits) or 0) - int(number.replace(".", "") or 0)
        return ("/", ("num", str(whole)), ("num", str((10 ** len(digits) - 1) * 10**decimals)))

    def sequence(self, opening: str) -> Tree:
        """The content of a bracket that was opened: an expression, a tuple, an interval or a set."""
        bars, self.bars = self.bars, 0
        if opening == "lset" and self.skip("rset"):
            return ("seq", "{", "}")
        items = self.items()
        closing = self.expect(*CLOSING[opening])
        self.bars = bars
        if opening in ("lset", "langle"):
            return ("seq", *("{}" if opening == "lset" else "()"), *items)
        if len(items) == 1:
            if opening + closing not in ("()", "[]") or items[0][0] == "rel":
                raise Unreadable("brackets of two kinds around one value")
            return items[0] if items[0][0] not in ("num", "neg") else ("+", items[0])
        return ("seq", opening, closing, *items)

    def absolute(self) -> Tree:
        """The absolute value whose first bar was read."""
        self.bars += 1
        tree = self.sum()
        self.bars -= 1
        self.expect("|")
        return ("abs", tree)

    def matrix(self, environment: str) -> Tree:
        """The matrix whose beginning was read."""
        if environment == "array":
            self.raw_argument()
        elif environment not in ("matrix", "pmatrix", "bmatrix", "smallmatrix"):
            raise Unreadable(f"the environment {environment!r}")
        rows: list[list[Tree]] = [[]]
        while self.kind() != "end":
            if self.skip("\\"):
                rows.append([])
            elif not self.skip("&"):
                rows[-1].append(self.sum())
        self.take()
        rows = rows if rows[-1] else rows[:-1]
        if not rows or len({len(row) for row in rows}) != 1:
            raise Unreadable("a matrix with rows of different lengths")
        return ("matrix", *(("row", *row) for row in rows))

    def named(self, name: str) -> Tree:
        """The value that begins with this command, word or letter, which was read."""
        if name in ("frac", "binom"):
            over, under = self.argument(), self.argument()
            return ("binom", over, under) if name == "binom" else derivative(over, under) or ("/", over, under)
        if name == "sqrt":
            return self.root()
        if name in FUNCTIONS:
            return self.function(name)
        if name in ("floor", "ceil"):
            return (name, self.function_argument())
        if name == "binomial":
            pair = self.function_argument()
            if pair[0] != "seq" or len(pair) != 5:
                raise Unreadable("a binomial coefficient without two numbers")
            return ("binom", *pair[3:])
        if name in ("pi", "e", "i", "infty"):
            return ("const", name)
        if name == "varnothing":
            return ("seq", "{", "}")
        if name in ("lset", "langle"):
            return self.sequence(name)
        if name in BRACKETED:
            kind, closing = BRACKETED[name]
            tree = self.sum()
            self.expect(closing)
            return (kind, tree)
        if name == "mathbb" and "R" in (self.peek(), self.peek(1)) and not self.has_power():
            self.raw_argument()
            return ("seq", "(", ")", ("neg", ("const", "infty")), ("const", "infty"))
        if name in ACCENTS:
            return ("sym", name + " " + "".join(token.text for token in self.raw_argument()))
        if len(name) == 1 or name in GREEK:
            return self.symbol(name)
        raise Unreadable(f"the command {name!r}")

    def has_power(self) -> bool:
        """Return whether a power or a subscript stands behind the next group."""
        start = self.next
        self.raw_argument()
        has_power = self.peek() in ("^", "_")
        self.next = start
        return has_power

    def symbol(self, name: str) -> Tree:
        """A letter as a symbol; `I(0)` is one symbol, the value of I at 0."""
        if self.peek() == "(" and self.peek(1) == "0" and self.peek(2) == ")":
            self.next += 3
            return ("sym", f"{name}(0)")
        return ("sym", name)

    def root(self) -> Tree:
        """The root behind the command sqrt, with its degree."""
        degree: Tree = ("num", "2")
        if self.skip("["):
            degree = self.sum()
            self.expect("]")
        under = self.atom() if self.peek() == "(" else self.argument()
        if degree[0] == "num" and degree[1][-1] in "13579" and under[0] == "neg":
            return ("neg", ("root", degree, under[1]))  # the real root
        return ("root", degree, under)

    def function(self, name: str) -> Tree:
        """The function with its base, its exponent and its argument."""
        base: Tree | None = None
        exponent: Tree | None = None
        while self.peek() in ("_", "^"):
            if self.take().text == "_":
                base = self.argument(whole=True)
            else:
                exponent = self.argument(whole=True)
        tree = self.applied(name, base)
        if exponent == ("neg", ("num", "1")):
            if name not in ("sin", "cos", "tan"):
                raise Unreadable("an inverse of a function without one")
            return ("fn", f"arc{name}", tree[2])
        return tree if exponent is None else ("^", tree, exponent)

    def applied(self, name: str, base: Tree | None) -> Tree:
        """The function of the argument that comes next; exp, log and lg as powers and logarithms."""
        start = self.next
        argument = self.function_argument()
        in_degrees = any(token.text == "circ" for token in self.tokens[start : self.next])
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

    def function_argument(self) -> Tree:
        """The argument of a function: a group, or else the adjacent factors up to the next function."""
        if self.peek() in ("(", "[", "{"):
            return self.factor() if self.peek() == "{" else self.atom()
        factors = [self.factor()]
        while self.begins_factor(factors[-1]) and self.kind() in ("name", "number") and self.peek() not in FUNCTIONS:
            factors.append(self.factor())
        return product(factors)

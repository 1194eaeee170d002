r"""Parser of an answer in LaTeX or plain text into a tree: numbers, symbols, operations, lists, intervals, relations.

A tree is a tuple: its kind, then trees or strings. `("num", "0.5")`, `("sym", "x_1")`, `("const", "pi" | "e" | "i" |
"infty")`, `("+" | "*", ...)`, `("neg" | "fact" | "abs" | "floor" | "ceil" | "pct", x)`, `("/" | "^" | "binom", x, y)`,
`("pm", x, y)`: x + y and x - y, `("root", degree, x)`, `("fn", name, x)`, `("log", base, x)`, `("base", digits, base)`,
`("seq", opening, closing, ...)`: a tuple, interval or set, `("list", ...)`, `("rel", operators, ...)`, `("cup" |
"cap" | "setminus", x, y)`, `("matrix", rows)`, `("row", ...)`, `("text", words)`.
"""

from __future__ import annotations

import re
from functools import reduce

from echorl.tasks.verify.latex import commands
from echorl.tasks.verify.latex.cursor import Cursor
from echorl.tasks.verify.latex.product import Tree, Unreadable, is_mixed, negated, product, quotient, ratio
from echorl.tasks.verify.latex.rational import has_symbols
from echorl.tasks.verify.latex.tokens import Token, tokenize

MAX_DEPTH = 100
"""Levels of a tree, since its readers recurse. 1/2/2/2/2 has no brackets, but a tree as deep as it is long."""
NO_FACTORS = frozenset("cup cap setminus pm rfloor rceil rset rangle over choose".split())
RELATIONS = frozenset(("=", "<", ">", "le", "ge", "ne", "approx", "in"))


def read_tree(answer: str, *, commas: bool = True) -> Tree:
    r"""The tree of an answer; `commas`: whether a comma may stand between the thousands of a number.

    Raises:
        Unreadable: the answer has no tree, for example because it is empty.

    >>> read_tree(r"x = 4\frac{2}{3}")
    ('rel', '=', ('sym', 'x'), ('+', ('num', '4'), ('/', ('num', '2'), ('num', '3'))))
    """
    try:
        tree = Parser(tokenize(answer, commas=commas)).whole()
    except RecursionError:
        raise Unreadable("it is nested too deeply") from None
    if _depth(tree) > MAX_DEPTH:
        raise Unreadable("it is nested too deeply")
    return tree


def _depth(tree: Tree) -> int:
    depth, level = 0, [tree]
    while level:
        depth, level = depth + 1, [part for node in level for part in node if isinstance(part, tuple)]
    return depth


class Parser(Cursor):
    """Parser by recursive descent; each method reads its tokens and returns their tree."""

    def whole(self) -> Tree:
        """The whole answer, one value or a list."""
        if not self.skip("="):
            self.skip("approx")
        items = self.items()
        if self.next < len(self.tokens) or not items:
            raise Unreadable(f"{self.peek()!r} remains")
        return items[0] if len(items) == 1 else ("list", *items)

    def items(self) -> list[Tree]:
        """Relations with commas or semicolons between them."""
        with self.nested():
            items = [self.relation()]
            while self.skip(",") or self.skip(";"):
                if self.peek() != ",":  # ", and"
                    items.append(self.relation())
        return items

    def relation(self) -> Tree:
        """Values with signs of relations between them, or one value."""
        sides, operators = [self.ratio()], []
        while self.peek() in RELATIONS or (self.peek() == "!" and self.peek(1) == "="):
            name = "ne" if self.skip("!") else self.peek()
            self.next += 1
            sides.append(self.ratio())
            is_definition = name == "approx" and any(map(has_symbols, sides[-2:]))
            operators.append("=" if is_definition else name)
        if len(operators) > 1 and set(operators) <= {">", "ge"}:
            operators, sides = [{">": "<", "ge": "le"}[name] for name in reversed(operators)], sides[::-1]
        return sides[0] if not operators else ("rel", " ".join(operators), *sides)

    def ratio(self) -> Tree:
        """Values with colons between them, or with the `\\over` and `\\choose` of plain TeX."""
        parts = [self.union()]
        if self.peek() in ("over", "choose"):
            kind = "/" if self.take().text == "over" else "binom"
            return (kind, parts[0], self.union())
        while self.skip(":"):
            parts.append(self.union())
        return ratio(parts)

    def union(self) -> Tree:
        """Sums with signs of union, intersection or difference between them."""
        tree = self.sum()
        while self.peek() in ("cup", "cap", "setminus") or (self.peek() == "U" and tree[0] in ("seq", "cup")):
            name = self.take().text
            tree = ("cup" if name == "U" else name, tree, self.sum())
        return tree

    def sum(self) -> Tree:
        """Terms with signs between them."""
        signs = ("+", "-", "pm")
        terms: list[Tree] = []
        while not terms or self.peek() in signs:
            sign = self.take().text if self.peek() in signs else "+"
            if sign == "pm":
                terms = [("pm", _joined(terms), self.term())]
            else:
                terms.append(negated(self.term()) if sign == "-" else self.term())
        return _joined(terms)

    def term(self) -> Tree:
        """Factors with `*`, `/` or nothing between them."""
        if self.peek() in ("+", "-"):  # 2 \cdot -3, --1
            sign = self.take().text
            with self.nested():
                term = self.term()
            return negated(term) if sign == "-" else term
        factors = [self.factor()]
        while self.peek() in ("*", "/") or self.begins_factor(factors[-1]):
            sign = self.take().text if self.peek() in ("*", "/") else ""
            negative = bool(sign) and self.skip("-")
            factor = negated(self.factor()) if negative else self.factor()
            factors = [quotient(factors, factor)] if sign == "/" else [*factors, factor]
        return product(factors)

    def begins_factor(self, before: Tree) -> bool:
        """Return whether the next token begins another factor of the product, without a sign between them."""
        text, kind = self.peek(), self.kind()
        if text == "U" and before[0] == "seq":
            return False
        if kind == "number":
            return before[0] not in ("num", "pct") or (before[0] == "num" and self.begins_mixed(before))
        if kind in ("text", "begin"):
            return True
        if kind == "name":
            return text not in RELATIONS | NO_FACTORS
        return text in ("(", "[", "{") or (text == "|" and not self.bars)

    def begins_mixed(self, before: Tree) -> bool:
        """Return whether a fraction such as `3/4` follows a whole number, so that both are a mixed number."""
        return self.peek(1) == "/" and is_mixed(before, ("num", self.peek()), ("num", self.peek(2)))

    def factor(self) -> Tree:
        """A value with its powers, factorials, percent signs, primes and subscripts."""
        tree = self.atom()
        while self.has_suffix(tree):
            match self.take().text:
                case "^":
                    tree = self.power(tree)
                case "!" if self.peek() == "!":
                    raise Unreadable("a double factorial")
                case "!":
                    tree = ("fact", tree)
                case "%":
                    tree = ("pct", tree)
                case "'":
                    tree = ("sym", tree[1] + "'")
                case "_":
                    tree = self.subscript(tree)
        return tree

    def has_suffix(self, tree: Tree) -> bool:
        """Return whether the next token changes the value before it; a degree sign does not."""
        text = self.peek()
        if text == "!":
            return self.peek(1) != "=" or tree[0] == "num"  # 4!=24, but not x != 4
        return text in ("^", "%", "circ", "_") or (text == "'" and tree[0] == "sym")

    def power(self, base: Tree) -> Tree:
        """The base with the exponent that comes next; degrees and primes are not exponents."""
        if self.skip("circ"):
            return base
        start = self.next
        if (primes := self.primes()) and base[0] == "sym":
            return ("sym", base[1] + primes)
        self.next = start
        if self.skip("{", "circ", "}"):
            return base
        values = [base, self.argument(whole=True)]
        while self.skip("^"):
            values.append(self.argument(whole=True))
        return reduce(lambda power, value: ("^", value, power), reversed(values))  # 2^3^2 is 2^9

    def subscript(self, tree: Tree) -> Tree:
        """The symbol or number with the subscript that comes next."""
        name = self.raw_text().rstrip(".")
        if tree[0] == "sym":
            return ("sym", f"{tree[1]}_{name}")
        if tree[0] == "num" and name.isdigit():
            return ("base", tree[1], name)
        raise Unreadable("a subscript of neither a letter nor a number")

    def argument(self, *, whole: bool = False) -> Tree:
        """The argument of a command: a group in braces, or one token; only a number's first digit, unless `whole`."""
        if self.skip("{"):
            items = self.items()
            self.expect("}")
            if len(items) > 1:
                raise Unreadable("a list where a value belongs")
            return items[0]
        token = self.tokens[self.next] if self.next < len(self.tokens) else self.take()
        if whole and token.text in ("-", "+"):
            self.next += 1
            return ("neg", self.atom()) if token.text == "-" else self.atom()
        if token.kind == "number" and not whole and len(token.text) > 1:
            if not re.fullmatch(r"[0-9](?:[0-9]*\.?[0-9]+|[0-9]+\.)", token.text):
                raise Unreadable("no number follows the digit")
            self.tokens[self.next] = Token("number", token.text[1:])
            return ("num", token.text[0])
        return self.atom()

    def atom(self) -> Tree:
        """A number, a symbol, words, a command, or an expression in brackets or bars."""
        token = self.take()
        text = token.text
        if token.kind == "number":
            return commands.repeating(self, text)
        if token.kind == "text":
            return ("text", text)
        if token.kind == "begin":
            return commands.matrix(self, text)
        if token.kind == "name":
            return commands.named(self, text)
        if text == "{":
            self.next -= 1
            return self.argument()
        if text in ("(", "["):
            return commands.sequence(self, text)
        if text == "|":
            return commands.absolute(self)
        raise Unreadable(f"{text!r} begins no value")


def _joined(terms: list[Tree]) -> Tree:
    r"""The terms as one tree; 0 without terms, as before the sign of \pm 5."""
    return ("+", *terms) if len(terms) > 1 else terms[0] if terms else ("num", "0")

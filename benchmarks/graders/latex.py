r"""Independent reader of the reference answers' LaTeX. It shares no code with the graders and refuses doubtful texts.

`parse` gives an expression as nested tuples whose first element names them:

    ("number", "1.5")  ("name", "x_1")  ("sum", a, b, ...)  ("minus", a)  ("product", a, b, ...)  ("over", a, b)
    ("power", a, b)  ("call", "sin", a)  ("root", a, n)  ("based", "52", 8)  ("mixed", "4", "2", "3")
"""

from __future__ import annotations

import re

Node = tuple  # nested: the first element is the name of the kind

TEXT = r"\\(?:text|mbox|textbf|mathrm)\s*\{[^{}]*\}"
NUMBER = r"(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+(?![0-9.]))?"
TOKEN = re.compile(rf"{TEXT}|\\[A-Za-z]+|\\.|{NUMBER}|\s+|.")
_SMALL = "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi rho sigma tau phi chi psi omega"
_LARGE = "Gamma Delta Theta Lambda Xi Sigma Phi Psi Omega hbar odot infty max"
GREEK = tuple(f"{_SMALL} {_LARGE}".split())
"""Commands that are names."""
FUNCTIONS = ("sin", "cos", "tan", "cot", "ln", "log", "exp", "arcsin", "arccos", "arctan")
CLOSING = {"(": ")", "[": "]", "{": "}", "\\{": "\\}", "\\lfloor": "\\rfloor", "\\lceil": "\\rceil"}
TIMES = ("\\cdot", "\\times", "*")


class Unreadable(ValueError):
    """The text is not one that this reader is sure of."""


def plain(reference: str) -> str:
    r"""The answer without dollars, `\left`, `\right`, layout and a last period; the arguments of `\frac` in braces.

    >>> plain("$\\left(\\frac12, 10{,}000\\right)$."), plain("\\$32,\\!348")
    ('(\\frac{1}{2}, 10000)', '32348')
    """
    reference = re.sub(r"\\(?:left|right|displaystyle|quad)(?![A-Za-z])|\\[,;:]", " ", reference.replace("\\$", ""))
    reference = re.sub(r"(?<=[0-9]),\\!\s*(?=[0-9]{3})", "", reference)
    reference = re.sub(r"\$\s*,\s*\$", ", ", reference).replace("$", "").replace("\\dfrac", "\\frac").replace("\\!", "")
    reference = re.sub(r"(?<=[0-9])\{,\}\s*(?=[0-9]{3})", "", reference).strip().rstrip(".")
    if re.fullmatch(r"-?[0-9]{1,3}(,[0-9]{3})+", reference):
        reference = reference.replace(",", "")
    reference = re.sub(r"\\frac\s*([0-9])\s*([0-9])", r"\\frac{\1}{\2}", reference)
    reference = re.sub(r"\\frac\s*([0-9])\s*\{", r"\\frac{\1}{", reference)
    reference = re.sub(r"(\\frac\{[^{}]*\})\s*([0-9])", r"\1{\2}", reference)
    return re.sub(r"\\sqrt\s*([0-9])", r"\\sqrt{\1}", reference).strip()


def tokens(text: str) -> list[str]:
    """Tokens of a text without spaces."""
    return [token for token in TOKEN.findall(text) if not token.isspace()]


def split(text: str, separators: tuple[str, ...]) -> tuple[list[str], list[str]]:
    """The parts of a text between separators outside brackets, and these separators."""
    parts, signs, depth = [""], [], 0
    for token in TOKEN.findall(text):
        depth += token in ("(", "[", "{", "\\{")
        depth -= token in (")", "]", "}", "\\}")
        if depth == 0 and token in separators:
            signs.append(token)
            parts.append("")
        else:
            parts[-1] += token
    return [part.strip() for part in parts], signs


def parse(text: str) -> Node:
    """The expression in a text; `Unreadable` for a doubtful text."""
    parser = _Parser(tokens(text))
    node = parser.sum()
    if parser.next is not None:
        raise Unreadable(text)
    return node


class _Parser:
    """Parser by recursive descent."""

    def __init__(self, parts: list[str]) -> None:
        self.parts, self.at = parts, 0

    @property
    def next(self) -> str | None:
        """The next token; None after the last one."""
        return self.parts[self.at] if self.at < len(self.parts) else None

    def take(self, expected: str | None = None) -> str:
        """The next token, which is read; `Unreadable` if it is another than `expected`."""
        token = self.next
        if token is None or (expected is not None and token != expected):
            raise Unreadable(" ".join(self.parts))
        self.at += 1
        return token

    def sum(self) -> Node:
        """Terms with signs between them."""
        terms = []
        sign = self.take() if self.next in ("+", "-", "\\pm") else "+"
        while True:
            term = self.product()
            if sign == "\\pm":
                term = ("product", ("name", "plusminus"), term)
            terms.append(("minus", term) if sign == "-" else term)
            if self.next not in ("+", "-", "\\pm"):
                return terms[0] if len(terms) == 1 else ("sum", *terms)
            sign = self.take()

    def product(self) -> Node:
        """Factors with or without signs between them."""
        factors = [self.factor()]
        divided = False
        while self.next is not None and self.next not in ("+", "-", "\\pm", ")", "]", "}", "\\rfloor", "\\rceil"):
            if self.next == "/":
                self.take()
                below = self.factor()
                above = factors[0] if len(factors) == 1 else ("product", *factors)
                factors, divided = [("over", above, below)], True
            elif self.next in TIMES:
                self.take()
                factors.append(self.factor())
            elif divided or self.next[0].isdigit() or self.next[0] == ".":
                raise Unreadable("a factor behind a slash, or a number behind a factor, without a sign")
            else:
                factors.append(self.factor())
        return mixed(factors) if len(factors) > 1 else factors[0]

    def factor(self) -> Node:
        """A base with its powers and marks."""
        base = self.base()
        while self.next in ("^", "!", "%", "\\%", "'"):
            mark = self.take()
            if mark == "!":
                base = ("call", "factorial", base)
            elif mark in ("%", "\\%"):
                base = ("product", base, ("name", "percent"))
            elif mark == "'" or self._prime():
                base = ("name", f"{named(base)}'")
            else:
                base = self._raised(base)
        return base

    def _prime(self) -> bool:
        if "".join(self.parts[self.at : self.at + 3]) == "{\\prime}":
            self.at += 3
            return True
        return False

    def _raised(self, base: Node) -> Node:
        if self.next == "\\circ" or "".join(self.parts[self.at : self.at + 3]) == "{\\circ}":
            self.at += 1 if self.next == "\\circ" else 3
            return ("product", base, ("name", "degree"))
        return ("power", base, self.argument())

    def argument(self) -> Node:
        """The argument of `^` or of a command: a group in braces, one digit, one letter or one command."""
        if self.next == "{":
            return self.group("{")
        token = self.take()
        if re.fullmatch("[0-9]", token):
            return ("number", token)
        if re.fullmatch("[A-Za-z]", token) or token.lstrip("\\") in (*GREEK, "pi"):
            return ("name", token.lstrip("\\"))
        raise Unreadable(token)

    def group(self, opening: str) -> Node:
        """An expression in brackets."""
        self.take(opening)
        node = self.sum()
        self.take(CLOSING[opening])
        return node

    def base(self) -> Node:
        """A number, a name, a function or a group."""
        token = self.next
        if token is None:
            raise Unreadable("nothing")
        if re.fullmatch(NUMBER, token):
            return self._number()
        if token in ("(", "[", "{"):
            return self.group(token)
        if token in ("\\lfloor", "\\lceil"):
            return ("call", {"\\lfloor": "floor", "\\lceil": "ceiling"}[token], self.group(token))
        if token in ("\\frac", "\\binom", "\\sqrt"):
            return self._two_storeys(self.take())
        if token.lstrip("\\") in FUNCTIONS and token[0] == "\\":
            return self._function(self.take()[1:])
        return self._name()

    def _number(self) -> Node:
        number = self.take()
        if self.next != "_":
            return ("number", number)
        self.take()
        argument = self.argument()
        if argument[0] != "number" or not number.isdigit() or any(int(d) >= int(argument[1]) for d in number):
            raise Unreadable("a base")
        return ("based", number, int(argument[1]))

    def _two_storeys(self, command: str) -> Node:
        if command == "\\sqrt":
            index: Node = ("number", "2")
            if self.next == "[":
                index = self.group("[")
            return ("root", self.argument(), index)
        start = self.at
        if command == "\\frac" and "".join(self.parts[start : start + 2]) == "{d":
            return self._derivative()
        above, below = self.argument(), self.argument()
        return ("over", above, below) if command == "\\frac" else ("call", "binomial", above, below)

    def _derivative(self) -> Node:
        """A derivative as a name, since no derivative is computed."""
        texts = []
        for _ in range(2):
            start = self.at
            if self.group("{") and self.parts[start + 1] != "d":
                raise Unreadable("an incomplete derivative")
            texts.append("".join(self.parts[start : self.at]))
        return ("name", "derivative" + "".join(texts))

    def _function(self, name: str) -> Node:
        base: Node | None = None
        power: Node | None = None
        if self.next == "_":
            self.take()
            base = self.argument()
        if self.next == "^":
            self.take()
            power = self.argument()
        bracketed = self.next in ("(", "{")
        argument = self.group(str(self.next)) if bracketed else self.factor()
        if not bracketed and self.next is not None and (self.next.isalnum() or self.next[:1] == "("):
            raise Unreadable("the end of the argument of a function is unclear")
        node: Node = ("call", name, argument)
        if base is not None:
            node = ("over", ("call", "ln", argument), ("call", "ln", base))
        return node if power is None else ("power", node, power)

    def _name(self) -> Node:
        name = self.take()
        if name in ("\\dot", "\\ddot"):
            name += f"({named(self.argument())})"
        elif re.fullmatch(TEXT, name):
            name = "text:" + name[name.index("{") + 1 : -1].strip()
        elif not (re.fullmatch("[A-Za-z]", name) or (name[0] == "\\" and name[1:] in (*GREEK, "pi"))):
            raise Unreadable(name)
        name = name.lstrip("\\")
        if self.next == "_":
            self.take()
            name += f"_{self._subscript()}"
        if self.next == "(" and (self.parts[self.at + 2 : self.at + 3] == [")"]):
            self.take()
            name += f"({self.take()})"
            self.take()
        return ("name", name)

    def _subscript(self) -> str:
        if self.next != "{":
            return self.take().lstrip("\\")
        start = self.at
        while self.take() != "}":
            if self.next == "{":
                raise Unreadable("a subscript of a subscript")
        return "".join(part.lstrip("\\") for part in self.parts[start + 1 : self.at - 1])


def named(node: Node) -> str:
    """Text of a name; `Unreadable` for any other node."""
    if node[0] != "name":
        raise Unreadable(repr(node))
    return str(node[1])


def mixed(factors: list[Node]) -> Node:
    """The product, or the mixed number where an integer stands before a proper fraction of integers."""
    kinds = [(factor[0], *(part[0] for part in factor[1:] if isinstance(part, tuple))) for factor in factors[:2]]
    if kinds == [("number",), ("over", "number", "number")]:
        whole, above, below = factors[0][1], factors[1][1][1], factors[1][2][1]
        if not (whole + above + below).isdigit() or int(above) >= int(below) or len(factors) > 2:
            raise Unreadable("a number before a fraction")
        return ("mixed", whole, above, below)
    return ("product", *factors)

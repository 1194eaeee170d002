"""A place in a list of tokens, and the simple steps from it."""

from __future__ import annotations

from echorl.tasks.verify.latex.product import Unreadable
from echorl.tasks.verify.latex.tokens import Token


class Cursor:
    """`next` is the index of the first token that is not used up."""

    def __init__(self, tokens: list[Token]) -> None:
        while tokens and tokens[-1].text in (".", ",", ";", ":"):
            tokens.pop()
        self.tokens = tokens
        self.next = 0
        self.depth = 0
        self.bars = 0
        """How many bars are open."""

    def peek(self, ahead: int = 0) -> str:
        """The text of a token; "" behind the end, and for words in `\\text{}`, which are no signs."""
        at = self.next + ahead
        return self.tokens[at].text if at < len(self.tokens) and self.tokens[at].kind != "text" else ""

    def kind(self, ahead: int = 0) -> str:
        at = self.next + ahead
        return self.tokens[at].kind if at < len(self.tokens) else ""

    def take(self) -> Token:
        if self.next >= len(self.tokens):
            raise Unreadable("it ends too early")
        self.next += 1
        return self.tokens[self.next - 1]

    def skip(self, text: str) -> bool:
        found = self.peek() == text
        self.next += found
        return found

    def expect(self, *texts: str) -> str:
        if self.peek() not in texts:
            raise Unreadable(f"{self.peek()!r} where {texts[0]!r} belongs")
        return self.take().text

    def raw_argument(self) -> list[Token]:
        """The tokens of a group in braces, or one token."""
        if not self.skip("{"):
            return [self.take()]
        start, depth = self.next, 1
        while depth:
            text = self.take().text
            depth += (text == "{") - (text == "}")
        return self.tokens[start : self.next - 1]

    def primes(self) -> str:
        """The primes that come next, alone or in braces; "" if something else does."""
        braced = self.skip("{")
        found = ""
        while self.peek() in ("'", "prime"):
            self.next += 1
            found += "'"
        return found if not braced or self.skip("}") else ""

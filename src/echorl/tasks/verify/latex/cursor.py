"""A position in a list of tokens, and the simple steps from it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from echorl.tasks.verify.latex.product import Unreadable
from echorl.tasks.verify.latex.tokens import Token

MAX_NESTING = 40


class Cursor:
    """A position in a list of tokens.

    Attributes:
        next: index of the first token that is not read yet.
    """

    def __init__(self, tokens: list[Token]) -> None:
        while tokens and tokens[-1].text in (".", ",", ";", ":"):
            tokens.pop()
        self.tokens = tokens
        self.next = 0
        self.depth = 0
        self.bars = 0
        """Number of open bars."""

    def peek(self, ahead: int = 0) -> str:
        """The text of a token that is not read yet; "" after the end, and for words in `\\text{}`."""
        at = self.next + ahead
        return self.tokens[at].text if at < len(self.tokens) and self.tokens[at].kind != "text" else ""

    def kind(self) -> str:
        """The kind of the next token; "" after the end."""
        return self.tokens[self.next].kind if self.next < len(self.tokens) else ""

    def take(self) -> Token:
        """Read the next token; Unreadable after the end."""
        if self.next >= len(self.tokens):
            raise Unreadable("it ends too early")
        self.next += 1
        return self.tokens[self.next - 1]

    def skip(self, *texts: str) -> bool:
        """Read the next tokens if they have these texts; return whether they were read."""
        matches = all(self.peek(ahead) == text for ahead, text in enumerate(texts))
        self.next += len(texts) if matches else 0
        return matches

    def expect(self, *texts: str) -> str:
        """Read the next token and return its text; Unreadable if it is none of these texts."""
        if self.peek() not in texts:
            raise Unreadable(f"{self.peek()!r} in place of {texts[0]!r}")
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

    def raw_text(self) -> str:
        """The text of a group in braces, or of one token."""
        return "".join(token.text for token in self.raw_argument())

    def primes(self) -> str:
        """Read the primes that come next, alone or in braces; "" if there are none."""
        braced, start = self.skip("{"), self.next
        while self.skip("'") or self.skip("prime"):
            pass
        primes = "'" * (self.next - start)
        return primes if not braced or self.skip("}") else ""

    @contextmanager
    def nested(self) -> Iterator[None]:
        """Read one level deeper; Unreadable below `MAX_NESTING` levels."""
        self.depth += 1
        if self.depth > MAX_NESTING:
            raise Unreadable("it is nested too deeply")
        yield
        self.depth -= 1

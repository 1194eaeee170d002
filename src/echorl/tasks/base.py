"""The protocols of tasks and verifiers, and functions that tasks share: texts of completions, checks of options."""

from __future__ import annotations

import contextlib
import hashlib
import math
import numbers
import random
import reprlib
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from datasets import Dataset

Message = dict[str, str]
Prompt = str | list[Message]
Completion = str | Sequence[Message]

LARGEST_EXACT = 2**53
"""Every whole number below it is exact as a float, and is written without a fraction or an exponent."""


class Verifier(Protocol):
    """A TRL reward function: 1.0 for a success, 0.0 for a failure, None for a row of another task."""

    __name__: str

    def __call__(self, *, completions: Sequence[Completion], **columns: Any) -> list[float | None]: ...


class Task(Protocol):
    """A frozen dataclass whose fields are the task's options."""

    @property
    def splits(self) -> tuple[str, ...]:
        """The names that `dataset` takes."""

    @property
    def verifier(self) -> Verifier:
        """The reward function for rows of this task."""

    def dataset(self, split: str, *, size: int | None = None, seed: int = 0) -> Dataset:
        """Rows with `prompt`, the columns of the verifier, and `demonstration` where the task has one."""


def reference_text(value: Any) -> str:
    """A reference answer as text; a number becomes its digits.

    Raises:
        ValueError: it is neither a text nor a finite number.

    >>> reference_text("1/2"), reference_text(42), reference_text(42.0), reference_text(0.5)
    ('1/2', '42', '42', '0.5')
    """
    if isinstance(value, str):
        return value
    if isinstance(value, numbers.Integral) and not isinstance(value, bool):
        return str(int(value))
    if isinstance(value, Fraction):
        return str(value)
    if isinstance(value, (numbers.Real, Decimal)) and not isinstance(value, bool) and math.isfinite(value):
        whole = int(float(value))
        return str(whole) if value == whole and abs(whole) < LARGEST_EXACT else str(value)
    raise ValueError(
        f"{str(value)[:80]!r} of type {type(value).__name__} is neither a text nor a finite number; "
        "write the reference answer as a text"
    )


def make_verifier(
    name: str,
    column: str,
    score: Callable[[list[tuple[str, str]]], list[float | None]],
    *,
    read_reference: Callable[[Any], str] = reference_text,
) -> Verifier:
    """A verifier named `name` that passes a list of pairs, (completion's text, the row's `column`), to `score`.

    Rows where the column is None belong to another task: their reward is None. Without completions the result is an
    empty list. A value that `read_reference` refuses is a ValueError that names the column and the row.
    """

    def reference(value: Any, row: int) -> str:
        try:
            return read_reference(value)
        except ValueError as error:
            raise ValueError(f"the verifier {name!r}: column {column!r}, row {row}: {error}") from None

    def verifier(*, completions: Sequence[Completion], **columns: Any) -> list[float | None]:
        """The scores of the completions; None for rows of another task."""
        if column not in columns:
            raise ValueError(f"the verifier {name!r} needs the column {column!r}; keep it in the dataset")
        references = [None if value is None else reference(value, row) for row, value in enumerate(columns[column])]
        rows = list(zip(completions, references, strict=True))
        scores = iter(
            score([(completion_text(completion), answer) for completion, answer in rows if answer is not None])
        )
        return [None if answer is None else next(scores) for _, answer in rows]

    verifier.__name__ = verifier.__qualname__ = name
    return verifier


def as_numbers(rewards: Sequence[Any]) -> list[float | None]:
    """The rewards of a reward function as floats; None for a completion without a reward.

    Raises:
        ValueError: a reward is no number, such as a text, a list or a number that is too large for a float.

    >>> as_numbers([True, None, 0.5])
    [1.0, None, 0.5]
    """
    return [None if reward is None else _as_number(reward) for reward in rewards]


def _as_number(reward: Any) -> float:
    if not isinstance(reward, (str, bytes)):
        with contextlib.suppress(TypeError, ValueError, OverflowError, RuntimeError):  # a tensor's is a RuntimeError
            return float(reward)
    raise ValueError(f"the reward {reprlib.repr(reward)} is no number")


def completion_text(completion: Completion) -> str:
    """The text of a completion: the string itself, or the text of its last message; "" if it has no message.

    >>> completion_text([{"role": "assistant", "content": "#### 4"}])
    '#### 4'
    """
    if isinstance(completion, str):
        return completion
    content = completion[-1].get("content") if completion else ""
    if isinstance(content, list):
        return "".join(part.get("text") or "" for part in content)
    return content or ""


def make_prompt(question: str, *, template: str, chat: bool) -> Prompt:
    """The question in the template, as one string or as one user message."""
    text = template.replace("{question}", question)
    return [{"role": "user", "content": text}] if chat else text


def check_template(template: str) -> None:
    """Raise a ValueError for a template without a place for the question."""
    if "{question}" not in template:
        raise ValueError(f"template {template!r} has no '{{question}}'; add it where the question belongs")


def check_request(split: str, splits: Iterable[str], size: int | None) -> None:
    """Raise a ValueError for a split that the task does not have, or for a size below 1."""
    if split not in splits:
        raise ValueError(f"unknown split {split!r}; choose one of {', '.join(splits)}")
    if size is not None and size < 1:
        raise ValueError(f"size {size} is not a number of rows; give 1 or more, or None for the default")


def draw(rows: Sequence[Any], size: int | None, seed: int, *, place: str) -> list[Any]:
    """All rows, or `size` of them drawn by `seed`, in their order; `place` names the rows in the error message."""
    if size is None:
        return list(rows)
    if size > len(rows):
        raise ValueError(f"{place} has {len(rows)} rows, not {size}; ask for fewer")
    return [rows[i] for i in sorted(random.Random(seed).sample(range(len(rows)), size))]


def hash_fraction(text: str) -> float:
    """A number in [0, 1) that depends on the text alone, so that an instance always belongs to the same split."""
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:8], "big") / 2**64

"""The base class of tasks, the protocol of verifiers, and functions that tasks share: prompts, splits, texts."""

from __future__ import annotations

import contextlib
import hashlib
import math
import numbers
import random
import reprlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar

from echorl.support.errors import located

if TYPE_CHECKING:
    from datasets import Dataset, Features

Message = dict[str, str]
Prompt = str | list[Message]
Completion = str | Sequence[Message]
TaskRow = dict[str, Any]
Log = Callable[[str, float], None]
"""TRL's `log_metric`: (metric, value)."""
Instance = TypeVar("Instance")

DEFAULT_SIZE = 1000
"""Number of rows that a task generates where no size is given."""
SHARES = {"train": (0.0, 0.8), "validation": (0.8, 0.9), "test": (0.9, 1.0), "harder": (0.9, 1.0)}
"""Split of generated questions -> the range of a question's hash that belongs to it."""

LARGEST_EXACT = 2**53
"""Every whole number below it is exact as a float, and is written without a fraction or an exponent."""


class Verifier(Protocol):
    """A TRL reward function: 1.0 for a success, 0.0 for a failure, None for a row of another task."""

    __name__: str

    def __call__(self, *, completions: Sequence[Completion], **columns: Any) -> list[float | None]: ...


class Task(ABC):
    """Base class of the tasks: frozen dataclasses whose fields are the task's options.

    Attributes:
        template: the prompt, with `{question}` in it.
    """

    SPLITS: ClassVar[tuple[str, ...]]
    template: str

    def __post_init__(self) -> None:
        if "{question}" not in self.template:
            raise ValueError(f"template {self.template!r} has no '{{question}}'; add it where the question belongs")

    @property
    def splits(self) -> tuple[str, ...]:
        """The names that `dataset` takes."""
        return self.SPLITS

    @property
    @abstractmethod
    def verifier(self) -> Verifier:
        """The reward function for rows of this task."""

    @abstractmethod
    def rows(self, split: str, size: int | None, seed: int) -> list[TaskRow]:
        """Rows with `prompt`, the columns of the verifier, and `demonstration` where the task has one."""

    def features(self) -> Features | None:
        """The columns' types; None where they follow from the rows."""
        return None

    def dataset(self, split: str, *, size: int | None = None, seed: int = 0) -> Dataset:
        """The rows of a split, or `size` of them drawn by `seed`; a task that generates rows makes 1,000 by default.

        Raises:
            ValueError: the task does not have the split, the size is below 1, or there are fewer rows.
        """
        from datasets import Dataset

        if split not in self.splits:
            raise ValueError(f"unknown split {split!r}; choose one of {', '.join(self.splits)}")
        if size is not None and size < 1:
            raise ValueError(f"size {size} is not a number of rows; give 1 or more, or None for the default")
        return Dataset.from_list(self.rows(split, size, seed), features=self.features())


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
    score: Callable[[list[tuple[str, str]], Log | None], list[float | None]],
    *,
    read_reference: Callable[[Any], str] = reference_text,
) -> Verifier:
    """A verifier named `name` that passes a list of pairs, (completion's text, the row's `column`), to `score`.

    `score` also gets the `log_metric` that TRL passes, or None.
    Rows where the column is None belong to another task: their reward is None. Without completions the result is an
    empty list. A value that `read_reference` refuses is a ValueError that names the column and the row.
    """

    def reference(value: Any, row: int) -> str:
        with located(f"the verifier {name!r}: column {column!r}, row {row}"):
            return read_reference(value)

    def verifier(
        *, completions: Sequence[Completion], log_metric: Log | None = None, **columns: Any
    ) -> list[float | None]:
        """The scores of the completions; None for rows of another task."""
        if column not in columns:
            raise ValueError(f"the verifier {name!r} needs the column {column!r}; keep it in the dataset")
        references = [None if value is None else reference(value, row) for row, value in enumerate(columns[column])]
        rows = zip(completions, references, strict=True)
        pairs = [(completion_text(completion), answer) for completion, answer in rows if answer is not None]
        scores = iter(score(pairs, log_metric))
        return [None if answer is None else next(scores) for answer in references]

    verifier.__name__ = verifier.__qualname__ = name
    return verifier


def as_numbers(rewards: Sequence[Any]) -> list[float | None]:
    """The rewards of a reward function as floats; None for a completion without a reward.

    Raises:
        ValueError: a reward is not a number, such as a text, a list or a number that is too large for a float.

    >>> as_numbers([True, None, 0.5])
    [1.0, None, 0.5]
    """
    return [None if reward is None else _as_number(reward) for reward in rewards]


def _as_number(reward: Any) -> float:
    if not isinstance(reward, (str, bytes)):
        with contextlib.suppress(TypeError, ValueError, OverflowError, RuntimeError):  # a tensor's is a RuntimeError
            return float(reward)
    raise ValueError(f"the reward {reprlib.repr(reward)} is not a number")


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


def draw(rows: Sequence[Any], size: int | None, seed: int, *, place: str) -> list[Any]:
    """All rows, or `size` of them drawn by `seed`, in their order; `place` names the rows in the error message."""
    if size is None:
        return list(rows)
    if size > len(rows):
        raise ValueError(f"{place} has {len(rows)} rows, not {size}; ask for fewer")
    return [rows[i] for i in sorted(random.Random(seed).sample(range(len(rows)), size))]


def in_validation(question: str, split: str, share: float) -> bool:
    """Return whether a question is in the split: "validation" has this share of the questions, "train" the others."""
    return (hash_fraction(question) < share) == (split == "validation")


def take_instances(instances: Iterator[tuple[str, Instance]], split: str, size: int | None) -> list[Instance]:
    """The first instances whose question belongs to the split, up to the size; only training questions may repeat."""
    low, high = SHARES[split]
    taken: list[Instance] = []
    questions: set[str] = set()
    for question, instance in instances:
        if low <= hash_fraction(question) < high and (split == "train" or question not in questions):
            questions.add(question)
            taken.append(instance)
            if len(taken) == (size or DEFAULT_SIZE):
                break
    return taken


def hash_fraction(text: str) -> float:
    """A number in [0, 1) that depends only on the text, so that an instance always belongs to the same split."""
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:8], "big") / 2**64

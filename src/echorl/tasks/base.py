"""What a task is: prompts with a verifier. And what tasks share: reading completions, checking options and splits."""

from __future__ import annotations

import contextlib
import hashlib
import math
import numbers
import random
import re
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
"""Below it every whole number is a float, and is written without a fraction or an exponent."""

_TAGGED = re.compile(r"<answer>(.*?)</answer>", re.DOTALL)


class Verifier(Protocol):
    """A TRL reward function: 1.0 a success, 0.0 a failure, None a row of some other task."""

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
        """Rows with `prompt`, what the verifier needs, and `demonstration` where the task has one."""


def gold_text(value: Any) -> str:
    """A gold answer as text: a number is written out.

    Raises:
        ValueError: it is neither a text nor a finite number.

    >>> gold_text("1/2"), gold_text(42), gold_text(42.0), gold_text(0.5)
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
        "write the gold answer as a text"
    )


def make_verifier(
    name: str,
    column: str,
    score: Callable[[list[tuple[str, str]]], list[float | None]],
    *,
    read_gold: Callable[[Any], str] = gold_text,
) -> Verifier:
    """A verifier named `name` that gives (completion's text, its row's `column`) pairs to `score`, in one list.

    Rows where the column is None belong to another task: their reward is None. No completions: an empty list. A value
    that `read_gold` refuses is a ValueError that names the column and the row.
    """

    def gold(value: Any, row: int) -> str:
        try:
            return read_gold(value)
        except ValueError as error:
            raise ValueError(f"the verifier {name!r}: column {column!r}, row {row}: {error}") from None

    def verifier(*, completions: Sequence[Completion], **columns: Any) -> list[float | None]:
        if column not in columns:
            raise ValueError(f"the verifier {name!r} needs the column {column!r}; keep it in the dataset")
        values = columns[column]
        golds = [None if value is None else gold(value, row) for row, value in enumerate(values)]
        rows = list(zip(completions, golds, strict=True))
        scores = iter(score([(completion_text(done), wanted) for done, wanted in rows if wanted is not None]))
        return [None if wanted is None else next(scores) for _, wanted in rows]

    verifier.__name__ = verifier.__qualname__ = name
    return verifier


def as_numbers(rewards: Sequence[Any]) -> list[float | None]:
    """What a reward function returned as floats, None where it gave no verdict.

    Raises:
        ValueError: one is no number, such as a text, a list or a number that no float can hold.

    >>> as_numbers([True, None, 0.5])
    [1.0, None, 0.5]
    """
    return [None if reward is None else _as_number(reward) for reward in rewards]


def _as_number(reward: Any) -> float:
    if not isinstance(reward, (str, bytes)):
        with contextlib.suppress(TypeError, ValueError, OverflowError, RuntimeError):  # the last: of a tensor
            return float(reward)
    raise ValueError(f"the reward {reprlib.repr(reward)} is no number")


def completion_text(completion: Completion) -> str:
    """The text of a completion: the string itself, or the text of the last message; "" where there is none.

    >>> completion_text([{"role": "assistant", "content": "#### 4"}])
    '#### 4'
    """
    if isinstance(completion, str):
        return completion
    content = completion[-1].get("content") if completion else ""
    if isinstance(content, list):
        return "".join(part.get("text") or "" for part in content)
    return content or ""


def final_answer(text: str) -> str:
    """What follows the last `####`; else the last `<answer>...</answer>`; else the last non-empty line.

    An empty text, or nothing after the marker, gives "".

    >>> final_answer("4+3=7\\n#### 7"), final_answer("so <answer>7</answer>."), final_answer("4+3=7\\n7\\n")
    ('7', '7', '7')
    """
    _, marker, after = text.rpartition("####")
    if marker:
        return after.strip()
    tail = text[text.rfind("<answer>") :] if "<answer>" in text else ""
    if tagged := _TAGGED.match(tail):
        return tagged.group(1).strip()
    return text.rstrip().rpartition("\n")[2].strip()


def make_prompt(question: str, *, template: str, chat: bool) -> Prompt:
    """The question in the template, as one string or as one user message."""
    text = template.replace("{question}", question)
    return [{"role": "user", "content": text}] if chat else text


def check_template(template: str) -> None:
    if "{question}" not in template:
        raise ValueError(f"template {template!r} has no '{{question}}'; add it where the question belongs")


def check_split(split: str, splits: Iterable[str]) -> None:
    if split not in splits:
        raise ValueError(f"unknown split {split!r}; choose one of {', '.join(splits)}")


def check_size(size: int | None) -> None:
    if size is not None and size < 1:
        raise ValueError(f"size {size} is not a number of rows; give 1 or more, or None for the default")


def draw(rows: Sequence[Any], size: int | None, seed: int, *, place: str) -> list[Any]:
    """All rows, or `size` of them drawn by `seed`, in their order; `place` names them where there are fewer."""
    if size is None:
        return list(rows)
    if size > len(rows):
        raise ValueError(f"{place} has {len(rows)} rows, not {size}; ask for fewer")
    return [rows[i] for i in sorted(random.Random(seed).sample(range(len(rows)), size))]


def hash_fraction(text: str) -> float:
    """A number in [0, 1) that depends on the text alone: it assigns an instance to one split for ever."""
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:8], "big") / 2**64

"""The schemas that benchmark files come in: which columns they have, and how a row is read."""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from echorl.tasks.base import final_answer
from echorl.tasks.geometry3k import HUB_COLUMNS, RELEASE_COLUMNS, read_problem
from echorl.tasks.rows import Row

LETTERS = "ABCDEFGHIJ"
GPQA_WRONG = ("Incorrect Answer 1", "Incorrect Answer 2", "Incorrect Answer 3")
_NUMBERED = re.compile(r"^([1-9])\) ", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What a row says: the question as the prompt shows it, the gold answer, encoded images, its own id if any."""

    question: str = field(repr=False)
    gold: str = field(repr=False)
    id: str | None = None
    images: tuple[bytes, ...] = field(default=(), repr=False)

    @cached_property
    def digest(self) -> str:
        """A hash of all but the id."""
        return short_hash(self.question, self.gold, *self.images)


@dataclass(frozen=True, kw_only=True)
class Layout:
    """A schema.

    Attributes:
        columns: those that tell it from others; all are needed.
        read: a row's entry; None leaves it out: it is another benchmark's, or cannot be graded. Raises on other values.
        wanted: the `data_source` that it takes rows of; "": all rows.
    """

    columns: tuple[str, ...]
    read: Callable[[Row], Entry | None]
    wanted: str = ""


def short_hash(*parts: str | bytes) -> str:
    """12 hexadecimal digits that depend on the parts alone.

    >>> short_hash("a", "b") == short_hash("ab")
    False
    """
    digest = hashlib.sha256()
    for part in parts:
        data = part if isinstance(part, bytes) else part.encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(8, "big") + data)
    return digest.hexdigest()[:12]


def columns(question: str, gold: str, id: str | None = None) -> Layout:
    """One column for the question, one for the gold answer, and maybe one for the id."""

    def read(row: Row) -> Entry:
        return Entry(question=row[question], gold=str(row[gold]), id=_own_id(row, id))

    return Layout(columns=(question, gold), read=read)


def suite(source: str) -> Layout:
    """LUFFY's evaluation files (verl's schema): rows of several benchmarks, told apart by `data_source`."""

    def read(row: Row) -> Entry | None:
        if row["data_source"] != source:
            return None
        question, gold = row["prompt"][-1]["content"], row["reward_model"]["ground_truth"]
        return Entry(question=question, gold=gold)

    return Layout(columns=("data_source", "prompt", "reward_model"), read=read, wanted=source)


def choice_suite(source: str) -> Layout:
    """As `suite`, for multiple choice: the few questions whose choices are numbered get letters, as has the gold."""
    plain = suite(source)

    def read(row: Row) -> Entry | None:
        entry = plain.read(row)
        if entry is None or not entry.gold.isdigit():
            return entry
        question = _NUMBERED.sub(lambda found: f"{LETTERS[int(found[1]) - 1]}) ", entry.question)
        return Entry(question=question, gold=LETTERS[int(entry.gold) - 1])

    return Layout(columns=plain.columns, read=read, wanted=source)


def with_choices(question: str, choices: Sequence[str]) -> str:
    r"""The question and its choices, a letter and a line each, as LUFFY's files have them.

    >>> with_choices("Which?", ["x", "y"])
    'Which?\n\nA) x\nB) y\n'
    """
    if not question.strip():
        raise ValueError("there is no question to put before the choices")
    lines = [f"{letter}) {choice}\n" for letter, choice in zip(LETTERS[: len(choices)], choices, strict=True)]
    return f"{question}\n\n{''.join(lines)}"


def _read_arc(row: Row) -> Entry:
    """`answerKey` is one of the labels, which are numbers in a few rows."""
    gold = LETTERS[list(row["choices"]["label"]).index(row["answerKey"])]
    return Entry(question=with_choices(row["question"], row["choices"]["text"]), gold=gold, id=_own_id(row, "id"))


def _read_mmlu_pro(row: Row) -> Entry:
    """`answer` is right where it and `answer_index` disagree."""
    gold = row["answer"] if row["answer"] in LETTERS[: len(row["options"])] else ""
    return Entry(question=with_choices(row["question"], row["options"]), gold=gold, id=_own_id(row, "question_id"))


def _read_gpqa(row: Row) -> Entry:
    """The choices in an order that a hash of the question and the choices determines."""
    question, right = row["Question"].strip(), row["Correct Answer"].strip()
    choices = [right, *(row[name].strip() for name in GPQA_WRONG)]
    order = random.Random(short_hash(question, *choices)).sample(range(4), 4)
    text = with_choices(question, [choices[i] for i in order]) if all(choices) else ""
    return Entry(question=text, gold=LETTERS[order.index(0)], id=_own_id(row, "Record ID"))


def _read_olympiad(row: Row) -> Entry:
    question = "\n\n".join(filter(None, [row.get("context"), row["question"]]))
    return Entry(question=question, gold=", ".join(row["final_answer"]), id=_own_id(row, "id"))


def _read_gsm8k(row: Row) -> Entry:
    return Entry(question=row["question"], gold=final_answer(row["answer"]) if "####" in row["answer"] else "")


def _read_geometry(row: Row) -> Entry | None:
    problem = read_problem(row)
    if problem is None:
        return None
    return Entry(question=problem.question, gold=problem.gold, id=problem.id, images=problem.images)


def _own_id(row: Row, column: str | None) -> str | None:
    found = None if column is None else row.get(column)
    return None if found is None or str(found) == "" else str(found)


ARC = Layout(columns=("question", "choices", "answerKey"), read=_read_arc)
MMLU_PRO = Layout(columns=("question", "options", "answer"), read=_read_mmlu_pro)
GPQA = Layout(columns=("Question", "Correct Answer", *GPQA_WRONG), read=_read_gpqa)
OLYMPIAD = Layout(columns=("question", "final_answer"), read=_read_olympiad)
GSM8K = Layout(columns=("question", "answer"), read=_read_gsm8k)
GEOMETRY = Layout(columns=HUB_COLUMNS, read=_read_geometry)
GEOMETRY_RELEASE = Layout(columns=RELEASE_COLUMNS, read=_read_geometry)

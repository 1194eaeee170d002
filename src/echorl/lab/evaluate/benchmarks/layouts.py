"""Schemas of benchmark files: the columns of each, and the function that reads its rows."""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from echorl.tasks.geometry3k import HUB_COLUMNS, RELEASE_COLUMNS, read_problem
from echorl.tasks.rows import Row
from echorl.tasks.verify.reading import final_answer

LETTERS = "ABCDEFGHIJ"
GPQA_WRONG = ("Incorrect Answer 1", "Incorrect Answer 2", "Incorrect Answer 3")
_NUMBERED = re.compile(r"^([1-9])\) ", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Entry:
    """Content of a row: the question as the prompt shows it, the reference answer, encoded images, its id if any."""

    question: str = field(repr=False)
    reference_answer: str = field(repr=False)
    id: str | None = None
    images: tuple[bytes, ...] = field(default=(), repr=False)

    @cached_property
    def digest(self) -> str:
        """Hash of all fields except the id."""
        return short_hash(self.question, self.reference_answer, *self.images)


@dataclass(frozen=True, kw_only=True)
class Layout:
    """A schema.

    Attributes:
        columns: the columns that identify the schema; all are needed.
        read: returns a row's entry, or None for a row of another benchmark or without an answer that can be graded. It
            raises an error for a row with wrong values.
        source: the `data_source` of its rows; "" for all rows.
    """

    columns: tuple[str, ...]
    read: Callable[[Row], Entry | None]
    source: str = ""


def short_hash(*parts: str | bytes) -> str:
    """Hash of the parts, in 12 hexadecimal digits.

    >>> short_hash("a", "b") == short_hash("ab")
    False
    """
    digest = hashlib.sha256()
    for part in parts:
        data = part if isinstance(part, bytes) else part.encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(8, "big") + data)
    return digest.hexdigest()[:12]


def columns(question: str, reference_answer: str, id: str | None = None) -> Layout:
    """Return the layout of a column for the question, one for the reference answer, and one for ids if any."""

    def read(row: Row) -> Entry:
        return Entry(question=row[question], reference_answer=str(row[reference_answer]), id=_row_id(row, id))

    return Layout(columns=(question, reference_answer), read=read)


def suite(source: str) -> Layout:
    """Return the layout of LUFFY's evaluation files (verl's schema), whose `data_source` names the benchmark."""

    def read(row: Row) -> Entry | None:
        if row["data_source"] != source:
            return None
        question, reference_answer = row["prompt"][-1]["content"], row["reward_model"]["ground_truth"]
        return Entry(question=question, reference_answer=reference_answer)

    return Layout(columns=("data_source", "prompt", "reward_model"), read=read, source=source)


def choice_suite(source: str) -> Layout:
    """Return the layout of `suite` for multiple choice, in which letters replace the numbers of a few choices."""
    plain = suite(source)

    def read(row: Row) -> Entry | None:
        entry = plain.read(row)
        if entry is None or not entry.reference_answer.isdigit():
            return entry
        question = _NUMBERED.sub(lambda match: f"{LETTERS[int(match[1]) - 1]}) ", entry.question)
        return Entry(question=question, reference_answer=LETTERS[int(entry.reference_answer) - 1])

    return Layout(columns=plain.columns, read=read, source=source)


def with_choices(question: str, choices: Sequence[str]) -> str:
    r"""Return the question and its choices, each with a letter on a line of its own, as in LUFFY's files.

    >>> with_choices("Which?", ["x", "y"])
    'Which?\n\nA) x\nB) y\n'
    """
    if not question.strip():
        raise ValueError("the question is empty; give one to put before the choices")
    lines = [f"{letter}) {choice}\n" for letter, choice in zip(LETTERS[: len(choices)], choices, strict=True)]
    return f"{question}\n\n{''.join(lines)}"


def _read_arc(row: Row) -> Entry:
    """Return the entry of a row, whose `answerKey` is one of its labels; a few rows have numbers as labels."""
    reference_answer = LETTERS[list(row["choices"]["label"]).index(row["answerKey"])]
    question = with_choices(row["question"], row["choices"]["text"])
    return Entry(question=question, reference_answer=reference_answer, id=_row_id(row, "id"))


def _read_mmlu_pro(row: Row) -> Entry:
    """Return the entry of a row; where `answer` and `answer_index` differ, `answer` is right."""
    reference_answer = row["answer"] if row["answer"] in LETTERS[: len(row["options"])] else ""
    question = with_choices(row["question"], row["options"])
    return Entry(question=question, reference_answer=reference_answer, id=_row_id(row, "question_id"))


def _read_gpqa(row: Row) -> Entry:
    """Return the entry of a row, with the choices in an order that a hash of question and choices determines."""
    question, right = row["Question"].strip(), row["Correct Answer"].strip()
    choices = [right, *(row[name].strip() for name in GPQA_WRONG)]
    order = random.Random(short_hash(question, *choices)).sample(range(4), 4)
    text = with_choices(question, [choices[i] for i in order]) if all(choices) else ""
    return Entry(question=text, reference_answer=LETTERS[order.index(0)], id=_row_id(row, "Record ID"))


def _read_olympiad(row: Row) -> Entry:
    question = "\n\n".join(filter(None, [row.get("context"), row["question"]]))
    return Entry(question=question, reference_answer=", ".join(row["final_answer"]), id=_row_id(row, "id"))


def _read_gsm8k(row: Row) -> Entry:
    answer = final_answer(row["answer"]) if "####" in row["answer"] else ""
    return Entry(question=row["question"], reference_answer=answer)


def _read_geometry(row: Row) -> Entry | None:
    problem = read_problem(row)
    if problem is None:
        return None
    return Entry(
        question=problem.question, reference_answer=problem.reference_answer, id=problem.id, images=problem.images
    )


def _row_id(row: Row, column: str | None) -> str | None:
    value = None if column is None else row.get(column)
    return None if value is None or str(value) == "" else str(value)


ARC = Layout(columns=("question", "choices", "answerKey"), read=_read_arc)
MMLU_PRO = Layout(columns=("question", "options", "answer"), read=_read_mmlu_pro)
GPQA = Layout(columns=("Question", "Correct Answer", *GPQA_WRONG), read=_read_gpqa)
OLYMPIAD = Layout(columns=("question", "final_answer"), read=_read_olympiad)
GSM8K = Layout(columns=("question", "answer"), read=_read_gsm8k)
GEOMETRY = Layout(columns=HUB_COLUMNS, read=_read_geometry)
GEOMETRY_RELEASE = Layout(columns=RELEASE_COLUMNS, read=_read_geometry)

"""Geometry3K: a diagram, a question about it, and a number or one of four choices as the answer."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, ClassVar

from echorl.tasks.base import Task, TaskRow, Verifier, draw
from echorl.tasks.rows import READERS, Location, Reader, Row, check_columns
from echorl.tasks.verify import GRADERS, geometry_reference, make_reward
from echorl.tasks.verify.arithmetic import NotRational, evaluate
from echorl.tasks.verify.pool import shared_pool

if TYPE_CHECKING:
    from datasets import Features

HUB_ID = "hiyouga/geometry3k"
TEMPLATE = "{question}\n\nReason step by step, one step a line, and put the final answer in \\boxed{}."
LETTERS = "ABCD"
HUB_COLUMNS = ("images", "problem", "answer")
RELEASE_COLUMNS = ("id", "annotat_text", "choices", "answer", "precise_value", "images")
LAYOUTS = (HUB_COLUMNS, RELEASE_COLUMNS)
RELEASE_SPLITS = {"train": "train", "validation": "val", "test": "test"}
"""Name of a split -> its folder in the zip files of the original release."""
TIMEOUT = 30.0
"""Seconds of CPU time for the value of one answer in LaTeX, which takes milliseconds."""


@dataclass(frozen=True, kw_only=True)
class Problem:
    """A problem of the data set. `id` is None where the data have none; `images` are encoded files, mostly PNG."""

    question: str
    reference_answer: str
    images: tuple[bytes, ...]
    id: str | None = None


@dataclass(frozen=True, kw_only=True)
class Geometry3K(Task):
    r"""Geometry3K from the hub, or from `data`: the original release's zip, or Parquet files in the hub's schema.

    A zip may hold one split or all; a Parquet file is read for any split. In a folder, a split is `<split>.zip`,
    `geometry3k_<split>.zip`, `geometry3k.zip` or `<split>-*.parquet`. A success is a value within the tolerance of the
    geometry grader. Where the prompt shows the choices, the right letter is a success, too. The columns are prompt
    (chat), images, question and answer. TRL puts the images of a row before the text of its user message.
    """

    data: str | None = None
    """Path of a zip, a Parquet file or a folder; None reads hiyouga/geometry3k from the hub."""
    template: str = TEMPLATE
    """Text of the prompt, with `{question}` in it."""
    choices: bool = False
    """Show the four choices, and accept a letter as an answer. The hub's rows have no choices."""

    SPLITS: ClassVar[tuple[str, ...]] = tuple(RELEASE_SPLITS)

    @cached_property
    def verifier(self) -> Verifier:
        """The reward function for the column `answer`, which `geometry_reference` made."""
        return make_reward(GRADERS["geometry"])

    def rows(self, split: str, size: int | None, seed: int) -> list[TaskRow]:
        """Rows of the problems; the user message is plain text."""
        problems = draw(self.problems(split), size, seed, place=f"Geometry3K's split {split!r}")
        return [self._row(problem) for problem in problems]

    def features(self) -> Features:
        """The columns' types: the encoded files are images."""
        from datasets import Features, Image, List, Value

        text = Value("string")
        messages = [{"role": text, "content": text}]
        return Features({"prompt": messages, "images": List(Image()), "question": text, "answer": text})

    def problems(self, split: str) -> list[Problem]:
        """The split's problems in the order of the data, without those for which `read_problem` returns None."""
        files = location(split).parts(self.data, dedicated=True)
        problems = [self._problem(row, place) for place, rows in files for row in rows]
        return [problem for problem in problems if problem is not None]

    def _problem(self, row: Row, place: str) -> Problem | None:
        layout = LAYOUTS[check_columns(row, LAYOUTS, place)]
        if self.choices and layout is HUB_COLUMNS:
            raise ValueError(
                f"{place}: the hub's rows have no choices; set choices to false, or give the original release"
            )
        return read_problem(row, choices=self.choices)

    def _row(self, problem: Problem) -> TaskRow:
        return {
            "prompt": [{"role": "user", "content": self.template.replace("{question}", problem.question)}],
            "images": [{"bytes": image, "path": None} for image in problem.images],
            "question": problem.question,
            "answer": problem.reference_answer,
        }


def location(split: str) -> Location:
    """Location of the split: on the hub, in a local folder, or in a zip of the original release."""
    readers: Mapping[str, Reader] = {**READERS, ".zip": partial(read_release, split=split)}
    return Location(hub_id=HUB_ID, split=split, stems=(f"geometry3k_{split}", "geometry3k"), readers=readers)


def read_release(path: Path, split: str) -> list[Row]:
    """The split's `data.json` objects, each with its diagram under `images`, read from the zip without unpacking it.

    Raises:
        ValueError: the file is not a zip, or does not have the split; the message names the file and its splits.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = [PurePosixPath(name) for name in archive.namelist() if name.endswith("/data.json")]
            in_split = [name for name in names if name.parts[-3:-2] == (RELEASE_SPLITS[split],)]
            rows = [_read_folder(archive, name) for name in in_split if "__MACOSX" not in name.parts]
    except zipfile.BadZipFile:
        raise ValueError(f"{path} is not a zip file; download it again") from None
    if not rows:
        splits = sorted({"/".join(name.parts[-3:-2]) for name in names})
        raise ValueError(
            f"{path} has no {RELEASE_SPLITS[split]}/<id>/data.json (its splits: {', '.join(splits) or 'none'}); "
            f"give the zip of the split {split!r}"
        )
    return rows


def _read_folder(archive: zipfile.ZipFile, name: PurePosixPath) -> Row:
    try:
        row, image = json.loads(archive.read(str(name))), archive.read(str(name.with_name("img_diagram.png")))
    except (KeyError, ValueError):
        raise ValueError(
            f"{archive.filename}: {name.parent} has no readable data.json or img_diagram.png; download the file again"
        ) from None
    return {**row, "images": [{"bytes": image, "path": None}]}


def read_problem(row: Row, *, choices: bool = False) -> Problem | None:
    """The problem in a row of the hub's schema or of the original release, with its choices if `choices` is True.

    The result is None where the answer is a statement without a value ("angles 2 and 3").
    """
    return _from_release(row, choices) if "precise_value" in row else _from_hub(row)


def _from_hub(row: Row) -> Problem | None:
    question, value = row["problem"].replace("<image>", "").strip(), _value(row["answer"])
    if value is None:
        return None
    return Problem(question=question, reference_answer=geometry_reference("", value, []), images=_images(row))


def _from_release(row: Row, choices: bool) -> Problem | None:
    """The problem in a row of the release, whose `annotat_text` is the hub's question."""
    if any(isinstance(value, str) for value in row["precise_value"]):
        return None
    right, values = LETTERS.index(row["answer"]), choice_values(row["choices"], row["precise_value"])
    lines = [f"{letter}) {choice}" for letter, choice in zip(LETTERS, row["choices"], strict=True)] if choices else []
    reference_answer = geometry_reference(LETTERS[right] if choices else "", values[right], values)
    return Problem(
        id=str(row["id"]),
        question="\n".join([row["annotat_text"].strip(), *lines]),
        reference_answer=reference_answer,
        images=_images(row),
    )


def choice_values(choices: Sequence[str], precise_values: Sequence[float]) -> list[float]:
    r"""The values of an item's choices: exact for a decimal, a fraction or a mixed number, else the precise value.

    The precise value of a mixed number is wrong in the release, which multiplies its parts.

    >>> choice_values(["2 \\frac { 1 } { 2 }", "\\sqrt { 2 }"], [1.0, 1.4142])
    [2.5, 1.4142]
    """
    exact_values = [_exact_value(choice) for choice in choices]
    return [precise if exact is None else exact for exact, precise in zip(exact_values, precise_values, strict=True)]


def _exact_value(text: str) -> float | None:
    try:
        value = evaluate(" ".join(text.split()))
    except NotRational:
        return None
    return None if value is None else float(value)


def _value(answer: str) -> float | None:
    """The value of the LaTeX; None if it is not a number.

    Raises:
        ValueError: the value could not be computed this time, so that the item must not be excluded.
    """
    if (exact := _exact_value(answer)) is not None:
        return exact
    outcome = shared_pool("math_verify").call_each("latex_value", [(answer,)], timeout=TIMEOUT)[0]
    if outcome.reason in ("timeout", "memory", "died", "tampered"):
        raise ValueError(
            f"the value of the answer {answer!r} could not be computed ({outcome.reason}); run the command again"
        )
    return outcome.value


def _images(row: Row) -> tuple[bytes, ...]:
    return tuple(image["bytes"] for image in row["images"])

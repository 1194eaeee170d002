"""Geometry3K: a diagram, a question about it, and a number (or one of four choices) as the answer."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from echorl.tasks.base import Verifier, check_size, check_split, check_template, draw
from echorl.tasks.rows import READERS, Location, Row, check_columns
from echorl.tasks.verify import GRADERS, geometry_gold, make_reward
from echorl.tasks.verify.arithmetic import NotRational, evaluate
from echorl.tasks.verify.pool import shared_pool

if TYPE_CHECKING:
    from datasets import Dataset

HUB_ID = "hiyouga/geometry3k"
TEMPLATE = "{question}\n\nReason step by step, one step a line, and put the final answer in \\boxed{}."
LETTERS = "ABCD"
HUB_COLUMNS = ("images", "problem", "answer")
RELEASE_COLUMNS = ("id", "annotat_text", "choices", "answer", "precise_value", "images")
LAYOUTS = (HUB_COLUMNS, RELEASE_COLUMNS)
RELEASE_SPLITS = {"train": "train", "validation": "val", "test": "test"}
"""Our name of a split -> its folder in the archives of the original release."""
TIMEOUT = 30.0
"""Seconds for the value of one answer in LaTeX; it takes milliseconds, but the machine may be busy."""


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One problem. `id` is None where the data have none; `images` are encoded files (PNG as a rule)."""

    question: str
    gold: str
    images: tuple[bytes, ...]
    id: str | None = None


@dataclass(frozen=True, kw_only=True)
class Geometry3K:
    r"""Geometry3K from the hub, or from `data`: the original release's zip, or Parquet files in the hub's schema.

    A zip may hold one split or all; a Parquet file serves whichever split is asked for. In a folder, a split is
    `<split>.zip`, `geometry3k_<split>.zip`, `geometry3k.zip` or `<split>-*.parquet`. A success is the gold value within
    the tolerance of the geometry grader, or, where the choices are in the prompt, its letter.
    """

    data: str | None = None
    """Path of a zip, a Parquet file or a folder; None: the hub's hiyouga/geometry3k."""
    template: str = TEMPLATE
    """The prompt's text, with `{question}` in it."""
    choices: bool = False
    """Show the four choices, and take a letter as an answer; the hub's rows have none."""

    def __post_init__(self) -> None:
        check_template(self.template)

    @property
    def splits(self) -> tuple[str, ...]:
        return tuple(RELEASE_SPLITS)

    @cached_property
    def verifier(self) -> Verifier:
        """Scores rows by their column `answer`, the geometry grader's gold."""
        return make_reward(GRADERS["geometry"])

    def dataset(self, split: str, *, size: int | None = None, seed: int = 0) -> Dataset:
        """All rows of the split, or `size` of them drawn by `seed`: prompt (chat), images, question, answer.

        TRL puts the images of a row before the text of its user message; the messages themselves are plain text.
        """
        from datasets import Dataset, Features, Image, List, Value

        check_split(split, self.splits)
        check_size(size)
        problems = draw(self.problems(split), size, seed, place=f"Geometry3K's split {split!r}")
        text = Value("string")
        messages = [{"role": text, "content": text}]
        features = Features({"prompt": messages, "images": List(Image()), "question": text, "answer": text})
        return Dataset.from_list([self._row(problem) for problem in problems], features=features)

    def problems(self, split: str) -> list[Problem]:
        """The split's problems in the order of the data, without those that `read_problem` leaves out."""
        parts = location(split).parts(self.data, own=True)
        problems = [self._problem(row, place) for place, rows in parts for row in rows]
        return [problem for problem in problems if problem is not None]

    def _problem(self, row: Row, place: str) -> Problem | None:
        known = check_columns(row, LAYOUTS, place)
        if self.choices and LAYOUTS[known] is HUB_COLUMNS:
            raise ValueError(
                f"{place}: the hub's rows have no choices; leave choices off, or give the original release"
            )
        return read_problem(row, choices=self.choices)

    def _row(self, problem: Problem) -> dict[str, Any]:
        return {
            "prompt": [{"role": "user", "content": self.template.replace("{question}", problem.question)}],
            "images": [{"bytes": image, "path": None} for image in problem.images],
            "question": problem.question,
            "answer": problem.gold,
        }


def location(split: str) -> Location:
    """Where the split is: on the hub, in a local folder, in a zip of the original release."""

    def read_zip(path: Path) -> list[Row]:
        return read_release(path, split)

    stems = (f"geometry3k_{split}", "geometry3k")
    return Location(hub_id=HUB_ID, split=split, stems=stems, readers={**READERS, ".zip": read_zip})


def read_release(path: Path, split: str) -> list[Row]:
    """The split's `data.json` objects, each with its diagram under `images`, read from the zip without unpacking it.

    Raises:
        ValueError: not a zip, or without that split; names the file and what it holds.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = [PurePosixPath(name) for name in archive.namelist() if name.endswith("/data.json")]
            wanted = [name for name in names if name.parts[-3:-2] == (RELEASE_SPLITS[split],)]
            rows = [_read_folder(archive, name) for name in wanted if "__MACOSX" not in name.parts]
    except zipfile.BadZipFile:
        raise ValueError(f"{path} is not a zip file; download it again") from None
    if not rows:
        there = sorted({"/".join(name.parts[-3:-2]) for name in names})
        raise ValueError(
            f"{path} has no {RELEASE_SPLITS[split]}/<id>/data.json (it has: {', '.join(there) or 'none at all'}); "
            f"give the zip of the split {split!r}"
        )
    return rows


def _read_folder(archive: zipfile.ZipFile, name: PurePosixPath) -> Row:
    try:
        row, image = json.loads(archive.read(str(name))), archive.read(str(name.with_name("img_diagram.png")))
    except (KeyError, ValueError):
        raise ValueError(f"{archive.filename}: {name.parent} lacks a readable data.json or img_diagram.png") from None
    return {**row, "images": [{"bytes": image, "path": None}]}


def read_problem(row: Row, *, choices: bool = False) -> Problem | None:
    """The problem in a row of the hub's schema or of the original release; `choices`: with its choices.

    None where the answer is a statement ("angles 2 and 3"): it has no value to compare with.
    """
    return _from_release(row, choices) if "precise_value" in row else _from_hub(row)


def _from_hub(row: Row) -> Problem | None:
    question, value = row["problem"].replace("<image>", "").strip(), _value(row["answer"])
    if value is None:
        return None
    return Problem(question=question, gold=geometry_gold("", value, []), images=_images(row))


def _from_release(row: Row, choices: bool) -> Problem | None:
    """The hub's question is the release's `annotat_text`, the same formulas as text."""
    if any(isinstance(value, str) for value in row["precise_value"]):
        return None
    right, values = LETTERS.index(row["answer"]), choice_values(row["choices"], row["precise_value"])
    lines = [f"{letter}) {choice}" for letter, choice in zip(LETTERS, row["choices"], strict=True)] if choices else []
    gold = geometry_gold(LETTERS[right] if choices else "", values[right], values)
    return Problem(
        id=str(row["id"]), question="\n".join([row["annotat_text"].strip(), *lines]), gold=gold, images=_images(row)
    )


def choice_values(choices: Sequence[str], precise_values: Sequence[float]) -> list[float]:
    r"""The values of an item's choices: what a decimal, a fraction or a mixed number says, else the precise value.

    The release multiplies the parts of mixed numbers.

    >>> choice_values(["2 \\frac { 1 } { 2 }", "\\sqrt { 2 }"], [1.0, 1.4142])
    [2.5, 1.4142]
    """
    read = [_exact_value(choice) for choice in choices]
    return [precise if exact is None else exact for exact, precise in zip(read, precise_values, strict=True)]


def _exact_value(text: str) -> float | None:
    try:
        value = evaluate(" ".join(text.split()))
    except NotRational:
        return None
    return None if value is None else float(value)


def _value(answer: str) -> float | None:
    """The number that the LaTeX stands for; None if it is no number.

    Raises:
        ValueError: that could not be found out, by an accident of the machine perhaps: the item must not go missing.
    """
    if (exact := _exact_value(answer)) is not None:
        return exact
    outcome = shared_pool("math_verify").call_each("latex_value", [(answer,)], timeout=TIMEOUT)[0]
    if outcome.reason in ("timeout", "memory", "died", "tampered"):
        raise ValueError(f"the value of the answer {answer!r} cannot be computed ({outcome.reason}): try again")
    return outcome.value


def _images(row: Row) -> tuple[bytes, ...]:
    return tuple(image["bytes"] for image in row["images"])

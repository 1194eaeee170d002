"""Benchmarks from the user's own files: a prompt and a reference answer a row."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from echorl.lab.evaluate.benchmarks.base import Benchmark, Item
from echorl.lab.evaluate.benchmarks.layouts import short_hash
from echorl.lab.logs.columns import PROMPTS, REFERENCE_ANSWERS, first_of, list_names
from echorl.lab.logs.layouts import read_prompt, read_value
from echorl.support.errors import located
from echorl.tasks.base import reference_text
from echorl.tasks.rows import READERS, Row
from echorl.tasks.verify import GRADERS
from echorl.tasks.verify.reading import final_answer

SUFFIXES = tuple(READERS)
OWN_GRADERS = ("number", "choice", "math", "geometry")
"""The graders that a name can end in, as `my.jsonl:math`."""
FORMAT = "your own FILE.jsonl (or .parquet, .csv) with a 'prompt' and an 'answer' in every row"


@dataclass(frozen=True, kw_only=True)
class FileBenchmark(Benchmark):
    """The rows of a file. A prompt of text goes to the model as it is, as in training; messages by the chat template.

    Attributes:
        path: the file.
    """

    path: Path

    def items(self, data: str | None = None) -> list[Item]:
        """Return all items in the order of the file; equal rows are one item.

        Raises:
            ValueError: `data` is given, or the file, a column or a value is missing; the message names the place.
        """
        if data is not None:
            raise ValueError(f"benchmark {self.name!r} is a file itself: leave out --data {data}.")
        items = [_item(prompt, answer) for prompt, answer in read_pairs(self.path)]
        return list({item.id: item for item in items}.values())

    def notes(self) -> list[str]:
        """Return a sentence on equal rows and one on prompts with several answers, where there are any."""
        pairs = [(json.dumps(prompt), answer) for prompt, answer in read_pairs(self.path)]
        num_prompts, num_items = len({prompt for prompt, _ in pairs}), len(set(pairs))
        equal = f"{self.path} has {len(pairs)} rows, {num_items} of them different: equal rows are one item."
        several = (
            f"{self.path} has prompts with several answers; each answer is an item: {num_items - num_prompts} more."
        )
        return [*([equal] if num_items < len(pairs) else []), *([several] if num_prompts < num_items else [])]


def from_file(path: str, grader: str = "") -> FileBenchmark:
    """Return the benchmark of a file; without a grader the one that fits all its answers, which its name then ends in.

    Raises:
        ValueError: there is no such grader, or the file cannot be used.
    """
    if grader and grader not in OWN_GRADERS:
        raise ValueError(
            f"benchmark '{path}:{grader}': there is no grader {grader!r}; choose {', '.join(OWN_GRADERS)}."
        )
    grader = grader or fitting_grader([answer for _, answer in read_pairs(Path(path))])
    return FileBenchmark(name=f"{path}:{grader}", title=Path(path).name, grader=grader, path=Path(path))


def fitting_grader(answers: Sequence[str]) -> str:
    """Return "number" where all reference answers are numbers, "choice" where all are letters, else "math".

    >>> fitting_grader(["51", "1,000"]), fitting_grader(["A", "C"]), fitting_grader(["7", "x+1"])
    ('number', 'choice', 'math')
    """
    return next((name for name in ("number", "choice") if all(_reads(name, answer) for answer in answers)), "math")


def _reads(grader: str, answer: str) -> bool:
    try:
        GRADERS[grader].read_reference(answer)
    except ValueError:
        return False
    return True


def read_pairs(path: Path) -> list[tuple[str | list[dict[str, Any]], str]]:
    """Return the prompts and reference answers of a file; of GSM8K's solutions, all with `####`, what follows it.

    Raises:
        ValueError: the file, a column or a value is missing; the message names the place and says what to write.
    """
    if not path.is_file():
        raise ValueError(f"there is no file {path}: give {FORMAT}.")
    rows = READERS[path.suffix](path)
    if not rows:
        raise ValueError(f"{path} holds no rows: give {FORMAT}.")
    prompt, answer = first_of(PROMPTS, rows[0]), first_of(REFERENCE_ANSWERS, rows[0])
    if not (prompt and answer):
        missing = "answer" if prompt else "prompt"
        raise ValueError(f"{path} has no column of the {missing} among {list_names(rows[0])}: give {FORMAT}.")
    pairs = [_pair(row, prompt, answer, f"{path}, row {number}") for number, row in enumerate(rows, 1)]
    if answer == "answer" and all("####" in text for _, text in pairs):
        return [(question, final_answer(text)) for question, text in pairs]
    return pairs


def _pair(row: Row, prompt: str, answer: str, place: str) -> tuple[str | list[dict[str, Any]], str]:
    with located(place):
        question, text = read_prompt(row, prompt), reference_text(read_value(row, answer, "answer")).strip()
    if not (question and text):
        raise ValueError(f"{place}: the prompt or the answer is empty: write both, or leave the row out.")
    return question, text


def _item(prompt: str | list[dict[str, Any]], answer: str) -> Item:
    digest = short_hash(json.dumps(prompt), answer)
    return Item(id=digest, prompt=prompt, reference_answer=answer)

"""GPQA-diamond: shuffled choices, and no word of an item anywhere. The rows are made up; no real one is in a test."""

from __future__ import annotations

import csv
import traceback
from pathlib import Path

import pytest

from echorl.lab.evaluate.benchmarks import load_benchmark
from tests.lab.evaluate.benchmarks.files import SECRET, gpqa_row, write_jsonl, write_parquet

GPQA = load_benchmark("gpqa_diamond")


def write_csv(path: Path, rows: list[dict]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return path


def test_the_reference_answer_letter_follows_its_choice(tmp_path: Path) -> None:
    items = GPQA.items(str(write_csv(tmp_path / "gpqa/gpqa_diamond.csv", [gpqa_row(i) for i in range(60)])))
    for number, item in enumerate(items):
        lines = item.prompt[1]["content"].splitlines()
        assert lines[0] == f"{SECRET} question {number}?"
        choices = dict(line.split(") ", 1) for line in lines[2:])
        assert set(choices) == set("ABCD")
        assert choices[item.reference_answer] == f"{SECRET} right {number}"
        assert len(set(choices.values())) == 4
    counts = [sum(item.reference_answer == letter for item in items) for letter in "ABCD"]
    assert min(counts) >= 5


@pytest.mark.parametrize("write", [write_csv, write_jsonl, write_parquet])
def test_the_order_depends_on_the_item_alone(tmp_path: Path, write) -> None:
    suffix = {write_csv: ".csv", write_jsonl: ".jsonl", write_parquet: ".parquet"}[write]
    one = GPQA.items(str(write(tmp_path / f"one{suffix}", [gpqa_row(i) for i in range(9)])))
    other = GPQA.items(str(write_csv(tmp_path / "other.csv", [gpqa_row(i) for i in reversed(range(9))])))
    assert {item.id: item.prompt for item in one} == {item.id: item.prompt for item in other}
    assert [item.id for item in one] == [f"rec{i}" for i in range(9)]


def test_a_repr_shows_the_id_only(tmp_path: Path) -> None:
    items = GPQA.items(str(write_csv(tmp_path / "rows.csv", [gpqa_row(1)])))
    assert repr(items) == "[Item(id='rec1')]"
    assert GPQA.private


@pytest.mark.parametrize(
    "broken",
    [
        {"Incorrect Answer 2": None},
        {"Incorrect Answer 2": ""},
        {"Incorrect Answer 2": 7},
        {"Correct Answer": [SECRET]},
        {"Question": " "},
        {"Record ID": "rec0"},
    ],
)
def test_no_error_quotes_an_item(tmp_path: Path, broken: dict) -> None:
    rows = [gpqa_row(0), {**gpqa_row(1), **broken}]
    with pytest.raises(ValueError, match=r"rows\.jsonl.*(row 1|the id 'rec0')") as caught:
        GPQA.items(str(write_jsonl(tmp_path / "rows.jsonl", rows)))
    assert SECRET not in whole_story(caught.value)


@pytest.mark.parametrize("file", ["rows.jsonl", "rows.csv", "rows.parquet"])
def test_no_error_quotes_a_broken_file(tmp_path: Path, file: str) -> None:
    (tmp_path / file).write_bytes(f'{{"Question": "{SECRET}'.encode() + b"\xff\n" + SECRET.encode())
    with pytest.raises(ValueError, match="rows") as caught:
        GPQA.items(str(tmp_path / file))
    assert SECRET not in whole_story(caught.value)


def whole_story(error: BaseException) -> str:
    """The message, the notes and the causes, also those that a traceback hides."""
    told = "".join(traceback.format_exception(error))
    while error := error.__cause__ or error.__context__:
        told += str(error)
    return told

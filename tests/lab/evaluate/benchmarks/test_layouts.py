"""Every benchmark from small files in the hub's schema and in LUFFY's, and what is said of files that do not fit."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from echorl.lab.evaluate.benchmarks import BENCHMARKS, load_benchmark
from tests.lab.evaluate.benchmarks.files import (
    MATH,
    REFERENCES,
    ROWS,
    SECRET,
    geometry_row,
    suite_row,
    write_jsonl,
    write_parquet,
)


@pytest.mark.parametrize("name", ROWS)
@pytest.mark.parametrize("write", [write_jsonl, write_parquet])
def test_rows_of_the_hub_are_read(tmp_path: Path, name: str, write) -> None:
    file = write(tmp_path / ("rows" + {write_jsonl: ".jsonl", write_parquet: ".parquet"}[write]), ROWS[name])
    items = load_benchmark(name).items(str(file))
    assert [item.reference_answer for item in items] == REFERENCES[name]
    questions = [row.get("question") or row["problem"] for row in ROWS[name]]
    assert all(q in item.prompt[-1]["content"] for q, item in zip(questions, items, strict=True))
    ids = [row.get("id", row.get("unique_id", row.get("question_id"))) for row in ROWS[name]]
    assert all(id is None or item.id == str(id) for id, item in zip(ids, items, strict=True))
    assert all(item.id for item in items)


@pytest.mark.parametrize(
    "place",
    [
        "{}.jsonl",
        "{}/test.jsonl",
        "{}/data/test-00000-of-00001.parquet",
        "MATH-500/test.jsonl",
        "MATH-500/data/test-00000-of-00001.parquet",
    ],
)
def test_where_a_folder_may_have_the_rows(tmp_path: Path, place: str) -> None:
    file = tmp_path / place.format("math500")
    (write_parquet if file.suffix == ".parquet" else write_jsonl)(file, ROWS["math500"])
    write_jsonl(tmp_path / "test.jsonl", [{"problem": "another benchmark's", "answer": "5"}])
    assert load_benchmark("math500").items(str(tmp_path))[0].reference_answer == "2"


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("arc_challenge", "ai2_arc/ARC-Challenge/test-00000-of-00001.parquet"),
        ("gsm8k", "gsm8k/main/test-00000-of-00001.parquet"),
        ("aime24", "aime_2024/data/train-00000-of-00001.parquet"),
        ("olympiadbench", "OlympiadBench/OlympiadBench/OE_TO_maths_en_COMP/OE_TO_maths_en_COMP.parquet"),
        ("mmlu_pro", "MMLU-Pro/data/test-00000-of-00001.parquet"),
    ],
)
def test_the_hubs_repositories_as_downloaded(tmp_path: Path, name: str, place: str) -> None:
    write_parquet(tmp_path / place, ROWS[name])
    of_many, alone = tmp_path, tmp_path / place.partition("/")[0]
    for folder in (of_many, alone):
        assert [item.reference_answer for item in load_benchmark(name).items(str(folder))] == REFERENCES[name]


def test_shards_are_read_in_order(tmp_path: Path) -> None:
    for shard in (1, 0):
        rows = [{"question": f"q{shard}", "answer": str(shard)}]
        write_parquet(tmp_path / f"minerva/test-0000{shard}-of-00002.parquet", rows)
    assert [item.reference_answer for item in load_benchmark("minerva").items(str(tmp_path))] == ["0", "1"]


def test_one_file_of_several_benchmarks_that_repeats_each_item(tmp_path: Path) -> None:
    rows = [suite_row("aime", "p0", "204"), suite_row("math", "p1", "3"), suite_row("aime", "p2", "5")] * 4
    file = write_parquet(tmp_path / "math_suite.parquet", rows)
    items = load_benchmark("aime24").items(str(tmp_path))
    assert [(item.prompt[1]["content"], item.reference_answer) for item in items] == [("p0", "204"), ("p2", "5")]
    assert len({item.id for item in items}) == 2
    write_parquet(file, rows[::-1])
    assert {item.id for item in load_benchmark("aime24").items(str(file))} == {item.id for item in items}
    with pytest.raises(ValueError, match=r"no rows of minerva \(data_source minerva\)"):
        load_benchmark("minerva").items(str(file))


def test_numbered_choices_get_letters_in_both_schemas(tmp_path: Path) -> None:
    numbered = suite_row("arc_c", "Which?\n\n1) x\n2) y\n3) z\n", "3")
    luffy = load_benchmark("arc_challenge").items(str(write_jsonl(tmp_path / "a.jsonl", [numbered])))[0]
    hub = load_benchmark("arc_challenge").items(str(write_jsonl(tmp_path / "b.jsonl", ROWS["arc_challenge"])))[0]
    assert luffy.prompt == hub.prompt
    assert luffy.prompt[1]["content"] == "Which?\n\nA) x\nB) y\nC) z\n"
    assert luffy.reference_answer == hub.reference_answer == "C"


def test_geometry_of_the_hub(tmp_path: Path) -> None:
    rows = [
        geometry_row(1, "65"),
        geometry_row(2, "2 \\sqrt { 2 }"),
        geometry_row(3, "angles 2 and 3"),
        geometry_row(4, "65"),
    ]
    items = load_benchmark("geometry3k").items(str(write_parquet(tmp_path / "geometry3k.parquet", rows)))
    values = [json.loads(item.reference_answer)["value"] for item in items]
    assert values == [65.0, pytest.approx(8**0.5), 65.0]
    assert [item.images[0].getpixel((0, 0))[0] for item in items] == [1, 2, 4]
    assert len({item.id for item in items}) == 3
    assert items[0].prompt[0]["content"].startswith("Find x.\n")


def test_templates_and_system_messages_can_be_replaced(tmp_path: Path) -> None:
    from dataclasses import replace

    plain = replace(BENCHMARKS["minerva"], system="", template="Q: {question}\nA:")
    items = plain.items(str(write_jsonl(tmp_path / "rows.jsonl", ROWS["minerva"])))
    assert items[0].prompt == [{"role": "user", "content": "Q: q0\nA:"}]


@pytest.mark.parametrize(
    ("name", "rows", "message"),
    [
        (
            "math500",
            [{"problem": "p"}],
            r"rows\.jsonl has no column 'answer'; it needs .*\(problem, answer\) and has problem",
        ),
        ("arc_challenge", [MATH], r"has no column .*; it needs .* or \(question, choices, answerKey\)"),
        ("math500", [MATH, {"problem": "", "answer": "2"}], r"row 1: no question or no answer"),
        ("math500", [MATH, {"problem": None, "answer": "2"}], r"row 1: no question or no answer"),
        ("gsm8k", [{"question": "q", "answer": "no mark"}], r"row 0: no question or no answer"),
        ("mmlu_pro", [{"question": "q", "options": ["x", "y"], "answer": "C"}], r"row 0: no question or no answer"),
        ("arc_challenge", [{**ROWS["arc_challenge"][0], "answerKey": "E"}], r"row 0: no question or no answer"),
        ("aime25", [ROWS["aime25"][0], {**ROWS["aime25"][1], "id": "0"}], r"two different rows have the id '0'"),
        ("minerva", [], r"rows\.jsonl holds no rows"),
    ],
)
def test_rows_that_do_not_fit(tmp_path: Path, name: str, rows: list[dict], message: str) -> None:
    file = write_jsonl(tmp_path / "rows.jsonl", rows)
    with pytest.raises(ValueError, match=message):
        load_benchmark(name).items(str(file))


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("rows.jsonl", b'{"problem": "p"}\n{"problem', r"rows\.jsonl, line 2 is not a JSON object"),
        ("rows.jsonl", b"\xff\n", r"rows\.jsonl, line 1 is not a JSON object in UTF-8"),
        ("rows.parquet", b"PAR", r"rows\.parquet is not a Parquet file"),
        ("rows.csv", b"a,b\n\xff", r"rows\.csv is not a CSV file in UTF-8"),
        ("rows.txt", b"x", r"rows\.txt has an unknown suffix; give a file that ends in \.parquet or \.jsonl or \.csv"),
    ],
)
def test_files_that_cannot_be_read(tmp_path: Path, file: str, content: bytes, message: str) -> None:
    (tmp_path / file).write_bytes(content)
    with pytest.raises(ValueError, match=message):
        load_benchmark("math500").items(str(tmp_path / file))


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"no file or folder .*nowhere; give one with the rows of HuggingFaceH4/MATH-500"
    ):
        load_benchmark("math500").items(str(tmp_path / "nowhere"))
    write_jsonl(tmp_path / "test.jsonl", [MATH])
    with pytest.raises(
        ValueError, match=r"has no rows of .*; store them there as math500 or math_suite or MATH-500/test"
    ):
        load_benchmark("math500").items(str(tmp_path))


def test_a_csv_file_is_read(tmp_path: Path) -> None:
    with (tmp_path / "math500.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, MATH)
        writer.writeheader()
        writer.writerow(MATH)
    assert load_benchmark("math500").items(str(tmp_path))[0].reference_answer == "2"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"Is it {SECRET}?,{SECRET},b,c,d\n{SECRET},{SECRET},b,c,d\n", "and has 5 columns"),
        (f"Question,Correct Answer\n{SECRET},{SECRET},{SECRET},c,d\n", "row 0: more fields than there are columns"),
    ],
)
def test_a_file_without_its_columns_names_is_not_quoted(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "gpqa_diamond.csv").write_text(text)
    with pytest.raises(ValueError, match=message) as caught:
        load_benchmark("gpqa_diamond").items(str(tmp_path))
    assert SECRET not in str(caught.value)

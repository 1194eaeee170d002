"""The real files beside the checkout, where they are."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import pytest

from echorl.lab.evaluate.benchmarks import Item, load_benchmark
from echorl.tasks.rows import READERS

COUNTS = {
    "aime24": 30,
    "aime25": 30,
    "amc": 83,
    "math500": 500,
    "minerva": 272,
    "olympiadbench": 675,
    "arc_challenge": 1172,
    "mmlu_pro": 12032,
    "geometry3k": 598,
}
STATEMENTS = {"2552", "2748", "2861"}
"""Of the 601 of Geometry3K, those whose answer is a statement such as "angles 2, 3, 6, and 7"."""


@cache
def items_of(name: str, data: Path) -> list[Item]:
    return load_benchmark(name).items(str(data))


@pytest.mark.parametrize("name", COUNTS)
def test_a_folder_with_all_files(shared_data: Path, name: str) -> None:
    items = items_of(name, shared_data / "benchmarks")
    assert len(items) == len({item.id for item in items}) == COUNTS[name]
    assert all(item.prompt[-1]["role"] == "user" and item.reference_answer for item in items)


def test_gsm8k(shared_data: Path) -> None:
    items = items_of("gsm8k", shared_data)
    assert len(items) == len({item.id for item in items}) == 1319
    assert items == load_benchmark("gsm8k").items(str(shared_data / "gsm8k/test.jsonl"))


@pytest.mark.parametrize(
    ("name", "file", "source"),
    [
        ("aime24", "math_suite", "aime"),
        ("aime25", "math_suite", "aime25"),
        ("amc", "math_suite", "amc"),
        ("minerva", "math_suite", "minerva"),
        ("olympiadbench", "math_suite", "olympiad_bench"),
        ("arc_challenge", "arc_challenge", "arc_c"),
    ],
)
def test_prompts_are_those_of_the_papers_evaluation(shared_data: Path, name: str, file: str, source: str) -> None:
    rows = READERS[".parquet"](shared_data / f"benchmarks/{file}.parquet")
    theirs = {json.dumps(row["prompt"], sort_keys=True) for row in rows if row["data_source"] == source}
    ours = {json.dumps(item.prompt, sort_keys=True) for item in items_of(name, shared_data / "benchmarks")}
    assert len(theirs - ours) == (22 if name == "arc_challenge" else 0)  # numbered choices get letters


def test_math500_is_the_same_in_both_files(shared_data: Path) -> None:
    own = items_of("math500", shared_data / "benchmarks")
    suite = load_benchmark("math500").items(str(shared_data / "benchmarks/math_suite.parquet"))
    strip = {(item.prompt[1]["content"].strip(), item.reference_answer) for item in own}
    assert strip == {(item.prompt[1]["content"].strip(), item.reference_answer) for item in suite}
    assert own[0].id.startswith("test/")


def test_mmlu_pro_trusts_the_letter(shared_data: Path) -> None:
    rows = READERS[".parquet"](shared_data / "benchmarks/mmlu_pro.parquet")
    wrong = [row for row in rows if "ABCDEFGHIJ".index(row["answer"]) != row["answer_index"]]
    assert len(wrong) == 1
    items = {item.id: item for item in items_of("mmlu_pro", shared_data / "benchmarks")}
    item = items[str(wrong[0]["question_id"])]
    assert item.reference_answer == wrong[0]["answer"]
    assert (
        f"\n{item.reference_answer}) {wrong[0]['options']['ABCDEFGHIJ'.index(item.reference_answer)]}\n"
        in item.prompt[1]["content"]
    )


def test_questions_and_endings(shared_data: Path) -> None:
    folder = shared_data / "benchmarks"
    rows = READERS[".parquet"](folder / "mmlu_pro.parquet")
    for row, item in zip(rows, items_of("mmlu_pro", folder), strict=True):
        text = item.prompt[1]["content"]
        assert text.startswith(row["question"])
        assert text.endswith(f"{row['options'][-1]}\n")
    for item in items_of("geometry3k", folder):
        assert item.prompt[0]["content"].endswith("\\boxed{}.")
        assert len(item.images) == 1


def test_geometry_problems_without_a_value_are_left_out(shared_data: Path) -> None:
    from echorl.tasks.geometry3k import read_problem, read_release

    rows = read_release(shared_data / "benchmarks/geometry3k_test.zip", "test")
    assert {str(row["id"]) for row in rows if read_problem(row) is None} == STATEMENTS


@pytest.mark.parametrize("name", [*COUNTS, "gsm8k"])
def test_every_tenth_reference_answer_passes_its_grader(shared_data: Path, name: str) -> None:
    pytest.importorskip("math_verify")
    benchmark = load_benchmark(name)
    items = items_of(name, shared_data if name == "gsm8k" else shared_data / "benchmarks")
    reference_answers = [item.reference_answer for item in items[:: max(1, min(10, len(items) // 30))]]
    answers = (
        [json.loads(reference_answer)["value"] for reference_answer in reference_answers]
        if name == "geometry3k"
        else reference_answers
    )
    texts = [f"<think>\nhm\n</think>\nso \\boxed{{{answer}}}." for answer in answers]
    verdicts = benchmark.get_grader().grade(texts, reference_answers)
    assert [
        (reference_answer, v.reason)
        for reference_answer, v in zip(reference_answers, verdicts, strict=True)
        if v.score != 1.0
    ] == []
    turned = benchmark.get_grader().grade(texts[1:] + texts[:1], reference_answers)
    assert sum(verdict.score for verdict in turned) < len(reference_answers) / 2

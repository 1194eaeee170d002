from __future__ import annotations

from pathlib import Path

import pytest

from echorl.lab.evaluate.benchmarks import load_benchmark
from tests.lab.evaluate.benchmarks.files import geometry_row, write_jsonl, write_parquet

pytest.importorskip("reasoning_gym")


@pytest.mark.parametrize(
    "name", ["quickstart", "quickstart:harder", "word_problems:harder", "chain_sum", "gcd:validation"]
)
def test_the_tasks_own_verifier_grades_its_rows(name: str) -> None:
    benchmark = load_benchmark(name)
    items = benchmark.items()[:20]
    rows = benchmark.task.dataset(benchmark.split)
    assert [item.prompt for item in items] == rows["prompt"][:20]
    texts = [text_with_the_answer(row) for row in rows.select(range(20))]
    reference_answers = [item.reference_answer for item in items]
    grader = benchmark.get_grader()
    assert [verdict.score for verdict in grader.grade(texts, reference_answers)] == [1.0] * 20
    assert [verdict.score for verdict in grader.grade(["#### none"] * 20, reference_answers)] == [0.0] * 20
    assert grader.grade([], []) == []


def text_with_the_answer(row: dict) -> str:
    from echorl.tasks.verify.worker_gym import decode

    return f"so\n#### {row['answer'] if 'answer' in row else decode(row['instance'])['answer']}"


def test_items_are_the_same_every_time_and_have_ids_of_their_own() -> None:
    one, two = load_benchmark("quickstart").items(), load_benchmark("quickstart").items()
    assert one == two
    assert len({item.id for item in one}) == len(one) == 1000
    assert isinstance(one[0].prompt, str)  # the shipped policy has no chat template


@pytest.mark.parametrize(
    ("name", "text", "answer"),
    [
        ("gsm8k:test", "3\n#### 1,000\nyes", "1000"),
        ("openr1_math:validation", "<think>1</think> \\boxed{x + 1}", "x+1"),
        ("geometry3k:test", "\\boxed{12}", "12"),
        ("word_problems", "so\n#### 4", "4"),
        ("word_problems", "so \\boxed{4}.", "4"),
        ("word_problems", "#### 4\nDone.", "4"),
    ],
)
def test_the_answer_for_a_majority(name: str, text: str, answer: str) -> None:
    assert load_benchmark(name).get_grader().answer(text) == answer


def test_a_task_with_data(tmp_path: Path) -> None:
    file = write_jsonl(tmp_path / "rows.jsonl", [{"question": "2+2?", "answer": "#### 4"}])
    benchmark = load_benchmark("gsm8k:test")
    [item] = benchmark.items(str(file))
    assert [v.score for v in benchmark.get_grader().grade(["#### 4", "#### 5"], [item.reference_answer] * 2)] == [
        1.0,
        0.0,
    ]
    with pytest.raises(ValueError, match=r"the task of 'quickstart' generates its rows; omit the data rows"):
        load_benchmark("quickstart").items("rows.jsonl")


def test_a_task_with_images(tmp_path: Path) -> None:
    file = write_parquet(tmp_path / "rows.parquet", [geometry_row(1, "65"), geometry_row(2, "65")])
    benchmark = load_benchmark("geometry3k:validation")
    items = benchmark.items(str(file))
    assert isinstance(items[1].prompt[0]["content"], str)
    assert items[1].images[0].getpixel((0, 0)) == (2, 0, 0)
    assert len({item.id for item in items}) == 2
    grader = benchmark.get_grader()
    assert [v.score for v in grader.grade(["\\boxed{65}", "\\boxed{B}"], [i.reference_answer for i in items])] == [
        1.0,
        0.0,
    ]

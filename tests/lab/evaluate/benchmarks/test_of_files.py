"""A file of the user's is a benchmark: usual columns, GSM8K's solutions, a fitting grader, errors with file and row."""

from __future__ import annotations

import json

import pytest

from echorl.lab.evaluate.benchmarks import load_benchmark

MESSAGES = [{"role": "user", "content": "1+1?"}]
SOLUTIONS = [{"question": "1+1?", "answer": "1+1=<<1+1=2>>2\n#### 2"}, {"question": "2+2?", "answer": "#### 4"}]
PLAIN = {"prompt": "1+1?", "answer": "2"}


def write(path, *rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


@pytest.mark.parametrize(
    ("rows", "grader", "prompt", "answers"),
    [
        ([PLAIN], "number", "1+1?", ["2"]),
        ([{"prompt": MESSAGES, "answer": 2}], "number", MESSAGES, ["2"]),
        ([{"question": "1+1?", "answer": "2"}], "number", "1+1?", ["2"]),
        ([{"problem": "1+1?", "ground_truth": "B"}], "choice", "1+1?", ["B"]),
        ([{"prompt": "1+1?", "answer": r"\frac{4}{x}"}, {"prompt": "a", "answer": "2"}], "math", "1+1?", ["", "2"]),
        (SOLUTIONS, "number", "1+1?", ["2", "4"]),
        ([PLAIN, PLAIN], "number", "1+1?", ["2"]),
    ],
)
def test_the_file_names_itself_and_its_grader(tmp_path, rows, grader, prompt, answers):
    path = write(tmp_path / "my.jsonl", *rows)
    benchmark = load_benchmark(path)
    items = benchmark.items()
    assert (benchmark.name, benchmark.title, benchmark.grader) == (f"{path}:{grader}", "my.jsonl", grader)
    assert items[0].prompt == prompt
    assert [item.reference_answer for item in items] == [answer or r"\frac{4}{x}" for answer in answers]


@pytest.mark.parametrize(
    ("answers", "words"),
    [("23", []), ("22", ["2 rows, 1 of them different"]), ("223", ["3 rows, 2 of them", "several answers; each"])],
)
def test_rows_that_are_no_items_of_their_own_are_told(tmp_path, answers, words):
    rows = [{"prompt": "1+1?" if len(answers) > 2 else answer, "answer": answer} for answer in answers]
    notes = load_benchmark(write(tmp_path / "my.jsonl", *rows)).notes()
    assert len(notes) == len(words)
    assert all(word in note for word, note in zip(words, notes, strict=True))


def test_marks_of_gsm8k_count_only_where_every_answer_has_one(tmp_path):
    path = write(tmp_path / "my.jsonl", {"prompt": "a", "answer": "x #### 2"}, {"prompt": "b", "answer": "3"})
    assert load_benchmark(f"{path}:math").items()[0].reference_answer == "x #### 2"


def test_a_named_grader_needs_no_file_to_score_again(tmp_path):
    benchmark = load_benchmark(str(tmp_path / "gone.jsonl:number"))
    assert [verdict.score for verdict in benchmark.get_grader().grade(["so 51", "so 5"], ["51", "51"])] == [1.0, 0.0]
    with pytest.raises(ValueError, match=r"there is no file .*gone\.jsonl: give your own FILE\.jsonl"):
        benchmark.items()


def test_a_csv(tmp_path):
    (tmp_path / "my.csv").write_text('question,answer\n"1+1?",2\n')
    assert load_benchmark(str(tmp_path / "my.csv")).items()[0].reference_answer == "2"


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([], "holds no rows: give your own FILE.jsonl"),
        ([{"text": "a", "answer": "2"}], "has no column of the prompt among 'text', 'answer': give your own"),
        ([{"prompt": "a", "reply": "2"}], "has no column of the answer among 'prompt', 'reply'"),
        ([PLAIN, {"prompt": "a"}], "my.jsonl, row 2: there is no answer (column 'answer')"),
        ([PLAIN, {"prompt": "a", "answer": " "}], "my.jsonl, row 2: the prompt or the answer is empty"),
        ([{"prompt": "a", "answer": ["2"]}], "row 1: \"['2']\" of type list is neither a text nor"),
        ([{"prompt": 5, "answer": "2"}], "row 1: 'prompt' is neither text nor a list of chat messages"),
    ],
)
def test_a_file_that_cannot_be_used(tmp_path, rows, words):
    with pytest.raises(ValueError) as caught:
        load_benchmark(write(tmp_path / "my.jsonl", *rows))
    assert words in str(caught.value)


def test_other_mistakes(tmp_path):
    path = write(tmp_path / "my.jsonl", PLAIN)
    with pytest.raises(ValueError, match="there is no grader 'maths'; choose number, choice, math, geometry"):
        load_benchmark(f"{path}:maths")
    with pytest.raises(ValueError, match="is a file itself: leave out --data"):
        load_benchmark(path).items("other.jsonl")

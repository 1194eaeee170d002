"""Small made-up files in the schemas that benchmarks come in."""

from __future__ import annotations

import json
from pathlib import Path

from tests.pictures import picture

MATH = {"problem": "What is 1+1?", "answer": "2"}
ROWS: dict[str, list[dict]] = {
    "aime24": [{"id": 60, "problem": "p0", "solution": "s", "answer": "204", "url": "u", "year": "2024"}],
    "aime25": [{"problem": "p0", "answer": "70", "id": "0"}, {"problem": "p1", "answer": "588", "id": "1"}],
    "amc": [{"id": 0, "problem": "p0", "answer": 142.0, "url": "u"}],
    "math500": [{**MATH, "solution": "s", "subject": "Algebra", "level": 1, "unique_id": "test/algebra/1.json"}],
    "minerva": [{"question": "q0", "answer": "1.6"}],
    "olympiadbench": [{"id": 1606, "question": "q0", "final_answer": ["2", "3"], "context": None, "subject": "Math"}],
    "arc_challenge": [
        {
            "id": "Mercury_1",
            "question": "Which?",
            "choices": {"text": ["x", "y", "z"], "label": ["1", "2", "3"]},
            "answerKey": "3",
        },
        {
            "id": "Mercury_2",
            "question": "What?",
            "choices": {"text": ["x", "y"], "label": ["A", "B"]},
            "answerKey": "B",
        },
    ],
    "mmlu_pro": [
        {
            "question_id": 70,
            "question": "Which?",
            "options": [f"o{i}" for i in range(10)],
            "answer": "J",
            "answer_index": 3,
            "category": "law",
        }
    ],
    "gsm8k": [{"question": "q0", "answer": "2+2=<<2+2=4>>4\n#### 1,004"}],
}
REFERENCES = {
    "aime24": ["204"],
    "aime25": ["70", "588"],
    "amc": ["142.0"],
    "math500": ["2"],
    "minerva": ["1.6"],
    "olympiadbench": ["2, 3"],
    "arc_challenge": ["C", "B"],
    "mmlu_pro": ["J"],
    "gsm8k": ["1,004"],
}
SECRET = "kumquat"
"""A word that stands in every text of the made-up GPQA rows."""


def gpqa_row(number: int) -> dict[str, str]:
    wrong = {f"Incorrect Answer {i}": f" {SECRET} wrong {number}.{i}" for i in (1, 2, 3)}
    right = {"Question": f"{SECRET} question {number}? ", "Correct Answer": f"{SECRET} right {number}\n"}
    return {"Record ID": f"rec{number}", **right, **wrong, "Explanation": SECRET}


def suite_row(source: str, question: str, reference_answer: str) -> dict:
    return {
        "data_source": source,
        "prompt": [{"role": "system", "content": "s"}, {"role": "user", "content": question}],
        "ability": "math",
        "reward_model": {"ground_truth": reference_answer, "style": "rule"},
        "extra_info": {"index": 0, "split": "default"},
    }


def geometry_row(number: int, answer: str) -> dict:
    return {"images": [{"bytes": picture(number), "path": None}], "problem": "<image>Find x.", "answer": answer}


def write_jsonl(path: Path, rows: list[dict]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def write_parquet(path: Path, rows: list[dict]) -> Path:
    import pyarrow
    from pyarrow import parquet

    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    return path

import json
import random
import threading
from pathlib import Path

import pytest

from echorl.tasks import load_task
from echorl.tasks.verify.number import read_answer, same_plain_number

DATA = Path(__file__).parents[2] / "../shared/data/gsm8k"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="the GSM8K files are not in ../shared/data")
ROWS = [
    {"question": f"What is {n} + {n}?", "answer": f"{n}+{n}=<<{n}+{n}={2 * n}>>{2 * n}\n#### {2 * n}"}
    for n in range(99)
]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return path


def score(completion, reference_answer: str, **options) -> float | None:
    return load_task("gsm8k", **options).verifier(completions=[completion], prompts=["?"], answer=[reference_answer])[0]


@needs_data
@pytest.mark.parametrize(("split", "rows"), [("train", 6931), ("validation", 542), ("test", 1319)])
def test_real_solutions(split: str, rows: int) -> None:
    task = load_task("gsm8k", data=str(DATA))
    data = task.dataset(split)
    assert len(data) == rows
    texts, reference_answer = data["demonstration"][:], data["answer"][:]
    assert not any("<<" in text for text in texts)
    assert task.verifier(completions=texts, answer=reference_answer) == [1.0] * rows
    random.Random(0).shuffle(texts)
    by_chance = task.verifier(completions=texts, answer=reference_answer)
    equal = sum(read_answer(text) == number for text, number in zip(texts, reference_answer, strict=True))
    assert sum(by_chance) == equal


def test_train_and_validation_are_disjoint_parts_of_a_file(file: Path) -> None:
    task = load_task("gsm8k", data=str(file))
    train, validation = set(task.dataset("train")["question"]), set(task.dataset("validation")["question"])
    assert not train & validation
    assert len(train) + len(validation) == len(task.dataset("test")) == 99
    some = task.dataset("test", size=10, seed=1)["question"][:]
    assert some == task.dataset("test", size=10, seed=1)["question"][:] != task.dataset("test", size=10)["question"][:]
    with pytest.raises(ValueError, match="has 99 rows, not 100"):
        task.dataset("test", size=100)


def test_rows_have_prompts_and_demonstrations(file: Path) -> None:
    row = load_task("gsm8k", data=str(file), template="Q: {question}", chat=True).dataset("test", size=99)[3]
    assert row["prompt"] == [{"role": "user", "content": "Q: What is 3 + 3?"}]
    assert row["demonstration"] == "3+3=6\n#### 6"
    assert row["answer"] == "6"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"question": "a", "answer": "#### 1"}\n{"question": ', r"rows.jsonl, line 2 is not a JSON object"),
        ('\n{"question": "a"}\n', r"rows.jsonl, row 0 has no column 'answer'"),
        (
            '{"question": 3, "answer": "#### 1"}',
            r"rows.jsonl, row 0: 'question' or 'answer' is not a text; write both as texts",
        ),
        ("[1]", r"rows.jsonl, line 1 is not a JSON object"),
        (
            '{"question": "a", "answer": "1"}\n{"question": "\udcff"}',
            r"rows.jsonl, line 2 is not a JSON object in UTF-8",
        ),
        ("\n", r"holds no rows"),
    ],
)
def test_a_broken_file_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(ValueError, match=message):
        load_task("gsm8k", data=str(path)).dataset("train")


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no file or folder .*nowhere\.jsonl; give one with the rows of openai/gsm8k"):
        load_task("gsm8k", data=str(tmp_path / "nowhere.jsonl")).dataset("train")


@pytest.mark.parametrize(
    ("reference_answer", "answer", "verdict"),
    [
        ("1,000", "1000", True),
        ("1000", "$1,000.00.", True),
        ("-5", "-$5", True),
        ("5", "-5", False),
        ("5", "", False),
        ("5", "5" * 301, False),
        ("5", "10/2", None),
        ("5", "5 apples", None),
        ("5", "٥", None),
    ],
)
def test_plain_numbers(reference_answer: str, answer: str, verdict: bool | None) -> None:
    assert same_plain_number(reference_answer, answer) is verdict


@pytest.mark.parametrize(
    ("completion", "reward"),
    [
        ("48/2=24\n#### 24\nI hope this helps.", 1.0),
        ([{"role": "assistant", "content": "so \\boxed{24}"}], 1.0),
        ("#### 24 clips", 1.0),
        ("#### 48/2", 1.0),
        ("#### Final answer\n\\boxed{24}", 1.0),
        ("#### Step 2: 10 + 14\nShe sold \\boxed{24\\text{ clips}}.\nDone.", 1.0),
        ("\\boxed{\\$24}", 1.0),
        ("\\boxed{24}\n\n<answer>", 1.0),
        ("<think>10 + 14 = 24", 0.0),
        ("<think>\n#### 25</think>\n24", 1.0),
        ("#### 25", 0.0),
        ("", 0.0),
        ("#### \x00\ud800", 0.0),
        ("#### " + "(" * 250, 0.0),
        ("9" * 1_000_000, 0.0),
    ],
)
def test_the_final_number_of_a_completion_is_graded(completion, reward: float) -> None:
    assert score(completion, "24") == reward


def test_a_tower_of_powers_ends_in_time_and_in_any_thread() -> None:
    rewards: list[float | None] = []
    thread = threading.Thread(target=lambda: rewards.append(score("#### \\sqrt{9^{9^{9^9}}}", "24", timeout=1.0)))
    thread.start()
    thread.join()
    assert rewards == [0.0]
    assert score("#### 12 \\cdot 2", "24") == 1.0

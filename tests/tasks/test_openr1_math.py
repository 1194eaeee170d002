import json
from pathlib import Path

import pytest

from echorl.tasks import load_task
from echorl.tasks.openr1_math import SYSTEM


def row(number: int, **columns) -> dict:
    return {
        "data_source": "math_dapo",
        "prompt": [{"role": "system", "content": "rows' own"}, {"role": "user", "content": f"What is {number}+1?"}],
        "target": [{"role": "assistant", "content": f"<think>\none more\n</think>\n\\boxed{{{number + 1}}}"}],
        "ability": "math",
        "reward_model": {"style": "rule", "ground_truth": str(number + 1)},
        "extra_info": {"index": number, "split": "default"},
        **columns,
    }


@pytest.fixture
def file(tmp_path: Path) -> Path:
    from datasets import Dataset

    path = tmp_path / "openr1.parquet"
    Dataset.from_list([row(i) for i in range(500)]).to_parquet(path)
    return path


def write(path: Path, *rows: dict) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_the_two_splits_are_all_rows_and_stay_what_they_are(file: Path) -> None:
    task = load_task("openr1_math", data=str(file.parent))
    train, validation = task.dataset("train")["question"][:], task.dataset("validation")["question"][:]
    assert len(train) + len(validation) == 500
    assert 0 < len(validation) < 20
    assert not set(train) & set(validation)
    turned = write(file.parent / "turned.jsonl", *(row(i) for i in reversed(range(500))))
    assert sorted(load_task("openr1_math", data=turned).dataset("validation")["question"]) == sorted(validation)
    with pytest.raises(ValueError, match="unknown split 'test'"):
        task.dataset("test")


def test_a_row_has_prompt_answer_and_demonstration(tmp_path: Path) -> None:
    data = write(tmp_path / "rows.jsonl", row(7, target=None), row(8))
    rows = load_task("openr1_math", data=data).dataset("train")
    assert rows[1]["prompt"] == [{"role": "system", "content": SYSTEM}, {"role": "user", "content": "What is 8+1?"}]
    assert rows["answer"][:] == ["8", "9"]
    assert rows["demonstration"][:] == [None, "<think>\none more\n</think>\n\\boxed{9}"]


@pytest.mark.parametrize(
    ("options", "prompt"),
    [
        (dict(system="S", chat=False), "S\n\nWhat is 8+1?"),
        (dict(system="", chat=False, template="Q: {question}"), "Q: What is 8+1?"),
        (dict(system=""), [{"role": "user", "content": "What is 8+1?"}]),
    ],
)
def test_other_prompts(tmp_path: Path, options: dict, prompt: object) -> None:
    data = write(tmp_path / "rows.jsonl", row(8))
    assert load_task("openr1_math", data=data, **options).dataset("train")[0]["prompt"] == prompt


def test_the_trainers_column_of_demonstrations(file: Path) -> None:
    from echorl.tasks.demonstrations import to_prompt_completion

    pairs = to_prompt_completion(load_task("openr1_math", data=str(file)).dataset("validation", size=2))
    assert pairs[0]["completion"][0]["content"].startswith("<think>\n")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            dict(prompt=[{"role": "system", "content": "x"}]),
            "row 1 has no question or no answer; write the question as a user message",
        ),
        (dict(reward_model={"style": "rule"}), "row 1 has no question .*'ground_truth'"),
        (dict(target=[]), "row 1: demonstration .* is neither"),
    ],
)
def test_a_broken_row_is_refused(tmp_path: Path, wrong: dict, message: str) -> None:
    data = write(tmp_path / "rows.jsonl", row(7), row(8, **wrong))
    with pytest.raises(ValueError, match=message):
        load_task("openr1_math", data=data).dataset("train")


def test_a_missing_column_is_refused(tmp_path: Path) -> None:
    rows = {key: value for key, value in row(7).items() if key != "target"}
    with pytest.raises(
        ValueError, match=r"rows\.jsonl has no column 'target'; it needs \(prompt, target, reward_model\)"
    ):
        load_task("openr1_math", data=write(tmp_path / "rows.jsonl", rows)).dataset("train")


def test_the_verifier_reads_the_box_after_thinking(tmp_path: Path) -> None:
    task = load_task("openr1_math", data=write(tmp_path / "rows.jsonl", row(8)))
    texts = [*task.dataset("train")["demonstration"], "<think>\n\\boxed{9}", "\\boxed{18/2}", "9"]
    assert task.verifier(completions=texts, answer=["9"] * 4) == [1.0, 0.0, 1.0, 0.0]

import json
from functools import cache

import pytest

from echorl.tasks import load_task
from echorl.tasks.base import hash_fraction

SUMS = {
    "generator": "chain_sum",
    "config": {"max_terms": 3, "max_digits": 2},
    "harder": {"min_terms": 5, "max_terms": 5},
}


@cache
def one_instance(generator: str):
    task = load_task("reasoning_gym", generator=generator, timeout=2.0)
    return task, task.dataset("test", size=1)["instance"][0]


@pytest.fixture(scope="module")
def task():
    return load_task("reasoning_gym", **SUMS)


def test_splits_are_disjoint_and_seeded(task) -> None:
    rows = {split: task.dataset(split, size=300, seed=seed) for seed, split in enumerate(task.splits)}
    questions = {split: set(data["question"]) for split, data in rows.items()}
    assert list(questions) == ["train", "validation", "test", "harder"]
    assert all(len(data) == 300 for data in rows.values())
    assert [len(questions[split]) for split in ("validation", "test", "harder")] == [300] * 3
    for a, b in [("train", "validation"), ("train", "test"), ("validation", "test"), ("train", "harder")]:
        assert not questions[a] & questions[b]
    assert all(0.8 <= hash_fraction(question) < 0.9 for question in questions["validation"])
    assert rows["test"].to_list() == task.dataset("test", size=300, seed=2).to_list()
    assert len(questions["test"] & set(task.dataset("test", size=300, seed=3)["question"])) < 100


def test_demonstrations_verify(task) -> None:
    data = task.dataset("harder", size=200)
    columns = {name: data[name][:] for name in ("instance",)}
    assert task.verifier(completions=data["demonstration"][:], **columns) == [1.0] * 200
    wrong = [text + "1" for text in data["demonstration"]]
    assert task.verifier(completions=wrong, **columns) == [0.0] * 200


def test_prompts() -> None:
    chat = load_task("reasoning_gym", **SUMS, chat=True, template="{question}\n").dataset("test", size=1)[0]
    assert chat["prompt"] == [{"role": "user", "content": chat["question"] + "\n"}]
    assert "demonstration" not in load_task("reasoning_gym", generator="gcd").dataset("test", size=1).column_names


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"generator": "chain_sun"}, r"unknown reasoning-gym dataset 'chain_sun'; choose one of ab, .*chain_sum"),
        ({"config": {"terms": 3}}, r"'chain_sum' has no setting 'terms'; it has min_terms, max_terms"),
        ({"harder": {"seed": 3}}, r"'chain_sum' has no setting 'seed'"),
        ({"config": {"min_terms": 9}}, r"refuses the config {'min_terms': 9}: max_terms must be >= min_terms"),
        ({"config": {"min_terms": "many"}}, r"refuses the config"),
    ],
)
def test_bad_options(options, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_task("reasoning_gym", **options)


def test_a_small_space_is_exhausted_with_one_sentence() -> None:
    task = load_task("reasoning_gym", config={"max_terms": 2, "max_digits": 1})
    assert len(task.dataset("train", size=1000)) == 1000
    with pytest.raises(ValueError, match=r"distinct questions for the split 'test', not 100; ask for fewer"):
        task.dataset("test", size=100)
    with pytest.raises(ValueError, match="unknown split 'harder'"):
        task.dataset("harder")


@pytest.mark.parametrize(
    "answer",
    ["", "####", "\x00\ud800", "1e999999999", "#### " + "9" * 1_000_000, "#### sNaN", "<answer>" * 10_000, "#### (((("],
)
@pytest.mark.parametrize("generator", ["chain_sum", "gcd", "countdown"])
def test_hostile_answers_score_zero(generator: str, answer: str) -> None:
    task, instance = one_instance(generator)
    assert task.verifier(completions=[answer], instance=[instance]) == [0.0]


def test_a_scorer_that_hangs_is_stopped() -> None:
    task = load_task("reasoning_gym", generator="countdown", timeout=1.0)
    instances = task.dataset("test", size=2)["instance"][:]
    assert task.verifier(completions=["#### 9**9**9**9", "#### 1"], instance=instances) == [0.0, 0.0]


@pytest.mark.parametrize("generator", ["gcd", "word_sorting", "tower_of_hanoi"])
def test_reference_answer_answers_verify(generator: str) -> None:
    task = load_task("reasoning_gym", generator=generator)
    instances = task.dataset("train", size=5)["instance"][:]
    reference_answer = [f"#### {json.loads(instance)['answer']}" for instance in instances]
    assert task.verifier(completions=reference_answer, instance=instances) == [1.0] * 5


@pytest.mark.parametrize("scored", [float("nan"), None, 0.999, "error"])
def test_only_a_score_of_one_is_a_success(scored, monkeypatch) -> None:
    from reasoning_gym.arithmetic.chain_sum import ChainSumDataset

    def score_answer(self, answer, entry):
        if scored == "error":
            raise RuntimeError("a scorer's own bug")
        return scored

    task = load_task("reasoning_gym", **SUMS)
    instance = task.dataset("test", size=1)["instance"][0]
    monkeypatch.setattr(ChainSumDataset, "score_answer", score_answer)
    assert task.verifier(completions=["#### 1"], instance=[instance]) == [0.0]


def test_other_rows_get_none(task) -> None:
    other = load_task("reasoning_gym", generator="gcd").dataset("test", size=1)["instance"][0]
    own = task.dataset("test", size=1)[0]
    assert task.verifier(completions=["1", own["demonstration"], "1"], instance=[other, own["instance"], None]) == [
        None,
        1.0,
        None,
    ]
    assert task.verifier.__name__ == "reasoning_gym_chain_sum"

"""Forks: where they are, the variance that a step decides, and what is said of it."""

from __future__ import annotations

import random

import pytest

from echorl.analysis.golden.fork_report import Point, decided, report
from echorl.analysis.golden.forks import HIGH, LOW, find_forks, first_step, variance_parts
from echorl.analysis.golden.traces import Scores, Trace
from echorl.core.steps import StepDelimiters
from echorl.evaluate.benchmarks import Item
from tests.trl import tiny


def scored(texts: list[str], entropies: list[float]) -> Scores:
    lengths = [len(text) for text in texts]
    return Scores(
        texts=texts, lengths=lengths, step_entropy=entropies, entropy=0.1, nll=1.0, profile=[0.1] * 10,
        nll_profile=[0.1] * 10,
    )  # fmt: skip


TRACE = Trace(item=Item(id="a", prompt="1+1", gold="2"), kind="right", number=3, text="")


def test_the_answers_step_is_no_fork_and_of_equal_steps_the_first_counts():
    scores = scored(["ab\n", "cdef\n", "g\n", "#### 2"], [0.2, 0.2, 0.1, 0.9])
    high, low = find_forks(TRACE, scores)
    assert (high.end, high.before, high.place, high.tokens) == (HIGH, "", 0.0, 3)
    assert (low.end, low.before, low.tokens) == (LOW, "ab\ncdef\n", 2)
    assert low.place == pytest.approx(8 / 10)
    assert high.name == "a.right3.high"


def test_one_step_before_the_answer_is_nothing_to_compare():
    assert find_forks(TRACE, scored(["ab\n", "#### 2"], [0.2, 0.9])) == []


def test_the_first_step_of_a_completion():
    tokenizer = tiny.make_tokenizer()
    delimiters = StepDelimiters.from_tokenizer(tokenizer)
    assert first_step("1+\n2.\n3", tokenizer, delimiters) == "1+\n"
    assert first_step("1+2", tokenizer, delimiters) == "1+2"
    assert first_step("", tokenizer, delimiters) == ""


@pytest.mark.parametrize(("chances", "variance"), [([0.2, 0.8], 0.09), ([0.5, 0.5], 0.0), ([0.0, 1.0], 0.25)])
def test_the_parts_are_unbiased(chances, variance):
    """Each draw takes one of two variants, equally often; the parts' means over many forks are the truth."""
    rng = random.Random(0)
    found = []
    for _ in range(6000):
        draws = [rng.choice(chances) for _ in range(4)]
        found.append(variance_parts([[rng.random() < chance for _ in range(3)] for chance in draws]))
    mean = sum(chances) / 2
    assert sum(parts.between for parts in found) / len(found) == pytest.approx(variance, abs=0.01)
    assert sum(parts.total for parts in found) / len(found) == pytest.approx(mean * (1 - mean), abs=0.01)
    assert sum(parts.success for parts in found) / len(found) == pytest.approx(mean, abs=0.01)


@pytest.mark.parametrize("verdicts", [[[True, False]], [[True], [False]]])
def test_single_draws_or_completions_are_refused(verdicts):
    with pytest.raises(ValueError, match="two or more of both are needed"):
        variance_parts(verdicts)


def points(end: str, chances: list[float], prompts: int = 60) -> list[Point]:
    rng = random.Random(end)
    made = []
    for prompt in range(prompts):
        draws = [rng.choice(chances) for _ in range(8)]
        parts = variance_parts([[rng.random() < chance for _ in range(4)] for chance in draws])
        made.append(
            Point(
                item=str(prompt), rollout="right0", end=end, entropy=0.5 if end == HIGH else 0.1, place=0.0, tokens=3,
                variants=len(set(draws)), parts=parts,
            )
        )  # fmt: skip
    return made


def test_risky_steps_are_told_from_harmless_ones():
    found = report([*points(HIGH, [0.1, 0.9]), *points(LOW, [0.5])], {"rollouts": 120})
    assert found["findings"][0].startswith("Steps of highest entropy: risky.")
    assert found["findings"][1].startswith("Steps of lowest entropy: harmless choices.")
    assert found["value"]["ends"][HIGH]["decided"]["value"] == pytest.approx(0.16 / 0.25, abs=0.08)
    assert found["value"]["ends"][HIGH]["risk"] == pytest.approx(40, abs=4)
    assert found["sizes"] == {"rollouts": 120, "prompts": 60, "forks": 120}
    assert all(len(row) == 3 for row in found["tables"][0]["rows"])
    [line] = found["curves"][0]["lines"]
    assert len(line["x"]) == len(line["y"]) == 4


def test_the_interval_covers_the_truth_about_as_often_as_it_should():
    covered = 0
    for seed in range(60):
        rng = random.Random(seed)
        own = []
        for prompt in range(40):
            draws = [rng.choice([0.2, 0.8]) for _ in range(6)]
            parts = variance_parts([[rng.random() < chance for _ in range(3)] for chance in draws])
            one = dict(item=str(prompt), rollout="", end=HIGH, entropy=0.0, place=0.0, tokens=1, variants=2)
            own.append(Point(**one, parts=parts))
        found = decided(own)
        covered += found["low"] <= 0.09 / 0.25 <= found["high"]
    assert 52 <= covered <= 60


def test_where_nothing_varies_nothing_is_said():
    sure = [
        Point(
            item=str(n), rollout="", end=end, entropy=0.0, place=0.0, tokens=1, variants=1,
            parts=variance_parts([[True, True]] * 2),
        )
        for n in range(3)
        for end in (HIGH, LOW)
    ]  # fmt: skip
    found = report(sure, {})
    assert all("too few forks whose outcome varies" in sentence for sentence in found["findings"])
    assert found["tables"][0]["rows"][-2][1:] == ["-", "-"]

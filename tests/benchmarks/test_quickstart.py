"""How the quickstart's policy was made and measured, at a tiny size."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch

from benchmarks.quickstart.card import group_kinds, mean_and_margin, means_by, sample, token_kinds, way_taken
from benchmarks.quickstart.policy import Phase, make_tokenizer, warm_start
from echorl.lab.compare.read import read_comparison
from echorl.lab.quickstart import make_study
from echorl.models import POLICY
from echorl.models.loading import load_policy
from echorl.tasks.solutions import WAYS, chain_sum_solution
from echorl.train.recipe import read_recipe

QUESTION = "State the final answer to the following arithmetic problem: {} ="


def test_the_warm_start_is_deterministic(tmp_path):
    phases = (Phase(steps=2, batch_size=4, configs=((1.0, {}),)), Phase(steps=1, batch_size=4, configs=((1.0, {}),)))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    for name in "ab":
        warm_start(tmp_path / name, phases=phases)
    torch.set_num_threads(threads)
    for path in sorted((tmp_path / "a").iterdir()):
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


def test_the_shipped_tokenizer_is_the_one_that_is_made():
    shipped, made = load_policy(POLICY)[1], make_tokenizer()
    assert shipped.get_vocab() == made.get_vocab()
    text = QUESTION.format("57 + 87 - 70") + "\n57+87=144\n#### 74<eos>"
    assert shipped(text)["input_ids"] == made(text)["input_ids"]


def test_a_sampled_token_has_an_entropy():
    model, tokenizer = load_policy(POLICY)
    rollouts = sample(model, tokenizer, [QUESTION.format("57 + 87") + "\n"], group_size=2)
    assert [len(tokens) for tokens in rollouts.tokens] == [len(values) for values in rollouts.entropies]


@pytest.mark.parametrize(
    ("first", "way"),
    [
        ("57+87=144", "in_order"),
        ("87+57=144", "reordered"),
        ("57-70=-13", "reordered"),
        ("50+80-70=60", "split"),
        ("57+87-70=74", "at_once"),
        ("87+87=174", "other"),
        ("", "other"),
        ("#### 74", "other"),
        ("57+87-71=73", "other"),
    ],
)
def test_way_taken(first, way):
    assert way_taken(QUESTION.format("57 + 87 - 70"), first + "\n#### 74") == way


def test_solutions_take_every_way():
    question = QUESTION.format("57 + 87 - 71 - 15")
    texts = [chain_sum_solution(question, random.Random(seed)) for seed in range(200)]
    assert {way_taken(question, text) for text in texts} == set(WAYS)


def test_token_kinds():
    assert token_kinds([*"57+8=65", "\n", *"-5+8=3", "\n", "#### ", "3", "<eos>"]) == [
        *("choice", "copy", "choice", "choice", "choice", "result", "result", "result"),
        *("copy", "copy", "choice", "choice", "choice", "result", "result"),
        *("answer", "answer", "answer"),
    ]


def test_group_kinds():
    assert group_kinds([1, 1, 0, 0, 1, 0, 0, 1], 2) == {"all_success": 0.25, "all_fail": 0.25, "mixed": 0.5}


def test_mean_and_margin():
    assert mean_and_margin([0.5]) == (0.5, 0.0)
    mean, margin = mean_and_margin([0.0, 1.0])
    assert mean == 0.5
    assert margin == pytest.approx(1.96 * 0.5)


def test_means_by():
    assert means_by(["a", "b", "b"], [1.0, 0.0, 1.0]) == {"b": {"mean": 0.5, "n": 2}, "a": {"mean": 1.0, "n": 1}}


def test_the_study_of_the_rates_tries_them_with_plain_grpo():
    path = Path(__file__).parents[2] / "benchmarks" / "quickstart" / "rates.yaml"
    comparison = read_comparison(path, read_recipe(path), {})
    assert sorted({run.rate for run in comparison.grid()}) == [3e-5, 1e-4, 3e-4, 1e-3]
    assert all(Path(recipe).is_file() for recipe in comparison.recipe)
    shipped = make_study(Path("out")).comparison
    for name in ("steps", "prompts", "samples", "batch_size"):
        assert getattr(comparison, name) == getattr(shipped, name)
    assert comparison.arms == {"GRPO": shipped.arms["GRPO"]}

"""Several recipes laid over each other, and rows that a function makes fit."""

from __future__ import annotations

import json

import pytest
import yaml
from datasets import Dataset

from echorl.cli import main
from echorl.train.parsing import parse
from echorl.train.recipe import read_recipes
from echorl.train.run import TRAIN
from echorl.trl.metrics_file import read_metrics

CPU = ["--use_cpu", "true", "--bf16", "false"]
ROW_FUNCTIONS = """
def to_prompt(row):
    return {"prompt": row["question"] + "\\n"}

def broken(row):
    return {"prompt": row["qestion"]}

def not_a_dict(row):
    return row["question"]

def without(row):
    return {"other": 1}
"""


@pytest.fixture
def write(tmp_path):
    def write(name: str, **values) -> str:
        (tmp_path / name).write_text(yaml.safe_dump(values))
        return name

    return write


def test_the_last_file_wins_and_env_is_merged(write):
    files = [
        write("base.yaml", seed=1, max_steps=5, env={"A": 1, "B": 1}),
        write("sub.v2.yaml", seed=2, train_file=None, env={"B": 2}),
    ]
    recipe = read_recipes(files)
    assert recipe.options == {"seed": 2, "max_steps": 5, "train_file": None}
    assert recipe.env == {"A": "1", "B": "2"}
    assert recipe.origin == {"seed": "sub.v2.yaml", "max_steps": "base.yaml", "train_file": "sub.v2.yaml"}
    assert recipe.name == "base-sub.v2"


@pytest.mark.parametrize("fast", [True, False])
def test_bf16_by_the_cpu(monkeypatch, fast):
    from echorl.train.parsing import parse
    from echorl.train.recipe import Recipe
    from echorl.train.run import TRAIN

    monkeypatch.setattr("torch.cpu._is_avx512_bf16_supported", lambda: fast)
    monkeypatch.setattr("torch.cpu._is_amx_tile_supported", lambda: False)
    options = {"bf16": "auto", "use_cpu": True, "model_name_or_path": "quickstart", "task": "word_problems"}
    settings = parse(TRAIN, Recipe(options=options), [])
    assert settings.training.bf16 is settings.given["bf16"] is fast


def test_no_file():
    assert read_recipes([]).options == {}
    assert read_recipes([]).name == "echorl"


def test_a_run_by_several_files_and_its_recorded_config(tmp_path, recipe, write, monkeypatch):
    monkeypatch.setenv("ECHORL_TEST_VARIABLE", "")
    first = recipe(output_dir=None, max_steps=1, echo_coef=0.1)
    second = write("luffy.yaml", learning_rate=0.5, seed=7, env={"ECHORL_TEST_VARIABLE": "x"})
    assert main(["train", "--config", first, second, "--seed", "9"]) == 0
    run = tmp_path / "runs" / "recipe-luffy"
    recorded = yaml.safe_load((run / "config.yaml").read_text())
    assert (recorded["learning_rate"], recorded["seed"], recorded["echo_coef"]) == (0.5, 9, 0.1)
    assert main(["train", "--config", str(run / "config.yaml"), "--output_dir", "again"]) == 0
    one, other = (
        [line["loss"] for line in read_metrics(p / "metrics.jsonl") if "loss" in line]
        for p in (run, tmp_path / "again")
    )
    assert one == other


def test_config_twice_is_two_files(recipe, write, fails):
    fails(["train", "--config", recipe(), "--config", write("b.yaml", max_steps="x")], "b.yaml: max_steps", "'x'")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"echo_cof": 1}, ["b.yaml: unknown option 'echo_cof'", "'echo_coef'"]),
        ({"max_steps": 2.5}, ["b.yaml: max_steps", "2.5"]),
        ({"env": 3}, ["--config b.yaml", "'env'"]),
    ],
)
def test_an_error_names_the_file(recipe, write, fails, values, words):
    fails(["train", "--config", recipe(), write("b.yaml", **values)], *words)


def test_a_missing_second_file(recipe, fails):
    fails(["train", "--config", recipe(), "no.yaml"], "--config no.yaml: there is no such file")


# -- row_func -----------------------------------------------------------------------------------------------------


@pytest.fixture
def questions(tmp_path):
    (tmp_path / "functions.py").write_text(ROW_FUNCTIONS)
    path = tmp_path / "questions.jsonl"
    path.write_text("".join(json.dumps({"question": f"{i}+1=?"}) + "\n" for i in range(8)))
    return str(path)


def test_row_func_makes_prompts(tmp_path, recipe, questions):
    path = recipe(train_file=questions, row_func="functions.py:to_prompt", max_steps=1)
    assert main(["train", "--config", path]) == 0
    assert read_metrics(tmp_path / "run" / "metrics.jsonl")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("functions.py:to_prmpt", ["row_func: 'functions.py:to_prmpt' does not exist", "to_prompt"]),
        ("no.py:f", ["row_func: 'no.py:f' cannot be imported", "no file no.py"]),
        ("to_prompt", ["row_func: 'to_prompt' does not exist"]),
        ("functions.py:broken", ["row_func 'functions.py:broken' raised KeyError: 'qestion'", "functions.py, line 6"]),
        ("functions.py:not_a_dict", ["returned a str: return a dict of columns"]),
        ("functions.py:without", ["no column 'prompt'", "question, other"]),
    ],
)
def test_unfit_row_func(recipe, questions, fails, name, words):
    fails(["train", "--config", recipe(train_file=questions, row_func=name)], *words)


def test_row_func_beside_a_task(recipe, fails):
    path = recipe(train_file=None, task="gsm8k", row_func="f.py:g")
    fails(["train", "--config", path], "row_func='f.py:g'", "task='gsm8k', which makes its own rows")


def test_row_func_for_a_data_set_of_the_hub(recipe, questions, monkeypatch):
    rows = Dataset.from_list([{"question": "1+1=?"}] * 8)
    monkeypatch.setattr("echorl.train.data._from_hub", lambda name, split: rows)
    path = recipe(train_file=None, dataset_name="a/b", row_func="functions.py:to_prompt", max_steps=1)
    assert main(["train", "--config", path]) == 0


def test_what_a_method_sets_can_be_written_as_it_is_otherwise_or_as_its_option(recipe):
    for changes, loss_type in (
        ({"loss_type": "grpo"}, "grpo"),
        ({"loss_type": "bnpo"}, "bnpo"),
        ({"loss_type": "dapo"}, "dapo"),
        ({"loss_type": "dapo", "method_options": {"loss_type": "dapo"}}, "dapo"),
        ({"epsilon_high": None}, "grpo"),
    ):
        settings = parse(TRAIN, read_recipes([recipe(method="grpo", **changes)]), ["--epsilon", "0.2"])
        assert settings.training.loss_type == loss_type


def test_null_takes_an_earlier_files_value_out(write):
    base = write("base.yaml", task="quickstart", learning_rate=0.5, num_generations=4, temperature=0.7, echo_coef=0.1)
    over = write("over.yaml", learning_rate=None, num_generations=None, temperature=None)
    settings = parse(TRAIN, read_recipes([base, over]), CPU)
    plain = parse(TRAIN, read_recipes([write("plain.yaml", task="quickstart")]), CPU)
    for name in ("learning_rate", "num_generations", "temperature"):
        assert getattr(settings.training, name) == getattr(plain.training, name) is not None
    assert settings.training.echo_coef == 0.1

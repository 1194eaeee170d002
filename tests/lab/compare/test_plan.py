"""Which runs a comparison has, which rates it chooses, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from echorl.lab.compare.plan import Comparison, Run
from echorl.lab.compare.read import read_comparison
from echorl.lab.compare.run import RunFolder, kept_key, run_key, run_options, scores_key
from echorl.support.files import read_json, stored, write_json

STUDY = {
    "recipe": ("r.yaml",),
    "arms": {"grpo": {"echo_coef": 0.0}, "echorl": {"echo_coef": 0.001}},
    "rollout_tokens": 100,
    "output_dir": "out",
    "seeds": (0, 1, 2),
    "learning_rates": (1e-6, 1e-5),
    "grid_seeds": (7, 8),
}


def study(**changes) -> Comparison:
    return Comparison(**{**STUDY, **changes})


def test_every_arm_tries_every_rate_with_the_grids_seeds():
    assert {(run.arm, run.rate, run.seed) for run in study().grid()} == {
        (arm, rate, seed) for arm in ("grpo", "echorl") for rate in (1e-6, 1e-5) for seed in (7, 8)
    }
    assert {run.arm for run in study(grid_arm="grpo").grid()} == {"grpo"}
    assert study(learning_rates=(1e-6,)).grid() == []
    assert study(learning_rates=()).grid() == []


def test_an_arm_keeps_its_best_rate_and_of_equal_ones_the_lowest():
    values = dict.fromkeys(study().grid(), 0.5)
    assert study().chosen(values) == {"grpo": 1e-6, "echorl": 1e-6}
    values[Run("echorl", 1e-5, 8)] = 0.6
    assert study().chosen(values) == {"grpo": 1e-6, "echorl": 1e-5}
    assert study(grid_arm="echorl").chosen(values) == {"grpo": 1e-5, "echorl": 1e-5}
    assert study(learning_rates=()).chosen({}) == {"grpo": None, "echorl": None}


def test_an_arm_that_is_not_trained_tries_no_rate():
    start = study(arms={"start": {"max_steps": 0}, **STUDY["arms"]})
    assert {run.arm for run in start.grid()} == {"grpo", "echorl"}
    rates = start.chosen(dict.fromkeys(start.grid(), 0.5))
    assert rates == {"start": None, "grpo": 1e-6, "echorl": 1e-6}
    [run] = [run for run in start.final(rates) if run.arm == "start" and run.seed == 0]
    assert run_options(start, {}, run, Path("out")) | {"output_dir": ""} == {
        "max_steps": 0, "seed": 0, "max_rollout_tokens": 100, "output_dir": "", "resume_from_checkpoint": "true",
    }  # fmt: skip


def test_a_run_of_steps_has_no_budget_of_tokens():
    steps = study(rollout_tokens=None, steps=7)
    options = run_options(steps, {}, Run("grpo", None, 0), Path("out"))
    assert options["max_steps"] == 7
    assert "max_rollout_tokens" not in options


def test_another_batch_size_gives_scores_of_their_own():
    assert "batch_size" not in study().size_of("test")
    assert study(batch_size=512).size_of("test")["batch_size"] == 512


@pytest.mark.parametrize("name", ["share_prompts", "bf16"])
def test_faster_scores_are_scores_of_their_own(name):
    assert name not in study().size_of("test")
    assert study(**{name: True}).size_of("test")[name] is True


def test_a_rate_that_diverged_is_the_worst():
    values = dict.fromkeys(study().grid(), 0.0)
    values[Run("grpo", 1e-6, 8)] = None  # its other seed's 0.9 doesn't save it
    values[Run("grpo", 1e-6, 7)] = 0.9
    assert study().chosen(values) == {"grpo": 1e-5, "echorl": 1e-6}
    with pytest.raises(ValueError, match="arm 'grpo' diverged at every learning rate of the grid: put lower"):
        study().chosen({**values, Run("grpo", 1e-5, 7): None})


def test_the_edges_of_the_grid():
    three = study(learning_rates=(1e-5, 1e-6, 1e-4))
    assert three.edges({"grpo": 1e-6, "echorl": 1e-5}) == {"grpo": "lowest"}
    assert study(grid_arm="echorl").edges({"grpo": 1e-6, "echorl": 1e-5}) == {"echorl": "highest"}
    assert study(learning_rates=()).edges({"grpo": None, "echorl": None}) == {}


def test_no_run_of_the_grid_is_compared():
    final = study().final({"grpo": 1e-6, "echorl": 1e-5})
    assert len(set(final)) == len(final) == 6
    assert not set(study().grid()) & set(final)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"arms": {}}, "names no arm"),
        ({"arms": {"a/b": {}}}, "arm 'a/b': a name is letters"),
        ({"arms": {"a": 1}}, "arm 'a' is 1: give a mapping"),
        ({"arms": {"a": {"seed": 1}}}, "arm 'a' sets seed"),
        ({"arms": {"a": {"max_steps": 1}}}, "arm 'a' sets max_steps"),
        ({"steps": 7}, "needs rollout_tokens or steps: give exactly one"),
        ({"rollout_tokens": None}, "needs rollout_tokens or steps: give exactly one"),
        ({"rollout_tokens": None, "steps": 0}, "steps=0 is not allowed"),
        ({"batch_size": 0}, "batch_size=0 is not allowed"),
        ({"seeds": ()}, "name each seed once"),
        ({"seeds": (1, 1)}, "name each seed once"),
        ({"seeds": (0, True)}, "seeds=.* is not allowed: a seed is a whole number"),
        ({"seeds": (0.5,)}, "a seed is a whole number"),
        ({"seeds": (-1,)}, "a seed is a whole number"),
        ({"grid_seeds": ()}, "grid_seeds=.* name each seed once"),
        ({"grid_seeds": (5, 2)}, r"grid_seeds=\[5, 2\] and seeds share 2: the grid needs seeds of its own"),
        ({"learning_rates": (1e-6, 1e-5, 1e-6)}, "two of them are equal"),
        ({"learning_rates": (1e-6, 1.0000001e-6)}, "two of them are equal to six digits"),
        ({"learning_rates": (float("nan"),)}, "must be positive numbers"),
        ({"tests": ("test", "validation")}, "'validation' is for training or for choosing"),
        ({"tests": ("train",)}, "'train' is for training or for choosing"),
        ({"tests": ()}, "name a split, at least one"),
        ({"greedy": "no"}, "greedy='no' is not allowed: it must be true or false"),
        ({"output_dir": 5}, "output_dir=5 is not allowed"),
        ({"tests": [{"two": {"split": "test"}}]}, "is no name of a split; tests with options are a mapping"),
        ({"tests": ["a", "b"], "averages": {"m": [["a"], "b"]}}, "name two or more of them, each once"),
        ({"tests": ["a", "b"], "averages": {"m": ["a", "b", "b"]}}, "name two or more of them, each once"),
        ({"references": {"echorl": ["grpo"]}}, r"references: \['grpo'\] is no arm"),
        ({"grid_arm": ["grpo"]}, r"grid_arm=\['grpo'\] is no arm"),
        ({"tests": "test"}, r"tests='test' is not a list of splits; write e.g. \[test\]"),
        ({"tests": {"validation": {"split": "test"}}}, "'validation' is for training or for choosing"),
        ({"tests": {"training": {"split": "test"}}}, "'training' is for training or for choosing"),
        ({"tests": {"a": {"split": "train"}}}, "'train' is for training or for choosing"),
        ({"tests": {"a/b": {}}}, "test 'a/b': a name is letters, digits"),
        ({"tests": {"a": None}}, "test 'a' is None: give a mapping of options"),
        ({"averages": {"all": ["test"]}}, "'all' must be no test's name, and name two or more"),
        ({"tests": ("a", "b"), "averages": {"a": ["a", "b"]}}, "'a' must be no test's name"),
        ({"tests": ("a", "b"), "averages": {"all": ["a", "c"]}}, "'all' names 'c'; the tests are a, b"),
        ({"validation": {"prompt": 1}}, "validation has no 'prompt': it has prompts and samples"),
        ({"validation": {"prompts": 0}}, "validation's prompts=0 is not allowed"),
        ({"pass_at": (1, 9)}, "9 must be from 1 to samples=8"),
        ({"tests": ("test", "test")}, "name each split once"),
        ({"temperature": 0}, "temperature=0 is not allowed: it must be a finite number above 0"),
        ({"temperature": True}, "temperature=True is not allowed"),
        ({"temperature": "1"}, "temperature='1' is not allowed"),
        ({"samples": 1.5}, "samples=1.5 is not allowed"),
        ({"prompts": 0}, "prompts=0 is not allowed"),
        ({"grid_arm": "x"}, "grid_arm='x' is no arm: choose one of grpo, echorl"),
        ({"references": ["grpo"]}, "references=.* is no mapping: write 'arm: its reference'"),
        ({"references": {"echorl": "x"}}, "references: 'x' is no arm: choose one of grpo, echorl"),
        ({"references": {"x": "grpo"}}, "references: 'x' is no arm"),
        ({"references": {"echorl": "echorl"}}, "references: echorl -> echorl is a circle: name"),
        ({"references": {"grpo": "echorl"}}, "references: grpo -> echorl -> grpo is a circle"),
        ({"learning_rates": ("1e-6",)}, "must be positive numbers, such as 1.0e-6"),
        ({"rollout_tokens": 0}, "rollout_tokens=0 is not allowed"),
        ({"parallel": True}, "parallel=True is not allowed"),
    ],
)
def test_what_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        study(**changes)


def test_a_files_options(tmp_path):
    path = tmp_path / "study.yaml"
    mapping = {"recipe": "grpo.yaml", "arms": {"a": {}}, "rollout_tokens": 5, "seeds": [3]}
    read = read_comparison(path, mapping, {"parallel": 2, "output_dir": None})
    assert read.recipe == (str(tmp_path / "grpo.yaml"),)
    several = read_comparison(path, {**mapping, "recipe": ["base.yaml", "small.yaml"]}, {})
    assert several.recipe == (str(tmp_path / "base.yaml"), str(tmp_path / "small.yaml"))
    assert read.output_dir == "runs/study"
    assert read.seeds == (3,)
    assert read.parallel == 2
    for name, advice in (("seds", "did you mean 'seeds'"), ("zzz", "`docs/reference/files.md` lists them all")):
        with pytest.raises(ValueError, match=f"unknown option '{name}'; {advice}"):
            read_comparison(path, {**mapping, name: [1]}, {})
    with pytest.raises(ValueError, match="'arms' is missing"):
        read_comparison(path, {"recipe": "x", "rollout_tokens": 1}, {})
    for name in ("seeds", "grid_seeds"):
        with pytest.raises(ValueError, match=f"{name}=3 is not a list"):
            read_comparison(path, {**mapping, name: 3}, {})


def test_a_run_is_found_again_only_under_its_own_settings(tmp_path):
    recipe = {"model_name_or_path": "m", "task": "gsm8k"}
    run = Run("echorl", 1e-5, 1)
    options = run_options(study(), recipe, run, tmp_path / "a")
    assert options["echo_coef"] == 0.001
    assert options["learning_rate"] == 1e-5
    assert options["seed"] == 1
    assert options["max_rollout_tokens"] == 100
    key = run_key(options)
    assert key == run_key(run_options(study(), recipe, run, tmp_path / "elsewhere"))
    RunFolder(tmp_path / "a").claim(key)
    assert stored(tmp_path / "a" / "run.json", key) is None
    write_json(tmp_path / "a" / "run.json", {"key": key, "value": {"updates": 3}})
    RunFolder(tmp_path / "a").claim(key)
    assert stored(tmp_path / "a" / "run.json", key) == {"updates": 3}
    other = run_key({**options, "beta": 0.1})
    with pytest.raises(ValueError, match=r"other settings \(beta None then, 0.1 now\)"):
        RunFolder(tmp_path / "a").claim(other)
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun" / ".echorl-0123456789abcdef.tmp").write_text("{")  # killed while it was claimed
    RunFolder(tmp_path / "begun").claim(key)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("")
    with pytest.raises(ValueError, match="`echorl compare` did not write"):
        RunFolder(tmp_path / "mine").claim(key)


def test_a_test_has_a_split_options_and_a_size():
    tests = {"test": {}, "long": {"split": "test", "config": {"min_terms": 6}}}
    plan = study(tests=tests, greedy=True, samples=32, pass_at=(32, 1, 8), validation={"samples": 4})
    assert [plan.split_of(name) for name in ("test", "long", "validation")] == ["test", "test", "validation"]
    assert plan.task_options_of("long") == {"config": {"min_terms": 6}}
    assert plan.size_of("long") == {"prompts": 128, "samples": 32, "temperature": 1.0, "greedy": True}
    assert plan.size_of("validation") == {"prompts": 128, "samples": 4, "temperature": 1.0, "greedy": False}
    assert plan.ks == [1, 8, 32]
    assert study().ks == [1, 8]
    assert list(study(tests=["a", "b"]).tests) == ["a", "b"]


def test_scores_are_used_again_only_for_the_same_run_and_test():
    plan = study(tests={"long": {"split": "test", "config": {"min_terms": 6}}})
    key = {"version": "1", "options": {"beta": 0.0}}
    scores = scores_key(key, plan, "long")
    assert scores | {"run": ""} == {
        "run": "", "split": "test", "task_options": {"config": {"min_terms": 6}},
        "prompts": 128, "samples": 8, "temperature": 1.0, "greedy": False,
    }  # fmt: skip
    assert scores_key({**key, "options": {"beta": 0.1}}, plan, "long")["run"] != scores["run"]


def test_scores_are_made_again_where_a_tests_own_data_changed(tmp_path):
    plan, scores = study(tests={"own": {"split": "test", "data": str(tmp_path / "rows.jsonl")}}), []
    for text in ("a", "b"):
        (tmp_path / "rows.jsonl").write_text(text)
        scores.append(scores_key({}, plan, "own"))
    assert scores[0] != scores[1]


def test_a_finished_run_of_an_earlier_version_is_used_and_an_unfinished_one_refused(tmp_path):
    old, now = ({"version": version, "options": {"beta": 0.0}} for version in ("0.1.0", "0.2.0"))
    write_json(tmp_path / "run.json", {"key": old, "value": {"updates": 3}})
    assert kept_key(read_json(tmp_path / "run.json"), now) == old
    assert kept_key(read_json(tmp_path / "run.json"), {**now, "options": {"beta": 1.0}})["version"] == "0.2.0"
    write_json(tmp_path / "run.json", {"key": old, "value": None})
    assert kept_key(read_json(tmp_path / "run.json"), now) == now
    assert kept_key(None, now) == now
    with pytest.raises(ValueError, match=r"version '0.1.0' then, '0.2.0' now"):
        RunFolder(tmp_path).claim({**now, "model": None, "files": {}})


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("results.json", "'results.json' cannot be a name"),
        ("Results.MD", "'Results.MD' cannot be a name"),
        (".lock", "cannot be a name"),
        ("arm.", "cannot be a name"),
        ("..", "a name is letters"),
        ("a/b", "a name is letters"),
        ("a\0b", "a name is letters"),
        ("", "a name is letters"),
        (3, "a name is letters"),
        ("a" * 300, "at most 200 bytes, not 300"),
        ("ä" * 101, "at most 200 bytes, not 202"),
        ("GRPO", "'grpo' and 'GRPO' differ in upper and lower case alone"),
    ],
)
def test_names_that_no_folder_can_have(name, words):
    with pytest.raises(ValueError, match=words):
        study(arms={"grpo": {}, name: {"echo_coef": 0.1}})
    with pytest.raises(ValueError, match=words):
        study(tests={"grpo": {"split": "test"}, name: {"split": "test"}})

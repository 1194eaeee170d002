"""`echorl compare` on the shipped policy at a tiny size: the runs, the tables, a second run, what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from echorl.cli import main
from echorl.trl.metrics_file import read_metrics
from tests.processes import command, whole

RECIPE = Path(__file__).resolve().parents[2] / "recipes" / "cpu" / "quickstart.yaml"
TOKENS = 600


def write(folder: Path, **changes) -> Path:
    recipe = {
        **yaml.safe_load(RECIPE.read_text()),
        "per_device_train_batch_size": 8,
        "gradient_accumulation_steps": 1,
        "num_generations": 4,
        "train_size": 32,
        "eval_strategy": "no",
        "report_to": "none",
    }
    recipe.pop("eval_steps")
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    study = {
        "recipe": "recipe.yaml",
        "arms": {"grpo": {"echo_coef": 0.0}, "echorl": {"echo_coef": 0.001}},
        "learning_rates": [1e-5, 1e-4],
        "grid_arm": "grpo",
        "seeds": [0, 1],
        "rollout_tokens": TOKENS,
        "tests": ["test"],
        "prompts": 8,
        "samples": 2,
        "parallel": 2,
        "output_dir": str(folder / "study"),
    }
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump({**study, **changes}, sort_keys=False))
    return path


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("compare")
    whole(command, ["compare", str(write(folder))], folder / "log")
    return folder


def test_every_arm_ran_with_every_seed_on_equal_tokens(finished):
    results = json.loads((finished / "study" / "results.json").read_text())
    rate = results["learning_rates"]["grpo"]
    assert results["learning_rates"] == {"grpo": rate, "echorl": rate}
    assert len(results["validation"]) == 2
    runs = list((finished / "study").glob("*/*/*/run.json"))
    assert len(runs) == 6  # two for the grid and four final ones
    for path in runs:
        value = json.loads(path.read_text())["value"]
        assert not list((path.parent / "policy").glob("checkpoint-*"))
        lengths = [line["echo/rollout_tokens"] for line in read_metrics(path.parent / "policy" / "metrics.jsonl")]
        before = [n for n in lengths if n < value["rollout_tokens"]]
        assert value["rollout_tokens"] >= TOKENS > max(before, default=0)


def test_the_same_seed_draws_the_same_prompts_in_both_arms(finished):
    results = json.loads((finished / "study" / "results.json").read_text())
    place = f"rate-{results['learning_rates']['grpo']:g}/seed-1/policy/metrics.jsonl"
    first = [read_metrics(finished / "study" / arm / place)[0] for arm in ("grpo", "echorl")]
    assert first[0]["reward"] == first[1]["reward"]
    assert first[0]["entropy"] == first[1]["entropy"]


def test_tables(finished):
    text = (finished / "study" / "results.md").read_text()
    for words in (
        "pass@1, %",
        "pass@2, %",
        "tokens a rollout",
        "entropy, nats",
        "updates",
        "rollout tokens",
        "| reference |",
        "**Summary**",
    ):
        assert words in text


def test_a_second_run_computes_nothing(finished, monkeypatch, capsys):
    def refuse(*args):
        raise AssertionError("done already")

    monkeypatch.setattr("echorl.lab.jobs._start", refuse)
    assert main(["compare", str(finished / "study.yaml")]) == 0
    assert "| reference |" in capsys.readouterr().out


def test_dry_run(finished, capsys):
    assert main(["compare", str(finished / "study.yaml"), "--dry_run"]) == 0
    shown = capsys.readouterr().out
    assert "grid   grpo/rate-1e-05/seed-1000  (done)" in shown
    assert shown.count("then   ") == shown.count("(done)") - 2 == 4


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"arms": {"grpo": {"echo_koef": 1}}}, "arm 'grpo': "),
        ({"arms": {"grpo": {"lr_scheduler_type": "cosine"}}}, "lr_scheduler_type=cosine decays"),
        ({"arms": {"grpo": {"task": None, "train_file": "x.jsonl", "reward_funcs": ["a:b"]}}}, "names no task"),
        ({"tests": ["hard"]}, "'hard' is no split of the task"),
        ({"recipe": "none.yaml"}, "there is no such file"),
    ],
)
def test_what_is_refused_before_anything_runs(tmp_path, capsys, changes, words):
    assert main(["compare", str(write(tmp_path, **changes))]) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "study").exists()


def test_changed_settings_are_refused(finished, tmp_path, capsys):
    path = write(finished, prompts=8)
    recipe = yaml.safe_load((finished / "recipe.yaml").read_text())
    (finished / "recipe.yaml").write_text(yaml.safe_dump({**recipe, "beta": 0.01}))
    assert main(["compare", str(path)]) == 2
    assert "beta None then, 0.01 now" in capsys.readouterr().err

"""The worker of `echorl compare`: a run that is trained and scored, lost and made again."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from echorl.lab.compare import worker
from echorl.lab.compare.plan import Run
from echorl.lab.compare.read import read_comparison
from echorl.lab.compare.run import scores_key
from echorl.lab.compare.study import Study
from echorl.models import POLICY
from echorl.support.files import read_json, write_json
from tests.cli.conftest import RECIPE, REWARDS


@pytest.fixture
def work(write_study, tmp_path):
    """What the worker is given for a run of the study's first arm."""

    def make(**recipe) -> tuple[Path, dict]:
        path = Path(write_study(recipe))
        study = Study(read_comparison(path, yaml.safe_load(path.read_text()), {}), {**RECIPE, **recipe})
        run = Run("grpo", 1e-4, 0)
        study.folder(run).mkdir(parents=True)
        tests = {"long": {"split": "test", "config": {"min_terms": 4, "max_terms": 4}}}
        comparison = replace(study.comparison, tests=tests, greedy=True)
        keys = {test: scores_key(study.key(run), comparison, test) for test in ("validation", *comparison.tests)}
        return study.folder(run), {"options": study.options(run), "key": study.key(run), "tests": keys}

    return make


def test_a_worker_trains_and_scores(work):
    folder, given = work()
    assert worker.run_and_score(folder, given) == 0
    value = read_json(folder / "run.json")["value"]
    assert value["rollout_tokens"] >= 200
    assert value["updates"] >= 1
    assert value["minutes"] > 0
    assert 0 <= value["degenerate"] <= 1
    assert 0 <= value["uniform_tokens"] <= 1
    assert value["diverged"] is None
    scores = read_json(folder / "scores-validation.json")["value"]
    assert len(scores["right"]) == scores["samples"] == 2
    assert "greedy" not in scores
    longer = read_json(folder / "scores-long.json")["value"]
    assert set(longer["greedy"]) <= {0, 1}
    assert longer["length"] != scores["length"]
    assert not list((folder / "policy").glob("checkpoint-*"))


def test_a_worker_notes_that_a_run_diverged(work):
    folder, given = work()
    given["options"].update(learning_rate=1e12, max_rollout_tokens=2000)
    assert worker.run_and_score(folder, given) == 0
    value = read_json(folder / "run.json")["value"]
    assert value["diverged"]
    assert value["updates"] >= 1
    assert not (folder / "scores-validation.json").exists()
    assert not list((folder / "policy").glob("checkpoint-*"))


def test_a_worker_does_not_train_with_a_file_that_was_edited(work, tmp_path):
    path = tmp_path / "my_rule.py"
    path.write_text("one")
    folder, given = work(method="my_rule.py:MyRule")
    path.write_text("two")
    with pytest.raises(ValueError, match=r"my_rule\.py was edited since the comparison began: undo the edit"):
        worker.run_and_score(folder, given)
    assert read_json(folder / "run.json") is None


def test_a_worker_does_not_take_other_errors_for_divergence(work):
    folder, given = work(reward_funcs=[f"{REWARDS}:broken"])
    with pytest.raises(Exception, match="broken"):
        worker.run_and_score(folder, given)
    assert read_json(folder / "run.json") is None


def test_a_run_is_recorded_before_its_checkpoints_go(work, monkeypatch):
    folder, given = work()

    def killed(path):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            worker.run_and_score(folder, given)
    assert read_json(folder / "run.json")["value"]["updates"] >= 1
    assert list((folder / "policy").glob("checkpoint-*"))
    assert worker.run_and_score(folder, given) == 0
    assert not list((folder / "policy").glob("checkpoint-*"))


def test_a_run_that_is_only_scored_has_the_recipes_env_and_template_options(work, monkeypatch):
    folder, given = work(env={"ECHORL_X": "1"}, chat_template_kwargs={"enable_thinking": False})
    write_json(folder / "run.json", {"key": given["key"], "value": {"diverged": None}})
    shutil.copytree(POLICY, folder / "policy")
    from echorl.lab.compare.score import Policy

    load, seen = Policy.load, []
    monkeypatch.setattr(
        Policy,
        "load",
        lambda *a, **settings: seen.append((os.environ.get("ECHORL_X"), settings)) or load(*a, **settings),
    )
    assert worker.run_and_score(folder, given) == 0
    [(variable, settings)] = seen
    assert variable == "1"
    assert settings["chat_template_kwargs"] == {"enable_thinking": False}
    assert settings["max_new_tokens"] == 16


def test_a_policy_that_diverged_with_its_last_update_is_noted_when_it_is_scored(work, monkeypatch):
    folder, given = work()
    write_json(folder / "run.json", {"key": given["key"], "value": {"updates": 7, "diverged": None}})
    shutil.copytree(POLICY, folder / "policy")

    def score(*_):
        raise RuntimeError("probability tensor contains either `inf`, `nan` or element < 0")

    monkeypatch.setattr(worker, "_score", score)
    assert worker.run_and_score(folder, given) == 0
    value = read_json(folder / "run.json")["value"]
    assert value["updates"] == 7
    assert "probability tensor" in value["diverged"]


def lose_policy(folder: Path, *scores: str) -> dict[str, bytes]:
    """Leave what a clone of a stored study has: all but the policy, and these scores. Returns what was there."""
    before = {path.name: path.read_bytes() for path in folder.glob("*.json")}
    shutil.rmtree(folder / "policy")
    for name in scores:
        (folder / name).unlink()
    return before


def test_a_run_whose_policy_is_gone_is_trained_again_where_scores_are_missing(work, monkeypatch):
    folder, given = work()
    worker.run_and_score(folder, given)
    before = lose_policy(folder, "scores-long.json")
    kept = (folder / "scores-validation.json").stat().st_mtime_ns
    assert worker.run_and_score(folder, given) == 0
    assert {path.name: path.read_bytes() for path in folder.glob("*.json")} == before
    assert (folder / "scores-validation.json").stat().st_mtime_ns == kept
    assert not list((folder / "policy").glob("checkpoint-*"))
    lose_policy(folder)
    assert worker.run_and_score(folder, given) == 0  # nothing is missing
    assert not (folder / "policy").exists()


def test_a_kill_while_a_run_is_trained_again_leaves_no_half_policy_to_be_scored(work, monkeypatch):
    folder, given = work()
    worker.run_and_score(folder, given)
    before = lose_policy(folder, "scores-long.json")

    def killed(training):
        shutil.copytree(POLICY, folder / "policy")
        (folder / "policy" / "config.yaml").write_text("# echorl 0.1.0\n")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(worker.Training, "run", killed)
        with pytest.raises(KeyboardInterrupt):
            worker.run_and_score(folder, given)
    assert read_json(folder / "run.json")["value"] == json.loads(before["run.json"])["value"]
    assert worker.run_and_score(folder, given) == 0
    assert {path.name: path.read_bytes() for path in folder.glob("*.json")} == before


def test_a_run_that_diverges_when_it_is_trained_again_keeps_its_record(work, monkeypatch):
    folder, given = work()
    worker.run_and_score(folder, given)
    before = read_json(folder / "run.json")["value"]
    lose_policy(folder, "scores-long.json")

    def diverge(training):
        raise RuntimeError("probability tensor contains either `inf`, `nan` or element < 0")

    with monkeypatch.context() as patch:
        patch.setattr(worker.Training, "run", diverge)
        with pytest.raises(
            ValueError, match="was trained again, since its policy is gone, and diverged, not as before"
        ):
            worker.run_and_score(folder, given)
    assert read_json(folder / "run.json")["value"] == before
    assert worker.run_and_score(folder, given) == 0
    assert read_json(folder / "run.json") == {"key": given["key"], "value": before}


def test_a_run_that_does_not_repeat_itself_is_not_scored(work):
    folder, given = work()
    worker.run_and_score(folder, given)
    lose_policy(folder, "scores-long.json")
    record = read_json(folder / "run.json")
    write_json(folder / "run.json", {**record, "value": {**record["value"], "updates": 99}})
    for _ in range(2):
        with pytest.raises(ValueError, match=r"tokens in \d+ updates, not \d+ rollout tokens in 99 updates as before"):
            worker.run_and_score(folder, given)
    assert not (folder / "scores-long.json").exists()

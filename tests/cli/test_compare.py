"""`echorl compare` around its runs, which stand-ins make here: checks, failures, divergence, the lock, the worker."""

from __future__ import annotations

import json
import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from filelock import FileLock

from echorl.cli import compare_worker, main
from echorl.compare.plan import Run
from echorl.compare.read import read_comparison
from echorl.compare.run import scores_key, scores_path
from echorl.compare.study import Study
from echorl.processes import JobsFailed
from echorl.quickstart import POLICY
from echorl.stored import read_json, write_json
from tests.cli.conftest import REWARDS

RECIPE = {
    "model_name_or_path": "quickstart",
    "task": "quickstart",
    "train_size": 16,
    "num_generations": 4,
    "per_device_train_batch_size": 8,
    "max_completion_length": 16,
    "lr_scheduler_type": "constant",
    "use_cpu": True,
    "bf16": False,
    "activation_checkpointing": False,
    "dataloader_pin_memory": False,
    "logging_steps": 1,
    "save_steps": 1,
    "report_to": "none",
}
STUDY = {
    "recipe": "recipe.yaml",
    "arms": {"grpo": {"echo_coef": 0.0}, "echorl": {"echo_coef": 0.001}},
    "learning_rates": [1e-5, 1e-4, 1e-3],
    "seeds": [0, 1],
    "rollout_tokens": 200,
    "prompts": 2,
    "samples": 2,
    "output_dir": "study",
}


@pytest.fixture
def write(tmp_path):
    """Writes a study and its recipe: STUDY and RECIPE with changes (None takes an option out)."""

    def call(recipe: dict | None = None, **changes) -> str:
        for name, values in (("recipe", {**RECIPE, **(recipe or {})}), ("study", {**STUDY, **changes})):
            kept = {key: value for key, value in values.items() if value is not None}
            (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(kept, sort_keys=False))
        return str(tmp_path / "study.yaml")

    return call


@pytest.fixture
def jobs(monkeypatch):
    """Jobs are done at once, with scores that rise with the rate; names in `diverge` diverge, those in `fail` fail."""
    seen = {"diverge": [], "fail": [], "done": []}

    def run_jobs(jobs, **_):
        jobs = list(jobs)
        for job in jobs:
            seen["done"].append(job.name)
            if job.name not in seen["fail"]:
                finish(job, job.name in seen["diverge"])
        if failed := [job.name for job in jobs if job.name in seen["fail"]]:
            raise JobsFailed("; ".join(f"{name} failed (all of it: {name}/log)" for name in failed))

    monkeypatch.setattr("echorl.cli.compare.run_jobs", run_jobs)
    return seen


def finish(job, diverged: bool) -> None:
    folder, work = Path(job.arguments[0]), json.loads(job.arguments[1])
    value = {"updates": 3, "rollout_tokens": 210, "diverged": "RuntimeError: inf" if diverged else None}
    write_json(folder / "run.json", {"key": work["key"], "value": value})
    right = work["options"]["learning_rate"] > 1e-5
    scores = {
        "right": [1 + right] * 2,
        "samples": 2,
        "length": 9.0,
        "entropy": 0.1,
        "blank_share": 0.0,
        "truncated": 0.0,
    }
    for split, key in work["tests"].items() if not diverged else ():
        write_json(scores_path(folder, split), {"key": key, "value": scores})


@pytest.mark.parametrize("name", ["warmup_steps", "save_steps", "logging_steps", "eval_steps"])
def test_shares_of_all_steps_are_refused(write, fails, name):
    path = write({name: 0.1})
    fails(["compare", path], f"arm 'grpo': {name}=0.1 is a share of all steps", "give a number of steps")


@pytest.mark.parametrize("name", ["save_only_model", "load_best_model_at_end"])
def test_what_cannot_resume_is_refused(write, fails, name):
    path = write({name: True, "eval_strategy": "steps", "eval_steps": 1})
    fails(["compare", path], f"arm 'grpo': {name}=True", "take it out")


def test_arms_with_equal_options_are_refused(write, fails):
    arms = {"a": {"echo_coef": 0.0}, "b": {"echo_coef": 0.1}, "c": {"beta": 0.0, "echo_coef": 0.1, "logging_steps": 3}}
    fails(["compare", write(arms=arms)], "arms 'b' and 'c' have the same options: change one or drop it")


def test_a_task_without_its_package(write, fails, monkeypatch):
    monkeypatch.setitem(sys.modules, "reasoning_gym", None)
    fails(["compare", write(), "--dry_run"], "needs reasoning_gym: pip install 'echorl[tasks]'.")


def test_the_place_of_an_arm_s_option_is_the_study(write, fails):
    fails(["compare", write(arms={"a": {}, "echo": {"echo_cof": 0.1}})], "arm 'echo': ", "study.yaml: unknown option")
    fails(["compare", write({"echo_cof": 0.1})], "arm 'grpo': ", "recipe.yaml: unknown option 'echo_cof'")


def test_files_that_are_not_there(write, fails):
    fails(["compare", "nope.yaml"], "echorl: error: nope.yaml: there is no such file.")
    path = Path(write())
    path.write_text(path.read_text().replace("recipe.yaml", "nope.yaml"))
    fails(["compare", str(path)], "echorl: error: recipe ", "nope.yaml: there is no such file.")


def test_arms_may_stand_in_a_file_of_their_own(write, fails, tmp_path, capsys):
    (tmp_path / "arms.yaml").write_text("plain: {echo_coef: 0.0}\nclips: {echo_coef: 0.5}\n")
    assert main(["compare", write(arms="arms.yaml"), "--dry_run"]) == 0
    assert "grid   clips/rate-0.001/seed-1000" in capsys.readouterr().out
    fails(["compare", write(arms="nope.yaml")], "echorl: error: arms ", "nope.yaml: there is no such file.")


def test_the_first_seeds_alone(write, fails, capsys):
    assert main(["compare", write(learning_rates=[1e-5]), "--dry_run", "--num_seeds", "1"]) == 0
    shown = capsys.readouterr().out
    assert "run    echorl/rate-1e-05/seed-0" in shown
    assert "seed-1" not in shown
    fails(["compare", write(), "--num_seeds", "3"], "--num_seeds 3 is not allowed: the study has 2 seeds")


def test_tests_whose_options_the_task_refuses(write, fails):
    fails(["compare", write(tests={"far": {"split": "none"}})], "arm 'grpo': 'none' is no split of the task")
    fails(["compare", write(tests={"far": {"split": "test", "terms": 9}})], "has no option 'terms'")
    few = {"split": "test", "config": {"min_terms": 2, "max_terms": 2, "min_digits": 1, "max_digits": 1}}
    fails(
        ["compare", write(tests={"far": few}, prompts=5000)],
        "arm 'grpo': 'chain_sum' with",
        "ask for fewer",
    )


def test_a_dry_run_checks_too(write, fails):
    fails(["compare", write({"save_steps": 0.5}), "--dry_run"], "save_steps=0.5")


def test_the_env_of_the_recipe_holds_while_arms_are_checked_and_no_longer(write, monkeypatch):
    from echorl.cli import parsing

    parse, seen = parsing.parse, []
    monkeypatch.setattr(parsing, "parse", lambda *args: seen.append(os.environ.get("ECHORL_X")) or parse(*args))
    assert main(["compare", write({"env": {"ECHORL_X": 1}}), "--dry_run"]) == 0
    assert seen == ["1", "1"]
    assert "ECHORL_X" not in os.environ


def test_a_dry_run_lists_what_is_known(write, jobs, capsys):
    path = write()
    assert main(["compare", path, "--dry_run"]) == 0
    shown = capsys.readouterr().out
    assert "grid   echorl/rate-0.001/seed-1000\n" in shown
    assert "then   4 runs at the chosen rates" in shown
    assert shown.splitlines()[-1] == "       to the folder study"
    jobs["diverge"].append("grpo/rate-0.001/seed-1000")
    assert main(["compare", path]) == 0
    capsys.readouterr()
    assert main(["compare", path, "--dry_run"]) == 0
    shown = capsys.readouterr().out
    assert "grid   grpo/rate-0.001/seed-1000  (diverged)" in shown
    assert "then   echorl/rate-0.0001/seed-1  (done)" in shown


def test_a_dry_run_without_a_grid_lists_all_runs(write, capsys):
    assert main(["compare", write(learning_rates=None), "--dry_run"]) == 0
    shown = capsys.readouterr().out
    for arm in ("grpo", "echorl"):
        for seed in (0, 1):
            assert f"run    {arm}/rate-of-recipe/seed-{seed}\n" in shown


def test_two_at_once_are_refused(write, jobs, fails, tmp_path):
    path = write()
    (tmp_path / "study").mkdir()
    with FileLock(tmp_path / "study" / ".lock"):
        fails(["compare", path], "another `echorl compare` is at work in study: let it end")
    assert main(["compare", path]) == 0


def test_failures_are_one_sentence_and_the_rest_is_kept(write, jobs, fails):
    path = write()
    jobs["fail"] = ["grpo/rate-1e-05/seed-1000", "echorl/rate-0.001/seed-1000"]
    fails(["compare", path], "grpo/rate-1e-05/seed-1000 failed (all of it: ", "echorl/rate-0.001/seed-1000 failed")
    jobs["fail"], jobs["done"] = [], []
    assert main(["compare", path]) == 0
    assert jobs["done"][:2] == ["grpo/rate-1e-05/seed-1000", "echorl/rate-0.001/seed-1000"]
    assert len(jobs["done"]) == 2 + 4


def test_a_rate_that_diverges_is_the_worst_and_the_study_goes_on(write, jobs, tmp_path):
    jobs["diverge"] = ["grpo/rate-0.001/seed-1000", "grpo/rate-0.0001/seed-1000"]
    assert main(["compare", write()]) == 0
    results = json.loads((tmp_path / "study" / "results.json").read_text())
    assert results["learning_rates"] == {"grpo": 1e-5, "echorl": 1e-4}
    assert results["validation"]["grpo/rate-0.001/seed-1000"] is None
    text = (tmp_path / "study" / "results.md").read_text()
    assert "| 0.001 | diverged | 100.0 |" in text
    assert "The best rate of grpo, 1e-05, is the lowest of the grid: extend the grid." in text


def test_an_arm_with_a_final_run_that_diverged_has_no_result_and_the_others_have(write, jobs, tmp_path, capsys):
    path = write()
    jobs["diverge"] = ["grpo/rate-0.0001/seed-1"]
    for _ in range(2):
        assert main(["compare", path]) == 0
        assert "grpo/rate-0.0001/seed-1 diverged (numbers that are not finite), so its arm" in capsys.readouterr().out
    assert jobs["done"].count("grpo/rate-0.0001/seed-1") == 1
    results = json.loads((tmp_path / "study" / "results.json").read_text())
    assert results["diverged"] == ["grpo/rate-0.0001/seed-1"]
    rows = results["tests"]["test"]["pass@1, %"]
    assert rows.keys() == {"echorl"}
    assert rows["echorl"]["difference"] is None  # its reference has no result


def test_a_study_all_of_whose_arms_diverged_is_an_error(write, jobs, fails):
    jobs["diverge"] = ["grpo/rate-0.0001/seed-1", "echorl/rate-0.0001/seed-0"]
    fails(["compare", write()], "every arm has a run that diverged", "lower the learning rates")


def test_the_methods_of_the_arms_are_kept_as_training_reads_them(write, jobs, tmp_path):
    arms = {
        "grpo": {"echo_coef": 0.0},
        "nll": {"method": "positive_nll", "method_options": '{"echo_select": "random"}'},
    }
    assert main(["compare", write(arms=arms)]) == 0
    methods = json.loads((tmp_path / "study" / "results.json").read_text())["methods"]
    assert methods["grpo"] == {"method": None, "echo_coef": 0.0, "echo_select": "max_entropy"}
    assert methods["nll"] == {"method": "positive_nll", "echo_coef": 0.1, "echo_select": "random"}


@pytest.fixture
def work(write, tmp_path):
    """What the worker is given for a run of the study's first arm."""

    def make(**recipe) -> tuple[Path, dict]:
        path = Path(write(recipe))
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
    assert compare_worker.run_and_score(folder, given) == 0
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
    given["options"].update(learning_rate=1e300, max_rollout_tokens=2000)
    assert compare_worker.run_and_score(folder, given) == 0
    value = read_json(folder / "run.json")["value"]
    assert value["diverged"]
    assert value["updates"] >= 1
    assert not (folder / "scores-validation.json").exists()
    assert not list((folder / "policy").glob("checkpoint-*"))


def test_a_worker_does_not_take_other_errors_for_divergence(work):
    folder, given = work(reward_funcs=[f"{REWARDS}:broken"])
    with pytest.raises(Exception, match="broken"):
        compare_worker.run_and_score(folder, given)
    assert read_json(folder / "run.json") is None


def test_a_run_is_recorded_before_its_checkpoints_go(work, monkeypatch):
    folder, given = work()

    def killed(path):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            compare_worker.run_and_score(folder, given)
    assert read_json(folder / "run.json")["value"]["updates"] >= 1
    assert list((folder / "policy").glob("checkpoint-*"))
    assert compare_worker.run_and_score(folder, given) == 0
    assert not list((folder / "policy").glob("checkpoint-*"))


def test_a_run_that_is_only_scored_has_the_recipes_env_and_template_options(work, monkeypatch):
    folder, given = work(env={"ECHORL_X": "1"}, chat_template_kwargs={"enable_thinking": False})
    write_json(folder / "run.json", {"key": given["key"], "value": {"diverged": None}})
    shutil.copytree(POLICY, folder / "policy")
    from echorl.compare.score import Policy

    load, seen = Policy.load, []
    monkeypatch.setattr(
        Policy,
        "load",
        lambda *a, **settings: seen.append((os.environ.get("ECHORL_X"), settings)) or load(*a, **settings),
    )
    assert compare_worker.run_and_score(folder, given) == 0
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

    monkeypatch.setattr(compare_worker, "_score", score)
    assert compare_worker.run_and_score(folder, given) == 0
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
    compare_worker.run_and_score(folder, given)
    before = lose_policy(folder, "scores-long.json")
    kept = (folder / "scores-validation.json").stat().st_mtime_ns
    assert compare_worker.run_and_score(folder, given) == 0
    assert {path.name: path.read_bytes() for path in folder.glob("*.json")} == before
    assert (folder / "scores-validation.json").stat().st_mtime_ns == kept
    assert not list((folder / "policy").glob("checkpoint-*"))
    lose_policy(folder)
    assert compare_worker.run_and_score(folder, given) == 0  # nothing is missing
    assert not (folder / "policy").exists()


def test_a_kill_while_a_run_is_trained_again_leaves_no_half_policy_to_be_scored(work, monkeypatch):
    folder, given = work()
    compare_worker.run_and_score(folder, given)
    before = lose_policy(folder, "scores-long.json")

    def killed(training):
        shutil.copytree(POLICY, folder / "policy")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(compare_worker.Training, "run", killed)
        with pytest.raises(KeyboardInterrupt):
            compare_worker.run_and_score(folder, given)
    assert read_json(folder / "run.json")["value"] == json.loads(before["run.json"])["value"]
    assert compare_worker.run_and_score(folder, given) == 0
    assert {path.name: path.read_bytes() for path in folder.glob("*.json")} == before


def test_a_run_that_diverges_when_it_is_trained_again_keeps_its_record(work, monkeypatch):
    folder, given = work()
    compare_worker.run_and_score(folder, given)
    before = read_json(folder / "run.json")["value"]
    lose_policy(folder, "scores-long.json")

    def diverge(training):
        raise RuntimeError("probability tensor contains either `inf`, `nan` or element < 0")

    with monkeypatch.context() as patch:
        patch.setattr(compare_worker.Training, "run", diverge)
        with pytest.raises(
            ValueError, match="was trained again, since its policy is gone, and diverged, not as before"
        ):
            compare_worker.run_and_score(folder, given)
    assert read_json(folder / "run.json")["value"] == before
    assert compare_worker.run_and_score(folder, given) == 0
    assert read_json(folder / "run.json") == {"key": given["key"], "value": before}


def test_a_run_that_does_not_repeat_itself_is_not_scored(work):
    folder, given = work()
    compare_worker.run_and_score(folder, given)
    lose_policy(folder, "scores-long.json")
    record = read_json(folder / "run.json")
    write_json(folder / "run.json", {**record, "value": {**record["value"], "updates": 99}})
    for _ in range(2):
        with pytest.raises(ValueError, match=r"tokens in \d+ updates, not \d+ rollout tokens in 99 updates as before"):
            compare_worker.run_and_score(folder, given)
    assert not (folder / "scores-long.json").exists()

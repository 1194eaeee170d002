"""`echorl compare` around its runs, which stand-ins make here: checks, failures, divergence, the lock."""

from __future__ import annotations

import io
import json
import os
import shutil
import sys
from pathlib import Path

import pytest
from filelock import FileLock

from echorl.cli import main
from echorl.lab.compare.run import scores_path
from echorl.lab.jobs import JobsFailed
from echorl.support.files import write_json
from echorl.support.installed import install_command


@pytest.fixture
def jobs(monkeypatch):
    """Jobs are done at once, with scores that rise with the rate; names in `diverge` diverge, those in `fail` fail."""
    seen = {"diverge": [], "fail": [], "done": [], "counted": [], "shown": []}

    def run_jobs(jobs, **_):
        jobs = list(jobs)
        for job in jobs:
            seen["done"].append(job.name)
            seen["shown"].append(job.text)
            seen["counted"].append((job.resumed, job.total))
            if job.name not in seen["fail"]:
                finish(job, job.name in seen["diverge"])
        if failed := [job.name for job in jobs if job.name in seen["fail"]]:
            raise JobsFailed("; ".join(f"{name} failed (all of it: {name}/log)" for name in failed))

    monkeypatch.setattr("echorl.lab.compare.conduct.run_jobs", run_jobs)
    return seen


def finish(job, diverged: bool) -> None:
    folder, work = Path(job.arguments[0]), json.loads(job.arguments[1])
    value = {"updates": 3, "rollout_tokens": 210, "diverged": "RuntimeError: inf" if diverged else None}
    write_json(folder / "run.json", {"key": work["key"], "value": value})
    right = work["options"].get("learning_rate", 0) > 1e-5
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
def test_shares_of_all_steps_are_refused(write_study, fails, name):
    path = write_study({name: 0.1})
    fails(["compare", path], f"arm 'grpo': {name}=0.1 is a share of all steps", "give a number of steps")


@pytest.mark.parametrize("name", ["save_only_model", "load_best_model_at_end"])
def test_what_cannot_resume_is_refused(write_study, fails, name):
    path = write_study({name: True, "eval_strategy": "steps", "eval_steps": 1})
    fails(["compare", path], f"arm 'grpo': {name}=True", "remove it")


def test_arms_with_equal_options_are_refused(write_study, fails):
    arms = {"a": {"echo_coef": 0.0}, "b": {"echo_coef": 0.1}, "c": {"beta": 0.0, "echo_coef": 0.1, "logging_steps": 3}}
    fails(["compare", write_study(arms=arms)], "arms 'b' and 'c' have the same options: change one or drop it")


def test_a_task_without_its_package(write_study, fails, monkeypatch):
    monkeypatch.setitem(sys.modules, "reasoning_gym", None)
    fails(["compare", write_study(), "--dry_run"], f"needs reasoning_gym: {install_command('tasks')}.")


def test_the_place_of_an_arm_s_option_is_the_study(write_study, fails):
    fails(
        ["compare", write_study(arms={"a": {}, "echo": {"echo_cof": 0.1}})],
        "arm 'echo': ",
        "study.yaml: unknown option",
    )
    fails(["compare", write_study({"echo_cof": 0.1})], "arm 'grpo': ", "recipe.yaml: unknown option 'echo_cof'")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"loss_type": "zzz"}, "loss_type='zzz' is not allowed: it must be one of 'grpo', 'dr_grpo', "),
        ({"report_to": "wandbb"}, "report_to='wandbb' is not available; install its package, or choose from: none"),
    ],
)
def test_a_dry_run_refuses_values_that_the_training_would(write_study, fails, options, words):
    arms = {"grpo": {}, "echo": {"echo_coef": 0.1, **options}}
    fails(["compare", write_study(arms=arms), "--dry_run"], f"arm 'echo': {words}")


def test_files_that_are_not_there(write_study, fails):
    fails(["compare", "nope.yaml"], "echorl: error: nope.yaml: there is no such file.")
    path = Path(write_study())
    path.write_text(path.read_text().replace("recipe.yaml", "nope.yaml"))
    fails(["compare", str(path)], "echorl: error: recipe ", "nope.yaml: there is no such file.")


def test_arms_and_tests_may_stand_in_files_of_their_own(write_study, fails, tmp_path, capsys):
    (tmp_path / "arms.yaml").write_text("plain: {echo_coef: 0.0}\nclips: {echo_coef: 0.5}\n")
    assert main(["compare", write_study(arms="arms.yaml"), "--dry_run"]) == 0
    assert "grid   clips/rate-0.001/seed-1000" in capsys.readouterr().out
    fails(["compare", write_study(arms="nope.yaml")], "echorl: error: arms ", "nope.yaml: there is no such file.")
    fails(["compare", write_study(tests="nope.yaml")], "echorl: error: tests ", "nope.yaml: there is no such file.")
    (tmp_path / "tests.yaml").write_text("nope: {split: nope}\n")
    fails(["compare", write_study(tests="tests.yaml")], "echorl: error: ", "nope")


def test_the_first_seeds_alone(write_study, fails, capsys):
    assert main(["compare", write_study(learning_rates=[1e-5]), "--dry_run", "--num_seeds", "1"]) == 0
    shown = capsys.readouterr().out
    assert "run    echorl/rate-1e-05/seed-0" in shown
    assert "seed-1" not in shown
    fails(["compare", write_study(), "--num_seeds", "3"], "--num_seeds 3 is not allowed: the study has 2 seeds")


def test_tests_whose_options_the_task_refuses(write_study, fails):
    fails(["compare", write_study(tests={"far": {"split": "none"}})], "arm 'grpo': 'none' is no split of the task")
    fails(["compare", write_study(tests={"far": {"split": "test", "terms": 9}})], "has no option 'terms'")
    few = {"split": "test", "config": {"min_terms": 2, "max_terms": 2, "min_digits": 1, "max_digits": 1}}
    fails(
        ["compare", write_study(tests={"far": few}, prompts=300)],
        "arm 'grpo': 'chain_sum' with",
        "ask for fewer",
    )


def test_a_dry_run_checks_too(write_study, fails):
    fails(["compare", write_study({"save_steps": 0.5}), "--dry_run"], "save_steps=0.5")


def test_the_env_of_the_recipe_holds_while_arms_are_checked_and_no_longer(write_study, monkeypatch):
    from echorl.train import parsing

    parse, seen = parsing.parse, []
    monkeypatch.setattr(parsing, "parse", lambda *args: seen.append(os.environ.get("ECHORL_X")) or parse(*args))
    assert main(["compare", write_study({"env": {"ECHORL_X": 1}}), "--dry_run"]) == 0
    assert seen == ["1", "1"]
    assert "ECHORL_X" not in os.environ


def test_a_dry_run_lists_what_is_known(write_study, jobs, capsys):
    path = write_study()
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


def test_the_tables_go_to_the_output_whatever_the_bars_do(write_study, jobs, capsys, monkeypatch):
    from rich.console import Console

    screen = io.StringIO()
    monkeypatch.setattr("echorl.cli.bars.Console", lambda stderr: Console(file=screen, force_terminal=True, width=40))
    path = write_study()
    assert main(["compare", path]) == 0
    tables = capsys.readouterr().out
    assert "| pass@1, % | grpo |" in tables
    assert "pass@1" not in screen.getvalue()
    assert main(["compare", path, "--pack"]) == 0
    assert "finished runs" in capsys.readouterr().out


def test_a_dry_run_without_a_grid_lists_all_runs(write_study, capsys):
    assert main(["compare", write_study(learning_rates=None), "--dry_run"]) == 0
    shown = capsys.readouterr().out
    for arm in ("grpo", "echorl"):
        for seed in (0, 1):
            assert f"run    {arm}/rate-of-recipe/seed-{seed}\n" in shown


def test_two_at_once_are_refused(write_study, jobs, fails, tmp_path):
    path = write_study()
    (tmp_path / "study").mkdir()
    with FileLock(tmp_path / "study" / ".lock"):
        fails(["compare", path], "another `echorl compare` is at work in study: let it end")
    assert main(["compare", path]) == 0


def test_failures_are_one_sentence_and_the_rest_is_kept(write_study, jobs, fails, capsys):
    path = write_study()
    jobs["fail"] = ["grpo/rate-1e-05/seed-1000", "echorl/rate-0.001/seed-1000"]
    fails(["compare", path], "grpo/rate-1e-05/seed-1000 failed (all of it: ", "echorl/rate-0.001/seed-1000 failed")
    assert jobs["shown"][:2] == ["1 of 10: grpo/rate-1e-05/seed-1000", "2 of 10: echorl/rate-1e-05/seed-1000"]
    jobs["fail"], jobs["done"], jobs["shown"] = [], [], []
    assert main(["compare", path]) == 0
    assert [text.partition(":")[0] for text in jobs["shown"]] == [f"{number} of 10" for number in range(5, 11)]
    said = [line for line in capsys.readouterr().err.splitlines() if "finished" in line]
    assert said == ["4 of 10 runs are finished.", "6 of 10 runs are finished."]
    assert jobs["done"][:2] == ["grpo/rate-1e-05/seed-1000", "echorl/rate-0.001/seed-1000"]
    assert len(jobs["done"]) == 2 + 4


def test_an_arm_without_training_is_one_part_also_when_its_scores_are_missing(write_study, jobs, tmp_path):
    arms = {"before": {"max_steps": 0}, "grpo": {"echo_coef": 0}}
    path = write_study(arms=arms, learning_rates=[1e-4], rollout_tokens=None, steps=3, seeds=[0])
    assert main(["compare", path]) == 0
    for scores in (tmp_path / "study").rglob("scores-*.json"):
        scores.unlink()
    jobs["counted"] = []
    assert main(["compare", path]) == 0
    assert jobs["counted"] == [(1, 1), (3, 3)]


def test_a_rate_that_diverges_is_the_worst_and_the_study_goes_on(write_study, jobs, tmp_path):
    jobs["diverge"] = ["grpo/rate-0.001/seed-1000", "grpo/rate-0.0001/seed-1000"]
    assert main(["compare", write_study()]) == 0
    results = json.loads((tmp_path / "study" / "results.json").read_text())
    assert results["learning_rates"] == {"grpo": 1e-5, "echorl": 1e-4}
    assert results["validation"]["grpo/rate-0.001/seed-1000"] is None
    text = (tmp_path / "study" / "results.md").read_text()
    assert "| 0.001 | diverged | 100.0 |" in text
    assert "The best rate of grpo, 1e-05, is the lowest of the grid: extend the grid." in text


def test_an_arm_with_a_final_run_that_diverged_has_no_result_and_the_others_have(write_study, jobs, tmp_path, capsys):
    path = write_study()
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
    assert main(["report", "study", "--output", "page.html"]) == 0


def test_a_study_all_of_whose_arms_diverged_is_an_error(write_study, jobs, fails):
    jobs["diverge"] = ["grpo/rate-0.0001/seed-1", "echorl/rate-0.0001/seed-0"]
    fails(["compare", write_study()], "every arm has a run that diverged", "grpo/rate", "lower the rates")


def test_the_methods_of_the_arms_are_kept_as_training_reads_them(write_study, jobs, tmp_path):
    arms = {
        "grpo": {"echo_coef": 0.0},
        "nll": {"method": "positive_nll", "method_options": '{"echo_select": "random"}'},
    }
    assert main(["compare", write_study(arms=arms)]) == 0
    methods = json.loads((tmp_path / "study" / "results.json").read_text())["methods"]
    assert methods["grpo"] == {"method": None, "echo_coef": 0.0, "echo_select": "max_entropy"}
    assert methods["nll"] == {"method": "positive_nll", "echo_coef": 0.1, "echo_select": "random"}


@pytest.mark.parametrize("name", ["results.json", "results.md"])
def test_results_of_something_else_are_left_alone(tmp_path, write_study, fails, jobs, name):
    path = write_study()
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / name).write_text("mine")
    for more in (["--dry_run"], []):
        fails(["compare", path, *more], f"study holds {name}, which no comparison wrote")
    assert [each.name for each in (tmp_path / "study").iterdir()] == [name]


def test_names_of_files_and_arms_named_twice_are_refused_before_anything_runs(tmp_path, write_study, fails):
    path = write_study(arms={"grpo": {}, "results.json": {"echo_coef": 0.1}})
    fails(["compare", path, "--dry_run"], "arm 'results.json' cannot be a name")
    study = tmp_path / "study.yaml"
    study.write_text(study.read_text().replace("  results.json:", "  grpo:"))
    fails(["compare", path, "--dry_run"], "study.yaml is not valid YAML: 'grpo' stands twice, in line 3 and in line 4")
    assert not (tmp_path / "study").exists()


def test_a_packed_study_is_shown_and_gone_on_with(write_study, jobs, fails, tmp_path, capsys):
    path = write_study(notes={"arms": {"echorl": {"costs": "none"}}})
    fails(["compare", path, "--pack"], "study has no finished run to pack: run the study first")
    assert main(["compare", path]) == 0
    first = (tmp_path / "study/results.json").read_bytes()
    trained = list(jobs["done"])
    assert main(["compare", path, "--pack"]) == 0
    assert "study.jsonl.gz holds 10 finished runs" in capsys.readouterr().out
    shutil.rmtree(tmp_path / "study")
    for _ in range(2):
        assert main(["compare", path]) == 0  # all from the pack
    assert jobs["done"] == trained
    assert (tmp_path / "study/results.json").read_bytes() == first
    assert not list((tmp_path / "study").glob("*/*"))
    text = (tmp_path / "study/results.md").read_text()
    capsys.readouterr()
    (tmp_path / "recipe.yaml").unlink()
    assert main(["compare", "study.jsonl.gz"]) == 0
    assert capsys.readouterr().out == text + "\n"
    for _ in range(2):
        assert main(["compare", "study.jsonl.gz", "--output_dir", "tables", "--num_seeds", "1"]) == 0
    assert json.loads((tmp_path / "tables/results.json").read_text())["seeds"] == [0]


def test_a_new_seed_of_a_packed_study_is_trained_alone(write_study, jobs, tmp_path):
    path = write_study(learning_rates=[1e-5])
    assert main(["compare", path]) == main(["compare", path, "--pack"]) == 0
    shutil.rmtree(tmp_path / "study")
    jobs["done"] = []
    assert main(["compare", write_study(learning_rates=[1e-5], seeds=[0, 1, 2])]) == 0
    assert sorted(jobs["done"]) == ["echorl/rate-1e-05/seed-2", "grpo/rate-1e-05/seed-2"]
    assert main(["compare", path, "--pack"]) == 0  # of two seeds: what is there stays
    shutil.rmtree(tmp_path / "study")
    assert main(["compare", "study.jsonl.gz", "--dry_run"]) == 0


def test_what_is_packed_with_other_settings_is_refused(write_study, jobs, fails):
    path = write_study(learning_rates=[1e-5])
    assert main(["compare", path]) == main(["compare", path, "--pack"]) == 0
    shutil.rmtree("study")
    other = write_study({"beta": 0.1}, learning_rates=[1e-5])
    fails(["compare", other], "study.jsonl.gz holds the run grpo/rate-1e-05/seed-0 with other settings (beta None then")
    Path("study.jsonl.gz").write_bytes(b"no gzip")
    fails(["compare", path], "echorl: error: study.jsonl.gz is damaged (after 0 lines: ", "get the file again")
    fails(["compare", "study.jsonl.gz"], "echorl: error: study.jsonl.gz is damaged (after 0 lines: ")


def test_a_method_is_added_to_a_packed_study(write_study, jobs, fails, tmp_path, capsys):
    arms = {"grpo": {"method": "grpo", "echo_coef": 0.0}, "echorl": {"echo_coef": 0.001}}
    path = write_study(arms=arms)
    assert main(["compare", path]) == main(["compare", path, "--pack"]) == 0
    shutil.rmtree(tmp_path / "study")
    (tmp_path / "recipe.yaml").unlink()
    stored, jobs["done"] = Path("study.jsonl.gz").read_bytes(), []
    add = ["compare", "study.jsonl.gz", "--add", "agpo", "--parallel", "2"]
    capsys.readouterr()
    assert main([*add, "--dry_run"]) == 0
    assert "repeat grpo/rate-0.0001/seed-0\n" in capsys.readouterr().out
    wrong = ["--method_options", '{"loss_type": "zzz"}', "--dry_run"]
    fails([*add, *wrong], "arm 'agpo-", "loss_type='zzz' is not allowed: it must be one of 'grpo', 'dr_grpo', ")
    jobs["fail"] = ["agpo/rate-0.0001/seed-1"]
    fails(add, "agpo/rate-0.0001/seed-1 failed")
    runs = ["grpo/rate-0.0001/seed-0", *(f"agpo/rate-{rate}/seed-1000" for rate in ("1e-05", "0.0001", "0.001"))]
    assert jobs["done"] == [*runs, "agpo/rate-0.0001/seed-0", "agpo/rate-0.0001/seed-1"]
    assert [jobs["shown"][i] for i in (-6, -1)] == [f"1 of 6: {runs[0]}", "6 of 6: agpo/rate-0.0001/seed-1"]
    jobs["fail"], jobs["done"] = [], []
    capsys.readouterr()
    for _ in range(2):
        assert main(add) == 0
    assert jobs["done"] == ["agpo/rate-0.0001/seed-1"]
    shown = capsys.readouterr().out
    assert "one more arm, agpo (method agpo), with 2 of 2 seeds, paired with the stored runs of grpo" in shown
    assert shown.endswith("results: runs/study-agpo/results.md  page: echorl report runs/study-agpo\n")
    assert "This machine repeats the stored run grpo/rate-0.0001/seed-0 to the last digit." in shown
    assert "| learning rate | grpo | echorl | agpo |" in shown
    assert "| pass@1, % | agpo | 0.0001 | 100 | grpo |" in shown
    assert "| pass@1, % | echorl | 0.0001 | 100 | grpo |" in shown
    assert main([*add, "--pack"]) == 0
    assert "study-agpo.jsonl.gz holds 6 finished runs" in capsys.readouterr().out
    shutil.rmtree("runs/study-agpo")
    jobs["done"] = []
    assert main(add) == main(["report", "runs/study-agpo", "--output", "page.html"]) == 0
    assert not jobs["done"]
    assert "repeats the stored run grpo/rate-0.0001/seed-0 to the last digit" in Path("page.html").read_text()
    fewer = ["--num_seeds", "1", "--output_dir", "fewer"]
    assert main([*add, *fewer]) == main(["report", "fewer", "--output", "page.html"]) == 0
    assert Path("study.jsonl.gz").read_bytes() == stored
    jobs["diverge"] = ["agpo-a129/rate-0.0001/seed-1"]
    other = ["--method_options", '{"loss_type": "grpo"}']
    capsys.readouterr()
    assert main([*add, *other]) == 0  # another arm
    shown = capsys.readouterr().out
    assert "one more arm, agpo-a129" in shown
    assert "Of its 2 seeds 1 diverged (numbers that are not finite: agpo-a129/rate-0.0001/seed-1)" in shown
    assert main(["report", "runs/study-agpo", "--output", "page.html"]) == 0
    assert "Of its 2 seeds 1 diverged" in Path("page.html").read_text()


def test_options_that_an_added_arm_needs(write_study, fails):
    fails(["compare", write_study(), "--add", "agpo"], "--add needs stored runs, and", "is no packed study: give NAME")
    fails(["compare", "x.jsonl.gz", "--method_options", "{}"], "--method_options are those of a method that --add")
    fails(["compare", "x.jsonl.gz", "--add", "agpo"], "x.jsonl.gz: there is no such file")


def test_options_that_a_pack_does_not_take(write_study, fails):
    fails(
        ["compare", write_study(), "--pack", "--num_seeds", "1"],
        "--pack cannot be combined with --dry_run or --num_seeds: it packs every finished run",
    )
    fails(["compare", "x.jsonl.gz", "--pack"], "--pack and --parallel cannot be used with the packed study x.jsonl.gz")
    fails(["compare", "x.jsonl.gz"], "x.jsonl.gz: there is no such file")


def test_the_tables_of_a_pack_overwrite_nobody_s_results(write_study, jobs, fails):
    path = write_study(learning_rates=[1e-5])
    assert main(["compare", path]) == main(["compare", path, "--pack"]) == 0
    Path("mine").mkdir()
    Path("mine/results.json").write_text('{"benchmarks": {}}')
    fails(["compare", "study.jsonl.gz", "--output_dir", "mine"], "mine holds results.json, which no comparison wrote")


@pytest.mark.parametrize(
    ("notes", "words"),
    [
        ({"arms": {"grpo": "none"}}, "notes.arms.grpo is not an object"),
        ({"arms": {"grpo": {"costs": 2}}}, "notes.arms.grpo.costs is not text"),
        ({"arms": {"x": {}}}, "notes: 'x' is no arm: choose one of grpo, echorl"),
        ({"advice": []}, "notes has no 'advice': it has title, about, findings, arms, note, tables"),
        (
            {"tables": [{"title": "t", "head": ["a"], "rows": [["1", "2"]]}]},
            "notes: the table 't' has an empty head, or a row of another length than its head",
        ),
        ("nope.yaml", "nope.yaml: there is no such file"),
    ],
)
def test_notes_of_another_shape(write_study, fails, notes, words):
    fails(["compare", write_study(notes=notes), "--dry_run"], words)

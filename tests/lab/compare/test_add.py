"""An added arm: paired with the stored runs, which stay as they are; its repeat of a stored run; wrong inputs."""

from __future__ import annotations

import hashlib
import random
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from echorl.lab.compare.add import Addition, add_method, pack_addition
from echorl.lab.compare.added_rows import added_results, compare_repeat, repeat_sentence
from echorl.lab.compare.packed import PackedStudy, open_pack, pack_study
from echorl.lab.compare.plan import Comparison, Run
from echorl.lab.compare.results import first_sentences, make_results, results_markdown
from echorl.lab.compare.study import Study
from echorl.lab.evaluate.metrics import mean_of_runs
from echorl.lab.report.compared import _disagreement
from echorl.methods import METHODS, load_method
from echorl.methods.rules import try_rules
from echorl.support.errors import UserError
from tests.lab.compare.made import finish

PLAIN = {"method": "grpo", "echo_coef": 0.0}
ARMS = {"clips": {"method": "grpo", "echo_coef": 0.1}, "grpo": PLAIN}
RULE = """
from echorl.methods import Method


class Rule(Method):
    def advantages(self, advantages, rollouts):
        return BODY
"""
RATE = 1e-4


def write_rule(body: str = "advantages * 2", path: str = "rule.py") -> None:
    Path(path).write_text(RULE.replace("BODY", body))


@pytest.fixture
def stored(tmp_path, monkeypatch) -> PackedStudy:
    """A packed study of two arms, three seeds and a test, in whose folder there is a rule."""
    monkeypatch.chdir(tmp_path)
    write_rule()
    return store(Study(make_plan(), {"model_name_or_path": "no-model"}))


def make_plan(**changes) -> Comparison:
    options = dict(arms=ARMS, learning_rates=(1e-5, RATE), seeds=(0, 1, 2), samples=4, pass_at=(1, 2))
    return Comparison(recipe=("gone.yaml",), rollout_tokens=100, output_dir="study", **{**options, **changes})


def store(study: Study, methods: dict | None = None) -> PackedStudy:
    comparison, numbers = study.comparison, random.Random(0)
    for run in comparison.grid():
        finish(study, run, ["validation"], numbers, "inf" if run.rate == 1e-5 else None)
    for run in comparison.final(dict.fromkeys(comparison.arms, RATE)):
        finish(study, run, ["test"], numbers)
    pack = pack_study(study, comparison.arms if methods is None else methods)
    pack.write()
    shutil.rmtree("study")
    return open_pack(pack.path)


def run_all(addition: Addition, seed: int = 1, diverged: tuple[int, ...] = ()) -> dict:
    """Finish all runs of an addition, the repeated one with random scores; return the results.

    Args:
        diverged: seeds whose runs of the added arm diverge.
    """
    numbers, comparison = random.Random(seed), addition.added.comparison
    finish(addition.repeated, addition.repeat, ["test"], numbers)
    for run in comparison.grid():
        finish(addition.added, run, ["validation"], numbers, "inf" if run.rate == 1e-5 else None)
    for run in comparison.final({addition.arm: RATE}):
        finish(addition.added, run, ["test"], numbers, "inf" if run.seed in diverged else None)
    return added_results(addition, {addition.arm: PLAIN}, compare_repeat(addition))


def test_the_new_arm_has_the_study_s_protocol_and_the_hash_of_its_file(stored):
    addition = add_method(stored, "rule.py:Rule", None, None)
    assert addition.arm == "Rule-" + hashlib.sha256(Path("rule.py").read_bytes()).hexdigest()[:8]
    run = Run(addition.arm, RATE, 2)
    options = addition.added.options(run)
    stored_options = stored.file(Run("grpo", RATE, 2), "run.json")["key"]["options"]
    as_grpo = METHODS["grpo"].settings  # the rule has no settings: without these the trainer's defaults would hold
    assert addition.added.key(run)["options"] == {**as_grpo, **stored_options, "method": "rule.py:Rule"}
    assert options["output_dir"] == f"runs/study-Rule/{run.name}/policy"
    assert "rule.py" in addition.added.key(run)["files"]
    assert [(run.rate, run.seed) for run in addition.added.comparison.grid()] == [(1e-5, 1000), (RATE, 1000)]


def test_the_stored_rows_stay_and_the_new_one_is_paired_with_them(stored):
    before = make_results(stored, stored.methods)
    results = run_all(add_method(stored, "rule.py:Rule", None, None))
    arm = results["added"]["arm"]
    for test, measures in before["tests"].items():
        for measure, rows in measures.items():
            shown = results["tests"][test][measure]
            assert list(shown) == [*rows, arm]
            assert {name: shown[name] for name in rows} == rows
    row, grpo = (results["tests"]["test"]["pass@1, %"][name] for name in (arm, "grpo"))
    assert row["reference"] == "grpo"  # not the study's first arm, which has EchoRL
    differences = [b - a for a, b in zip(grpo["values"], row["values"], strict=True)]
    assert row["difference"] == vars(mean_of_runs(differences))
    assert row["holm"] == row["p"] is not None
    assert results["tests"]["training"]["updates"][arm]["reference"] == "grpo"
    assert results["tests"]["training"]["minutes"][arm]["reference"] is None  # another machine's
    assert "a family of their own" in results["notes"]["note"]
    assert "(method rule.py:Rule), with 3 of 3 seeds" in first_sentences(results)[1]


def test_an_added_arm_of_which_a_run_diverged_has_no_row_and_the_stored_ones_have(stored):
    before = make_results(stored, stored.methods)
    addition = add_method(stored, "rule.py:Rule", None, None)
    results = run_all(addition, diverged=(1,))
    name = Run(addition.arm, RATE, 1).name
    sentences = [text for text in first_sentences(results) if "diverged" in text]
    assert results["tests"] == before["tests"]
    assert (results["diverged"], results["notes"]) == ([name], before["notes"])
    assert len(sentences) == 1
    assert f"Of its 3 seeds 1 diverged (numbers that are not finite: {name}), so the arm has no mean" in sentences[0]
    assert f"| learning rate | clips | grpo | {addition.arm} |" in results_markdown(addition.comparison, results)
    assert _disagreement(results) is None  # what a report checks


def test_fewer_seeds_are_paired_with_the_first(stored):
    addition = add_method(stored, "rule.py:Rule", None, None)
    fewer = Study(replace(addition.added.comparison, seeds=(0, 1)), addition.added.recipe)
    results = run_all(replace(addition, added=fewer))
    rows = results["tests"]["test"]["pass@1, %"]
    row = rows[results["added"]["arm"]]
    differences = [b - a for a, b in zip(rows["grpo"]["values"][:2], row["values"], strict=True)]
    assert row["difference"] == vars(mean_of_runs(differences))
    assert "2 of 3 seeds" in first_sentences(results)[1]


def test_a_repeat_to_the_last_digit_and_another(stored):
    addition = add_method(stored, "rule.py:Rule", None, None)
    run_all(addition)
    other = compare_repeat(addition)
    points, spread = other["differences"]["test"].values()
    values = make_results(stored, stored.methods)["tests"]["test"]["pass@1, %"]["grpo"]["values"]
    assert not other["identical"]
    assert points == pytest.approx(
        100 * sum(addition.repeated.scores(addition.repeat, "test")["right"]) / 8 - values[addition.repeat.seed]
    )
    assert f"test {points:+.2f} ({abs(points) / spread:.1f} of the spread between seeds)" in repeat_sentence(other)
    equal = replace(addition, repeated=replace(addition.repeated, pack=stored.pack))
    shutil.rmtree(addition.repeated.folder(addition.repeat))
    assert compare_repeat(equal)["identical"]
    assert repeat_sentence(compare_repeat(equal)) == (
        f"This machine repeats the stored run {addition.repeat.name} to the last digit."
    )


def test_the_cheapest_stored_run_is_repeated(stored):
    run = add_method(stored, "rule.py:Rule", None, None).repeat
    costs = {seed: stored.training(Run("grpo", RATE, seed))["minutes"] for seed in (0, 1, 2)}
    assert run == Run("grpo", RATE, min(costs, key=costs.__getitem__))


def test_new_runs_are_packed_on_their_own_and_read_from_there(stored):
    addition = add_method(stored, "rule.py:Rule", None, None)
    results = run_all(addition)
    before = stored.path.read_bytes()
    pack = pack_addition(addition, {addition.arm: PLAIN})
    pack.write()
    assert pack.path == Path("runs/study-Rule.jsonl.gz")
    assert len(pack.runs) == 2 + 3 + 1
    shutil.rmtree("runs/study-Rule")
    again = add_method(stored, "rule.py:Rule", None, None)
    assert compare_repeat(again) == results["added"]["repeat"]
    assert added_results(again, {again.arm: PLAIN}, compare_repeat(again)) == results
    assert stored.path.read_bytes() == before
    write_rule("advantages * 3")
    edited = add_method(stored, "rule.py:Rule", None, None)
    assert edited.added.validation() is None  # an edited rule is another arm, whose runs are still to be made


def test_finished_runs_are_found_under_another_spelling_of_the_rule_s_path_and_not_for_another_file(stored, tmp_path):
    addition = add_method(stored, "rule.py:Rule", None, None)
    results = run_all(addition)
    Path("other").mkdir()
    write_rule("advantages * 3", "other/rule.py")
    for path in (tmp_path / "rule.py", "./other/../rule.py"):
        again = add_method(stored, f"{path}:Rule", None, None)
        assert added_results(again, {again.arm: PLAIN}, compare_repeat(again))["tests"] == results["tests"]
    different = add_method(stored, "other/rule.py:Rule", None, None)
    assert different.arm != addition.arm
    assert different.added.validation() is None


def test_one_arm_chose_the_rate_for_all(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_rule()
    addition = add_method(
        store(Study(make_plan(grid_arm="grpo"), {"model_name_or_path": "no-model"})), "rule.py:Rule", None, None
    )
    assert addition.added.comparison.grid() == []
    assert addition.added.comparison.chosen({}) == {addition.arm: RATE}


def test_a_method_of_echorl_keeps_the_weight_of_its_own(stored):
    arms = add_method(stored, "positive_nll", {"echo_select": "random"}, None).added.comparison.arms
    options = {"method": "positive_nll", "method_options": {"echo_select": "random"}}
    (arm,) = arms
    assert arms == {arm: options}
    assert re.fullmatch(r"positive_nll-[0-9a-f]{4}", arm)  # other options are another arm


def test_a_rule_s_own_settings_are_kept_and_said(stored):
    Path("rule.py").write_text(RULE.replace("BODY", "advantages") + "    settings = {'loss_type': 'dapo'}\n")
    addition = add_method(stored, "rule.py:Rule", None, None)
    options = addition.added.key(Run(addition.arm, RATE, 0))["options"]
    assert "loss_type" not in options  # the rule sets it
    assert (options["scale_rewards"], options["epsilon"]) == ("group", 0.2)
    assert "Beside its rule it sets loss_type='dapo', unlike grpo." in first_sentences(run_all(addition))[1]


def test_an_arm_of_grpo_with_more_than_its_defaults_is_no_reference(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_rule()
    arms = {"grpo-entropy": {**PLAIN, "entropy_coef": 0.001}, "grpo": PLAIN}
    addition = add_method(
        store(Study(make_plan(arms=arms), {"model_name_or_path": "no-model"})), "rule.py:Rule", None, None
    )
    assert addition.repeat.arm == "grpo"


def test_the_study_s_own_folder_is_no_place_for_new_runs(stored):
    with pytest.raises(ValueError, match="--output_dir study is the folder of the study"):
        add_method(stored, "rule.py:Rule", None, Path("study"))


@pytest.mark.parametrize(
    ("method", "words"),
    [
        ("none.py:Rule", "--add='none.py:Rule': there is no file"),
        ("rule.py:Rul", "rule.py has no 'Rul'; did you mean 'Rule'"),
        ("rule.py", "names no class: write rule.py:Class"),
        ("gpro", "'gpro' does not exist; did you mean 'g"),
        ("grpo", "--add='grpo' is an arm of study.jsonl.gz already"),
    ],
)
def test_a_method_that_is_not_there(stored, method, words):
    with pytest.raises((UserError, ValueError)) as caught:
        add_method(stored, method, None, None)
    assert words in str(caught.value)


def test_a_study_that_takes_no_arm(stored, tmp_path):
    without = replace(stored, pack=replace(stored.pack, methods={"grpo": {**PLAIN, "method": "dapo"}}))
    with pytest.raises(ValueError, match=r"has no arm of plain GRPO \(method grpo, echo_coef 0, no more\)"):
        add_method(without, "rule.py:Rule", None, None)
    empty = replace(stored, pack=replace(stored.pack, runs={}))
    with pytest.raises(ValueError, match="runs of the grid are missing"):
        add_method(empty, "rule.py:Rule", None, None)
    Path("no-model").mkdir()  # now the name is a folder's, whose hash is another
    with pytest.raises(ValueError, match="was made with another model 'no-model'"):
        add_method(stored, "rule.py:Rule", None, None)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("advantages[:2]", r"Rule.advantages returned a tensor of shape \[2\]"),
        ("advantages / 0", "every number must be finite"),
        ("rollouts.all_right", r"Rule.advantages raised AttributeError: .*rule.py, line \d+\): mend the method"),
    ],
)
def test_a_wrong_rule_fails_before_any_training(stored, body, words):
    write_rule(body)
    with pytest.raises(ValueError, match=words):
        try_rules(load_method("rule.py:Rule"))


def test_echorl_s_rules_pass_the_trial():
    for name in METHODS:
        try_rules(load_method(name))

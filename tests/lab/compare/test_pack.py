"""A study in one file: what goes in comes out, the same runs give the same bytes, a damaged file is one sentence."""

from __future__ import annotations

import gzip
import json
import random
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from echorl.lab.compare.pack import Pack, pack_path, read_pack
from echorl.lab.compare.packed import open_pack, pack_study
from echorl.lab.compare.plan import Comparison
from echorl.lab.compare.results import make_results
from echorl.lab.compare.run import scores_path
from echorl.lab.compare.study import Study
from tests.lab.compare.made import finish

METHODS = {"grpo": {"method": "grpo"}, "clips": {"method": "a rule that is no more"}}
NOTES = {"arms": {"clips": {"costs": "nothing | much"}}, "note": "Small policies."}


@pytest.fixture
def study(tmp_path) -> Study:
    """A finished study of two arms, with a run that diverged in the grid."""
    comparison = Comparison(
        recipe=("gone.yaml",),
        arms={"grpo": {"echo_coef": 0.0}, "clips": {"an_option_that_is_no_more": 0.001}},
        rollout_tokens=100,
        learning_rates=(1e-5, 1e-4),
        seeds=(0, 1, 2),
        samples=4,
        pass_at=(1, 2),
        notes=NOTES,
        output_dir=str(tmp_path / "study"),
    )
    study = Study(comparison, {"model_name_or_path": "no-model"})
    numbers = random.Random(0)
    for run in [*comparison.grid(), *comparison.final({"grpo": 1e-5, "clips": 1e-4})]:
        diverged = "inf" if run.rate == 1e-4 and run.arm == "grpo" else None
        finish(study, run, ["validation" if run.seed == 1000 else "test"], numbers, diverged)
    return study


def with_pack(study: Study) -> Study:
    """The study, its pack written, its folders gone."""
    pack = pack_study(study, METHODS)
    pack.write()
    shutil.rmtree(study.comparison.output_dir)
    return Study(study.comparison, study.recipe, read_pack(pack.path))


def test_packed_runs_are_those_of_the_folders(study):
    folder = Path(study.comparison.output_dir)
    files = {str(path.relative_to(folder)): path.read_text() for path in folder.glob("*/*/*/*.json")}
    pack_study(study, METHODS).write()
    assert pack_path(folder) == folder.with_name("study.jsonl.gz")
    pack = read_pack(pack_path(folder))
    packed = {
        f"{run}/{name}": json.dumps(kept) + "\n" for run, files in pack.runs.items() for name, kept in files.items()
    }
    assert packed == files
    assert pack.methods == METHODS


def test_a_pack_gives_the_results_of_its_study_without_recipe_or_options(study):
    results = make_results(study, METHODS)
    pack_study(study, METHODS).write()
    packed = open_pack(pack_path(study.comparison.output_dir))
    assert make_results(packed, packed.methods) == results
    assert results["notes"] == NOTES
    assert results["learning_rates"] == {"grpo": 1e-5, "clips": 1e-4}
    assert results["validation"]["grpo/rate-0.0001/seed-1000"] is None


def test_the_same_runs_give_the_same_bytes_in_any_order(study):
    pack = pack_study(study, METHODS)
    pack.write()
    first = pack.path.read_bytes()
    assert first[4:8] == bytes(4)  # no time
    turned = {name: dict(reversed(files.items())) for name, files in reversed(pack.runs.items())}
    Pack(pack.path, pack.plan, pack.methods, turned).write()
    assert pack.path.read_bytes() == first
    packed = with_pack(study)  # and from the pack alone
    assert pack_study(packed, METHODS).runs == pack.runs
    pack_study(packed, METHODS).write()
    assert pack.path.read_bytes() == first


def test_packed_runs_are_finished_by_their_keys(study):
    packed = with_pack(study)
    assert make_results(packed, METHODS)["tests"].keys() == {"test", "training"}
    run = packed.comparison.grid()[0]
    assert packed.state(run, ["validation"]) == "done"
    changed = Study(packed.comparison, {**packed.recipe, "beta": 0.1}, packed.pack)
    assert changed.state(run, ["validation"]) == ""
    with pytest.raises(ValueError, match=r"study.jsonl.gz holds the run .* \(beta None then, 0.1 now\): give another"):
        changed.claim(run)
    assert not changed.folder(run).exists()


def test_a_packed_run_is_gone_on_with_in_its_folder(study):
    """Where a test is new, its scores need the policy again: what is packed of the run comes first."""
    files = {path.name: path.read_bytes() for path in study.folder(study.comparison.grid()[0]).iterdir()}
    packed = with_pack(study)
    run = packed.comparison.grid()[0]
    packed.folder(run).parent.mkdir(parents=True)
    leftover = packed.folder(run).with_name(f".{packed.folder(run).name}.tmp")
    leftover.mkdir()  # of a command that was killed in the middle
    (leftover / "run.json").write_text("{")
    packed.claim(run)
    assert {path.name: path.read_bytes() for path in packed.folder(run).iterdir()} == files
    assert packed.state(run, ["validation"]) == "done"
    (packed.folder(run) / "scores-validation.json").unlink()
    assert packed.state(run, ["validation"]) == ""  # a folder's run is not completed by another's scores


def test_packing_again_keeps_what_is_packed(study):
    packed = with_pack(study)
    fewer = Study(packed.comparison, {**packed.recipe, "beta": 0.1}, packed.pack)  # none of the runs is this study's
    assert pack_study(fewer, METHODS).runs == packed.pack.runs


def test_unfinished_runs_are_not_packed(study):
    run = study.comparison.final({"grpo": 1e-5, "clips": 1e-4})[0]
    scores_path(study.folder(run), "test").unlink()
    pack = pack_study(study, METHODS)
    assert run.name not in pack.runs
    pack.write()
    packed = open_pack(pack.path)
    message = r"study.jsonl.gz: 1 of 6 runs are missing \(grpo/rate-1e-05/seed-0\): .* makes them\."
    with pytest.raises(ValueError, match=message):
        make_results(packed, METHODS)


def test_an_unfinished_pack_is_shown_on_the_seeds_that_all_arms_have(study):
    rates = {"grpo": 1e-5, "clips": 1e-4}
    last = study.comparison.final(rates)[-1]
    assert last.seed == 2
    scores_path(study.folder(last), "test").unlink()
    pack = pack_study(study, METHODS)
    pack.write()
    packed = open_pack(pack.path)
    with pytest.raises(ValueError, match="makes them, and --num_seeds 2 shows the seeds that all arms have"):
        make_results(packed, METHODS)
    assert packed.finished_seeds(rates) == (0, 1)
    first = replace(packed, comparison=replace(packed.comparison, seeds=packed.finished_seeds(rates)))
    assert make_results(first, METHODS)["seeds"] == [0, 1]


def damage(path: Path, how: str) -> None:
    data = path.read_bytes()
    lines = gzip.decompress(data).decode().splitlines(keepends=True)
    header = json.loads(lines[0])
    texts = {
        "fewer": [lines[0], *lines[2:]],
        "twice": [lines[0], *lines[1:-1], lines[1]],
        "no json": [*lines[:2], lines[2][:40] + "\n", *lines[3:]],
        "a path": [lines[0], lines[1].replace("run.json", "../../run.json"), *lines[2:]],
        "no mark": [lines[0], json.dumps({"run": "a/b/c", "files": {}}) + "\n", *lines[2:]],
        "a list": [lines[0], "[1]\n", *lines[2:]],
        "no plan": [json.dumps({**header, "plan": None}) + "\n", *lines[1:]],
        "format": [json.dumps({**header, "format": 2}) + "\n", *lines[1:]],
        "plan": [json.dumps({**header, "plan": {**header["plan"], "new": 1}}) + "\n", *lines[1:]],
        "arms": [json.dumps({**header, "plan": {**header["plan"], "arms": {}}}) + "\n", *lines[1:]],
        "other": ['{"a": 1}\n'],
    }
    cut = {"cut": data[: len(data) // 2], "flipped": data[:-300] + bytes([data[-300] ^ 1]) + data[-299:]}
    cut |= {"text": b"a: 1\n", "empty": b"", "end": data[:-4]}
    path.write_bytes(cut[how] if how in cut else gzip.compress("".join(texts[how]).encode()))


@pytest.mark.parametrize(
    ("how", "words"),
    [
        *((how, "is damaged") for how in ("cut", "flipped", "text", "empty", "end", "twice", "no json", "no plan")),
        ("fewer", r"is damaged \(it has 9 runs, and its first line says 10\): get the file again"),
        ("a path", r"is damaged \(after 2 lines: '../../run.json' is no name of a run's file\)"),
        ("no mark", r"the run 'a/b/c' lacks its run.json"),
        ("a list", "is damaged"),
        ("format", "has format 2, and this version of echorl reads format 1"),
        ("plan", "has a plan with 'new', which this version of echorl does not know"),
        ("arms", "has a plan that is not allowed: arms="),
        ("other", "is not a packed study"),
    ],
)
def test_a_damaged_pack_is_one_sentence(study, how, words):
    pack = pack_study(study, METHODS)
    pack.write()
    damage(pack.path, how)
    with pytest.raises(ValueError, match=words) as caught:
        open_pack(pack.path)
    assert str(caught.value).startswith(str(pack.path))
    assert "\n" not in str(caught.value)


def test_a_pack_lies_beside_its_folder_however_that_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert pack_path("runs/study/") == Path("runs/study.jsonl.gz")
    assert pack_path("runs/a.b") == Path("runs/a.b.jsonl.gz")
    assert pack_path(".") == tmp_path.with_name(f"{tmp_path.name}.jsonl.gz")
    with pytest.raises(ValueError, match=r"none.jsonl.gz: there is no such file; `echorl compare STUDY.yaml --pack`"):
        read_pack(Path("none.jsonl.gz"))

"""`echorl analyze` on the shipped policy: files, a kill, stored rollouts, and one sentence for what it can't use."""

from __future__ import annotations

import json
import signal
import time

import pytest
from filelock import FileLock

from echorl.cli import main
from tests.lab.conftest import write
from tests.processes import command, start, whole

QUICK = ["--model", "quickstart", "--benchmark", "quickstart", "--prompts", "6", "--samples", "3", "--device", "cpu"]
SHORT = [*QUICK, "--max_new_tokens", "40", "--batch_size", "9", "--output_dir", "out"]
EXTRA = {
    "entropy": [],
    "deletion": ["--traces", "1", "--finishes", "2"],
}
"""Analysis -> its own options."""
KEYS = {"echorl", "model", "settings", "sizes", "tables", "curves", "findings", "value"}


def read(folder, what):
    return json.loads((folder / f"{what}.json").read_text())


@pytest.fixture(scope="module")
def analysed(tmp_path_factory):
    """A folder with all analyses."""
    folder = tmp_path_factory.mktemp("analysed")
    for what, extra in EXTRA.items():
        whole(command, ["analyze", what, *SHORT[:-1], str(folder / "out"), *extra], folder / "log")
    return folder / "out"


def test_what_they_leave(analysed):
    pictures_of = {"entropy": ["entropy"], "deletion": ["deletion-1", "deletion-2"]}
    for what, pictures in pictures_of.items():
        found = read(analysed, what)
        assert set(found) == KEYS
        assert found["echorl"] == f"analyze {what}"
        for table in found["tables"]:
            assert all(len(row) == len(table["head"]) for row in table["rows"])
            assert all(isinstance(cell, str) for row in table["rows"] for cell in row)
        for curve in found["curves"]:
            assert all(len(line["x"]) == len(line["y"]) > 1 for line in curve["lines"])
        for name in pictures:
            assert (analysed / f"{name}.png").read_bytes().startswith(b"\x89PNG")
            assert "<svg" in (analysed / f"{name}.svg").read_text()


def test_numbers_hang_together(analysed):
    entropy, deletion = read(analysed, "entropy"), read(analysed, "deletion")
    own = entropy["value"]["compared"]["measures"]
    assert own["nll"]["right"]["value"] > 0
    assert own["token_entropy"]["demonstration"]["value"] > 0
    orders = deletion["value"]["kinds"]["right"]["orders"].values()
    for end in (0, -1):  # all steps, none: the same whatever the order
        assert len({row["success"][end]["value"] for row in orders}) == 1
    assert all(row["tokens"][-1] == 1 and row["tokens"][0] == 0 for row in orders)
    assert deletion["sizes"]["prompts_right"] == entropy["sizes"]["prompts_compared"]
    # What is shown of a sum's solution is enough for this policy to end it.
    assert next(iter(orders))["success"][0]["value"] > 0.8


def test_stored_rollouts_take_the_place_of_sampling(tmp_path, analysed):
    import pyarrow.parquet as pq

    from echorl.lab.evaluate.benchmarks import load_benchmark

    prompts = {item.id: item.prompt for item in load_benchmark("quickstart").items()}
    rows = pq.read_table(analysed / "rollouts/samples/quickstart.parquet").to_pylist()
    rollouts = [{"prompt": prompts[r["item"]], "response": r["response"], "reward": r["score"]} for r in rows]
    write(tmp_path / "own.jsonl", [*rollouts, {"prompt": "of another kind", "response": "1\n2", "reward": 1}])
    assert main(["analyze", "entropy", *SHORT, "--rollouts", "own.jsonl"]) == 0
    assert read(tmp_path / "out", "entropy")["value"] == read(analysed, "entropy")["value"]


@pytest.mark.slow
def test_a_killed_run_goes_on_and_ends_as_an_undisturbed_one(tmp_path, analysed):
    words = ["analyze", "deletion", *SHORT, *EXTRA["deletion"]]
    for stage in ("rollouts/parts/quickstart/*", "scores/*.json", "finished/parts/quickstart/*"):
        process = start(command, words, tmp_path / "log")
        while process.is_alive() and not list((tmp_path / "out").glob(stage)):
            time.sleep(0.002)
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        assert not (tmp_path / "out/deletion.json").exists()
    assert main(words) == 0
    assert (tmp_path / "out/deletion.json").read_bytes() == (analysed / "deletion.json").read_bytes()


def test_other_settings_in_the_same_folder(analysed, fails):
    words = [*SHORT[:-1], str(analysed)]
    fails(["analyze", "entropy", *words, "--samples", "4"], "holds an analysis with other settings (samples 3 then, 4")
    with FileLock(analysed / ".lock"):
        fails(["analyze", "entropy", *words], "another `echorl analyze` is at work in")


def test_a_folder_of_something_else(tmp_path, fails):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/thesis.tex").touch()
    fails(["analyze", "entropy", *SHORT], "out holds files that `echorl analyze` did not write")


def test_sources_it_cannot_use(tmp_path, fails):
    base = ["analyze", "entropy", "--model", "quickstart", "--output_dir", "out"]
    fails(base, "give one of --benchmark")
    fails([*base, "--benchmark", "math500"], "benchmark 'math500' has no demonstrations")
    fails([*base, "--benchmark", "leg_counting"], "the task 'leg_counting' has no demonstrations")
    fails([*base, "--benchmark", "quickstart", "--grader", "math"], "--grader has no effect with --benchmark")
    write(tmp_path / "a.jsonl", [{"prompt": "1+1=?\n", "text": "2"}])
    fails([*base, "--file", "a.jsonl"], "a.jsonl: there is no column demonstration or target among prompt, text")
    write(tmp_path / "a.jsonl", [{"prompt": "1+1=?\n", "demonstration": "1+1=2\n#### 2"}])
    fails([*base, "--file", "a.jsonl", "--grader", "number"], "a.jsonl: there is no column answer among")
    fails([*base, "--file", "a.jsonl"], "rollouts must be graded: name a --grader")
    fails([*base, "--file", "b.jsonl"], "b.jsonl: there is no such file of rows")


def test_rollouts_it_cannot_use(tmp_path, fails):
    rows = [{"prompt": "State 1 + 1 =\n", "demonstration": "1+1=2\n#### 2", "answer": "2"}]
    write(tmp_path / "a.jsonl", rows)
    base = ["--model", "quickstart", "--file", "a.jsonl", "--rollouts", "own.jsonl", "--output_dir", "out"]
    write(tmp_path / "own.jsonl", [{"prompt": "State 1 + 1 =\n", "response": "#### 3", "reward": 0}])
    fails(["analyze", "entropy", *base], "none of 1 rollouts on 1 prompts is right")
    write(tmp_path / "own.jsonl", [{"prompt": "another", "response": "#### 2", "reward": 1}])
    fails(["analyze", "entropy", *base], "no prompt of own.jsonl is one of a's")
    fails(["analyze", "deletion", *base], "deletion grades what the policy writes: name a --grader")


def test_solutions_of_one_step(tmp_path, fails):
    write(tmp_path / "a.jsonl", [{"prompt": "State 1 + 1 =\n", "demonstration": "#### 2", "answer": "2"}])
    write(tmp_path / "own.jsonl", [{"prompt": "State 1 + 1 =\n", "response": "#### 2", "reward": 1}])
    words = ["--model", "quickstart", "--file", "a.jsonl", "--grader", "number", "--rollouts", "own.jsonl"]
    fails(["analyze", "deletion", *words, "--output_dir", "out"], "its answer in the only step that it has")

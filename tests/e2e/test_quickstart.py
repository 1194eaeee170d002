"""The quickstart from the command line at a tiny size: files, numbers, a second run, a kill, wrong folders."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

import pytest
from filelock import FileLock

from echorl.cli import main
from echorl.lab import quickstart
from echorl.lab.compare.plan import Run
from echorl.lab.compare.score import verdicts_of
from echorl.lab.compare.worker import Training
from echorl.lab.evaluate.metrics import pass_at_1
from echorl.lab.quickstart import solved
from echorl.support.errors import Interrupted
from echorl.support.files import write_json
from echorl.support.folder import contents
from echorl.trl import EchoGRPOTrainer
from echorl.trl.metrics_file import read_metrics

STEPS = quickstart.TINY["steps"]
ARMS = ("GRPO", "GRPO+EchoRL")
RUN = Path("rate-of-recipe", "seed-0")


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    output = tmp_path_factory.mktemp("e2e") / "run"
    assert main(["quickstart", "--tiny", "--output_dir", str(output)]) == 0
    return output


def value(path: Path):
    return json.loads(path.read_text())["value"]


def metrics_of(finished: Path, arm: str) -> list[dict]:
    return [line for line in read_metrics(finished / arm / RUN / "policy" / "metrics.jsonl") if "reward" in line]


def test_files(finished):
    files = {"results.json", "results.md", "index.html", "quickstart.png", "gradients.json"}
    assert set(contents(finished)) == {*files, "before-training", *ARMS}
    assert not (finished / "before-training" / RUN / "policy").exists()
    for arm in ARMS:
        names = {path.name for path in (finished / arm / RUN).iterdir()}
        assert {"policy", "run.json", "scores-in-distribution.json", "scores-harder.json"} <= names
        assert not list((finished / arm / RUN / "policy").glob("checkpoint-*"))
    html = (finished / "index.html").read_text()
    assert not re.search(r"https?:", html)
    assert html.count("<svg") >= 5
    assert html.count('<article class="exhibit">') >= 1


def test_the_arms_saw_the_same_prompts_from_the_same_start(finished):
    first = [metrics_of(finished, arm)[0] for arm in ARMS]
    for key in ("reward", "completions/mean_length", "echo/frac_degenerate"):  # one policy, one seed, the same rollouts
        assert first[0][key] == first[1][key]
    assert "echo/nll" not in first[0]
    assert "echo/nll" in first[1]


def test_numbers_of_the_table(finished):
    results = json.loads((finished / "results.json").read_text())
    start = pass_at_1(verdicts_of(value(finished / "before-training" / RUN / "scores-in-distribution.json")))
    accuracy = results["tests"]["in-distribution"]["pass@1, %"]
    assert accuracy["before-training"]["mean"] == pytest.approx(100 * start.value)
    assert accuracy["before-training"]["interval"] == pytest.approx({n: 100 * v for n, v in vars(start).items()})
    training = results["tests"]["training"]
    for arm in ARMS:
        metrics = metrics_of(finished, arm)
        assert len(metrics) == STEPS == training["updates"][arm]["mean"]
        norms = [line["grad_norm"] for line in metrics if line["echo/frac_degenerate"] == 1]
        assert training["updates without policy gradient"][arm]["mean"] == len(norms)
        assert training["largest gradient norm in these"][arm]["mean"] == max(norms, default=0)
    norms = value(finished / "gradients.json")
    assert norms["groups"] > 0
    assert norms["policy"] == 0
    assert norms["echo"] > 0


def test_terminal(finished, capsys):
    assert main(["quickstart", "--tiny", "--output_dir", str(finished)]) == 0
    shown = capsys.readouterr().out
    for text in ("pass@1, in-distribution", "pass@1, harder", "without any policy gradient", "index.html"):
        assert text in shown
    share = [metrics_of(finished, "GRPO")[step]["echo/groups/mixed"] for step in (0, -1)]
    assert f"{share[0]:.0%} → {share[1]:.0%}" in re.search("mixed groups.*", shown)[0]


def test_a_second_run_computes_nothing(finished, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("done already")

    monkeypatch.setattr("echorl.lab.compare.conduct.run_jobs", refuse)
    monkeypatch.setattr(solved, "run_jobs", refuse)
    monkeypatch.setattr(quickstart, "_draw", refuse)
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("*") if path.is_file()}
    quickstart.quickstart(finished, tiny=True)
    assert before == {path: path.stat().st_mtime_ns for path in finished.rglob("*") if path.is_file()}


def test_a_lost_page_is_drawn_again(finished, tmp_path, monkeypatch):
    folder = Path(shutil.copytree(finished, tmp_path / "run"))
    drawn = []
    monkeypatch.setattr(quickstart, "_draw", drawn.append)
    (folder / "index.html").unlink()
    quickstart.quickstart(folder, tiny=True)
    assert drawn == [folder]


def test_a_killed_arm_goes_on_where_it_was(tmp_path, monkeypatch):
    steps: list[int] = []
    whole = EchoGRPOTrainer.training_step

    def step(self, *args, **kwargs):
        steps.append(self.state.global_step)
        if len(steps) == 3:
            raise KeyboardInterrupt
        return whole(self, *args, **kwargs)

    monkeypatch.setattr(EchoGRPOTrainer, "training_step", step)
    study, run = quickstart.make_study(tmp_path, tiny=True), Run("GRPO+EchoRL", None, 0)
    study.claim(run)
    with pytest.raises(Interrupted):
        Training(study.folder(run), study.options(run)).run()
    assert Training(study.folder(run), study.options(run)).run()["updates"] == STEPS
    assert steps == [0, 1, 2, 2, 3]


@pytest.mark.parametrize("name", ["index.html", "quickstart.png", "results.json", "results.md"])
def test_results_that_are_not_ours_are_left_alone(tmp_path, name, capsys):
    (tmp_path / name).write_text("mine")
    assert main(["quickstart", "--tiny", "--output_dir", str(tmp_path)]) == 2
    assert f"holds {name}, which no comparison wrote" in capsys.readouterr().err
    assert (tmp_path / name).read_text() == "mine"


def test_a_folder_of_other_settings_is_left_alone(finished, tmp_path, capsys):
    folder = Path(shutil.copytree(finished, tmp_path / "run"))
    assert main(["quickstart", "--output_dir", str(folder)]) == 2
    assert "train_size 16 then, 1920 now" in capsys.readouterr().err
    assert (folder / "gradients.json").read_bytes() == (finished / "gradients.json").read_bytes()


def test_another_one_at_work(tmp_path, capsys):
    with FileLock(tmp_path / ".lock"):
        assert main(["quickstart", "--tiny", "--output_dir", str(tmp_path)]) == 2
    assert "another `echorl quickstart` is at work" in capsys.readouterr().err


def test_output_that_is_a_file_or_cannot_be_written(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    outputs = [tmp_path / "file", tmp_path / "file" / "below"]
    if os.access("/proc/version", os.R_OK):
        outputs.append(Path("/proc/echorl"))
    for output in outputs:
        assert main(["quickstart", "--tiny", "--output_dir", str(output)]) == 2
        lines = capsys.readouterr().err.strip().splitlines()
        assert len(lines) == 1
        assert "cannot be written" in lines[0]


def test_ctrl_c(tmp_path, monkeypatch, capsys):
    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(quickstart, "quickstart", interrupt)
    assert main(["quickstart", "--tiny", "--output_dir", str(tmp_path)]) == 130
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


def test_something_not_installed(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("echorl.cli.quickstart.NEEDED", {"trl": ("torch", "no_such_module")})
    assert main(["quickstart", "--output_dir", str(tmp_path / "run")]) == 2
    assert "needs no_such_module: pip install" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("seed", [0, 1000, 2**32 - 1])
def test_any_seed_is_that_of_every_run(seed, tmp_path):
    comparison = quickstart.make_study(tmp_path, seed=seed).comparison
    assert {run.seed for run in comparison.final(comparison.chosen({}))} == {seed}


@pytest.mark.parametrize("seed", ["-1", "a", "1.5", str(2**32)])
def test_wrong_seed(seed, capsys):
    assert main(["quickstart", "--seed", seed]) == 2
    assert "whole number" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("norms", "expected"),
    [
        ({"groups": 3, "policy": 0.0, "echo": 0.002}, "has norm 0 and EchoRL's 0.002: the gradient comes back."),
        ({"groups": 3, "policy": 0.0, "echo": 0.0}, "has norm 0 and EchoRL's 0."),
        ({"groups": 0, "policy": 0.0, "echo": 0.0}, "none of 64 groups was all-success"),
    ],
)
def test_wording_of_the_gradient(norms, expected, tmp_path):
    write_json(tmp_path / "gradients.json", {"key": solved._key(64, 8), "value": norms})
    assert expected in solved.solved_finding(tmp_path, prompts=64, samples=8, view=None)

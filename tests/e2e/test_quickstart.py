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
from echorl.lab.evaluate import pass_at_1
from echorl.lab.quickstart import arm_folder, run, summary
from echorl.lab.quickstart.study import ARMS, TINY
from echorl.support.output_folder import contents

STEPS = TINY.num_steps


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    output = tmp_path_factory.mktemp("e2e") / "run"
    assert main(["quickstart", "--tiny", "--output_dir", str(output)]) == 0
    return output


def copy(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "run"))


def value(path: Path):
    return json.loads(path.read_text())["value"]


def test_files(finished):
    assert set(contents(finished)) == set(run.OWN)
    for arm in ARMS:
        assert {"policy", "metrics.jsonl", "arm.json", "scores.json"} <= {p.name for p in (finished / arm).iterdir()}
        assert not list((finished / arm).glob("checkpoint-*"))
    html = (finished / "index.html").read_text()
    assert not re.search(r"https?:", html)
    assert html.count("<svg") == 5
    assert html.count('<article class="exhibit">') >= 1


def test_the_arms_saw_the_same_prompts_from_the_same_start(finished):
    first = [value(finished / arm / "arm.json")["metrics"][0] for arm in ARMS]
    for key in ("reward", "completions/mean_length", "echo/frac_degenerate"):  # one policy, one seed, the same rollouts
        assert first[0][key] == first[1][key]
    assert "echo/nll" not in first[0]
    assert "echo/nll" in first[1]


def test_numbers_of_the_table(finished):
    results, start = value(finished / "results.json"), value(finished / "start.json")
    assert results["accuracy"]["test"]["start"]["value"] == pass_at_1(start["test"]["verdicts"]).value
    for arm in ARMS:
        metrics = value(finished / arm / "arm.json")["metrics"]
        assert len(metrics) == STEPS == results["alone"][arm]["of"]
        dead = [line["grad_norm"] for line in metrics if line["echo/frac_degenerate"] == 1]
        assert results["alone"][arm]["steps"] == len(dead)
        assert results["ledger"][arm]["first"]["mixed"] == metrics[0]["echo/groups/mixed"]
        assert results["ledger"][arm]["last"]["mixed"] == metrics[-1]["echo/groups/mixed"]
    assert results["solved"]["start"]["policy"] == 0
    assert results["solved"]["start"]["echo"] > 0


def test_terminal(finished, capsys):
    assert main(["quickstart", "--tiny", "--output_dir", str(finished)]) == 0
    shown = capsys.readouterr().out
    for text in ("pass@1, in distribution", "pass@1, harder", "steps without policy gradient", "index.html"):
        assert text in shown


def test_a_second_run_computes_nothing(finished, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("done already")

    monkeypatch.setattr(run, "_job", refuse)
    monkeypatch.setattr(run, "_draw", refuse)
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("*") if path.is_file()}
    run.quickstart(finished, TINY)
    assert before == {path: path.stat().st_mtime_ns for path in finished.rglob("*") if path.is_file()}


def test_a_killed_arm_goes_on_where_it_was(finished, tmp_path, monkeypatch):
    from echorl.lab.quickstart.arm import train_arm
    from echorl.trl import EchoGRPOTrainer

    steps: list[int] = []
    whole = EchoGRPOTrainer.training_step

    def step(self, *args, **kwargs):
        steps.append(self.state.global_step)
        if len(steps) == 3:
            raise KeyboardInterrupt
        return whole(self, *args, **kwargs)

    monkeypatch.setattr(EchoGRPOTrainer, "training_step", step)
    with pytest.raises(KeyboardInterrupt):
        train_arm(TINY, ARMS["echorl"], tmp_path / "echorl")
    train_arm(TINY, ARMS["echorl"], tmp_path / "echorl")
    assert steps == [0, 1, 2, 2, 3]


def test_a_folder_that_is_not_ours_is_left_alone(tmp_path):
    (tmp_path / "grpo").mkdir()
    (tmp_path / "grpo" / "thesis.txt").write_text("mine")
    with pytest.raises(ValueError, match="`echorl quickstart` did not write"):
        arm_folder.prepare_folder(tmp_path / "grpo", {})
    run.prepare_output(tmp_path, fresh=True)
    assert (tmp_path / "grpo" / "thesis.txt").exists()


@pytest.mark.parametrize("name", ["index.html", "quickstart.png", "results.json"])
def test_results_that_are_not_ours_are_left_alone(tmp_path, name, capsys):
    (tmp_path / name).write_text("mine")
    for more in ([], ["--fresh"]):
        assert main(["quickstart", "--tiny", "--output_dir", str(tmp_path), *more]) == 2
        assert f"holds {name}, which no quickstart wrote" in capsys.readouterr().err
    assert (tmp_path / name).read_text() == "mine"


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

    monkeypatch.setattr(run, "quickstart", interrupt)
    assert main(["quickstart", "--tiny", "--output_dir", str(tmp_path)]) == 130
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


def test_something_not_installed(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("echorl.cli.quickstart.NEEDED", ("torch", "no_such_module"))
    assert main(["quickstart", "--output_dir", str(tmp_path / "run")]) == 2
    assert "needs no_such_module: pip install" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("seed", ["-1", "a", "1.5", str(2**32)])
def test_wrong_seed(seed, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["quickstart", "--seed", seed])
    assert stopped.value.code == 2
    assert "whole number" in capsys.readouterr().err


def difference_counts(low, high):
    return low > 0 or high < 0


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (-0.01, 0.03, "No difference"),
        (0.01, 0.03, "policy is more accurate"),
        (-0.03, -0.01, "policy is less accurate"),
    ],
)
def test_wording_follows_the_interval(low, high, expected):
    difference = {"value": (low + high) / 2, "low": low, "high": high}
    text = summary._difference_finding({"difference": {"test": difference}}, "test")
    assert expected in text
    assert ("doesn't tell which method is better" in text) == difference_counts(low, high)
    assert f"{low * 100:+.1f}" in text


def test_wording_of_the_gradient():
    def said(**solved):
        return summary._gradient_finding({"solved": {"start": {"prompts": 64, **solved}}})

    assert "comes back" in said(groups=3, policy=0.0, echo=0.002)
    assert "comes back" not in said(groups=3, policy=0.0, echo=0.0)
    assert "none of 64 groups" in said(groups=0, policy=0.0, echo=0.0)

"""`echorl mine`: TRL's own logs, the table, the lock, a kill, and one sentence for what it can't use."""

from __future__ import annotations

import json
import signal
import time

import pytest
from filelock import FileLock

from echorl.cli import main
from tests.lab.conftest import rows, save_model, write
from tests.processes import command, start, whole
from tests.tiny import PIECES
from tests.trl import tiny


@pytest.fixture(scope="module")
def scorer(tmp_path_factory):
    return str(save_model(tmp_path_factory.mktemp("scorer")))


def call(scorer, *words):
    return ["mine", "rows.jsonl", "--model", scorer, "--output_dir", "out", "--device", "cpu", *words]


def test_table_and_files(tmp_path, scorer, capsys):
    write(tmp_path / "rows.jsonl", [*rows(40), {"prompt": "one", "response": "1+a\n2", "reward": 0}])
    assert main(call(scorer)) == 0
    captured = capsys.readouterr()
    lines = captured.out.splitlines()
    summary = json.loads((tmp_path / "out/summary.json").read_text())["value"]
    assert lines[0].startswith("41 rollouts in 11 groups, ")
    for kind in ("mixed", "all_success", "all_fail"):
        assert any(line.split()[:1] == [str(summary[kind]["groups"])] and f" {kind}: " in line for line in lines)
    assert "  1 groups have one rollout, so that they are degenerate whatever it earned" in lines
    assert lines[-2].endswith("clips: out/clips.jsonl  numbers: out/summary.json")
    assert lines[-1] == "page: echorl report out"
    assert [line for line in captured.err.splitlines() if "Loading" not in line] == [
        "loading PyTorch and the tokenizer", "reading rollouts", "mining rollouts"
    ]  # fmt: skip
    clips = (tmp_path / "out/clips.jsonl").read_text().splitlines()
    assert lines[-2].split()[0] == str(len(clips)) == str(summary["all"]["clips"]["count"])
    assert main(call(scorer)) == 0
    again = capsys.readouterr()
    assert again.out == captured.out
    assert again.err.endswith("All rollouts were scored by an earlier call: nothing was scored again.\n")


@pytest.mark.parametrize("echo", [False, True])
def test_completions_that_trl_logs(tmp_path, scorer, echo):
    trainer = tiny.build(tmp_path / "run", echo=echo, log_completions=True, dataset=tiny.make_dataset(10))
    trainer.train()
    logs = tmp_path / "run/completions"
    assert main(["mine", str(logs), "--model", scorer, "--output_dir", "out"]) == 0
    summary = json.loads((tmp_path / "out/summary.json").read_text())["value"]
    assert summary["all"]["rollouts"] == 2 * 16
    assert summary["all"]["groups"] == 2 * 16 // trainer.num_generations


def test_no_success_gives_no_clip_and_says_so(tmp_path, scorer, capsys):
    write(tmp_path / "rows.jsonl", [{**row, "reward": 0} for row in rows(8)])
    assert main(call(scorer)) == 0
    assert capsys.readouterr().out.splitlines()[-2].startswith("0 clips: ")
    assert (tmp_path / "out/clips.jsonl").read_text() == ""


def test_another_one_at_work(tmp_path, scorer, fails):
    write(tmp_path / "rows.jsonl", rows(8))
    (tmp_path / "out").mkdir()
    with FileLock(tmp_path / "out/.lock"):
        fails(call(scorer), "another `echorl mine` is at work in out")


def test_a_folder_of_something_else(tmp_path, scorer, fails):
    write(tmp_path / "rows.jsonl", rows(8))
    (tmp_path / "out").mkdir()
    (tmp_path / "out/thesis.tex").touch()
    fails(call(scorer), "out holds files that `echorl mine` did not write")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "rows.jsonl is empty"),
        ('{"prompt": "1", "response": "2"}\n', "rows.jsonl, line 1: there is no reward among the columns"),
        ('{"text": "1"}\n', "rows.jsonl, line 1: the columns 'text' are no layout that is known"),
    ],
)
def test_files_it_cannot_use(tmp_path, scorer, fails, text, words):
    (tmp_path / "rows.jsonl").write_text(text)
    fails(call(scorer), words)


def test_settings_it_cannot_use(tmp_path, scorer, fails):
    write(tmp_path / "rows.jsonl", rows(8))
    fails(call(scorer, "--top_k", "0"), "top_k=0 is not allowed")
    fails(call(scorer, "--temperature", "0"), "temperature=0.0 is not allowed")
    fails(call(scorer, "--batch_size", "0"), "batch_size=0 is not allowed")
    fails(call("nowhere"), "--model 'nowhere' (no folder here, so a model of the hub) cannot be loaded")


def test_a_device_that_torch_was_not_built_for(tmp_path, scorer, fails, monkeypatch):
    def load(folder, device):
        raise AssertionError("Torch not compiled with CUDA enabled")  # what torch raises

    monkeypatch.setattr("echorl.models.loading.load_policy", load)
    write(tmp_path / "rows.jsonl", rows(8))
    fails(call(scorer, "--device", "cuda"), "cannot be loaded on cuda: Torch not compiled with CUDA enabled")


def test_a_tokenizer_without_newlines(tmp_path, fails, monkeypatch):
    monkeypatch.setattr("tests.tiny.PIECES", [piece for piece in PIECES if "\n" not in piece])
    folder = save_model(tmp_path / "model")
    write(tmp_path / "rows.jsonl", rows(8))
    fails(call(str(folder)), "has no token that contains a newline")


@pytest.mark.slow
def test_a_killed_run_goes_on_and_ends_as_an_undisturbed_one(tmp_path, scorer):
    write(tmp_path / "rows.jsonl", rows(2000))
    words, log = call(scorer, "--batch_size", "20", "--clip_per", "rollout"), tmp_path / "log"
    counts = []
    for least in (1, 30, 70):
        process = start(command, words, log)
        while process.is_alive() and len(list((tmp_path / "out/parts").glob("*.json"))) < least:
            time.sleep(0.01)
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL, log.read_text()
        counts.append(len(list((tmp_path / "out/parts").glob("*.json"))))
    assert all(count < 100 for count in counts)
    whole(command, words, log)
    whole(command, [*words, "--output_dir", "whole"], log)
    for name in ("clips.jsonl", "summary.json"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()

"""`echorl eval` on the shipped policy: table, files, scoring again, comparison, and what it refuses."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil

import pytest
from filelock import FileLock

from echorl.cli import main
from echorl.lab.evaluate.store import read_samples, write_samples

QUICK = "--model quickstart --benchmarks quickstart --limit 4 --samples 2 --max_new_tokens 40 --device cpu"


def call(*words: str) -> list[str]:
    return ["eval", *QUICK.split(), "--output_dir", "out", *words]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder of an evaluation, not to be changed."""
    folder = tmp_path_factory.mktemp("finished") / "out"
    assert main(call("--output_dir", str(folder), "--device", "cpu")) == 0
    return folder


@pytest.fixture
def folder(finished, tmp_path):
    """A copy of it, as "out" where the test runs."""
    return shutil.copytree(finished, tmp_path / "out")


def test_table_and_files(capsys, folder):
    assert main(call()) == 0
    captured = capsys.readouterr()
    title, head, row, place = captured.out.strip().splitlines()
    assert title == "quickstart, in %"
    assert re.split(r"\s{2,}", head)[:4] == ["benchmark", "items", "k", "avg@k"]
    assert row.split()[:3] == ["quickstart", "4", "2"]
    assert place == "samples: out/samples  numbers: out/results.json"
    assert captured.err.splitlines() == [
        "loading PyTorch and the tokenizer",
        "All samples were drawn by an earlier call: nothing was sampled again.",
    ]
    results = json.loads((folder / "results.json").read_text())
    found = results["benchmarks"]["quickstart"]
    assert row.split()[3] == f"{100 * found['measures']['avg@2']['value']:.1f}"
    assert set(found["measures"]) == {"avg@2", "pass@1", "pass@2", "maj@2"}
    assert results["settings"]["temperature"] == 0.6
    assert {"python", "torch", "transformers", "echorl"} <= set(results["versions"][0])
    assert len(read_samples(folder / "samples/quickstart.parquet")[0]) == 8


def test_one_line_a_step_without_a_terminal(capsys):
    assert main(call("--limit", "2")) == 0
    assert capsys.readouterr().err.splitlines()[1:] == ["quickstart: sampling", "quickstart: scoring"]


def test_a_table_is_drawn_in_a_terminal(capsys, monkeypatch, folder):
    monkeypatch.setenv("FORCE_COLOR", "1")
    for width in ("80", "160"):
        monkeypatch.setenv("COLUMNS", width)
        assert main(call()) == 0
        text = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)
        assert "───" in text
        row = next(line for line in text.splitlines() if line.startswith(("quickstart ", " quickstart ")))
        assert re.search(r"quickstart +4 +2 +[0-9.]+ +\[[0-9.]+, [0-9.]+\]", row)  # on one line


def test_the_context_bounds_the_length(tmp_path):
    words = [
        "--model",
        "quickstart",
        "--benchmarks",
        "quickstart",
        "--limit",
        "1",
        "--device",
        "cpu",
        "--output_dir",
        "out",
    ]
    assert main(["eval", *words]) == 0
    found = json.loads((tmp_path / "out/results.json").read_text())["benchmarks"]["quickstart"]
    assert 200 < found["max_new_tokens"] < 256  # the context, less the prompt


def test_scoring_again(capsys, folder):
    path = folder / "samples/quickstart.parquet"
    rows, meta = read_samples(path)
    write_samples(path, [{**row, "score": 0.0} for row in rows], meta)
    right = sum(row["score"] > 0 for row in rows)
    assert right > 0
    for place in ("out", "out/samples/quickstart.parquet"):
        assert main(["eval", "--grade", place]) == 0
        assert f"quickstart.parquet: {right} scores changed" in capsys.readouterr().out
        right = 0
    assert read_samples(path) == (rows, meta)


def test_scoring_again_shows_bars_outside_an_evaluation_too(monkeypatch, folder, tmp_path):
    from rich.console import Console

    screen = io.StringIO()
    monkeypatch.setattr("echorl.cli.bars.Console", lambda stderr: Console(file=screen, force_terminal=True))
    shutil.copy(folder / "samples/quickstart.parquet", tmp_path / "alone.parquet")
    assert main(["eval", "--grade", str(tmp_path / "alone.parquet")]) == 0
    assert "8/8" in screen.getvalue()


def test_scoring_again_a_file_in_this_folder(capsys, monkeypatch, folder):
    (folder / "results.json").unlink()
    monkeypatch.chdir(folder / "samples")
    assert main(["eval", "--grade", "quickstart.parquet"]) == 0
    assert (folder / "results.json").exists()


def test_a_model_in_this_folder(capsys, monkeypatch, tmp_path):
    from echorl.models import POLICY

    monkeypatch.chdir(shutil.copytree(POLICY, tmp_path / "mine"))
    assert main(["eval", *QUICK.split(), "--model", "."]) == 0
    assert (tmp_path / "mine/runs/eval/mine/results.json").exists()


def test_reasons_are_told(capsys, folder):
    path = folder / "samples/quickstart.parquet"
    rows, meta = read_samples(path)
    reasons = ["timeout", "timeout", "no answer", "died", *[""] * 4]
    write_samples(path, [{**row, "reason": reason} for row, reason in zip(rows, reasons, strict=True)], meta)
    assert main(call()) == 0
    assert "quickstart: scored 0 without having been compared: 1 died, 2 timeout\n" in capsys.readouterr().out


def test_comparison(capsys, folder):
    assert main(call("--seed", "1", "--output_dir", "other")) == 0
    capsys.readouterr()
    assert main(["eval", "--compare", "out", "other"]) == 0
    title, head, *rows = capsys.readouterr().out.strip().splitlines()
    assert title == "A = out, B = other, in %"
    assert [row.split()[:2] for row in rows] == [["quickstart", f"{name}@2"] for name in ("avg", "pass", "maj")]
    assert re.split(r"\s{2,}", head) == ["benchmark", "measure", "A", "B", "B - A", "95 %"]


def test_a_comparison_says_where_its_interval_has_no_width(capsys, folder):
    assert main(["eval", "--compare", "out", "out"]) == 0
    *_, row, note = capsys.readouterr().out.strip().splitlines()
    assert row.endswith("+0.0  [+0.0, +0.0]")
    assert note == (
        "intervals without width (quickstart avg@2, quickstart pass@2, quickstart maj@2): all items differ by the "
        "same, so that a bootstrap cannot estimate the uncertainty"
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--benchmarks", "quickstrat"], ["unknown benchmark 'quickstrat'", "did you mean quickstart"]),
        (["--model", "nowhere"], ["--model 'nowhere' (no folder here, so a model of the hub) cannot be loaded"]),
        (["--samples", "0"], ["--samples=0 is not allowed: it must be a whole number from 1"]),
        (["--temperature", "-1"], ["temperature=-1.0 is not allowed"]),
        (["--benchmarks", "math500", "--data", "no-such-folder"], ["no-such-folder"]),
        (["--max_new_tokens", "500"], ["max_new_tokens=500", "the model's context of 256"]),
        (["--backend", "vllm", "--device", "cpu"], ["--device cpu is for the backend 'transformers'"]),
        (["--grade", "x.parquet"], ["--model and --grade given: give exactly one"]),
        (["--benchmarks", "quickstart,quickstrat"], ["unknown benchmark 'quickstrat'"]),
    ],
)  # fmt: skip
def test_one_sentence(fails, words, said):
    fails(call(*words), *said)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], ["nothing to do given"]),
        (["--model", "quickstart"], ["--benchmarks is missing"]),
        (["--grade", "x.parquet"], ["x.parquet: there is no such file"]),
        (["--grade", "."], ["holds no samples/*.parquet"]),
        (["--compare", ".", "."], ["is no folder of an evaluation"]),
        (["--compare", ".", ".", "--seed", "0"], ["--seed has no effect with --compare"]),
        (["--grade", ".", "--benchmarks", "math500"], ["--benchmarks has no effect with --grade"]),
        (["--model", "quickstart", "--benchmarks", ","], ["--benchmarks is missing"]),
    ],
)
def test_one_sentence_for_half_a_command(fails, words, said):
    fails(["eval", *words], *said)


def test_an_empty_data_file(fails, tmp_path):
    (tmp_path / "math500.jsonl").write_text("")
    fails(call("--benchmarks", "math500", "--data", "math500.jsonl"), "math500.jsonl")


def test_other_settings_in_the_same_folder(fails, folder):
    fails(call("--temperature", "1"), "out holds samples made with other settings (temperature 0.6 then, 1.0 now)")
    fails(call("--samples", "4"), "quickstart: samples 2 then, 4 now")


def test_a_damaged_file(fails, folder):
    (folder / "samples/quickstart.parquet").write_bytes(b"PAR1 nothing")
    for command in (["eval", "--grade", "out"], ["eval", "--compare", "out", "out"], call()):
        fails(command, "quickstart.parquet is no readable parquet file", "delete it or give another")


def test_a_comparison_of_other_items(fails, folder):
    assert main(call("--limit", "3", "--output_dir", "less")) == 0
    fails(["eval", "--compare", "out", "less"], "quickstart: out and less hold different items (4 and 3;")


def test_one_at_a_time(fails, folder):
    with FileLock(folder / ".lock"):
        fails(call(), "another `echorl eval` is at work in out")
        fails(["eval", "--grade", "out"], "another `echorl eval` is at work in out")


def test_ctrl_c_says_how_to_go_on(capsys, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("echorl.lab.evaluate.engines.Transformers.generate", stop)
    assert main(call()) == 130
    assert "the same command goes on from there" in capsys.readouterr().err


def test_gpqa_leaves_no_text(capfd, tmp_path, model):
    """Neither in the folder nor on the screen, also where something fails."""
    columns = ["Question", "Correct Answer", *(f"Incorrect Answer {i}" for i in (1, 2, 3)), "Record ID"]
    rows = [[f"SECRET question {i}", *(f"SECRET {i} {name}" for name in "abcd"), f"rec{i}"] for i in range(3)]
    with (tmp_path / "gpqa_diamond.csv").open("w", newline="") as file:
        csv.writer(file).writerows([columns, *rows])
    words = [
        "--benchmarks",
        "gpqa_diamond",
        "--data",
        "gpqa_diamond.csv",
        "--model",
        str(long_context(tmp_path, model)),
    ]
    assert main(call(*words, "--max_new_tokens", "4")) == 0
    assert main(["eval", "--grade", "out"]) == 2  # the hub is out of reach here
    assert main(["eval", "--grade", "out", "--data", "gpqa_diamond.csv"]) == 0
    (row, *_), _ = read_samples(tmp_path / "out/samples/gpqa_diamond.parquet")
    assert row.keys() == {"benchmark", "item", "sample", "tokens", "truncated", "answer", "score", "reason"}
    said = capfd.readouterr()
    everything = (
        said.out + said.err + "".join(p.read_text("latin1") for p in (tmp_path / "out").rglob("*") if p.is_file())
    )
    assert "gpqa_diamond" in everything
    assert "SECRET" not in everything


def long_context(tmp_path, model):
    """The tiny model with room for a long prompt."""
    folder = shutil.copytree(model, tmp_path / "long")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "max_position_embeddings": 4096}))
    return folder


def test_vllm_is_missing(fails, monkeypatch):
    monkeypatch.setattr("echorl.lab.evaluate.engines.find_spec", lambda name: None)
    fails(["eval", "--model", "quickstart", "--benchmarks", "quickstart", "--backend", "vllm"], "vLLM", "not installed")

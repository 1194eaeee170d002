"""`echorl probe`: the table, going on with more prompts, and one sentence for what it can't use."""

from __future__ import annotations

import json

import pytest
from filelock import FileLock

from echorl.cli import main
from echorl.lab.probe.verdict import headline


def call(*words):
    return ["probe", "--model", "quickstart", "--benchmark", "quickstart", "--samples", "4", "--max_new_tokens", "80",
            "--baseline_samples", "2", "--output_dir", "out", "--device", "cpu", *words]  # fmt: skip


def test_table_and_file_and_more_prompts(tmp_path, capsys):
    assert main(call("--prompts", "5", "--batch_size", "30", "--projection", "1024")) == 0
    lines = capsys.readouterr().out.splitlines()
    result = json.loads((tmp_path / "out/probe.json").read_text())
    assert lines[0] == headline(result)
    assert lines[2].startswith("20 rollouts of 5 prompts: ")
    assert f"pass@1 {result['pass_at_1']['value']:.3f} +- " in lines[2]
    rules = [(row["label"], row["groups"].replace("_", "-")) for row in result["rules"]]
    assert len(rules) == len(set(rules)) == 20
    for label, groups in rules:
        assert any(line.startswith(label) and groups in line for line in lines)
    assert [f"- {sentence}" for sentence in result["verdict"]] == lines[-1 - len(result["verdict"]) : -1]
    assert lines[-1] == "numbers: out/probe.json"
    assert {row["groups"] for row in result["rules"]} == {"all_success", "mixed", "verified", "all"}
    before = (tmp_path / "out/parts/000000.pt").stat().st_mtime_ns
    assert main(call("--prompts", "6", "--batch_size", "30", "--projection", "1024", "--prompts_per_batch", "64")) == 0
    assert (tmp_path / "out/parts/000000.pt").stat().st_mtime_ns == before
    assert json.loads((tmp_path / "out/probe.json").read_text())["sizes"]["prompts"] == 6


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("--prompts", "100000"), "items, not 100000: ask for fewer prompts"),
        (("--prompts", "3"), "3 prompts are too few"),
        (("--samples", "1"), "samples=1 is not allowed"),
        (("--temperature", "0"), "temperature=0.0 is not allowed"),
        (("--projection", "-1"), "projection=-1 is not allowed"),
        (("--loss_type", "ppo"), "loss_type='ppo' is not allowed: it must be one of 'dapo', 'grpo', 'dr_grpo'"),
        (("--parameters", "("), "parameters='(' is no regular expression"),
        (("--parameters", "nothing"), "parameters='nothing' is found in no parameter's name"),
        (("--benchmark", "mathh500"), "unknown benchmark 'mathh500' (did you mean math500"),
    ],
)
def test_settings_it_cannot_use(fails, words, text):
    fails(call("--prompts", "4", *words), text)


def test_another_one_at_work_and_a_folder_of_something_else(tmp_path, fails):
    (tmp_path / "out").mkdir()
    with FileLock(tmp_path / "out/.lock"):
        fails(call("--prompts", "4"), "another `echorl probe` is at work in out")
    (tmp_path / "out/thesis.tex").touch()
    fails(call("--prompts", "4"), "out holds files that `echorl probe` did not write")

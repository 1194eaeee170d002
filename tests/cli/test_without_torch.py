"""The mistakes of a first hour are refused without torch, whose import takes seconds; and what that check relies on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from echorl.train.options import ECHO_OPTIONS

FILES = {
    "echo.yaml": "task: quickstart\necho_cof: 1\n",
    "typo.yaml": "trian_file: rows.jsonl\n",
    "broken.yaml": "task: [\n",
    "task.yaml": "task: quikstart\n",
    "options.yaml": "task: quickstart\ntask_options: {genertor: x}\n",
    "plain.yaml": "task: quickstart\n",
    "study.yaml": "recipe: plain.yaml\nsteps: 1\narms:\n  a: {}\n  b: {method: dpao}\n",
    "arms.yaml": "recipe: plain.yaml\nsteps: 1\narms:\n  a: {}\n  b: {echo_cof: 1}\n",
    "rows.jsonl": '{"question": "a"}\n',
    "own.py": "def f(completions, **columns):\n    return [1.0] * len(completions)\n",
    "rollouts.jsonl": '{"text": "a", "reward": 1}\n',
    "good.jsonl": '{"prompt": "a", "response": "b", "reward": 1}\n',
    "mined/settings.json": '{"temperature": 0.5}',
    "evaluated/settings.json": (
        '{"model": "m", "common": {}, "benchmarks": {"quickstart": {"samples": 8}}, "versions": []}'
    ),
    "foreign/thesis.tex": "",
}
LAB = ["--model", "quickstart"]
STORED = str(Path(__file__).parents[2] / "benchmarks" / "studies" / "chain_sum.jsonl.gz")
MISTAKES = [
    (["train", "--config", "echo.yaml"], "echo.yaml: unknown option 'echo_cof'; did you mean 'echo_coef'?"),
    (["train", "--task", "quickstart", "--echo-cof=1"], "unknown option '--echo-cof'"),
    (["train", "--config", "typo.yaml"], "typo.yaml: unknown option 'trian_file'; did you mean 'train_file'?"),
    (["sft", "--trian_file", "rows.jsonl"], "unknown option '--trian_file'"),
    (["train", "--config", "broken.yaml"], "is not valid YAML"),
    (["train", "--config", "task.yaml"], "unknown task 'quikstart'"),
    (["train", "--config", "options.yaml"], "has no option 'genertor'"),
    (["train", "--task", "quickstart", "--method", "dpao"], "did you mean 'dapo'?"),
    (["train", "--train_file", "rows.jsonl"], "rows.jsonl: no column 'prompt' among question"),
    (["train", "--train_file", "none.jsonl"], "no file none.jsonl"),
    (["train", "--task", "quickstart", "--model_name_or_path", "runs/none"], "model_name_or_path='runs/none' does not"),
    (["sft", "--task", "quickstart", "--model_name_or_path", "./none"], "model_name_or_path='./none' does not exist"),
    (["train", "--task", "quickstart", "--model", "x"], "'--model' on the command line; did you mean '--model_name_or"),
    (["train", "--dataset_name", "runs/none", "--reward_funcs", "rows.py:f"], "dataset_name='runs/none' does not"),
    (["train", "--task", "quickstart", "--reward_funcs", "none.py:f"], "'none.py:f' cannot be imported"),
    (["train", "--task", "quickstart", "--reward_funcs", "no_module.f"], "'no_module.f' cannot be imported"),
    (["train", "--task", "quickstart", "--reward_funcs", "own.py:g"], "'own.py:g' does not exist; own has: f"),
    (["train", "--train_file", "rows.jsonl", "--row_func", "none.py:f"], "'none.py:f' cannot be imported"),
    (["compare", "broken.yaml"], "is not valid YAML"),
    (["train", "--task", "quickstart", "--method", "none.py:Rule"], "there is no file"),
    (["compare", "echo.yaml"], "unknown option 'task'"),
    (["compare", "study.yaml", "--dry_run"], "arm 'b': method='dpao' does not exist; did you mean 'dapo'?"),
    (["compare", "arms.yaml", "--dry_run"], "arm 'b': arms.yaml: unknown option 'echo_cof'; did you mean 'echo_coef'?"),
    (["compare", "study.yaml", "--add", "rule.py:Rule"], "--add needs stored runs, and study.yaml is no packed study"),
    (["compare", STORED, "--add", "none.py:Rule"], "--add='none.py:Rule': there is no file"),
    (["compare", STORED, "--add", "dpao"], "--add='dpao' does not exist; did you mean 'dapo'?"),
    (["eval", *LAB, "--benchmarks", "math501"], "did you mean math500?"),
    (["eval", *LAB, "--benchmarks", "rows.jsonl"], "rows.jsonl has no column of the answer"),
    (["probe", *LAB, "--benchmark", "rows.jsonl"], "rows.jsonl has no column of the answer"),
    (["probe", *LAB, "--benchmark", "quickstart", "--method", "dpao"], "did you mean 'dapo'?"),
    (["mine", *LAB, "rollouts.jsonl"], "no layout that is known"),
    (["audit", "rollouts.jsonl"], "neither a prompt nor a group"),
    (["mine", "rollouts.jsonl", "--model", "runs/none"], "--model='runs/none' does not exist"),
    (["eval", "--model", "~/none", "--benchmarks", "quickstart"], "--model='~/none' does not exist"),
    (["probe", "--model", "a/b/none", "--benchmark", "quickstart"], "--model='a/b/none' does not exist"),
    (["analyze", "entropy", "--model", ".", "--benchmark", "quickstart"], "--model='.' is a folder without a config"),
    (["mine", "rollouts.jsonl", "--model", "rows.jsonl"], "--model='rows.jsonl' is a file"),
    (["mine", *LAB, "good.jsonl", "--output_dir", "mined"], "with other settings (temperature 0.5 then, 1.0 now)"),
    (["mine", *LAB, "good.jsonl", "--output_dir", "foreign"], "files that `echorl mine` did not write (thesis.tex)"),
    (["eval", *LAB, "--benchmarks", "quickstart", "--output_dir", "evaluated"], "(quickstart: samples 8 then, 1 now)"),
    (["eval", *LAB, "--benchmarks", "quickstart", "--output_dir", "foreign"], "did not write (thesis.tex)"),
    (["eval", "--compare", "evaluated", "foreign"], "foreign is no folder of an evaluation"),
    (["probe", "--help"], ""),
    (["env"], ""),
]
CODE = """
import contextlib, io, json, sys
from echorl.cli import main
for argv in json.loads(sys.argv[1]):
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
            code = main(argv)
    except SystemExit as error:  # of --help
        code = error.code
    print(json.dumps([code, "torch" in sys.modules, said.getvalue()]))
"""


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """(exit code, whether torch is imported, the message) of each mistake, all made in one process."""
    folder = tmp_path_factory.mktemp("mistakes")
    for name, text in FILES.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    words = json.dumps([argv for argv, _ in MISTAKES])
    done = subprocess.run(
        [sys.executable, "-c", CODE, words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("index", range(len(MISTAKES)), ids=[" ".join(argv) for argv, _ in MISTAKES])
def test_torch_stays_away(outcomes, index):
    code, torch, text = outcomes[index]
    assert not torch
    assert MISTAKES[index][1] in text
    assert code == (2 if MISTAKES[index][1] else 0)


def test_a_class_that_no_file_has_is_refused_before_trl(tmp_path):
    """Its file is imported by `find_method`, which brings torch."""
    code = "import sys; from echorl.cli import main; code = main(sys.argv[1:]); print(code, 'trl' in sys.modules)"
    words = ["train", "--task", "quickstart", "--method", "none.py:Rule"]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code, *words], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.stdout == "2 False\n"
    assert "method='none.py:Rule': there is no file" in done.stderr


def test_the_options_of_echorl_are_those_that_the_config_adds():
    from trl import GRPOConfig

    from echorl.trl import EchoGRPOConfig

    base = {each.name for each in fields(GRPOConfig)}
    assert set(ECHO_OPTIONS) == {each.name for each in fields(EchoGRPOConfig)} - base


def test_no_option_of_trl_is_taken_for_one_of_echorl_misspelt():
    from trl import GRPOConfig, ModelConfig, SFTConfig

    from echorl.train.early import is_misspelt
    from echorl.train.run import TRAIN
    from echorl.train.sft import SFT

    for command, config in ((TRAIN, GRPOConfig), (SFT, SFTConfig)):
        names = [*command.echo_options, *(each.name for each in fields(command.data))]
        options = {each.name for each in (*fields(config), *fields(ModelConfig))}
        assert not [name for name in options if is_misspelt(name, names, command)]


def test_the_names_of_methods_are_those_that_are_registered():
    from echorl.methods import METHODS
    from echorl.support.method_names import method_names

    built_in = {name for name, method in METHODS.items() if method.__module__.startswith("echorl.methods.")}
    assert set(method_names()) == built_in

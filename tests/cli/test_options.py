"""Every option of every command with absurd values: a sentence that names the option, and nothing written."""

from __future__ import annotations

import argparse
import errno
import io
import os
import sys
from pathlib import Path

import pytest

from echorl.cli import COMMANDS, main
from echorl.cli.dispatch import _parser
from echorl.support.bounds import Bounds
from echorl.support.errors import UserError
from echorl.train.parsing import BOUNDS, make_parser, parse
from echorl.train.recipe import Recipe
from echorl.train.run import train_command
from echorl.train.sft import sft_command
from tests.lab.conftest import rows, write

NEEDED = {
    "mine": ["mine", "rows.jsonl", "--model", "nowhere"],
    "probe": ["probe", "--model", "nowhere", "--benchmark", "quickstart"],
    "eval": ["eval", "--model", "nowhere", "--benchmarks", "quickstart"],
    "report": ["report", "nowhere"],
    "compare": ["compare", "nowhere.yaml"],
    "quickstart": ["quickstart"],
    "env": ["env"],
    **{
        f"analyze {what}": ["analyze", what, "--model", "nowhere", "--benchmark", "quickstart"]
        for what in ("entropy", "deletion")
    },
}
NUMBERS = ("nan", "inf", "-inf", str(2**64), str(-(2**64)), "1e400", "", " ", "one", "1\0")
TEXTS = ("", " ", "\n", "a\0b", "\ud800", "x" * 300, "x/" + "y" * 300)


def options_of(words: list[str]) -> list[argparse.Action]:
    """As they were declared."""
    parser = _parser(words[0])
    for word in [words[0], *words[1:2]]:
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction) and word in action.choices:
                parser = action.choices[word]
    return [action for action in parser._actions if action.dest != "help"]


OPTIONS = [
    pytest.param(words, action, id=f"{command} {action.dest}")
    for command, words in NEEDED.items()
    for action in options_of(words)
    if action.nargs != 0
]


def files() -> list[str]:
    return sorted(str(path) for path in Path().rglob("*"))


def given(words: list[str], action: argparse.Action, value: str) -> list[str]:
    """The command line with the option set to that value (of several the last)."""
    number = action.nargs if isinstance(action.nargs, int) else 1
    if not action.option_strings:
        return [words[0], value, *[word for word in words[2:] if words[0] != "report"]]
    return [*words, action.option_strings[0], *[value] * number] if number > 1 else [*words, f"--{action.dest}={value}"]


def refusal(words: list[str], capsys) -> str:
    """What `echorl` says as it refuses a command line."""
    before = files()
    try:
        status = main(words)
    except SystemExit as error:  # argparse's own
        status = error.code
    said = capsys.readouterr().err
    assert status == 2, words
    assert "Traceback" not in said, said
    assert files() == before, words
    return said.strip().splitlines()[-1]


def test_every_command_is_tried():
    assert {words[0] for words in NEEDED.values()} | {"train", "sft"} == set(COMMANDS)


@pytest.mark.parametrize(("words", "action"), OPTIONS)
def test_absurd_values(words, action, capsys, tmp_path):
    write(tmp_path / "rows.jsonl", rows(1))
    is_number = action.type in (int, float)
    texts = ("a\0b", "\ud800") if action.dest == "parameters" else TEXTS  # a regular expression, by default ""
    for value in NUMBERS if is_number else texts:
        said = refusal(given(words, action, value), capsys)
        name = action.dest if action.option_strings else (action.metavar or action.dest)
        assert name in said or action.dest in said, (value, said)


@pytest.mark.parametrize(("words", "action"), OPTIONS)
def test_numbers_have_bounds(words, action, capsys):
    """One that is declared without is told here, and those beyond the bounds are refused."""
    if action.type not in (int, float):
        return
    bounds = action.bounds
    assert isinstance(bounds, Bounds)
    for value in (bounds.least - 1, bounds.most * 2):
        if abs(value) < float("inf"):
            said = refusal(given(words, action, str(action.type(value))), capsys)
            assert f"{action.dest}={action.type(value)} is not allowed: give" in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("mine rows.jsonl --model m --temperature inf", "temperature=inf is not allowed"),
        ("mine rows.jsonl --model m --temperature 1e-300", "temperature=1e-300 is not allowed"),
        ("mine rows.jsonl --model m --max_length -5", "max_length=-5 is not allowed: give 1 or more"),
        ("mine rows.jsonl --model m --max_length 0", "max_length=0 is not allowed: give 1 or more"),
        ("mine rows.jsonl --model m --output_dir=", "output_dir='' is blank"),
        ("mine rows.jsonl --model m --prompt=", "prompt='' is blank"),
        ("mine rows.jsonl --model m --device meta", "'meta' is no device that a model runs on"),
        ("mine rows.jsonl --model m --device cuda:x", "'cuda:x' is no device"),
        (f"mine rows.jsonl --model m --seed {2**64}", f"seed={2**64} is not allowed: give a number from 0 to"),
        ("eval --model m --benchmarks b --temperature 1e-300", "temperature=1e-300 is not allowed: give 0, or 1e-06"),
        ("eval --model m --benchmarks b --samples 99999999999", "samples=99999999999 is not allowed"),
        (f"probe --model m --benchmark b --seed {2**64}", "seed="),
        ("compare s.yaml --parallel 0", "parallel=0 is not allowed: give 1 or more"),
        ("report runs/a --output=", "argument --output: '' is blank"),
    ],
)
def test_what_was_accepted(words, said, capsys, tmp_path):
    write(tmp_path / "rows.jsonl", rows(1))
    assert said in refusal(words.split(" "), capsys)


@pytest.mark.parametrize("command", [train_command(), sft_command()], ids=["train", "sft"])
def test_absurd_values_in_training(command, tmp_path):
    """The settings are made and nothing else."""
    options = {"model_name_or_path": "quickstart", "task": "quickstart", "use_cpu": True, "bf16": False}
    for action in make_parser(command)._actions:
        if action.dest == "help":
            continue
        tries = ("a\0b", "\ud800") if action.type is str else ("nan", "inf", str(2**64), str(-(2**64)), "a\0b")
        for value in tries:
            if action.type is not str and not _is_number(action):
                continue
            with pytest.raises(UserError) as caught:
                parse(command, Recipe(options=options), [f"{action.option_strings[0]}={value}"])
            assert action.dest in str(caught.value)
    assert not files()


def _is_number(action: argparse.Action) -> bool:
    try:
        return isinstance(action.type("5"), (int, float)) and not isinstance(action.type("1"), bool)
    except (TypeError, ValueError, argparse.ArgumentTypeError):
        return False


@pytest.mark.parametrize("name", BOUNDS)
def test_bounds_in_training(name):
    command, bounds = train_command(), BOUNDS[name]
    options = {"model_name_or_path": "quickstart", "task": "quickstart", "use_cpu": True, "bf16": False}
    for value in (bounds.least - 1, bounds.most * 2):
        with pytest.raises(UserError, match=name):
            parse(command, Recipe(options={**options, name: value}), [])


@pytest.mark.parametrize("name", ["output_dir", "train_file", "task", "model_name_or_path"])
@pytest.mark.parametrize("value", ["", "  ", "x" * 300])
def test_names_in_training(name, value):
    options = {"model_name_or_path": "quickstart", "task": "quickstart", "use_cpu": True, "bf16": False}
    with pytest.raises(UserError, match=name):
        parse(train_command(), Recipe(options={**options, name: value}), [])


@pytest.mark.parametrize(
    "env", ["{5: a}", "{'a=b': c}", '{"a\\0": b}', '{a: "b\\0"}', "{'': a}", "{a: [1]}", "{a: null}"]
)
def test_environment_variables_of_a_recipe(env, fails, tmp_path):
    (tmp_path / "recipe.yaml").write_text(f"task: quickstart\nenv: {env}\n")
    before = dict(os.environ)
    fails(["train", "--config", "recipe.yaml"], "recipe.yaml: 'env' has")
    assert dict(os.environ) == before


@pytest.mark.parametrize(("value", "status"), [("", 2), (" ", 2), ("1", 2), ("two", 2)])
def test_the_environment_of_a_launcher(value, status, monkeypatch, capsys):
    monkeypatch.setenv("WORLD_SIZE", value)
    assert main(["report", "nowhere"]) == status
    said = capsys.readouterr().err
    assert ("WORLD_SIZE" in said) == (value == "two")
    assert "Traceback" not in said


@pytest.mark.parametrize("module", ["echorl.cli.dispatch", "echorl.support.errors", "echorl.cli.env"])
def test_ctrl_c_during_the_imports(module, monkeypatch, capsys):
    class Interrupting:
        def find_spec(self, name, path=None, target=None):
            if name == module:
                raise KeyboardInterrupt

    for name in ("echorl.cli.dispatch", "echorl.support.errors", "echorl.cli.env"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setattr(sys, "meta_path", [Interrupting(), *sys.meta_path])
    assert main(["env"]) == 130
    assert capsys.readouterr().err == "echorl: interrupted.\n"


def test_a_terminal_of_ascii_alone(monkeypatch, tmp_path):
    from tests.lab.report import made

    made.make_evaluation(tmp_path / "lauf-ü")
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", out)
    assert main(["report", "lauf-ü"]) == 0
    out.flush()
    assert b"lauf-\\xfc.html" in out.buffer.getvalue()


@pytest.mark.parametrize(
    "error",
    [OSError(errno.ENOSPC, "No space left on device", "out/model.safetensors"),
     RuntimeError("I/O error: No space left on device (os error 28)")],
)  # fmt: skip
def test_a_full_disk(error, monkeypatch, fails):
    def run(args):
        raise error

    monkeypatch.setattr("echorl.cli.env.run", run)
    fails(["env"], "No space left on device", "free some space")


@pytest.mark.parametrize(
    "words",
    [
        "mine place.jsonl --model quickstart --device cpu",
        "analyze entropy --model quickstart --file place.jsonl",
        "analyze entropy --model quickstart --benchmark quickstart --rollouts place.jsonl",
        "eval --model place.jsonl --benchmarks quickstart",
        "eval --compare place.jsonl place.jsonl",
        "eval --grade place.jsonl",
        "compare place.jsonl",
        "report place.jsonl",
        "report run --output place.html",
        "train --config place.jsonl",
        "train --task quickstart --use_cpu true --bf16 false --model_name_or_path place.jsonl --output_dir out",
    ],
)
def test_a_folder_in_the_place_of_a_file(words, tmp_path, capsys):
    from tests.lab.report import made

    (tmp_path / "place.jsonl").mkdir()
    (tmp_path / "place.html").mkdir()
    made.make_evaluation(tmp_path / "run")
    before = {name for name in files() if name != "out"}
    assert main(words.split(" ")) == 2
    said = capsys.readouterr().err
    assert "Traceback" not in said
    assert said.strip().splitlines()[-1].startswith("echorl: error: ")
    assert {name for name in files() if not name.startswith("out")} == before

"""Every option of every command with absurd values: a sentence that names the option, and nothing written."""

from __future__ import annotations

import errno
import io
import os
import re
import sys
import typing
from dataclasses import fields
from importlib import import_module
from pathlib import Path

import pytest

import echorl
from echorl.cli import COMMANDS, main
from echorl.cli.mine import MineOptions
from echorl.cli.parser import describe
from echorl.cli.parser import parse as parse_command
from echorl.core.options import Option, options_of
from echorl.support.errors import UserError
from echorl.train.parsing import BOUNDS, parse
from echorl.train.recipe import Recipe
from echorl.train.run import TRAIN
from echorl.train.sft import SFT
from tests.lab.conftest import rows, write

NEEDED = {
    "audit": ["audit", "nowhere"],
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


def settings_of(command: str) -> type:
    """The dataclass that declares a command's options."""
    return getattr(import_module(f"echorl.cli.{command}"), f"{command.capitalize()}Options")


POSITIONAL = {
    (command, each.name)
    for command in {words[0] for words in NEEDED.values()}
    for each in fields(settings_of(command))
    if each.metadata.get("positional")
}
OPTIONS = [
    pytest.param(words, option, id=f"{command} {option.name}")
    for command, words in NEEDED.items()
    for option in options_of(settings_of(words[0]))
    if option.kind is not bool and option.name != "analysis"
]


def files() -> list[str]:
    return sorted(str(path) for path in Path().rglob("*"))


def given(words: list[str], option: Option, value: str) -> list[str]:
    """The command line with the option set to that value (of several the last)."""
    if (words[0], option.name) in POSITIONAL:
        return [words[0], value, *[word for word in words[2:] if words[0] != "report"]]
    if option.kind == tuple[Path, Path]:
        return [*words, f"--{option.name}", value, value]
    return [*words, f"--{option.name}={value}"]


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


def test_no_private_name_of_argparse():
    private = re.compile(r"argparse\._|\b(parser|action)\._|\._(actions|check_value|get_value|option_string_actions)\b")
    sources = [path for path in Path(echorl.__file__).parent.rglob("*.py") if private.search(path.read_text("utf-8"))]
    assert sources == []


@pytest.mark.parametrize(("words", "option"), OPTIONS)
def test_absurd_values(words, option, capsys, tmp_path):
    write(tmp_path / "rows.jsonl", rows(1))
    texts = ("a\0b", "\ud800") if option.name == "parameters" else TEXTS  # a regular expression, by default ""
    for value in NUMBERS if option.kind in (int, float) else texts:
        name = option.name.upper() if (words[0], option.name) in POSITIONAL else option.name
        assert name in refusal(given(words, option, value), capsys), value


@pytest.mark.parametrize(("words", "option"), OPTIONS)
def test_numbers_have_bounds(words, option, capsys):
    """One that is declared without is told here, and those beyond the bounds are refused."""
    if option.kind not in (int, float):
        return
    least, most = (option.gt if option.ge is None else option.ge), (option.lt if option.le is None else option.le)
    assert least is not None
    assert most is not None
    for value in (option.kind(least - 1), option.kind(most * 2)):
        said = refusal(given(words, option, str(value)), capsys)
        assert f"--{option.name}={value} is not allowed: it must be a" in said


def test_hyphens_and_underscores():
    words = ["rows.jsonl", "--model", "a-b"]
    hyphens = parse_command("mine", MineOptions, [*words, "--min-step-tokens", "3", "--output-dir=my-folder"])
    assert hyphens == parse_command("mine", MineOptions, [*words, "--min_step_tokens=3", "--output_dir", "my-folder"])
    assert (hyphens.model, hyphens.min_step_tokens, hyphens.output_dir) == ("a-b", 3, Path("my-folder"))


def test_help_has_the_default_unless_it_is_none_or_off():
    helps = {option.name: describe(option) for option in options_of(MineOptions)}
    assert helps["seed"].endswith("Default: 0.")
    assert not any("Default:" in helps[name] for name in ("chat", "max_length", "model"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("mine rows.jsonl", "--model is missing: give a Hugging Face folder"),
        ("mine --model m", ": ROLLOUTS is missing: give files of rollouts"),
        (
            "mine rows.jsonl --model m --top-kk 3",
            "unknown option '--top_kk' on the command line; did you mean '--top_k'?",
        ),
        ("mine rows.jsonl --model m --top 3", "unknown option '--top'"),
        ("probe stray", "unexpected 'stray' on the command line"),
        ("eval --compare a", "--compare: expected 2 arguments"),
        ("mine rows.jsonl --model m --scope some", "--scope='some' is not allowed: it must be one of 'verified', 'deg"),
        ("mine rows.jsonl --model m --top_k two", "--top_k='two' is not allowed: it must be a whole number from 1 to"),
        ("analyze both --model m", ": ANALYSIS='both' is not allowed: it must be one of 'entropy', 'deletion'"),
        ("analyze entropy --model m --file f --traces 3", "--traces and --finishes are options of `echorl analyze del"),
    ],
)
def test_what_the_parser_says(words, said, capsys):
    assert said in refusal(words.split(" "), capsys)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("mine rows.jsonl --model m --temperature inf", "temperature='inf' is not allowed"),
        ("mine rows.jsonl --model m --temperature 1e-300", "temperature=1e-300 is not allowed"),
        (
            "mine rows.jsonl --model m --max_length -5",
            "max_length=-5 is not allowed: it must be a whole number from 1 to",
        ),
        ("mine rows.jsonl --model m --max_length 0", "max_length=0 is not allowed: it must be a whole number from 1"),
        ("mine rows.jsonl --model m --output_dir=", "output_dir='' is blank"),
        ("mine rows.jsonl --model m --prompt=", "prompt='' is blank"),
        ("mine rows.jsonl --model m --device meta", "'meta' is no device that a model runs on"),
        ("mine rows.jsonl --model m --device cuda:x", "'cuda:x' is no device"),
        (
            f"mine rows.jsonl --model m --seed {2**64}",
            f"seed={2**64} is not allowed: it must be a whole number from 0 to",
        ),
        (
            "eval --model m --benchmarks b --temperature 1e-300",
            "temperature=1e-300 is not allowed: it must be 0, or 1e-06",
        ),
        ("eval --model m --benchmarks b --samples 99999999999", "samples=99999999999 is not allowed"),
        (f"probe --model m --benchmark b --seed {2**64}", "seed="),
        ("compare s.yaml --parallel 0", "parallel=0 is not allowed: it must be a whole number from 1 to"),
        ("report runs/a --output=", "--output='' is blank"),
    ],
)
def test_what_was_accepted(words, said, capsys, tmp_path):
    write(tmp_path / "rows.jsonl", rows(1))
    assert said in refusal(words.split(" "), capsys)


@pytest.mark.parametrize("command", [TRAIN, SFT], ids=["train", "sft"])
def test_absurd_values_in_training(command, tmp_path):
    """The settings are made and nothing else."""
    options = {"model_name_or_path": "quickstart", "task": "quickstart", "use_cpu": True, "bf16": False}
    hints = [hint for each in command.dataclasses() for hint in typing.get_type_hints(each).items()]
    for name, hint in hints:
        for value in TRIED.get(hint, ()):
            with pytest.raises(UserError) as caught:
                parse(command, Recipe(options=options), [f"--{name}={value}"])
            assert name in str(caught.value)
    assert not files()


TRIED = {
    **dict.fromkeys((int, float, int | None, float | None), ("nan", "inf", str(2**64), str(-(2**64)), "a\0b")),
    **dict.fromkeys((str, str | None, list[str], list[str] | None, dict | str | None), ("a\0b", "\ud800")),
}


@pytest.mark.parametrize("name", BOUNDS)
def test_bounds_in_training(name):
    command, (least, most) = TRAIN, BOUNDS[name]
    options = {"model_name_or_path": "quickstart", "task": "quickstart", "use_cpu": True, "bf16": False}
    for value in (least - 1, most * 2):
        with pytest.raises(UserError, match=name):
            parse(command, Recipe(options={**options, name: value}), [])


@pytest.mark.parametrize("name", ["output_dir", "train_file", "task", "model_name_or_path"])
@pytest.mark.parametrize("value", ["", "  ", "x" * 300])
def test_names_in_training(name, value):
    options = {"model_name_or_path": "quickstart", "task": "quickstart", "use_cpu": True, "bf16": False}
    with pytest.raises(UserError, match=name):
        parse(TRAIN, Recipe(options={**options, name: value}), [])


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


@pytest.mark.parametrize("module", ["echorl.cli.parser", "echorl.support.errors", "echorl.cli.env"])
def test_ctrl_c_during_the_imports(module, monkeypatch, capsys):
    class Interrupting:
        def find_spec(self, name, path=None, target=None):
            if name == module:
                raise KeyboardInterrupt

    for name in ("echorl.cli.parser", "echorl.support.errors", "echorl.cli.env"):
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

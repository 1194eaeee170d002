from __future__ import annotations

import os
import subprocess
import sys

import pytest

from echorl import __version__
from echorl.cli import COMMANDS, main
from echorl.support.errors import guard
from echorl.tasks import TASKS

HEAVY = ("torch", "transformers", "trl", "datasets", "matplotlib", "accelerate", "reasoning_gym")
SCRIPT = f"""
import sys
import echorl
before = set(sys.modules)
from echorl.cli import COMMANDS, main
for argv in (["--help"], *([command, "--help"] for command in COMMANDS)):
    try:
        main(argv)
    except SystemExit:
        pass
print([name for name in {HEAVY} if name in sys.modules and name not in before])
"""


def test_help_is_light():
    """It loads nothing heavy beyond what the package itself does."""
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    assert done.stdout.strip().splitlines()[-1] == "[]"
    assert all(name in done.stdout for name in COMMANDS)


def test_without_a_command(capsys):
    assert main([]) == 0
    assert "usage: echorl" in capsys.readouterr().out


def test_version(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["--version"])
    assert capsys.readouterr().out.strip() == f"echorl {__version__}"


def test_unknown_command(capsys):
    assert main(["tain"]) == 2
    assert capsys.readouterr().err == "echorl: error: unknown command 'tain'; did you mean 'train'?\n"


@pytest.mark.parametrize("command", ["train", "sft"])
def test_help_lists_every_task(capsys, command):
    assert main([command, "--help"]) == 0
    text = capsys.readouterr().out
    assert all(name in text for name in ("quickstart", *TASKS))


def test_help_says_where_the_pages_are(capsys):
    with pytest.raises(SystemExit):
        main(["mine", "--help"])
    assert capsys.readouterr().out.endswith("The pages docs/... are in echorl's repository.\n")


def test_every_option_is_listed(capsys):
    assert main(["train", "--help_all"]) == 0
    text = capsys.readouterr().out
    assert all(option in text for option in ("--echo_coef", "--task_options", "--lora_r", "--learning_rate"))


def test_env(capsys):
    assert main(["env"]) == 0
    lines = dict(line.split(":", 1) for line in capsys.readouterr().out.strip().splitlines())
    assert lines["echorl"].strip() == __version__
    wanted = {"python", "torch", "trl", "transformers", "peft", "accelerate", "datasets", "vllm", "verl", "cpu", "cuda"}
    assert wanted <= lines.keys()
    assert "supported" in lines["trl for echorl"] or "untested" in lines["trl for echorl"]


def test_env_tells_of_an_old_trl(capsys, monkeypatch):
    monkeypatch.setattr("echorl.trl.versions.OLDEST", "99")
    assert main(["env"]) == 0
    assert "not supported: trl" in capsys.readouterr().out


def test_telemetry_is_off_unless_turned_on(monkeypatch, tmp_path):
    (tmp_path / "recipe.yaml").write_text("env: {HF_HUB_DISABLE_TELEMETRY: 0}\n")
    for argv, wanted in ([], "1"), (["--config", str(tmp_path / "recipe.yaml")], "0"):
        monkeypatch.delenv("HF_HUB_DISABLE_TELEMETRY", raising=False)
        assert main(["train", "--help_all", *argv]) == 0
        assert os.environ["HF_HUB_DISABLE_TELEMETRY"] == wanted


@pytest.mark.parametrize("rows", [[], [["", ""]]])
def test_a_table_without_cells_is_its_title(capsys, rows):
    from echorl.cli.tables import print_table

    print_table("nothing", ["name", "value"], rows)
    assert capsys.readouterr().out.split() == ["nothing"]


@pytest.mark.parametrize("lines", [1, 100_000])
def test_an_output_that_nobody_reads_ends_the_command_in_silence(lines):
    code = f"from echorl.support.errors import guard; raise SystemExit(guard(lambda: print('x\\n' * {lines})))"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait(timeout=600) == 141


def test_an_output_that_the_shell_closed(monkeypatch):
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, None)
    assert main(["env"]) == 0


def test_another_broken_pipe_is_a_bug(capsys):
    def command():
        raise BrokenPipeError("a worker is gone")

    assert guard(command) == 1
    assert "unexpected BrokenPipeError" in capsys.readouterr().err

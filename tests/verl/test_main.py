"""`python -m echorl.verl` where it can't start."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from echorl.support.installed import install_command

# Hides verl, installed or not, from `importlib.metadata` and from imports.
WITHOUT_VERL = """
from importlib import metadata
import runpy, sys
found = metadata.version
def version(name):
    if name == "verl":
        raise metadata.PackageNotFoundError(name)
    return found(name)
metadata.version = version
sys.modules["verl"] = sys.modules["hydra"] = None
runpy.run_module("echorl.verl", run_name="__main__")
"""


def test_without_verl_one_sentence_says_how_to_install_it():
    command = [sys.executable, "-c", WITHOUT_VERL, "trainer.v1.trainer_mode=echo_sync"]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.stderr == f"echorl: error: echorl.verl needs verl: {install_command('verl')}.\n"
    assert done.returncode == 2


def test_a_setting_that_is_not_allowed_is_refused_in_one_sentence(tmp_path):
    pytest.importorskip("verl", reason="verl is not installed: run `make test-verl`")
    command = [sys.executable, "-m", "echorl.verl", "trainer.v1.trainer_mode=echo_sync", "+echo.coef=-1"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)  # hydra writes there
    sentence = "echorl: error: coef=-1 is not allowed: it must be a finite number of at least 0."
    assert done.stderr.splitlines()[-1] == sentence
    assert "Traceback" not in done.stderr + done.stdout
    assert done.returncode == 2

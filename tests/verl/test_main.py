"""`python -m echorl.verl` where it can't start."""

from __future__ import annotations

import os
import subprocess
import sys

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
    assert done.stderr == "echorl: error: verl is not installed: pip install 'echorl[verl]'.\n"
    assert done.returncode == 2

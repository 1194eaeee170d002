"""examples/trl_vllm.py, run as it is."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from echorl.trl.metrics_file import read_metrics
from tests.vllm.conftest import missing

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_the_script_runs_as_it_is(tmp_path):
    if reason := missing():
        pytest.skip(reason)
    env = {**os.environ, "HF_HUB_OFFLINE": "1", "VLLM_CPU_KVCACHE_SPACE": "1"}
    script = [sys.executable, str(EXAMPLES / "trl_vllm.py")]
    done = subprocess.run(script, cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "The run as a page: echorl report runs/trl-vllm" in done.stdout
    lines = read_metrics(tmp_path / "runs" / "trl-vllm" / "metrics.jsonl")
    assert [line["step"] for line in lines] == [1, 2, 3, 4]
    assert all(line["echo/entropy_source/old_pass"] == 1 for line in lines)

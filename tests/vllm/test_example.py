"""examples/trl_vllm.py, as it is, but for the weights that vLLM's CPU build must keep (`conftest.keep_weights`)."""

from __future__ import annotations

import runpy
from pathlib import Path

from echorl.trl.metrics_file import read_metrics

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_the_script_runs_as_it_is(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(EXAMPLES)
    runpy.run_path(str(EXAMPLES / "trl_vllm.py"), run_name="__main__")
    assert "The run as a page: echorl report runs/trl-vllm" in capfd.readouterr().out
    lines = read_metrics(tmp_path / "runs" / "trl-vllm" / "metrics.jsonl")
    assert [line["step"] for line in lines] == [1, 2, 3, 4]
    assert all(line["echo/entropy_source/old_pass"] == 1 for line in lines)

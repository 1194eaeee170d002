"""`evaluate_model`: the command's evaluation in one call."""

import json

import pytest

from echorl.cli import main
from echorl.lab.evaluate.run import evaluate_model
from echorl.lab.options import Sampling
from echorl.models import POLICY


def test_it_gives_the_commands_results_and_goes_on_from_its_folder(tmp_path):
    sampling = Sampling(samples=2, limit=2, max_new_tokens=8)
    results = evaluate_model(POLICY, ["quickstart"], tmp_path / "own", sampling=sampling)
    sizes = ["--samples", "2", "--limit", "2", "--max_new_tokens", "8", "--device", "cpu"]
    command = ["eval", "--model", "quickstart", "--benchmarks", "quickstart", *sizes, "--output_dir"]
    assert main([*command, str(tmp_path / "command")]) == 0
    stored = json.loads((tmp_path / "command/results.json").read_text())
    assert results["benchmarks"] == stored["benchmarks"]
    assert results["settings"] == stored["settings"]
    assert (
        evaluate_model(POLICY, ["quickstart"], tmp_path / "command", sampling=sampling)["benchmarks"]
        == results["benchmarks"]
    )


def test_an_unknown_benchmark_is_named(tmp_path):
    with pytest.raises(ValueError, match="no_such"):
        evaluate_model(POLICY, ["no_such"], tmp_path)

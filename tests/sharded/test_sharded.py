"""ZeRO-2, ZeRO-3 and FSDP2 on two processes (CPUs, gloo, `accelerate launch`) against one process."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.sharded.cases import CASES, results
from tests.trl.tiny import make_model

HERE = Path(__file__).parent
KINDS = {"zero2": "DEEPSPEED", "zero3": "DEEPSPEED", "fsdp2": "FSDP"}


def launch(kind, folder):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {
        **{name: value for name, value in os.environ.items() if name != "ACCELERATE_USE_CPU"},
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",  # where DeepSpeed finds ninja
        "TORCH_EXTENSIONS_DIR": str(Path(sys.prefix) / "torch_extensions"),  # what DeepSpeed compiles at first
        "DS_ACCELERATOR": "cpu",
        "CUDA_VISIBLE_DEVICES": "",
        "OMP_NUM_THREADS": "1",
    }
    options = ["--config_file", str(HERE / f"{kind}.yaml"), "--main_process_port", str(port), "--module"]
    command = [sys.executable, "-m", "accelerate.commands.launch", *options, "tests.sharded.cases", str(folder)]
    with (folder / "log").open("w") as log:
        status = subprocess.run(
            command, env=environment, cwd=HERE.parents[1], stdout=log, stderr=subprocess.STDOUT, timeout=900
        )
    assert status.returncode == 0, (folder / "log").read_text()[-5000:]
    return torch.load(folder / "results.pt")


@pytest.fixture(scope="module")
def single(tmp_path_factory):
    return results(tmp_path_factory.mktemp("single"), per_device_train_batch_size=8)


@pytest.fixture(scope="module", params=KINDS)
def sharded(request, tmp_path_factory):
    found = launch(request.param, tmp_path_factory.mktemp(request.param))
    assert {run["type"] for run in found.values()} == {KINDS[request.param]}
    return found


def furthest(weights, others):
    assert weights.keys() == others.keys()
    return max(float((weights[name] - others[name]).abs().max()) for name in weights)


@pytest.mark.parametrize("case", CASES)
def test_a_step_is_that_of_one_process(single, sharded, case):
    assert furthest(single[case]["weights"], sharded[case]["weights"]) < 1e-6
    moved = furthest(make_model().state_dict(), sharded[case]["weights"])
    assert moved == 0 if case.startswith("the base") else moved > 1e-3


@pytest.mark.parametrize("case", [name for name in CASES if not name.startswith("the base")])
def test_metrics_are_those_of_one_process(single, sharded, case):
    of_one, of_two = ({k: v for k, v in run[case]["log"][0].items() if "echo/" in k} for run in (single, sharded))
    assert of_two == pytest.approx(of_one, rel=1e-4, abs=1e-6)
    assert of_two["echo/entropy_source/extra_forward"] == 1


def test_a_run_resumed_within_a_generation_batch_is_the_undisturbed_one(sharded):
    assert furthest(sharded["whole"]["weights"], sharded["resumed"]["weights"]) == 0

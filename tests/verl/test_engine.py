"""verl's FSDP2 worker with EchoRL's loss: loss and gradient by hand, on one process and on two."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytest.importorskip("verl", reason="verl is not installed: run `make test-verl`")


@pytest.mark.parametrize("world", [1, 2])
def test_loss_and_gradient_are_those_by_hand(lab, world):
    """Fixed, packed and dynamic micro-batches; one mini-batch, and two over two epochs; to 1e-5. No forward more."""
    assert torchrun(lab, world, "tests.verl.engine", lab.model).count("equal") == 3


def test_images(lab):
    """A tiny Qwen2.5-VL: weights and loss are the response's, by hand; cut rows of dropped groups keep their images."""
    pytest.importorskip("trl", reason="TRL is not installed: run `make test-verl`")
    torchrun(lab, 1, "tests.verl.vision", lab.folder / "vision")


def torchrun(lab, world, module, *arguments):
    """What it printed, at the end of which stands ok."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={world}"]
    command += ["-m", module, *map(str, arguments)]
    done = subprocess.run(command, env=lab.environment(), capture_output=True, text=True)
    assert done.stdout.split()[-1:] == ["ok"], done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout

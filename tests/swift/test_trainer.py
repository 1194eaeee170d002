"""`swift rlhf` with EchoRL: the base bit for bit at coefficient 0, the gradient by hand, resume, the log, two ranks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from echorl.core.statistics import KINDS
from echorl.lab.audit.read import read_log
from echorl.lab.logs.columns import Columns
from echorl.models import path
from tests.swift.by_hand import gradient, plain
from tests.swift.runs import TEMPERATURE, norm, run, weights

ROOT = Path(__file__).parents[2]


def fresh_model():
    return AutoModelForCausalLM.from_pretrained(path("quickstart"), dtype=torch.float32).train()


def difference(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> float:
    return norm({name: a[name] - b[name] for name in a}) / norm(b)


def logged(trainer) -> list[dict[str, float]]:
    """The lines of the training steps."""
    return [line for line in trainer.state.log_history if "loss" in line]


def test_coefficient_0_is_plain_swift_bit_for_bit(tmp_path):
    flags = dict(max_steps=3, learning_rate=1e-3, top_entropy_quantile=0.5)
    base = run(tmp_path / "base", "some_right", None, **flags)
    off = run(tmp_path / "off", "some_right", dict(coef=0), **flags)
    mined = run(tmp_path / "mined", "some_right", dict(mine_only=True), **flags)
    assert norm(base.gradients[0]) > 0
    for other in (off, mined):
        assert all(torch.equal(a, b) for a, b in zip(weights(base).values(), weights(other).values(), strict=True))
    assert sum(off.echo_statistics.groups.values()) == 6
    assert "echo/clips/mixed" not in logged(off)[0]
    assert sum(line["echo/clips/mixed"] for line in logged(mined)) > 0


def test_all_success_base_gradient_is_zero_and_echo_is_the_nll_by_hand(tmp_path, capfd):
    base = run(tmp_path / "base", "all_right", None)
    assert norm(base.gradients[0]) == 0
    trainer = run(tmp_path / "echo", "all_right", dict(success_reward_func="all_right", coef=0.5))
    assert len(trainer.forwards) == len(base.forwards) > 0
    by_hand = gradient(fresh_model(), plain(trainer.batches[0]), 4, trainer.echo_miner.delimiters, TEMPERATURE)
    assert difference(trainer.gradients[0], {name: 0.5 * g for name, g in by_hand.items()}) < 1e-5
    (line,) = logged(trainer)
    assert line["echo/clips/all_success"] == 2
    assert line["echo/groups/all_success"] == line["echo/without_policy_gradient"] == 1
    assert line["echo/coef"] == 0.5
    assert line["echo/nll"] > 0
    printed = capfd.readouterr().out
    assert "EchoRL is active: scope='verified'" in printed
    assert "What it lost on groups without a gradient: echorl audit " in printed


def test_lora_all_success_base_gradient_is_zero_and_echo_is_the_nll_by_hand(tmp_path):
    lora = dict(tuner_type="lora", lora_rank=4, lora_dropout=0, target_modules="all-linear")
    assert norm(run(tmp_path / "base", "all_right", None, **lora).gradients[0]) == 0
    trainer = run(tmp_path / "echo", "all_right", dict(coef=0.5), **lora)
    delimiters = trainer.echo_miner.delimiters
    by_hand = gradient(trainer.first_model.train(), plain(trainer.batches[0]), 4, delimiters, TEMPERATURE)
    assert all("lora" in name for name in by_hand)
    assert by_hand.keys() == trainer.gradients[0].keys()
    assert difference(trainer.gradients[0], {name: 0.5 * g for name, g in by_hand.items()}) < 1e-5


def test_several_passes_over_a_generation_batch(tmp_path):
    """Each delivers the weights once, and the first step's gradient is half of the batch's clips."""
    flags = dict(
        gradient_accumulation_steps=1, steps_per_generation=2, num_iterations=2, max_steps=8, learning_rate=1e-4
    )
    trainer = run(tmp_path, "all_right", dict(coef=0.5), **flags)
    assert len(trainer.batches) == 2
    assert trainer.echo_receipt.num_left == 2
    assert all(norm(g) > 0 for g in trainer.gradients)


def test_the_audit_reads_the_log_and_counts_the_same(tmp_path):
    trainer = run(tmp_path, "some_right", dict(coef=0.1), max_steps=4)
    groups = read_log([tmp_path / "out"], Columns(), 1.0).groups
    counts = {name: int((groups.kind == code).sum()) for code, name in enumerate(KINDS)}
    assert counts == trainer.echo_statistics.groups
    assert int(groups.degenerate.sum()) == sum(trainer.echo_statistics.degenerate.values())
    assert sum(counts.values()) == 8


def test_resume(tmp_path):
    echo = dict(coef=0.5, entropy_quantile=0.5)
    flags = dict(max_steps=4, save_strategy="steps", save_steps=2, learning_rate=1e-3, lr_scheduler_type="constant")
    whole = run(tmp_path / "whole", "some_right", echo, **flags)
    checkpoint = tmp_path / "whole" / "out" / "checkpoint-2"
    state = json.loads((checkpoint / "echorl.json").read_text())
    assert sum(state["statistics"]["groups"].values()) == 4
    resumed = run(
        tmp_path / "resumed", "some_right", echo, dataset=tmp_path / "whole" / "sums.jsonl",
        resume_from_checkpoint=checkpoint, **flags,
    )  # fmt: skip
    assert len(resumed.batches) == 2
    assert resumed.echo_statistics.groups == whole.echo_statistics.groups
    assert resumed.echo_miner.threshold == whole.echo_miner.threshold
    assert difference(weights(resumed), weights(whole)) == 0


def test_lost_weights_are_an_error(tmp_path, monkeypatch):
    from echorl.swift.batch import Batch

    monkeypatch.setattr(Batch, "put", lambda *args: None)
    with pytest.raises(RuntimeError, match="a micro-batch never reached EchoRL's loss"):
        run(tmp_path, "all_right", dict(coef=0.5))


def test_two_processes(tmp_path):
    """Groups straddle the processes; the gradient is that of one process that has all rollouts."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m"]
    environment = os.environ | dict(PYTHONPATH=f"{ROOT / 'src'}{os.pathsep}{ROOT}", ACCELERATE_USE_CPU="true")
    done = subprocess.run(
        [*command, "tests.swift.ranks", str(tmp_path)], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert (tmp_path / "gradient.pt").exists(), done.stdout[-3000:] + done.stderr[-3000:]
    saved = torch.load(tmp_path / "gradient.pt", weights_only=False)
    by_hand = gradient(fresh_model(), saved["micro_batches"], 4, saved["delimiters"], TEMPERATURE)
    assert difference(saved["gradient"], {name: 0.5 * g for name, g in by_hand.items()}) < 1e-5
    assert saved["groups"]["all_success"] == 3
    assert saved["line"]["echo/clips/all_success"] == 3


def test_the_example_runs_as_it_is(tmp_path):
    environment = os.environ | dict(
        PYTHONPATH=str(ROOT / "src"), PATH=f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    )
    done = subprocess.run(
        ["bash", str(ROOT / "examples" / "swift.sh"), "--max_steps", "2"],
        cwd=tmp_path, env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "EchoRL is active" in done.stdout
    assert "echorl audit " in done.stdout
    assert len(read_log([tmp_path / "runs" / "swift"], Columns(), 1.0).groups) == 8

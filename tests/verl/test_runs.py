"""verl's real `main_ppo` on this CPU: Ray, TransferQueue, FSDP2 on gloo, verl's own vLLM rollout and reward workers."""

from __future__ import annotations

import json
import math
import re
import time

import pytest
import torch

from echorl.core.statistics import KINDS
from echorl.lab.audit.read import read_log
from echorl.lab.options import Columns

pytest.importorskip("verl", reason="verl is not installed: run `make test-verl`")

from tests.verl.conftest import PATIENCE, STANDIN, end, steps

ECHO = {
    "trainer.v1.trainer_mode": "echo_sync",
    "+echo.coef": 0.5,
    "+echo.success_key": "acc",
}


@pytest.fixture(scope="session")
def engine():
    pytest.importorskip("vllm", reason="vLLM's CPU build is not installed: run `make test-verl`")


def first_rank(folder, step=3):
    return torch.load(folder / f"global_step_{step}" / "actor" / "model_world_size_2_rank_0.pt", weights_only=False)


def test_coef_0_is_plain_verl_bit_for_bit(lab):
    """Two trainer ranks, rollouts by the stand-in: the same metrics and weights after three steps."""
    results = []
    for name, changes in (("plain", {}), ("off", {"trainer.v1.trainer_mode": "echo_sync", "+echo.coef": 0})):
        folder = lab.folder / name
        more = {"trainer.n_gpus_per_node": 2, "trainer.save_freq": 3, "trainer.default_local_dir": folder}
        found, log = lab.run(STANDIN | more | changes, timeout=1200, name=name, ECHORL_TEST_STANDIN="2")
        results.append((found, first_rank(folder), log))
    (plain, weights, _), (off, same, log) = results
    assert "EchoRL is off (echo.coef=0): this is plain verl." in log
    assert len(plain) == len(off) == 3
    for a, b in zip(plain, off, strict=True):
        names = [name for name in a if name.startswith(("actor/", "critic/")) and "perf" not in name]
        assert "actor/grad_norm" in names
        assert {name: a[name] for name in names} == {name: b[name] for name in names}
        assert b["echo/groups/all_success"] == 0.5  # the group statistics are there all the same
        assert not [name for name in b if name.startswith(("echo/clip", "echo/nll"))]
    for name, value in weights.items():
        assert torch.equal(getattr(value, "_local_tensor", value), getattr(same[name], "_local_tensor", same[name]))


def test_dynamic_sampling_echoes_what_it_drops(lab):
    """Two trainer ranks: two of three prompts are all right and dropped, so that eight, the limit, are not enough."""
    changes = {
        "trainer.n_gpus_per_node": 2,
        "trainer.total_training_steps": 2,
        "algorithm.filter_groups.enable": True,
        "algorithm.filter_groups.metric": "acc",
        "algorithm.filter_groups.max_num_gen_batches": 2,
    }
    found, log = lab.run(STANDIN | ECHO | changes, timeout=1200, name="dapo", ECHORL_TEST_STANDIN="3")
    assert len(found) == 2
    for step, accepted in zip(found, (3, 2), strict=True):
        assert (step["echo/filtered"], step["echo/missing"]) == (8 - accepted, 4 - accepted)
        assert step["training/filter_groups/evicted_samples"] == 8 - accepted
        assert (step["echo/clips/all_success"], step["echo/clips/mixed"]) == (8 - accepted, accepted)
        assert step["critic/score/mean"] == pytest.approx(0.25)  # the batch itself has mixed groups alone
        assert 0 < step["echo/nll"] < 10
        assert all(math.isfinite(value) for name, value in step.items() if name.startswith(("actor/", "echo/")))
    assert re.search(r"of these +11 +68.8% .* filtered by dynamic sampling", log)


def check_step(step):
    """What every step of a run with EchoRL shows: even prompts are all right, others in part."""
    assert step["echo/clips/all_success"] + step["echo/clips/mixed"] >= 1
    assert step["echo/coef"] == 0.5
    assert 0 < step["echo/nll"] < 10
    assert all(math.isfinite(value) for name, value in step.items() if name.startswith("echo/"))
    assert "actor/echo/nll" not in step
    assert step["training/rollout_probs_diff_valid"] == 1
    # No batch is sampled ahead, so the engine had the trained weights, and the old-log-prob pass the engine's.
    assert step["training/rollout_probs_diff_max"] < 1e-4


def test_sync_killed_and_resumed_in_colocate_async(lab, engine):
    """Launched as docs/guides/verl.md says, killed with all its processes after step 2, and resumed to step 4.

    The second run samples dynamically, too: even prompts are all right and dropped, and others take their places.
    """
    folder, dumps = lab.folder / "resumed", lab.folder / "dumps"
    changes = ECHO | {"trainer.total_training_steps": 4}
    changes |= {"trainer.default_local_dir": folder, "trainer.save_freq": 2, "trainer.rollout_data_dir": dumps}
    log = lab.folder / "killed.log"
    process = lab.start(changes, module="echorl.verl", log=log)
    try:
        wait_for(process, log, "step:2 - ", timeout=1000)
    finally:
        end(process)
    assert re.search(r"EchoRL is active: .*coef=0.5", log.read_text())
    for step in steps(log.read_text())[:2]:
        check_step(step)
    state = json.loads((folder / "global_step_2" / "echorl.json").read_text())
    assert sum(state["statistics"]["groups"].values()) == 8

    changes |= {"trainer.v1.trainer_mode": "echo_colocate_async", "trainer.v1.colocate_async.num_warmup_batches": 0}
    changes |= {"algorithm.filter_groups.enable": True, "algorithm.filter_groups.metric": "acc"}
    changes["trainer.resume_mode"] = "auto"
    found, text = lab.run(changes, module="echorl.verl", timeout=1000, name="resumed")
    assert [int(step["training/global_step"]) for step in found] == [3, 4]
    for step in found:
        check_step(step)
    dropped = sum(step["echo/filtered"] for step in found)
    assert dropped >= 1
    assert sum(step["echo/clips/all_success"] for step in found) >= 1
    end_state = json.loads((folder / "global_step_4" / "echorl.json").read_text())
    assert sum(end_state["statistics"]["groups"].values()) == 16 + dropped
    assert "all verified: what EchoRL is for" in text
    check_dump(dumps / "3.jsonl")
    groups = read_log([dumps / "1.jsonl", dumps / "2.jsonl"], Columns(), 1.0).groups  # as `echorl audit` reads them
    kinds = [KINDS[kind] for kind in groups.kind.tolist()]
    assert {kind: kinds.count(kind) for kind in KINDS} == state["statistics"]["groups"]


def wait_for(process, log, text, *, timeout):
    limit = time.monotonic() + timeout * PATIENCE
    while text not in log.read_text(errors="replace"):
        assert process.poll() is None, f"the run ended before {text!r}"
        assert time.monotonic() < limit, f"no {text!r} within {timeout} s"
        time.sleep(0.2)


def check_dump(path):
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    clips = [row for row in rows if row["echo_clip_tokens"]]
    assert len(rows) == 16
    assert len(clips) >= 2
    for row in clips:
        assert row["echo_success"]
        assert row["score"] == pytest.approx(0.9)  # shaped: success came by the key
        assert row["output"].startswith(row["echo_clip"])


def test_separate_async_with_verl_s_vllm_rollout(lab, engine):
    """Two updates a step, both on rollouts of the weights before it, as no batch is sampled ahead.

    The engine has a device of its own and gets the weights by a file, as NCCL is for GPUs.
    """
    changes = ECHO | {
        "trainer.v1.trainer_mode": "echo_separate_async",
        "trainer.v1.separate_async.num_warmup_batches": 0,
        "trainer.v1.separate_async.parameter_sync_step": 2,
        "actor_rollout_ref.rollout.nnodes": 1,
        "actor_rollout_ref.rollout.n_gpus_per_node": 1,
        "actor_rollout_ref.rollout.checkpoint_engine.backend": "file",
        "actor_rollout_ref.rollout.checkpoint_engine.custom_backend_module": "tests.verl.support.file_engine",
    }
    found, log = lab.run(changes, timeout=1500, name="separate")
    assert len(found) == 3
    for step in found:
        check_step(step)
    assert "EchoRL is active" in log


def test_a_refused_setting_stops_before_ray_starts(lab):
    changes = ECHO | {"algorithm.rollout_correction.bypass_mode": True}
    log = lab.folder / "refused.log"
    process = lab.start(changes, module="echorl.verl", log=log)
    try:
        assert process.wait(120 * PATIENCE) != 0
    finally:
        end(process)
    text = log.read_text()
    assert "echorl: error: algorithm.rollout_correction.bypass_mode=True skips the pass" in text
    assert "Traceback" not in text
    assert "ray init kwargs" not in text

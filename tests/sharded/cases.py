"""The runs of test_sharded.py, as a script under `accelerate launch`: `python -m tests.sharded.cases FOLDER`.

DeepSpeed keeps no gradients, so that final weights are compared: after one step of SGD they are the gradient.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import torch

from tests.trl.distributed import rollouts
from tests.trl.tiny import all_right, build, some_right


def first_half(completions, **_):
    """Right on the first of two processes alone: every group of the other one is all wrong."""
    size, rank, world = len(completions), int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    return [float(2 * (rank * size + i) < world * size) for i in range(size)]


ONE_STEP = dict(max_steps=1, optim="sgd", learning_rate=0.1, lr_scheduler_type="constant", echo_coef=1.0)
CASES = {
    "the base on all-success groups": (all_right, dict(echo_coef=0.0)),
    "all-success groups": (all_right, dict()),
    "all kinds of groups": (some_right, dict()),
    "nothing to score on one process": (first_half, dict()),
}
"""Name -> reward and settings; completions come from a function, so that entropies cost an extra forward."""
RESUME = dict(max_steps=3, num_iterations=2, echo_coef=0.1, save_strategy="steps", save_steps=1)


def train(folder, reward, resume_from=None, **settings):
    """Train and return the weights, whole, the log and the kind of processes."""
    trainer = build(folder, reward, rollout_func=rollouts, **settings)
    trainer.train(resume_from_checkpoint=resume_from)
    weights = trainer.accelerator.get_state_dict(trainer.model_wrapped)
    return {
        "weights": {name: value.detach().cpu().clone() for name, value in (weights or {}).items()},
        "log": trainer.state.log_history,
        "type": trainer.accelerator.distributed_type.value,
    }


def results(folder, **settings):
    """The cases, then a run of three steps, and the same resumed from within its first generation batch."""
    found = {
        name: train(f"{folder}/run", reward, **{**ONE_STEP, **settings, **options})
        for name, (reward, options) in CASES.items()
    }
    found["whole"] = train(f"{folder}/whole", some_right, **settings, **RESUME)
    found["resumed"] = train(f"{folder}/whole", some_right, f"{folder}/whole/checkpoint-1", **settings, **RESUME)
    return found


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    if os.environ.get("ACCELERATE_USE_FSDP") == "true":
        from tests.sharded import fsdp_on_cpus

        fsdp_on_cpus.allow()
    found = results(folder, per_device_train_batch_size=4, use_cpu=False, ddp_backend="gloo")
    if os.environ["RANK"] == "0":
        torch.save(found, folder / "results.pt")
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()
    os._exit(0)  # gloo's threads now and then abort a process that ends in any other way

"""Runs the cases below on as many processes as the launcher gives and saves gradients and metrics (see its test)."""

from __future__ import annotations

import os
import sys
import zlib

import torch
from accelerate.utils import gather_object

from tests.trl.tiny import all_right, make_tokenizer, run, some_right

# (rows a process and micro-batch, accumulation) on one process; the same 24 rows are split over more processes.
SPLITS = {1: [(24, 1), (6, 4)], 2: [(12, 1), (6, 2), (3, 4)], 3: [(8, 1), (2, 4)]}
CASES = {
    "echo alone": (all_right, dict()),
    "mixed groups": (some_right, dict()),
    "mean over clips": (some_right, dict(echo_average_over="clip")),
    "random": (some_right, dict(echo_select="random")),
    "two clips": (some_right, dict(echo_top_k=2)),
    "degenerate": (some_right, dict(echo_scope="degenerate")),
    "quantile": (some_right, dict(echo_entropy_quantile=0.7)),
    "a clip a rollout": (some_right, dict(echo_clip_per="rollout", echo_length_norm="constant")),
}


def rollouts(prompts, trainer):
    """Completions that depend on the prompt and the rollout's number alone, whatever the number of processes."""
    tokenizer = make_tokenizer()
    everybody = gather_object(list(prompts))
    start = trainer.accelerator.process_index * len(prompts)
    completions = [
        _completion(prompt, everybody[: start + i].count(prompt), tokenizer) for i, prompt in enumerate(prompts)
    ]
    return {
        "prompt_ids": [tokenizer(p)["input_ids"] for p in prompts],
        "completion_ids": completions,
        "logprobs": [[0.0] * len(c) for c in completions],
    }


def _completion(prompt, number, tokenizer):
    generator = torch.Generator().manual_seed(zlib.crc32(f"{prompt}{number}".encode()))
    length = int(torch.randint(4, 15, (1,), generator=generator))
    return [*torch.randint(3, len(tokenizer), (length,), generator=generator).tolist(), 1]


def results(output_dir, num_processes):
    found = {}
    for name, (reward, options) in CASES.items():
        for size, accumulation in SPLITS[num_processes]:
            trainer, gradients, _, _ = run(
                output_dir,
                reward,
                rollout_func=rollouts,
                echo_coef=1.0,
                loss_type="dapo",
                per_device_train_batch_size=size,
                gradient_accumulation_steps=accumulation,
                num_generations=8,  # at 12 rows a process the second of the three groups lies on both
                max_steps=1,
                optim="sgd",
                ddp_find_unused_parameters=False,
                echo_gradient_norms_every=1,
                **options,
            )
            logged = {k: v for k, v in trainer.state.log_history[0].items() if k.startswith("echo/")}
            found[name, size, accumulation] = (gradients[0], logged, dict(trainer.ledger.groups))
    return found


if __name__ == "__main__":
    torch.set_num_threads(1)
    world = int(os.environ["WORLD_SIZE"])
    found = results(os.path.join(sys.argv[1], "run"), world)
    torch.save(found, os.path.join(sys.argv[1], f"process-{os.environ['RANK']}-of-{world}.pt"))

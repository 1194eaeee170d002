"""GRPO + EchoRL in a TRL script, on a CPU, without a network.

    python examples/trl_cpu.py

It trains a small policy that comes with echorl on eight sums for a few steps, with a reward function of its own. One
sees a line a step, a table of where the rollouts went, and the command that draws the run. Ten seconds on an idle CPU.
"""

import random
import re
import warnings

import torch
from datasets import Dataset
from transformers import PrinterCallback, ProgressCallback

from echorl.models import path
from echorl.train.progress import ShortProgress
from echorl.trl import EchoGRPOConfig, EchoGRPOTrainer  # instead of trl's GRPOConfig, GRPOTrainer

warnings.filterwarnings("ignore", category=FutureWarning)  # of TRL and transformers to each other


def make_rows(size=8, seed=0):
    """Return rows of sums: a prompt, and the answer that the reward function reads."""
    draw = random.Random(seed)
    sums = [[draw.randint(10, 99) for _ in range(draw.choice((2, 3, 4)))] for _ in range(size)]
    texts = [" + ".join(map(str, numbers)) for numbers in sums]
    prompts = [f"State the final answer to the following arithmetic problem: {text} =\n" for text in texts]
    return Dataset.from_dict({"prompt": prompts, "answer": [sum(numbers) for numbers in sums]})


def right_sum(completions, answer, **columns):
    """Reward 1.0 for a completion whose last number is the answer, 0.0 for any other."""
    numbers = [re.findall(r"-?\d+", completion) for completion in completions]
    return [float(found[-1:] == [str(expected)]) for found, expected in zip(numbers, answer, strict=True)]


def print_less(trainer):
    """Let the trainer print a short line a step in place of all metrics, which are in metrics.jsonl."""
    for prints_all in (ProgressCallback, PrinterCallback):  # transformers takes one or the other
        trainer.remove_callback(prints_all)
    trainer.add_callback(ShortProgress)


if __name__ == "__main__":
    torch.set_num_threads(1)  # faster for a policy this small, above all on a busy machine
    args = EchoGRPOConfig(
        "runs/trl-cpu",
        echo_coef=0.001,  # lambda, the weight of the EchoClips in the loss
        echo_rollouts_every=1,  # rollouts with their EchoClips, for the page of `echorl report`
        num_generations=8,
        per_device_train_batch_size=32,
        max_completion_length=80,
        max_steps=4,
        learning_rate=1e-4,
        lr_scheduler_type="constant",
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        use_cpu=True,
        bf16=False,
    )
    model = path("quickstart")  # or path("smollm2"), the name of a model on the hub, a folder
    trainer = EchoGRPOTrainer(model, right_sum, args, train_dataset=make_rows())
    print_less(trainer)
    trainer.train()

"""Time of a GRPO step of a pretrained model on a CPU, and what each of the settings for a CPU saves.

    python -m benchmarks.cpu_step [--model smollm2] [--steps 3] [--threads 1]

Each row adds one setting to those of the row before, in a process of its own: float32, bf16 autocast where the CPU
multiplies bf16 matrices in hardware, prompts computed once for their rollouts (`share_prompts`), and a vocabulary of
the tokens that the task can use (`echorl.models.vocabulary`). A step is 16 rollouts of 2 word problems with answers of
32 tokens each, EchoRL's term included. `matrix_share` is the model's arithmetic (6 operations a parameter and token in
the loss, 2 in sampling; every prompt counted once a rollout, whatever was saved) divided by the time that this machine
needs for as many operations in large float32 matrix products. The CPU time of a step is also given by phase, and
`scored_per_s` are the samples a second with which `echorl compare` scores 16 such problems with 8 samples each, 128 at
a time.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PrinterCallback, TrainerCallback

from benchmarks.results import write_csv
from echorl.lab.compare.score import Policy
from echorl.models import find_model
from echorl.models.vocabulary import keep_vocabulary
from echorl.tasks.word_problems import WordProblems
from echorl.train.parsing import bf16_is_fast
from echorl.trl import EchoGRPOConfig, EchoGRPOTrainer

ROLLOUTS, TOKENS, SCORED = 16, 32, 16
SETTINGS = ("float32", "bf16", "share_prompts", "vocabulary")
"""Names of the rows; each has the settings of those before it."""


class Times(TrainerCallback):
    """Callback that notes wall and CPU time at the beginning of each step, and at the end, and CPU time by phase.

    Attributes:
        marks: (wall, CPU time) at these moments.
        phases: name -> CPU seconds of each step.
    """

    def __init__(self, trainer: EchoGRPOTrainer) -> None:
        self.marks: list[tuple[float, float]] = []
        self.phases: dict[str, list[float]] = {}
        self._time(trainer, "_generate", "sampling")
        self._time(trainer, "compute_loss", "loss")
        self._time(trainer.accelerator, "backward", "backward")

    def _time(self, owner: Any, method: str, phase: str) -> None:
        inner = getattr(owner, method)

        def timed(*args: Any, **kwargs: Any) -> Any:
            start = time.process_time()
            try:
                return inner(*args, **kwargs)
            finally:
                self._add(phase, start)

        setattr(owner, method, timed)

    def _add(self, phase: str, start: float) -> None:
        self.phases.setdefault(phase, []).append(time.process_time() - start)

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Note the times."""
        self.marks.append((time.perf_counter(), time.process_time()))

    on_train_end = on_step_begin

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Note when the optimizer begins."""
        self._start = time.process_time()

    def on_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Note the optimizer's time."""
        self._add("optimizer", self._start)


def make_trainer(model_name: str, row: str, steps: int, folder: str) -> EchoGRPOTrainer:
    """Return a trainer with the settings of a row."""
    number = SETTINGS.index(row)
    rows = WordProblems(chat=False).dataset("train", size=256)
    model = AutoModelForCausalLM.from_pretrained(find_model(model_name)[0], dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(find_model(model_name)[0], padding_side="left")
    if number >= SETTINGS.index("vocabulary"):
        texts = [prompt + answer for prompt, answer in zip(rows["prompt"], rows["demonstration"], strict=True)]
        model, tokenizer = keep_vocabulary(model, tokenizer, texts)
    args = EchoGRPOConfig(
        folder,
        per_device_train_batch_size=ROLLOUTS,
        num_generations=8,
        max_completion_length=TOKENS,
        generation_kwargs={"min_new_tokens": TOKENS},
        max_steps=steps,
        use_cpu=True,
        bf16=number >= SETTINGS.index("bf16") and bf16_is_fast(),
        share_prompts=number >= SETTINGS.index("share_prompts"),
        gradient_checkpointing=False,
        dataloader_pin_memory=False,
        report_to="none",
        save_strategy="no",
        disable_tqdm=True,
        learning_rate=1e-6,
    )
    trainer = EchoGRPOTrainer(model, [half_right], args, rows, processing_class=tokenizer)
    trainer.remove_callback(PrinterCallback)
    return trainer


def half_right(completions: list, **_: Any) -> list[float]:
    """Rewards by which the first group of a step succeeds as a whole and the second has every other rollout right."""
    return [float(i < 8 or i % 2) for i in range(len(completions))]


def print_times(model_name: str, row: str, steps: int, threads: int) -> None:
    """Train and print the measurements of a row as JSON; the first step warms up and is not counted."""
    torch.set_num_threads(threads)
    with tempfile.TemporaryDirectory() as folder:
        trainer = make_trainer(model_name, row, steps + 1, folder)
        times = Times(trainer)
        trainer.add_callback(times)
        trainer.train()
    wall, cpu = (
        statistics.median(b[i] - a[i] for a, b in zip(times.marks[1:], times.marks[2:], strict=False)) for i in (0, 1)
    )
    prompt_tokens = statistics.fmean(
        len(trainer.processing_class(text)["input_ids"]) for text in trainer.train_dataset["prompt"]
    )
    parameters = sum(parameter.numel() for parameter in trainer.model.parameters())
    phases = {name: statistics.median(seconds[1:]) for name, seconds in times.phases.items()}
    measured = {"wall": wall, "cpu": cpu, "prompt_tokens": prompt_tokens, "parameters": parameters}
    print(json.dumps({**measured, "phases": phases, "scored": scored_per_second(trainer)}))


def scored_per_second(trainer: EchoGRPOTrainer) -> float:
    """Samples that are scored in a second of wall time, with the settings of the trainer's row."""
    rows = trainer.train_dataset.select(range(SCORED))
    policy = Policy(model=trainer.model, tokenizer=trainer.processing_class, max_new_tokens=TOKENS)
    speed = {"share_prompts": trainer.args.share_prompts, "bf16": trainer.args.bf16}
    start = time.perf_counter()
    policy.score(rows, WordProblems(chat=False).verifier, samples=8, temperature=1.0, **speed)
    return 8 * SCORED / (time.perf_counter() - start)


def matrix_speed(dtype: torch.dtype, size: int = 1536) -> float:
    """Operations a second of a product of two square matrices, as the linear layers make it."""
    a, b = torch.randn(size, size, dtype=dtype), torch.randn(size, size, dtype=dtype)
    seconds = []
    for _ in range(12):
        start = time.perf_counter()
        a @ b.T
        seconds.append(time.perf_counter() - start)
    return 2 * size**3 / statistics.median(seconds)


def main() -> None:
    """Measure every row and write `results/cpu_step.csv`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--row", choices=SETTINGS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.row:
        print_times(args.model, args.row, args.steps, args.threads)
        return
    torch.set_num_threads(args.threads)
    speeds = {f"matrix_gflops_{str(dtype)[6:]}": matrix_speed(dtype) / 1e9 for dtype in (torch.float32, torch.bfloat16)}
    rows: list[dict[str, object]] = []
    for name in SETTINGS:
        command = [sys.executable, "-m", "benchmarks.cpu_step", "--row", name]
        command += ["--model", args.model, "--steps", str(args.steps), "--threads", str(args.threads)]
        output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        rows.append({"setting": name, **_row(json.loads(output.splitlines()[-1]), speeds, rows)})
        print(rows[-1], flush=True)
    print(write_csv("cpu_step", rows))


def _row(measured: dict[str, Any], speeds: dict[str, float], earlier: list[dict[str, object]]) -> dict[str, object]:
    tokens = ROLLOUTS * (measured["prompt_tokens"] + TOKENS)
    parameters = float(str(earlier[0]["parameters"])) if earlier else measured["parameters"]
    share = 8 * parameters * tokens / 1e9 / speeds["matrix_gflops_float32"] / measured["wall"]
    first = float(str(earlier[0]["step_s"])) if earlier else measured["wall"]
    return {
        "parameters": round(measured["parameters"]),
        "rollouts": ROLLOUTS,
        "prompt_tokens": round(measured["prompt_tokens"], 1),
        "answer_tokens": TOKENS,
        "step_s": round(measured["wall"], 2),
        "step_cpu_s": round(measured["cpu"], 2),
        **{f"{phase}_cpu_s": round(seconds, 2) for phase, seconds in measured["phases"].items()},
        "times_float32": round(first / measured["wall"], 2),
        "answer_tokens_per_s": round(ROLLOUTS * TOKENS / measured["wall"], 1),
        "scored_per_s": round(measured["scored"], 1),
        "matrix_share": round(share, 2),
        **{name: round(speed) for name, speed in speeds.items()},
    }


if __name__ == "__main__":
    main()

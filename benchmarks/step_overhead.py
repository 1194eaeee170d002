"""Step time and peak memory of TRL's trainer with EchoRL on against off.

    python -m benchmarks.step_overhead [--pairs 7] [--steps 5] [--config NAME ...] [--device cpu|cuda]

Short runs from the same weights and seed, off and on in turn in one process; every rollout is sampled to its full
length, so both do the same work. A pair's ratio is its median step time with EchoRL over that without; the table gives
the median and range over pairs, of wall time and, on a CPU, of the process's CPU time, which other work on the machine
disturbs less. Peak memory comes from one run each in a process of its own (the CUDA allocator's peak on a GPU).
"""

from __future__ import annotations

import argparse
import itertools
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass

from benchmarks.results import write_csv


@dataclass(frozen=True)
class Size:
    hidden: int
    layers: int
    vocab: int
    rollouts: int
    tokens: int
    num_iterations: int = 1


CPU_SIZES = {
    "small": Size(hidden=128, layers=4, vocab=1024, rollouts=32, tokens=96),
    "wide-vocabulary": Size(hidden=256, layers=4, vocab=32768, rollouts=16, tokens=64),
    "long": Size(hidden=128, layers=2, vocab=4096, rollouts=16, tokens=256),
    "old-pass": Size(hidden=256, layers=4, vocab=32768, rollouts=16, tokens=64, num_iterations=2),
}
CUDA_SIZES = {
    "qwen2.5-0.5b": Size(hidden=896, layers=24, vocab=151936, rollouts=32, tokens=2048),
    "qwen2.5-1.5b": Size(hidden=1536, layers=28, vocab=151936, rollouts=32, tokens=2048),
}


def make_trainer(size: Size, echo: bool, steps: int, device: str, folder: str):
    """A trainer on a randomly initialised Qwen2 model of this size, with a character tokenizer."""
    import torch
    from datasets import Dataset
    from transformers import PrinterCallback, Qwen2Config, Qwen2ForCausalLM
    from trl import GRPOConfig, GRPOTrainer

    from echorl.trl import EchoGRPOConfig, EchoGRPOTrainer

    torch.manual_seed(0)
    heads = max(2, size.hidden // 64)
    config = Qwen2Config(
        vocab_size=size.vocab,
        hidden_size=size.hidden,
        intermediate_size=4 * size.hidden,
        num_hidden_layers=size.layers,
        num_attention_heads=heads,
        num_key_value_heads=2,
        max_position_embeddings=size.tokens + 64,
        tie_word_embeddings=True,
        pad_token_id=0,
        eos_token_id=1,
        bos_token_id=None,
    )
    model = Qwen2ForCausalLM(config)
    args = (EchoGRPOConfig if echo else GRPOConfig)(
        output_dir=folder,
        per_device_train_batch_size=size.rollouts // 2,
        gradient_accumulation_steps=2,
        num_generations=8,
        max_completion_length=size.tokens,
        max_steps=steps,
        report_to="none",
        save_strategy="no",
        logging_steps=1,
        learning_rate=1e-6,
        disable_tqdm=True,
        use_cpu=device == "cpu",
        bf16=device != "cpu",
        gradient_checkpointing=device != "cpu",
        dataloader_pin_memory=False,
        generation_kwargs={"min_new_tokens": size.tokens},
        num_iterations=size.num_iterations,
    )
    trainer = (EchoGRPOTrainer if echo else GRPOTrainer)(
        model,
        [half_right],
        args,
        Dataset.from_dict({"prompt": [f"{i}+{i}=" for i in range(64)]}),
        processing_class=character_tokenizer(),
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def half_right(completions, **_):
    """One group of four is all right, one all wrong, two are mixed."""
    return [float((i // 8) % 4 == 0 or ((i // 8) % 4 > 1 and i % 2)) for i in range(len(completions))]


def character_tokenizer():
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    pieces = ["<pad>", "<eos>", "<unk>", "\n", *"0123456789+= "]
    tokenizer = Tokenizer(models.WordLevel({piece: i for i, piece in enumerate(pieces)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"\n|."), "isolated")
    tokenizer.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>")


def step_times(size: Size, echo: bool, steps: int, device: str) -> tuple[float, float]:
    """Median wall and CPU seconds of an optimiser step (of the steps that share a batch), without the first."""
    import torch
    from transformers import TrainerCallback

    class Clock(TrainerCallback):
        marks: list[tuple[float, float]] = []  # noqa: RUF012

        def on_step_begin(self, args, state, control, **kwargs):
            if device != "cpu":
                torch.cuda.synchronize()
            self.marks.append((time.perf_counter(), time.process_time()))

        on_train_end = on_step_begin

    Clock.marks = []
    with tempfile.TemporaryDirectory() as folder:
        trainer = make_trainer(size, echo, steps, device, folder)
        trainer.add_callback(Clock())
        trainer.train()
    every = size.num_iterations
    marks = Clock.marks[::every]
    pairs = list(itertools.pairwise(marks[1:]))
    wall, cpu = (statistics.median(after[i] - before[i] for before, after in pairs) for i in (0, 1))
    return wall, cpu


def peak_memory(name: str, echo: bool, steps: int, device: str) -> float:
    """Peak memory in MB of one run in a fresh process."""
    command = [sys.executable, "-m", "benchmarks.step_overhead", "--peak", name, "--steps", str(steps)]
    command += ["--device", device, *(["--echo"] if echo else [])]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])


def print_peak(size: Size, echo: bool, steps: int, device: str) -> None:
    step_times(size, echo, steps, device)
    if device == "cpu":
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    else:
        import torch

        print(torch.cuda.max_memory_allocated() / 2**20)


def measure(name: str, size: Size, pairs: int, steps: int, device: str) -> dict[str, object]:
    """One row: the ratio over alternating pairs, and both peaks."""
    off, on = [], []
    for pair in range(pairs):
        # Each side goes first in every other pair, so that a drift of the machine cancels.
        for echo in (False, True) if pair % 2 == 0 else (True, False):
            (on if echo else off).append(step_times(size, echo, steps, device))
    wall, cpu = ([b[i] / a[i] for a, b in zip(off, on, strict=True)] for i in (0, 1))
    runs = 3 * size.num_iterations
    peaks = [peak_memory(name, echo, runs, device) for echo in (False, True)]
    return {
        "config": name,
        **{key: getattr(size, key) for key in ("hidden", "layers", "vocab", "rollouts", "tokens")},
        "num_iterations": size.num_iterations,
        "pairs": pairs,
        "step_s_off": round(statistics.median(a[0] for a in off), 4),
        "step_s_on": round(statistics.median(b[0] for b in on), 4),
        "wall_ratio": round(statistics.median(wall), 4),
        "wall_ratio_range": f"{min(wall):.3f}-{max(wall):.3f}",
        "cpu_ratio": round(statistics.median(cpu), 4) if device == "cpu" else "",
        "cpu_ratio_range": f"{min(cpu):.3f}-{max(cpu):.3f}" if device == "cpu" else "",
        "peak_mb_off": round(peaks[0]),
        "peak_mb_on": round(peaks[1]),
    }


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--config", nargs="*")
    parser.add_argument("--peak", help=argparse.SUPPRESS)
    parser.add_argument("--echo", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    sizes = CPU_SIZES if args.device == "cpu" else CUDA_SIZES
    if args.peak:
        print_peak(sizes[args.peak], args.echo, args.steps, args.device)
        return
    rows = []
    for name in args.config or sizes:
        steps = args.steps * sizes[name].num_iterations
        rows.append(measure(name, sizes[name], args.pairs, steps, args.device))
        print(rows[-1], flush=True)
    write_csv("step_overhead", rows, device=args.device)


if __name__ == "__main__":
    main()

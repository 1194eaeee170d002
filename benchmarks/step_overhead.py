"""Step time and peak memory of TRL's trainer with EchoRL on against off.

    python -m benchmarks.step_overhead [--pairs 30] [--config NAME ...] [--device cpu] [--engine generate]

Each configuration is one run, in which EchoRL is on or off for one generation batch after another (on, off, off, on,
...). Off is `coef=0`, which the tests prove equal to TRL's trainer bit for bit. Every rollout is sampled to its full
length, so that all batches do the same work. A pair's ratio is the time of a batch with EchoRL divided by that of its
neighbour without. The table has the median over pairs and its 95 % interval by order statistics, for wall time, and on
a CPU for the process's CPU time, which depends less on other work. Peak memory is measured in two more processes,
without EchoRL by TRL's own class. On a GPU it is the peak of the CUDA allocator.

With the engine `none` no model decodes: tokens are drawn at random, and the recorder of entropies gets random logits.
2,048 tokens take seconds so instead of a minute, and the ratio is an upper bound of that with decoding, which takes as
long with EchoRL as without.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from typing import Any

import torch
from transformers import LogitsProcessorList, TrainerCallback

from benchmarks.results import write_csv
from benchmarks.sizes import CPU_SIZES, CUDA_SIZES, REHEARSAL_SIZES, VLLM_SIZES, Size, make_model
from echorl.trl import EchoGRPOConfig, EchoGRPOTrainer


@dataclass(frozen=True)
class Place:
    """Device and engine of a run."""

    device: str = "cpu"
    engine: str = "generate"

    @property
    def sizes(self) -> dict[str, Size]:
        """Configurations by name."""
        if self.device != "cpu":
            return CUDA_SIZES
        return {"generate": CPU_SIZES, "vllm": VLLM_SIZES, "none": REHEARSAL_SIZES}[self.engine]


def make_trainer(size: Size, echo: bool, steps: int, place: Place, folder: str):
    """A trainer on a randomly initialised Qwen2 model of this size, with a character tokenizer."""
    from datasets import Dataset
    from transformers import PrinterCallback
    from trl import GRPOConfig, GRPOTrainer

    on_cpu = place.device == "cpu"
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
        use_cpu=on_cpu,
        bf16=not on_cpu,
        gradient_checkpointing=not on_cpu,
        dataloader_pin_memory=False,
        num_iterations=size.num_iterations,
        **engine_settings(size, place),
    )
    model = make_model(size, place.device)
    if place.engine == "none":
        draw_without_decoding(model, size)
    if place.engine == "vllm":  # vLLM loads the model from a folder
        model.save_pretrained(folder)
        character_tokenizer().save_pretrained(folder)
    trainer = (EchoGRPOTrainer if echo else GRPOTrainer)(
        folder if place.engine == "vllm" else model,
        [half_right],
        args,
        Dataset.from_dict({"prompt": [f"{i}+{i}=" for i in range(64)]}),
        processing_class=character_tokenizer(),
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def engine_settings(size: Size, place: Place) -> dict[str, object]:
    """Options that let the engine sample every rollout to its full length."""
    if place.engine != "vllm":
        return {"generation_kwargs": {"min_new_tokens": size.tokens}}
    if place.device == "cpu":  # vLLM would re-pack the weights that TRL writes into; see docs/guides/vllm.md
        import vllm._custom_ops
        import vllm.model_executor.layers.utils

        vllm._custom_ops._supports_onednn = False
        vllm.model_executor.layers.utils.check_cpu_sgl_kernel = lambda *_: False
    return {
        "use_vllm": True,
        "vllm_mode": "colocate",
        "vllm_max_model_length": size.tokens + 64,
        "generation_kwargs": {"min_tokens": size.tokens},
    }


def draw_without_decoding(model, size: Size) -> None:
    """Let `model.generate` draw the character tokenizer's tokens at random; logits processors get random logits."""
    model._get_logits_processor = lambda *_, **__: LogitsProcessorList()

    def generate(input_ids, **_):
        ids = torch.randint(3, 17, (len(input_ids), size.tokens), device=input_ids.device)
        logits = torch.randn(len(input_ids), size.vocab, device=input_ids.device)
        processors = model._get_logits_processor()
        for _ in range(size.tokens):
            processors(input_ids, logits)
        return torch.cat([input_ids, ids], 1)

    model.generate = generate


def half_right(completions, **_):
    """Rewards by which one group of four is all-success, one all-fail, and two are mixed."""
    return [float((i // 8) % 4 == 0 or ((i // 8) % 4 > 1 and i % 2)) for i in range(len(completions))]


def character_tokenizer():
    """A tokenizer of single characters."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    pieces = ["<pad>", "<eos>", "<unk>", "\n", *"0123456789+= "]
    tokenizer = Tokenizer(models.WordLevel({piece: i for i, piece in enumerate(pieces)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"\n|."), "isolated")
    tokenizer.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>")


class Switch(TrainerCallback):
    """Callback that switches EchoRL on or off for each generation batch, and measures the time of each."""

    def __init__(self, trainer: EchoGRPOTrainer, device: str) -> None:
        self.trainer, self.device = trainer, device
        self.on, self.off = trainer.echo, replace(trainer.echo, coef=0.0)
        self.marks: list[tuple[float, float]] = []

    def on_step_begin(self, args, state, control, **kwargs):
        """Switch EchoRL at the first step of a generation batch."""
        batch, within = divmod(state.global_step, args.num_iterations)
        if within == 0:
            for station in (self.trainer.stations.miner, self.trainer.stations.echo):
                station.config = self.on if is_on(batch) else self.off
            self.mark()

    def on_train_end(self, args, state, control, **kwargs):
        """Note the end of the last batch."""
        self.mark()

    def mark(self) -> None:
        """Note the wall time and the CPU time."""
        if self.device != "cpu":
            torch.cuda.synchronize()
        self.marks.append((time.perf_counter(), time.process_time()))


def is_on(batch: int) -> bool:
    """Return whether EchoRL is on for a batch: on, off, off, on, ..., so that a drift of the machine cancels."""
    return batch % 4 in (0, 3)


def batch_times(size: Size, pairs: int, place: Place) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
    """Wall and CPU seconds of the batches without EchoRL and of those with it; four warm-up batches are excluded."""
    batches = 2 * pairs + 4
    with tempfile.TemporaryDirectory() as folder:
        trainer = make_trainer(size, True, batches * size.num_iterations, place, folder)
        switch = Switch(trainer, place.device)
        trainer.add_callback(switch)
        trainer.train()
    times = [(b[0] - a[0], b[1] - a[1]) for a, b in itertools.pairwise(switch.marks)]
    measured = list(enumerate(times))[4:]
    return [t for i, t in measured if not is_on(i)], [t for i, t in measured if is_on(i)]


def median_and_interval(values: list[float]) -> tuple[float, str]:
    """The median, and its 95 % interval by order statistics: ranks n/2 -+ 1.96 sqrt(n)/2."""
    ordered, n = sorted(values), len(values)
    half = 1.96 * n**0.5 / 2
    low, high = max(0, math.floor(n / 2 - half)), min(n - 1, math.ceil(n / 2 + half))
    return round(statistics.median(values), 4), f"{ordered[low]:.3f}-{ordered[high]:.3f}"


def in_process(quantity: str, name: str, place: Place, *options: str) -> Any:
    """The times or the peak that a fresh process measures, without an engine or a peak of an earlier configuration."""
    command = [sys.executable, "-m", "benchmarks.step_overhead", f"--{quantity}", name]
    command += ["--device", place.device, "--engine", place.engine, *options]
    process = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(process.stdout.splitlines()[-1])


def print_peak(size: Size, echo: bool, steps: int, place: Place) -> None:
    """Train for some steps and print the peak memory in MB."""
    with tempfile.TemporaryDirectory() as folder:
        make_trainer(size, echo, steps, place, folder).train()
    if place.device == "cpu":
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    else:
        print(torch.cuda.max_memory_allocated() / 2**20)


def measure(name: str, size: Size, pairs: int, place: Place) -> dict[str, object]:
    """Row of a configuration: the ratio over pairs of neighbouring batches, and both peaks."""
    off, on = in_process("times", name, place, "--pairs", str(pairs))
    wall, cpu = (median_and_interval([b[i] / a[i] for a, b in zip(off, on, strict=True)]) for i in (0, 1))
    steps = ["--steps", str(3 * size.num_iterations)]
    peaks = [in_process("peak", name, place, *steps, *echo) for echo in ([], ["--echo"])]
    return {
        "config": name,
        "engine": place.engine,
        **{key: getattr(size, key) for key in ("hidden", "layers", "vocab", "rollouts", "tokens")},
        "num_iterations": size.num_iterations,
        "pairs": pairs,
        "batch_s_off": round(statistics.median(a[0] for a in off), 4),
        "batch_s_on": round(statistics.median(b[0] for b in on), 4),
        "wall_ratio": wall[0],
        "wall_ratio_95": wall[1],
        "cpu_ratio": cpu[0] if place.device == "cpu" else "",
        "cpu_ratio_95": cpu[1] if place.device == "cpu" else "",
        "peak_mb_off": round(peaks[0]),
        "peak_mb_on": round(peaks[1]),
    }


def main(argv: list[str] | None = None) -> None:
    """Run the measurements and write `results/step_overhead.csv`."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=30)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--engine", choices=["generate", "vllm", "none"], default="generate")
    parser.add_argument("--config", nargs="*")
    parser.add_argument("--times", help=argparse.SUPPRESS)
    parser.add_argument("--peak", help=argparse.SUPPRESS)
    parser.add_argument("--steps", type=int, default=3, help=argparse.SUPPRESS)
    parser.add_argument("--echo", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    place = Place(args.device, args.engine)
    if args.peak:
        print_peak(place.sizes[args.peak], args.echo, args.steps, place)
        return
    if args.times:
        print(json.dumps(batch_times(place.sizes[args.times], args.pairs, place)))
        return
    name, rows = "step_overhead" + ("_vllm" if args.engine == "vllm" else ""), []
    for config in args.config or place.sizes:
        rows.append(measure(config, place.sizes[config], args.pairs, place))
        print(rows[-1], flush=True)
        # After each configuration, so that an interrupted run keeps its rows.
        write_csv(name, rows, device=args.device, module="step_overhead")


if __name__ == "__main__":
    main()

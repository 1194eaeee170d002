"""Time and peak memory of `logp_and_entropy` against separate log-softmax, gather and entropy, forward and backward.

    python -m benchmarks.logp_entropy [--megabytes 128] [--threads 1] [--repeats 5] [--no-sweep]

It measures three vocabulary sizes (SmolLM2 has 49,152 tokens, Qwen2 151,936), in float32 and bfloat16. Peak memory is
the memory of torch's allocator in addition to the logits. The value of CHUNK_ELEMENTS was chosen by the sweep.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks.measure import median_seconds, peak_bytes
from benchmarks.results import write_csv
from echorl import logp_and_entropy
from echorl.core import entropy as module

VOCAB_SIZES = (32_768, 49_152, 151_936)
SWEEP = range(15, 25)
TEMPERATURE = 0.7
Scorer = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


def one_pass(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Log-probabilities and entropies by echorl."""
    return logp_and_entropy(logits, targets, temperature=TEMPERATURE)


def separate(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """The log-probabilities with a graph, then the entropies without one, all positions at once."""
    logp = (logits.float() / TEMPERATURE).log_softmax(-1).gather(-1, targets.unsqueeze(-1)).squeeze(-1)
    with torch.no_grad():
        all_logp = (logits.float() / TEMPERATURE).log_softmax(-1)
        entropy = -(all_logp.exp() * all_logp).sum(-1)
    return logp, entropy


def forward(scorer: Scorer, logits: Tensor, targets: Tensor) -> Callable[[], object]:
    """A call of the forward pass."""
    detached = logits.detach()
    return lambda: scorer(detached, targets)


def forward_and_backward(scorer: Scorer, logits: Tensor, targets: Tensor) -> Callable[[], object]:
    """A call of the forward and the backward pass."""
    return lambda: torch.autograd.grad(scorer(logits, targets)[0].sum(), logits)


def make_logits(vocab_size: int, dtype: torch.dtype, megabytes: int) -> tuple[Tensor, Tensor]:
    """Random logits and targets, as many positions as fit into `megabytes` of float32."""
    generator = torch.Generator().manual_seed(0)
    num = megabytes * (1 << 20) // (4 * vocab_size)
    logits = (torch.randn(num, vocab_size, generator=generator) * 3).to(dtype).requires_grad_()
    return logits, torch.randint(0, vocab_size, (num,), generator=generator)


def measure(scorer: Scorer, logits: Tensor, targets: Tensor, repeats: int) -> dict[str, object]:
    """Row with the time and the peak memory of a scorer."""
    row: dict[str, object] = {
        "what": scorer.__name__,
        "vocab_size": logits.shape[1],
        "dtype": str(logits.dtype).removeprefix("torch."),
        "positions": logits.shape[0],
        "chunk_elements": module.CHUNK_ELEMENTS if scorer is one_pass else "",
        "logits_mb": round(logits.nbytes / 1e6, 1),
    }
    for name, make in (("forward", forward), ("forward_backward", forward_and_backward)):
        function = make(scorer, logits, targets)
        row[f"{name}_seconds"] = round(median_seconds(function, repeats), 4)
        row[f"{name}_peak_mb"] = round(peak_bytes(function) / 1e6, 1)
    return row


def main() -> None:
    """Run the measurements and write `results/logp_entropy.csv`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("megabytes", 128), ("threads", 1), ("repeats", 5)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--no-sweep", action="store_true", help="measure the current CHUNK_ELEMENTS alone")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    chosen, rows = module.CHUNK_ELEMENTS, []
    for vocab_size in VOCAB_SIZES:
        for dtype in (torch.float32, torch.bfloat16):
            logits, targets = make_logits(vocab_size, dtype, args.megabytes)
            torch.testing.assert_close(one_pass(logits, targets), separate(logits, targets), rtol=1e-4, atol=1e-4)
            rows += [measure(scorer, logits, targets, args.repeats) for scorer in (one_pass, separate)]
            for power in [] if args.no_sweep else SWEEP:
                if 1 << power != chosen:
                    module.CHUNK_ELEMENTS = 1 << power
                    rows.append(measure(one_pass, logits, targets, args.repeats))
            module.CHUNK_ELEMENTS = chosen
            print(*rows[-2 if args.no_sweep else -1 - len(SWEEP) :], sep="\n", flush=True)
    print(write_csv("logp_entropy", rows, sources="src/echorl/core"))


if __name__ == "__main__":
    main()

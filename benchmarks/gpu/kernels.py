"""Mining and log-probs with entropy against the bandwidth of the memory; and a step by the core's functions alone."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Collection, Iterator

import torch

from benchmarks import logp_entropy, mining
from benchmarks.measure import median_seconds
from benchmarks.sizes import Size, make_model
from echorl import StepDelimiters, echo_loss, logp_and_entropy, mine_echo_clips, segment_steps
from echorl.core import entropy

CHUNKS = (20, 22, 24, 26)
"""log2 of ACCELERATOR_CHUNK_ELEMENTS that are tried; 22 is the default, which was chosen without a measurement."""
NAMES = (
    "copy", "segment and mine",
    *(f"{scorer}, {way}" for scorer in ("one_pass", "separate") for way in ("forward", "forward and backward")),
    *(f"one_pass, forward and backward, chunks of 2^{power}" for power in CHUNKS),
)  # fmt: skip
Work = tuple[Callable[[], object], int]
"""A function, and the bytes that it has to read and write at least."""


def measure(device: str, rehearse: bool, measured: Collection[str]) -> Iterator[tuple[str, dict[str, object]]]:
    """Yield name and row of each measurement that is not `measured` yet; the copy is repeated for its bandwidth."""
    default, bandwidth = entropy.ACCELERATOR_CHUNK_ELEMENTS, 0.0
    for name, (function, least) in works(device, rehearse).items():
        if name in measured and name != "copy":
            continue
        if "2^" in name:
            entropy.ACCELERATOR_CHUNK_ELEMENTS = 1 << int(name.rpartition("^")[2])
        seconds, peak = timed(function, device)
        entropy.ACCELERATOR_CHUNK_ELEMENTS = default
        speed = least / seconds / 1e9
        bandwidth = bandwidth or speed
        row = {"least_mb": round(least / 1e6, 1), "seconds": f"{seconds:.3g}", "gb_per_s": round(speed, 1)}
        if name not in measured:
            yield name, {**row, "share_of_copy": round(speed / bandwidth, 3), "peak_mb": peak}


def works(device: str, rehearse: bool) -> dict[str, Work]:
    """Return what is measured, by the names of the rows."""
    rollouts, tokens, megabytes = (16, 64, 1) if rehearse else (1024, 8192, 2048)
    source = torch.ones(megabytes << 20, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    batch, delimiters = mining.make_batch(rollouts, tokens)
    batch = mining.Batch(*(column.to(device) for column in vars(batch).values()))
    result: dict[str, Work] = {
        "copy": (lambda: target.copy_(source), 2 * source.nbytes),
        # token ids, mask and entropies are read, weights are written
        "segment and mine": (lambda: mining.vectorised(batch, delimiters), rollouts * tokens * (8 + 1 + 4 + 4)),
    }
    logits, targets = logp_entropy.make_logits(151_936, torch.bfloat16, megabytes)
    logits, targets = logits.detach().to(device).requires_grad_(), targets.to(device)
    for scorer in (logp_entropy.one_pass, logp_entropy.separate):
        forward, both = (
            make(scorer, logits, targets) for make in (logp_entropy.forward, logp_entropy.forward_and_backward)
        )
        result[f"{scorer.__name__}, forward"] = forward, logits.nbytes
        result[f"{scorer.__name__}, forward and backward"] = both, 3 * logits.nbytes  # the gradient is written
    for power in CHUNKS:
        name = "one_pass, forward and backward"
        result[f"{name}, chunks of 2^{power}"] = result[name]
    return result


def timed(function: Callable[[], object], device: str) -> tuple[float, object]:
    """Return the median of the seconds of a call, and on a GPU the MB that it takes in addition."""
    if device == "cpu":
        return median_seconds(function, 3), ""
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()

    def call() -> None:
        function()
        torch.cuda.synchronize()

    seconds = median_seconds(call, 10)
    return seconds, round((torch.cuda.max_memory_allocated() - before) / 1e6, 1)


def loop(size: Size, pairs: int, device: str) -> dict[str, object]:
    """Return the row of a step without TRL: a forward, GRPO's loss with or without EchoRL's, backward and AdamW.

    Tokens are random; half of the rollouts succeed. The entropies come from the forward of the loss.
    """
    model = make_model(size, device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-6)
    model.gradient_checkpointing_enable()
    delimiters = StepDelimiters.from_ids([3], size.vocab)
    groups = torch.arange(size.rollouts, device=device) // 8
    times: dict[bool, list[float]] = {False: [], True: []}
    peaks = {False: 0.0, True: 0.0}
    for number in range(2 * pairs + 2):
        is_on = number % 4 in (0, 3)
        ids = torch.randint(3, 17, (size.rollouts, size.tokens), device=device)
        start = synchronized(device)
        for rows in torch.arange(size.rollouts, device=device).split(8):
            update(model, ids[rows], groups[rows], delimiters if is_on else None)
        optimizer.step()
        optimizer.zero_grad()
        if number >= 2:
            times[is_on].append(synchronized(device) - start)
        if device != "cpu":
            peaks[is_on] = max(peaks[is_on], torch.cuda.max_memory_allocated() / 2**20)
            torch.cuda.reset_peak_memory_stats()
    off, on = (statistics.median(times[key]) for key in (False, True))
    return {
        "engine": "loop", "pairs": pairs, "batch_s_off": round(off, 4), "batch_s_on": round(on, 4),
        "wall_ratio": round(on / off, 4), "peak_mb_off": round(peaks[False]), "peak_mb_on": round(peaks[True]),
    }  # fmt: skip


def update(model: torch.nn.Module, ids: torch.Tensor, groups: torch.Tensor, delimiters: StepDelimiters | None) -> None:
    """Add the gradient of a micro-batch."""
    with torch.autocast(ids.device.type, torch.bfloat16):
        logits = model(input_ids=ids).logits
    logp, entropies = logp_and_entropy(logits[:, :-1], ids[:, 1:])
    success = torch.arange(len(ids), device=ids.device) % 2 == 0
    loss = -(logp.exp() / logp.detach().exp() * (success.float() * 2 - 1).unsqueeze(1)).mean()
    if delimiters is not None:
        steps = segment_steps(ids[:, 1:], torch.ones_like(ids[:, 1:], dtype=torch.bool), delimiters)
        clips = mine_echo_clips(entropies, steps, success, groups)
        loss = loss + 0.001 * echo_loss(logp, clips.weights, num_prompts=1)
    loss.backward()


def synchronized(device: str) -> float:
    """Return the time after all work of the device."""
    if device != "cpu":
        torch.cuda.synchronize()
    return time.perf_counter()

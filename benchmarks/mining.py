"""Time of segmenting and mining 1,024 rollouts of 8,192 tokens, against plain Python loops.

    python -m benchmarks.mining [--rollouts 1024] [--tokens 8192] [--threads 1] [--repeats 7]

The loops make one pass over the tokens. The first loop reads the tensors element by element. It is timed on a few
groups and scaled to all, since its time is linear in them. The second loop reads lists, whose conversion is timed
separately. All three must find the same clips.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmarks.measure import median_seconds
from benchmarks.results import write_csv
from echorl import EchoClips, StepDelimiters, mine_echo_clips, segment_steps

VOCAB_SIZE, NUM_NEWLINES, GROUP_SIZE, FEW = 151_936, 2_178, 8, 16
Clip = tuple[int, int]  # rollout, end


@dataclass
class Batch:
    """Columns of a batch of rollouts."""

    token_ids: Tensor
    mask: Tensor
    entropy: Tensor
    success: Tensor
    group_ids: Tensor

    def rows(self, rows: slice) -> Batch:
        """The batch of these rows."""
        return Batch(*(column[rows] for column in vars(self).values()))


def make_batch(num_rollouts: int, num_tokens: int) -> tuple[Batch, StepDelimiters]:
    """Rollouts of full length with a newline token in about 32, of as many kinds as in Qwen2."""
    generator = torch.Generator().manual_seed(0)
    shape = num_rollouts, num_tokens
    token_ids = torch.randint(NUM_NEWLINES, VOCAB_SIZE, shape, generator=generator)
    newlines = torch.randint(0, NUM_NEWLINES, shape, generator=generator)
    token_ids = torch.where(torch.rand(shape, generator=generator) < 1 / 32, newlines, token_ids)
    batch = Batch(
        token_ids=token_ids,
        mask=torch.ones(shape, dtype=torch.bool),
        entropy=torch.rand(shape, generator=generator),
        success=torch.rand(num_rollouts, generator=generator) < 0.7,
        group_ids=torch.arange(num_rollouts) // GROUP_SIZE,
    )
    return batch, StepDelimiters.from_ids(range(NUM_NEWLINES), VOCAB_SIZE, blank_ids=range(NUM_NEWLINES // 2))


def vectorised(batch: Batch, delimiters: StepDelimiters) -> EchoClips:
    """Clips by echorl."""
    step_ids = segment_steps(batch.token_ids, batch.mask, delimiters)
    return mine_echo_clips(batch.entropy, step_ids, batch.success, batch.group_ids)


def plain_loop(rows: Iterable[tuple], newline: list[bool], blank: list[bool]) -> tuple[list[Clip], list[list[float]]]:
    """Clips and weights of rows (token ids, mask, entropies, success, group id), by a plain Python loop."""
    best: dict[int, tuple[float, int, list[int], int]] = {}
    weights = []
    for row, (token_ids, mask, entropy, success, group) in enumerate(rows):
        steps, means = steps_and_means(token_ids, mask, entropy, newline, blank)
        weights.append([0.0] * len(steps))
        for step, mean in enumerate(means if success else []):
            if group not in best or mean > best[group][0]:
                best[group] = (mean, row, steps, step)
    clips = []
    for _, row, steps, last in best.values():
        inside = [position for position, step in enumerate(steps) if 0 <= step <= last]
        for position in inside:
            weights[row][position] = 1 / len(inside)
        clips.append((row, inside[-1] + 1))
    return sorted(clips), weights


def steps_and_means(
    token_ids: Iterable[int], mask: Iterable[bool], entropy: Iterable[float], newline: list[bool], blank: list[bool]
) -> tuple[list[int], list[float]]:
    """Step of each token, and mean entropy of each step."""
    steps, sums, counts = [], [0.0], [0]
    cut = has_text = False
    was_in_mask = True
    for token, in_mask, value in zip(token_ids, mask, entropy, strict=True):
        if not in_mask:
            steps.append(-1)
            was_in_mask = False
            continue
        cut = cut or not was_in_mask
        was_in_mask = True
        if not blank[token]:
            if cut and has_text:
                sums.append(0.0)
                counts.append(0)
            cut, has_text = False, True
        cut = cut or newline[token]
        steps.append(len(sums) - 1)
        if math.isfinite(value):
            sums[-1] += value
            counts[-1] += 1
    if not has_text:
        return [-1] * len(steps), []
    return steps, [total / count if count else -math.inf for total, count in zip(sums, counts, strict=True)]


def elements(tensor: Tensor) -> Iterator:
    """Numbers of a tensor, read one by one."""
    for position in range(len(tensor)):
        yield tensor[position].item()


def rows_of_tensors(batch: Batch) -> Iterator[tuple]:
    """Rows of a batch, whose columns are read one by one."""
    for row in range(len(batch.token_ids)):
        columns = (batch.token_ids[row], batch.mask[row], batch.entropy[row])
        yield *map(elements, columns), batch.success[row].item(), batch.group_ids[row].item()


def as_lists(batch: Batch) -> list[list]:
    """Columns of a batch as lists."""
    return [column.tolist() for column in vars(batch).values()]


def main() -> None:
    """Run the measurements and write `results/mining.csv`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("rollouts", 1024), ("tokens", 8192), ("threads", 1), ("repeats", 7)):
        parser.add_argument(f"--{name}", type=int, default=default)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    batch, delimiters = make_batch(args.rollouts, args.tokens)
    newline, blank = delimiters.newline.tolist(), delimiters.blank.tolist()
    few, lists = batch.rows(slice(0, min(FEW, args.rollouts))), as_lists(batch)

    clips = vectorised(batch, delimiters)
    clip_ends = list(zip(clips.rollout.tolist(), clips.end.tolist(), strict=True))
    assert clip_ends == plain_loop(zip(*lists, strict=True), newline, blank)[0]
    assert [clip for clip in clip_ends if clip[0] < FEW] == plain_loop(rows_of_tensors(few), newline, blank)[0]

    step_ids = segment_steps(batch.token_ids, batch.mask, delimiters)
    columns = batch.entropy, step_ids, batch.success, batch.group_ids
    timed = {
        "echorl: segment and mine": (lambda: vectorised(batch, delimiters), args.repeats, args.rollouts),
        "echorl: segment_steps": (
            lambda: segment_steps(batch.token_ids, batch.mask, delimiters),
            args.repeats,
            args.rollouts,
        ),
        "echorl: mine_echo_clips": (lambda: mine_echo_clips(*columns), args.repeats, args.rollouts),
        "loop over tensors": (lambda: plain_loop(rows_of_tensors(few), newline, blank), 3, len(few.token_ids)),
        "loop over lists": (lambda: plain_loop(zip(*lists, strict=True), newline, blank), 3, args.rollouts),
        "tolist() of the batch": (lambda: as_lists(batch), 3, args.rollouts),
    }
    rows = []
    for name, (function, repeats, num_timed) in timed.items():
        seconds = median_seconds(function, repeats) * args.rollouts / num_timed
        ratio = seconds / rows[0]["seconds"] if rows else 1.0
        rows.append({"what": name, "rollouts": args.rollouts, "tokens": args.tokens, "rollouts_timed": num_timed})
        rows[-1] |= {"seconds": round(seconds, 4), "times_echorl": round(ratio, 2), "repeats": repeats}
        print(rows[-1], flush=True)
    print(write_csv("mining", rows, sources="src/echorl/core"))


if __name__ == "__main__":
    main()

"""Random batches with everything that real ones may hold, and more."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

import torch
from hypothesis import strategies as st

from echorl import EchoConfig, StepDelimiters

PAD, EOS, LINE, LINES, DOT_LINE, SPACE = range(6)
VOCAB_SIZE = 10
NEWLINE = {LINE, LINES, DOT_LINE}
BLANK = {PAD, EOS, LINE, LINES, SPACE}
OUTSIDE = (-100, -1, VOCAB_SIZE, 99)


def delimiters() -> StepDelimiters:
    table = torch.arange(VOCAB_SIZE)
    return StepDelimiters(
        newline=torch.isin(table, torch.tensor(list(NEWLINE))), blank=torch.isin(table, torch.tensor(list(BLANK)))
    )


@dataclass
class Batch:
    token_ids: list[list[int]]
    mask: list[list[bool]]
    entropy: list[list[float]]
    success: list[bool]
    group_ids: list[int]
    scored: list[bool]


@st.composite
def batches(draw: st.DrawFn, max_rows: int = 8, max_length: int = 16) -> Batch:
    """Sizes and seed are hypothesis's to shrink; the rest comes from the seed."""
    num_rows, length = draw(st.integers(0, max_rows)), draw(st.integers(0, max_length))
    rng = random.Random(draw(st.integers(0, 2**32 - 1)))
    rows = [random_row(rng, length) for _ in range(num_rows)]
    groups = rng.choice([[0], [7, -3], [2**40, -(2**40), 0], list(range(num_rows + 1))])
    wins = rng.choice([0.0, 0.3, 0.8, 1.0])
    entropy_of = rng.choice([coarse, coarse, smooth, broken])
    return Batch(
        token_ids=[ids for ids, _ in rows],
        mask=[mask for _, mask in rows],
        entropy=[[entropy_of(rng) for _ in range(length)] for _ in range(num_rows)],
        success=[rng.random() < wins for _ in range(num_rows)],
        group_ids=[rng.choice(groups) for _ in range(num_rows)],
        scored=[rng.random() < 0.8 for _ in range(num_rows)],
    )


def random_row(rng: random.Random, length: int) -> tuple[list[int], list[bool]]:
    """A rollout: leading blanks, text with newlines, EOS, padding, and perhaps gaps in the mask."""
    end = rng.randint(0, length)
    common = rng.choice([list(BLANK), [LINE, LINES, DOT_LINE, SPACE, 6, 7, 8], [6, 7, 8, 9, LINE, *OUTSIDE]])
    ids = [rng.choice(common) for _ in range(end)]
    for position in range(rng.choice([0, 0, min(2, end)])):
        ids[position] = rng.choice([LINE, SPACE])
    if end and rng.random() < 0.5:
        ids[-1] = EOS
    gaps = rng.choice([0.0, 0.0, 0.2])
    mask = [rng.random() >= gaps for _ in range(end)]
    padding = length - end
    return ids + [rng.choice([PAD, -100, 6])] * padding, mask + [False] * padding


def coarse(rng: random.Random) -> float:
    return rng.choice([0.0, 0.5, 1.0])


def smooth(rng: random.Random) -> float:
    return rng.random() * 3


def broken(rng: random.Random) -> float:
    return rng.choice([math.nan, math.inf, -math.inf, 0.25, 0.5])


configs = st.builds(
    EchoConfig,
    scope=st.sampled_from(["verified", "degenerate"]),
    select=st.sampled_from(["max_entropy", "max_entropy", "min_entropy", "random", "full"]),
    clip_per=st.sampled_from(["prompt", "rollout"]),
    length_norm=st.sampled_from(["clip", "constant"]),
    max_completion_length=st.integers(1, 64),
    top_k=st.sampled_from([1, 1, 2, 3, 20]),
    min_step_tokens=st.sampled_from([1, 1, 2, 4]),
    entropy_quantile=st.sampled_from([None, None, 0.01, 0.5, 0.9]),
    max_step_entropy=st.sampled_from([None, None, 0.31, 0.83]),
    seed=st.integers(0, 2**62),
)

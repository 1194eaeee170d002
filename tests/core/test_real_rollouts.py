"""Real rollouts of a Qwen2.5-Math model under the real Qwen2 vocabulary."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from transformers import PreTrainedTokenizerFast

from echorl import EchoConfig, StepDelimiters, mine_echo_clips, segment_steps
from tests.references import mining as mining_reference
from tests.references import steps as reference

END = "<|endoftext|>"


@dataclass
class Texts:
    texts: list[str]
    token_ids: torch.Tensor
    mask: torch.Tensor


@pytest.fixture(scope="module")
def tokenizer(shared_data: Path) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(tokenizer_file=str(shared_data / "tokenizers/qwen2/tokenizer.json"))


@pytest.fixture(scope="module")
def delimiters(tokenizer: PreTrainedTokenizerFast) -> StepDelimiters:
    return StepDelimiters.from_tokenizer(tokenizer)


@pytest.fixture(scope="module")
def rows(shared_data: Path) -> list[dict]:
    return [json.loads(line) for line in (shared_data / "math_rollouts/qwen25_math_100x8.jsonl").open()]


def encode(tokenizer: PreTrainedTokenizerFast, texts: list[str]) -> Texts:
    """With EOS, then padded with EOS, as a trainer has them."""
    end = tokenizer.convert_tokens_to_ids(END)
    encoded = [torch.tensor([*ids, end]) for ids in tokenizer(texts, add_special_tokens=False)["input_ids"]]
    token_ids = torch.nn.utils.rnn.pad_sequence(encoded, batch_first=True, padding_value=end)
    lengths = torch.tensor([len(ids) for ids in encoded])
    return Texts(texts, token_ids, torch.arange(token_ids.shape[1]) < lengths.unsqueeze(1))


@pytest.fixture(scope="module")
def rollouts(tokenizer: PreTrainedTokenizerFast, rows: list[dict]) -> Texts:
    return encode(tokenizer, [row["solution"] for row in rows])


@pytest.fixture(scope="module")
def gsm8k(tokenizer: PreTrainedTokenizerFast, shared_data: Path) -> Texts:
    return encode(tokenizer, [json.loads(line)["answer"] for line in (shared_data / "gsm8k/test.jsonl").open()])


def boundaries(texts: Texts, delimiters: StepDelimiters) -> torch.Tensor:
    return segment_steps(texts.token_ids, texts.mask, delimiters).amax(1)


def newlines_between_text(texts: Sequence[str]) -> int:
    return sum(len(re.findall(r"\s*\n\s*", text.strip())) for text in texts)


def test_the_newline_tokens_are_exactly_the_known_ones(delimiters: StepDelimiters, shared_data: Path) -> None:
    known = json.loads((shared_data / "tokenizers/qwen2/newline_token_ids.json").read_text())
    assert len(known) == 2178
    assert delimiters.newline.nonzero().flatten().tolist() == sorted(map(int, known))


def test_special_tokens_are_blank_though_this_tokenizer_registers_none(
    tokenizer: PreTrainedTokenizerFast, delimiters: StepDelimiters
) -> None:
    assert tokenizer.all_special_ids == []
    for text in (END, "<|im_start|>", "<|im_end|>"):
        assert delimiters.blank[tokenizer.convert_tokens_to_ids(text)]
    ids = tokenizer(f"So 2.\n{END}")["input_ids"]
    assert segment_steps(torch.tensor([ids]), torch.ones(1, len(ids)), delimiters).unique().tolist() == [0]


def test_boundaries_of_the_rollouts(rollouts: Texts, delimiters: StepDelimiters) -> None:
    full = boundaries(rollouts, delimiters)
    assert full.sum().item() == newlines_between_text(rollouts.texts)
    assert full.sum().item() == pytest.approx(15648, abs=5)
    fixed = boundaries(rollouts, StepDelimiters.from_ids([198, 271], len(delimiters.newline), blank_ids=[151643]))
    assert (fixed.sum() / full.sum()).item() == pytest.approx(0.104, abs=0.002)
    assert (fixed == 0).float().mean().item() == pytest.approx(0.48, abs=0.005)


def test_boundaries_of_gsm8k_solutions(gsm8k: Texts, delimiters: StepDelimiters) -> None:
    full = boundaries(gsm8k, delimiters)
    assert full.sum().item() == newlines_between_text(gsm8k.texts) == 4819
    fixed = boundaries(gsm8k, StepDelimiters.from_ids([198, 271], len(delimiters.newline), blank_ids=[151643]))
    assert (fixed.sum() / full.sum()).item() == pytest.approx(0.436, abs=0.002)


def test_segmentation_is_the_loop_and_no_step_is_blank(
    rollouts: Texts, delimiters: StepDelimiters, tokenizer: PreTrainedTokenizerFast
) -> None:
    step_ids = segment_steps(rollouts.token_ids, rollouts.mask, delimiters).tolist()
    newline, blank = (set(table.nonzero().flatten().tolist()) for table in (delimiters.newline, delimiters.blank))
    token_ids = rollouts.token_ids.tolist()
    assert step_ids == reference.segment_steps(token_ids, rollouts.mask.tolist(), newline, blank)
    pieces = [
        [token for token, at in zip(ids, steps, strict=True) if at == step]
        for ids, steps in zip(token_ids, step_ids, strict=True)
        for step in range(max(steps) + 1)
    ]
    assert all(text.replace(END, "").strip() for text in tokenizer.batch_decode(pieces))


def test_clips_of_real_verdicts(rollouts: Texts, delimiters: StepDelimiters, rows: list[dict]) -> None:
    step_ids = segment_steps(rollouts.token_ids, rollouts.mask, delimiters)
    success = torch.tensor([row["correct"] for row in rows])
    group_ids = torch.tensor([int(row["id"].split("-")[2]) for row in rows])
    right = torch.zeros(100, dtype=torch.int64).scatter_add_(0, group_ids, success.long())
    assert [int((right == n).sum()) for n in (8, 0)] == [86, 4]
    entropy = torch.rand(step_ids.shape, generator=torch.Generator().manual_seed(0))
    for scope, num_clips in (("verified", 96), ("degenerate", 86)):
        clips = mine_echo_clips(entropy, step_ids, success, group_ids, EchoConfig(scope=scope))
        assert len(clips) == clips.group.unique().numel() == num_clips
        torch.testing.assert_close(clips.weights.sum(), torch.tensor(float(num_clips)))

    few = slice(0, 24)
    columns = [column[few] for column in (entropy, step_ids, success, group_ids)]
    clips = mine_echo_clips(*columns)
    _, expected = mining_reference.mine_echo_clips(*(column.tolist() for column in columns), EchoConfig())
    assert list(zip(clips.rollout.tolist(), clips.end.tolist(), strict=True)) == [(c.rollout, c.end) for c in expected]

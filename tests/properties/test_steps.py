from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings

from echorl import StepDelimiters, segment_steps, step_entropy
from echorl.core.entropy import step_lengths
from tests.properties.cases import BLANK, DOT_LINE, EOS, LINE, LINES, NEWLINE, PAD, SPACE, Batch, batches, delimiters
from tests.references import steps as reference

PROPERTY = settings(derandomize=True, deadline=None, max_examples=1000, database=None)


def tensors(batch: Batch, device: str = "cpu") -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    shape = len(batch.token_ids), len(batch.token_ids[0]) if batch.token_ids else 0
    return (
        torch.tensor(batch.token_ids, dtype=torch.int64, device=device).view(shape),
        torch.tensor(batch.mask, dtype=torch.bool, device=device).view(shape),
        torch.tensor(batch.entropy, dtype=torch.float32, device=device).view(shape),
    )


@PROPERTY
@given(batches())
def test_segment_steps_is_the_loop(batch: Batch) -> None:
    token_ids, mask, _ = tensors(batch)
    step_ids = segment_steps(token_ids, mask, delimiters())
    assert step_ids.dtype == torch.int64
    assert step_ids.tolist() == reference.segment_steps(batch.token_ids, batch.mask, NEWLINE, BLANK)


@PROPERTY
@given(batches())
def test_no_step_is_blank_and_steps_are_numbered_without_gaps(batch: Batch) -> None:
    token_ids, mask, _ = tensors(batch)
    for ids, steps in zip(batch.token_ids, segment_steps(token_ids, mask, delimiters()).tolist(), strict=True):
        present = [step for step in steps if step >= 0]
        assert present == sorted(present)
        assert sorted(set(present)) == list(range(len(set(present))))
        with_text = {step for token, step in zip(ids, steps, strict=True) if step >= 0 and token not in BLANK}
        assert with_text == set(present)


@PROPERTY
@given(batches())
def test_step_entropy_is_the_loop(batch: Batch) -> None:
    token_ids, mask, entropy = tensors(batch)
    step_ids = segment_steps(token_ids, mask, delimiters())
    means = step_entropy(entropy, step_ids)
    assert means.dtype == torch.float32
    assert means.tolist() == reference.step_entropy(entropy.tolist(), step_ids.tolist())


@pytest.mark.parametrize("mask_dtype", [torch.bool, torch.int64, torch.float32])
@pytest.mark.parametrize("ids_dtype", [torch.int32, torch.int64])
def test_dtypes_and_devices(device: str, ids_dtype: torch.dtype, mask_dtype: torch.dtype) -> None:
    token_ids = torch.tensor([[6, DOT_LINE, 7, EOS, PAD]], dtype=ids_dtype, device=device)
    mask = torch.tensor([[1, 1, 1, 1, 0]], device=device).to(mask_dtype)
    step_ids = segment_steps(token_ids, mask, delimiters())
    assert step_ids.device.type == device
    assert step_ids.tolist() == [[0, 0, 1, 1, -1]]


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        ([6, LINE, 7], [0, 0, 1]),
        ([6, LINE, SPACE, LINES, SPACE, 7], [0, 0, 0, 0, 0, 1]),
        ([6, DOT_LINE, LINES, EOS], [0, 0, 0, 0]),
        ([LINE, SPACE, LINES, 6, 7], [0, 0, 0, 0, 0]),
        ([DOT_LINE, DOT_LINE, DOT_LINE], [0, 1, 2]),
        ([LINE, EOS], [-1, -1]),
        ([SPACE], [-1]),
        ([EOS], [-1]),
    ],
)
def test_newlines_blanks_and_eos(ids: list[int], expected: list[int]) -> None:
    assert segment_steps(torch.tensor([ids]), torch.ones(1, len(ids)), delimiters()).tolist() == [expected]


def test_a_gap_in_the_mask_ends_a_step_and_its_newlines_do_not_count() -> None:
    token_ids = torch.tensor([[6, 7, LINE, 6, SPACE, 8]])
    mask = torch.tensor([[1, 1, 0, 0, 1, 1]])
    assert segment_steps(token_ids, mask, delimiters()).tolist() == [[0, 0, -1, -1, 0, 1]]


def test_row_blocks_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(0)
    token_ids = torch.randint(0, 10, (33, 40), generator=generator)
    mask = torch.rand(33, 40, generator=generator) < 0.9
    entropy = torch.rand(33, 40, generator=generator)
    whole = segment_steps(token_ids, mask, delimiters())
    means = step_entropy(entropy, whole)
    monkeypatch.setattr("echorl.core.steps.BLOCK_ELEMENTS", 150)
    assert torch.equal(segment_steps(token_ids, mask, delimiters()), whole)
    assert torch.equal(step_entropy(entropy, whole), means)


def test_bfloat16_entropies_are_summed_in_full_precision(device: str) -> None:
    entropy = torch.full((1, 4096), 1.0078125, dtype=torch.bfloat16, device=device)  # a bfloat16 sum stalls at 256
    assert step_entropy(entropy, torch.zeros(1, 4096, dtype=torch.int64, device=device)).tolist() == [[1.0078125]]


def test_num_steps_widens_the_table(device: str) -> None:
    step_ids = torch.tensor([[0, 0, 1]], device=device)
    means = step_entropy(torch.tensor([[1.0, 3.0, 5.0]], device=device), step_ids, num_steps=4)
    assert means.tolist() == [[2.0, 5.0, -torch.inf, -torch.inf]]


@pytest.mark.parametrize(
    ("ids", "num_steps"), [([[0, 2]], 2), ([[0, 1]], 1), ([[0, 5]], 2), ([[-2, 0]], 2), ([[-2, 0]], None), ([[0]], 0)]
)
def test_step_numbers_outside_the_table_are_refused(ids: list[list[int]], num_steps: int | None) -> None:
    """They would count in the neighbouring row."""
    step_ids = torch.tensor([*ids, [-1] * len(ids[0])])
    for call in (lambda: step_entropy(torch.ones(step_ids.shape), step_ids, num_steps=num_steps),
                 lambda: step_lengths(step_ids, num_steps)):  # fmt: skip
        with pytest.raises(ValueError, match=rf"step_ids from .* with num_steps={num_steps}"):
            call()


def test_delimiters_from_ids() -> None:
    delimiters = StepDelimiters.from_ids([3, 1], vocab_size=5)
    assert delimiters.newline.tolist() == delimiters.blank.tolist() == [False, True, False, True, False]
    assert StepDelimiters.from_ids([1], 3, blank_ids=[2]).blank.tolist() == [False, False, True]


@pytest.mark.parametrize(("ids", "blank_ids"), [([], None), ([5], None), ([-1], None), ([1], [5])])
def test_delimiters_from_ids_refuses(ids: list[int], blank_ids: list[int] | None) -> None:
    with pytest.raises(ValueError, match=r"all below 5"):
        StepDelimiters.from_ids(ids, vocab_size=5, blank_ids=blank_ids)


def test_a_mask_of_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match=r"mask \(1, 2\): give \[B, T\]"):
        segment_steps(torch.zeros(1, 3, dtype=torch.int64), torch.ones(1, 2), delimiters())

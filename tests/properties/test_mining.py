from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from echorl import EchoClips, EchoConfig, mine_echo_clips, segment_steps
from echorl.core.groups import classify_groups
from echorl.core.miner import EchoMiner
from echorl.core.mining import candidate_steps, choose_candidates, cut_clips, eligible_rollouts
from echorl.core.rollouts import Rollouts
from echorl.core.steps import StepDelimiters
from tests.properties.cases import Batch, batches, configs, delimiters
from tests.properties.test_steps import tensors
from tests.references import mining as reference

PROPERTY = settings(derandomize=True, deadline=None, max_examples=3000, database=None)
FEWER = settings(PROPERTY, max_examples=500)


def mine(batch: Batch, config: EchoConfig, dtype: torch.dtype = torch.float32, **options: object) -> EchoClips:
    token_ids, mask, entropy = tensors(batch)
    step_ids = segment_steps(token_ids, mask, delimiters())
    success = torch.tensor(batch.success, dtype=torch.bool)
    group_ids = torch.tensor(batch.group_ids, dtype=torch.int64)
    return mine_echo_clips(entropy.to(dtype), step_ids, success, group_ids, config, **options)


def assert_is_the_loop(
    batch: Batch, config: EchoConfig, clips: EchoClips, dtype: torch.dtype, scored: list[bool] | None, **options: object
) -> None:
    token_ids, mask, entropy = tensors(batch)
    step_ids = segment_steps(token_ids, mask, delimiters()).tolist()
    weights, expected = reference.mine_echo_clips(
        entropy.to(dtype).tolist(), step_ids, batch.success, batch.group_ids, config, scored=scored, **options
    )
    columns = (clips.rollout, clips.step, clips.end, clips.length, clips.entropy, clips.group)
    found = list(zip(*(column.tolist() for column in columns), strict=True))
    assert found == [tuple(clip) for clip in expected]
    assert len(clips) == len(expected)
    shape = len(weights), len(weights[0]) if weights else 0
    expected_weights = torch.tensor(weights, dtype=torch.float32).view(shape)
    assert torch.equal(clips.weights != 0, expected_weights != 0)
    torch.testing.assert_close(clips.weights, expected_weights, rtol=1e-6, atol=0)


@PROPERTY
@given(
    batches(),
    configs,
    st.sampled_from([torch.float32, torch.float32, torch.bfloat16]),
    st.booleans(),
    st.sampled_from([None, None, 0.0, 0.5, 5.0]),
    st.integers(-3, 3),
)
def test_the_miner_is_the_loop(
    batch: Batch, config: EchoConfig, dtype: torch.dtype, all_scored: bool, threshold: float | None, draw: int
) -> None:
    scored = None if all_scored else batch.scored
    options = {"threshold": threshold, "draw": draw}
    given_scores = None if scored is None else torch.tensor(scored, dtype=torch.bool)
    clips = mine(batch, config, dtype, has_verdict=given_scores, **options)
    assert_is_the_loop(batch, config, clips, dtype, scored, **options)


@FEWER
@given(batches(), configs, st.randoms(use_true_random=False))
def test_the_order_of_rows_only_breaks_ties(batch: Batch, config: EchoConfig, rng) -> None:  # type: ignore[no-untyped-def]
    config = replace(config, select="max_entropy")
    batch.entropy = [[value + 1e-3 * rng.random() for value in row] for row in batch.entropy]
    order = list(range(len(batch.success)))
    rng.shuffle(order)
    fields = {name: [values[row] for row in order] for name, values in vars(batch).items()}
    shuffled, plain = mine(Batch(**fields), config), mine(batch, config)
    torch.testing.assert_close(shuffled.weights, plain.weights[order])


@FEWER
@given(batches(), configs, st.integers(1, 3))
def test_the_parts_on_split_rows_give_the_whole(batch: Batch, config: EchoConfig, num_parts: int) -> None:
    """As over processes: candidates and clips where the rows are, the choice on the gathered scores."""
    config = replace(config, entropy_quantile=None)
    token_ids, mask, entropy = tensors(batch)
    step_ids = segment_steps(token_ids, mask, delimiters())
    group_ids = torch.tensor(batch.group_ids, dtype=torch.int64)
    parts = torch.arange(len(group_ids)).tensor_split(num_parts)
    candidates = [candidate_steps(entropy[rows], step_ids[rows], config, row_ids=rows, draw=5) for rows in parts]
    success = torch.tensor(batch.success, dtype=torch.bool)
    chosen = choose_candidates(torch.cat([c.score for c in candidates]), success, group_ids, config)
    weights = [
        cut_clips(step_ids[rows], found, chosen[rows], group_ids[rows], config).weights
        for rows, found in zip(parts, candidates, strict=True)
    ]
    torch.testing.assert_close(torch.cat(weights), mine(batch, config, draw=5).weights)


@FEWER
@given(batches(), st.sampled_from(["verified", "degenerate"]))
def test_each_clip_weighs_one(batch: Batch, scope: str) -> None:
    clips = mine(batch, EchoConfig(scope=scope))
    rows = clips.weights.sum(1)
    torch.testing.assert_close(rows[clips.rollout], torch.ones(len(clips)))
    assert int((rows > 0).sum()) == len(clips) == clips.group.unique().numel()
    assert all(batch.success[row] for row in clips.rollout.tolist())


@pytest.mark.parametrize("select", ["random", "full"])
def test_random_choices_are_uniform_and_differ_by_seed_and_draw(select: str) -> None:
    num_groups = 4000
    step_ids = torch.tensor([[0, 0, 1, 2], [0, 1, 1, 2]]).repeat(num_groups, 1)
    entropy = torch.arange(4.0).expand_as(step_ids)
    success, group_ids = torch.ones(2 * num_groups, dtype=torch.bool), torch.arange(num_groups).repeat_interleave(2)

    def choose(**settings: int) -> list[tuple[int, int]]:
        draw = settings.pop("draw", 0)
        clips = mine_echo_clips(entropy, step_ids, success, group_ids, EchoConfig(select=select, **settings), draw=draw)
        return list(zip((clips.rollout % 2).tolist(), clips.step.tolist(), strict=True))

    counts = Counter(choose())
    places = 6 if select == "random" else 2
    spread = (num_groups / places) ** 0.5  # at least the standard deviation of a count
    assert len(counts) == places
    assert all(abs(count - num_groups / places) < 4 * spread for count in counts.values())
    assert choose() == choose()
    for other in (choose(seed=1), choose(draw=1)):
        same = sum(a == b for a, b in zip(choose(), other, strict=True))
        assert abs(same - num_groups / places) < 4 * spread
    assert all(step == 2 for _, step in choose()) == (select == "full")


def test_ties_go_to_the_lowest_row_then_the_earliest_step(device: str) -> None:
    step_ids = torch.tensor([[0, 1, 2], [0, 1, 2], [0, 1, 2]], device=device)
    entropy = torch.tensor([[9.0, 9.0, 9.0], [1.0, 2.0, 2.0], [2.0, 0.0, 2.0]], device=device)
    success = torch.tensor([False, True, True], device=device)
    clips = mine_echo_clips(entropy, step_ids, success, torch.zeros(3, dtype=torch.int64, device=device))
    assert (clips.rollout.tolist(), clips.step.tolist(), clips.end.tolist()) == ([1], [1], [2])
    top = mine_echo_clips(entropy, step_ids, success, torch.zeros_like(success).long(), EchoConfig(top_k=3))
    assert list(zip(top.rollout.tolist(), top.step.tolist(), strict=True)) == [(1, 1), (1, 2), (2, 0)]


@pytest.mark.parametrize("select", ["max_entropy", "min_entropy", "random", "full"])
def test_a_rollout_that_ends_in_gibberish_gives_no_clip_not_even_of_its_calmer_steps(select: str) -> None:
    step_ids = torch.tensor([[0, 1, 2, 2]]).repeat(3, 1)
    entropy = torch.tensor([[1.0, 4.9, 7.0, 7.0], [1.0, 2.0, 0.5, 0.5], [1.0, 5.1, 0.5, 0.5]])
    success, group_ids = torch.ones(3, dtype=torch.bool), torch.tensor([0, 0, 1])
    clips = mine_echo_clips(entropy, step_ids, success, group_ids, EchoConfig(select=select, max_step_entropy=5.0))
    assert clips.rollout.tolist() == [1]
    plain = mine_echo_clips(entropy, step_ids, success, group_ids, EchoConfig())
    assert list(zip(plain.rollout.tolist(), plain.step.tolist(), strict=True)) == [(0, 2), (2, 1)]


def test_overlapping_clips_add_up_and_blocks_do_not_show(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    step_ids = torch.tensor([[0, 1, 1, -1, 2]] * 5, device=device)
    entropy = torch.tensor([[3.0, 2.0, 2.0, 9.0, 1.0]] * 5, device=device)
    success, group_ids = torch.ones(5, dtype=torch.bool, device=device), torch.arange(5, device=device)
    monkeypatch.setattr("echorl.core.steps.BLOCK_ELEMENTS", 10)
    clips = mine_echo_clips(entropy, step_ids, success, group_ids, EchoConfig(top_k=3))
    expected = torch.tensor([1 + 1 / 3 + 1 / 4, 1 / 3 + 1 / 4, 1 / 3 + 1 / 4, 0, 1 / 4])
    torch.testing.assert_close(clips.weights.cpu(), expected.expand(5, -1))
    assert clips.end.tolist() == [1, 3, 5] * 5
    assert clips.length.tolist() == [1, 3, 4] * 5


def test_without_rollouts_tokens_or_steps() -> None:
    for shape in ((0, 0), (0, 4), (3, 0), (3, 4)):
        step_ids = torch.full(shape, -1)
        rows = torch.ones(shape[0], dtype=torch.bool)
        for config in (EchoConfig(), EchoConfig(top_k=2, clip_per="rollout", select="full", entropy_quantile=0.5)):
            clips = mine_echo_clips(torch.rand(shape), step_ids, rows, torch.arange(shape[0]), config)
            assert len(clips) == 0
            assert torch.equal(clips.weights, torch.zeros(shape))


def test_the_running_quantile_waits_for_steps_that_can_give_a_clip() -> None:
    """A batch without a success leaves it as it was, and so does one at the start; the function's own is the first."""
    miner = EchoMiner(EchoConfig(entropy_quantile=0.75), StepDelimiters.from_ids([9], 10))
    entropy = torch.tensor([[0.1, 0.1, 0.2, 0.2], [0.1, 0.1, 0.3, 0.3], [2.0, 2.0, 3.0, 3.0], [2.0, 2.0, 3.0, 3.0]])
    step_ids, group_ids = torch.tensor([[0, 0, 1, 1]] * 4), torch.tensor([0, 0, 0, 0])
    seen = []
    for verdicts in ([0, 0, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0], [1, 1, 0, 0]):
        success = torch.tensor(verdicts, dtype=torch.bool)
        rollouts = Rollouts.build(
            rewards=success.float(),
            success=success,
            has_verdict=torch.ones(4, dtype=torch.bool),
            group_ids=group_ids,
            token_ids=torch.tensor([[1, 9, 1, 9]] * 4),
            in_loss=torch.ones(4, 4, dtype=torch.bool),
        )
        clips = miner(rollouts, entropy).clips
        assert torch.equal(clips.end, mine_echo_clips(entropy, step_ids, success, group_ids, miner.config).end)
        seen.append((len(clips), miner.threshold))
    least = pytest.approx(0.2)
    assert seen == [(0, None), (1, least), (0, least), (1, least)]


def test_a_row_set_to_minus_one_gives_no_clip() -> None:
    step_ids = torch.tensor([[-1, -1], [0, 0]])
    clips = mine_echo_clips(
        torch.tensor([[9.0, 9.0], [1.0, 1.0]]), step_ids, torch.tensor([True, True]), torch.tensor([0, 0])
    )
    assert clips.rollout.tolist() == [1]


@pytest.mark.gpu
def test_cuda_gives_what_the_cpu_gives() -> None:
    generator = torch.Generator().manual_seed(0)
    step_ids = torch.randint(0, 20, (256, 512), generator=generator).sort(1).values - 1
    entropy = torch.randint(0, 64, (256, 512), generator=generator) / 64  # exact in every order of summation
    success, group_ids = torch.rand(256, generator=generator) < 0.7, torch.arange(256) // 8
    for select in ("max_entropy", "min_entropy", "random", "full"):
        config = EchoConfig(select=select, top_k=3)
        cpu = mine_echo_clips(entropy, step_ids, success, group_ids, config)
        cuda = mine_echo_clips(entropy.cuda(), step_ids.cuda(), success.cuda(), group_ids.cuda(), config)
        assert cuda.rollout.tolist() == cpu.rollout.tolist()
        assert cuda.step.tolist() == cpu.step.tolist()
        assert torch.equal(cuda.weights.cpu(), cpu.weights)


def test_what_does_not_fit_is_refused():
    entropy, steps, group = torch.rand(2, 3), torch.zeros(2, 3, dtype=torch.int64), torch.zeros(2, dtype=torch.int64)
    right = torch.tensor([True, False])
    with pytest.raises(ValueError, match=r"success is torch\.float32, not bool"):
        mine_echo_clips(entropy, steps, torch.tensor([-1.0, 1.0]), group)
    for wrong in [
        (entropy, steps[:, :2], right, group),
        (entropy, steps, right, group[:1]),
        (entropy[0], steps, right, group),
    ]:
        with pytest.raises(ValueError, match=r"give \[B, T\], \[B, T\], \[B\] and \[B\]"):
            mine_echo_clips(*wrong)


def test_groups_of_nan_are_refused() -> None:
    """NaN equals nothing: two rollouts of one prompt would be two groups, and give two clips."""
    success, groups = torch.tensor([True, True]), torch.tensor([torch.nan, torch.nan])
    for call in (
        lambda: mine_echo_clips(torch.rand(2, 3), torch.zeros(2, 3, dtype=torch.int64), success, groups),
        lambda: eligible_rollouts(success, groups, EchoConfig(scope="degenerate")),
        lambda: classify_groups(success, success, success.float(), groups),
    ):
        with pytest.raises(ValueError, match="group id is NaN"):
            call()

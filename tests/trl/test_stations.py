"""Each station with a context that is built by hand: no trainer, no model."""

from __future__ import annotations

from collections import defaultdict, deque
from dataclasses import fields, replace

import pyarrow.parquet as pq
import pytest
import torch
from transformers import TrainerState

from echorl.core.communication import SingleProcess
from echorl.trl.batch import CARRIED, Capture, Plan
from echorl.trl.context import Context, PolicyCalls, RunLog
from echorl.trl.dump import LOGGED_COLUMNS
from echorl.trl.methods.base import MethodHooks
from echorl.trl.micro_batch import MicroBatch
from echorl.trl.pipeline import make_stations, process, read_entropy, set_advantages
from echorl.trl.statistics import record
from echorl.trl.verifiers import Verifiers
from tests.trl.tiny import make_dataset, make_tokenizer, settings

ROWS, TOKENS = 8, 6  # two groups of four
TEXT = "1+2\n3="


def make_context(folder, **changes):
    return Context(
        args=settings(folder, **changes),
        comm=SingleProcess(),
        processor=make_tokenizer(),
        rows=make_dataset(),
        log=RunLog(defaultdict(list), {"advantages": deque(), "extra": defaultdict(deque)}),
        state=TrainerState(),
    )


def stations_of(context):
    return make_stations(context.args.load_method(), Verifiers([len], ["length"], torch.ones(1), [0], 1.0), context)


def make_batch(context):
    """TRL's batch and its capture: a group that is all right and one that is mixed."""
    ids = torch.tensor([context.tokenizer(TEXT)["input_ids"]] * ROWS)
    logps = torch.full(ids.shape, -1.0)
    out = {
        "prompt_ids": ids[:, :2],
        "prompt_mask": torch.ones_like(ids[:, :2]),
        "completion_ids": ids,
        "completion_mask": torch.ones_like(ids),
        "advantages": torch.tensor([0.0] * 4 + [1.0, -1.0, 1.0, -1.0]),
        "old_per_token_logps": logps,
        "num_items_in_batch": torch.tensor(ids.numel()),
    }
    capture = Capture(
        passes=[(logps, torch.arange(ids.numel()).view(ids.shape) / ids.numel())],
        num_sampled=[TOKENS] * ROWS,
        completion_ids=ids.tolist(),
        rewards=torch.tensor([1.0] * 4 + [1.0, 0.0] * 2).unsqueeze(1),
        texts=(["1+1=?\n"] * ROWS, [TEXT] * ROWS),
    )
    return out, capture


@pytest.fixture
def context(tmp_path):
    return make_context(tmp_path, echo_rollouts_every=1, log_completions=True)


def test_the_context_has_at_most_ten_members_and_hooks_at_most_a_dozen():
    assert len(fields(Context)) <= 10
    assert len([name for name in vars(MethodHooks) if not name.startswith("_")]) <= 12


def test_verifiers_read_the_rollouts(context):
    out, capture = make_batch(context)
    rollouts = stations_of(context).verifiers.read(out, capture, context)
    assert rollouts.success.tolist() == [True] * 5 + [False, True, False]
    assert rollouts.all_success.tolist() == [True] * 4 + [False] * 4
    assert rollouts.in_loss.all()


def test_statistics_count_the_tokens_that_the_policy_sampled(context):
    out, capture = make_batch(context)
    stations = stations_of(context)
    rollouts = stations.verifiers.read(out, capture, context)
    record(stations.statistics, rollouts, stations.hooks.filtered_groups(rollouts), out, capture, context)
    assert stations.statistics.tokens["all_success"] == stations.statistics.tokens["mixed"] == 4 * TOKENS
    shares = context.log.take_shares()
    assert shares["echo/groups/mixed"] == shares["echo/tokens/mixed"] == 0.5
    assert context.log.take_shares() == {}


def test_a_rule_sets_the_advantages_and_the_table_shows_them(tmp_path):
    context = make_context(tmp_path, method="agpo")
    out, capture = make_batch(context)
    stations = stations_of(context)
    context.log.completions["advantages"].extend([9.0] * ROWS)
    rollouts = stations.verifiers.read(out, capture, context)
    assert set_advantages(out, rollouts, capture, stations, context).all()
    assert out["advantages"].tolist() == [1.0] * 5 + [-1.0, 1.0, -1.0]
    assert list(context.log.completions["advantages"]) == out["advantages"].tolist()


def test_entropies_come_from_the_old_pass_or_from_one_more_forward(context):
    out, capture = make_batch(context)
    stations = stations_of(context)
    rollouts = stations.verifiers.read(out, capture, context)
    entropy = read_entropy(out, rollouts, capture, stations, context)
    assert torch.equal(entropy, capture.passes[0][1])
    forwards = []

    def score(ids, mask, num_tokens):
        forwards.append(len(ids))
        return torch.zeros(len(ids), num_tokens), torch.ones(len(ids), num_tokens)

    entropy = read_entropy(
        out, rollouts, Capture(plan=Plan()), stations, replace(context, policy=PolicyCalls(score=score))
    )
    assert (forwards, entropy[rollouts.success].unique().tolist()) == ([8], [1.0])
    assert "extra_forward" in context.log.warned


def test_a_batch_from_scoring_to_the_loss(context, tmp_path):
    out, capture = make_batch(context)
    stations = stations_of(context)
    sampled = process(out, capture, stations, context)
    assert sampled.batch is out
    assert out.keys() <= CARRIED.keys()
    assert out["echo_weights"].sum() == pytest.approx(2)  # a clip for each group
    assert out["echo_has_gradient"].tolist() == [0.0] * 4 + [1.0] * 4
    assert pq.read_table(next((tmp_path / "rollouts").glob("*.parquet"))).num_rows == ROWS
    assert all(len(context.log.completions["extra"][name]) == ROWS for name in LOGGED_COLUMNS)

    logps = torch.full((ROWS, TOKENS), -2.0, requires_grad=True)
    stations.echo.receipt.open(out["echo_weights"], 1)
    micro_batch = MicroBatch(None, out, logps, context.args.steps_per_generation, context)
    loss = stations.echo(micro_batch, None, stations.hooks.num_supervised_tokens(out))
    assert loss.item() == pytest.approx(context.args.echo_coef * 2.0)  # the mean NLL of two clips over two prompts
    stations.echo.close_step(context)
    assert context.log.metrics["echo/nll"] == [pytest.approx(2.0)]
    assert context.log.metrics["echo/without_policy_gradient"] == [0.0]


def test_what_stations_remember_survives_a_checkpoint(context):
    out, capture = make_batch(context)
    stations, resumed = stations_of(context), stations_of(context)
    process(out, capture, stations, context)
    for name in ("statistics", "hooks", "miner", "dump"):
        getattr(resumed, name).load_state_dict(getattr(stations, name).state_dict())
    assert resumed.statistics == stations.statistics
    assert (resumed.dump.last, resumed.miner.threshold) == (1, None)


def test_dumps_without_echorl_are_announced_as_none(tmp_path, caplog):
    stations_of(make_context(tmp_path, echo_rollouts_every=3))
    assert not caplog.records
    stations_of(make_context(tmp_path, echo_rollouts_every=3, echo_coef=0.0))
    (record,) = caplog.records
    assert record.getMessage().startswith("echo_rollouts_every=3 stores nothing with echo_coef=0")

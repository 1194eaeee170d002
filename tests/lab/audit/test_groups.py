"""A log's groups are those of the trainer that wrote it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from echorl.core.groups import classify_groups
from echorl.core.statistics import KINDS, GroupStatistics, are_equal, batch_metrics
from echorl.lab.audit.losses import measure_batch, measure_shares
from tests.lab.audit.simulated import group_table

GROUPS, SIZE = 2000, 4
PARTS = (  # of an audit, and the metrics of a run
    ("no_gradient", "echo/frac_degenerate", "echo/frac_degenerate_tokens"),
    *((kind, f"echo/groups/{kind}", f"echo/tokens/{kind}") for kind in ("all_success", "all_fail")),
)


def test_trainer_and_audit_agree_on_kinds_and_metrics():
    rng = np.random.default_rng(0)
    has_verdict = rng.random((GROUPS, SIZE)) < rng.choice([0.0, 0.7, 1.0], (GROUPS, 1))
    success = has_verdict & (rng.random((GROUPS, SIZE)) < rng.choice([0.0, 0.5, 1.0], (GROUPS, 1)))
    rewards = success + rng.choice([0.0, 0.1], (GROUPS, 1)) * rng.integers(0, 2, (GROUPS, SIZE))
    rewards = np.where(rng.random((GROUPS, 1)) < 0.1, 0.9 + 1e-8 * rng.random((GROUPS, SIZE)), rewards)  # by rounding
    rewards = np.where(has_verdict, rewards, np.nan)
    lengths = rng.integers(0, 50, (GROUPS, SIZE))

    groups = classify_groups(
        *(torch.from_numpy(column.reshape(-1)) for column in (success, has_verdict, rewards)),
        torch.arange(GROUPS).repeat_interleave(SIZE),
    )
    statistics = GroupStatistics()
    logged = groups.record(statistics, torch.from_numpy(lengths.reshape(-1)), torch.zeros(GROUPS, dtype=torch.bool))

    least, most = (np.nan_to_num(rewards, nan=fill) for fill in (np.inf, -np.inf))
    table = group_table(
        success.sum(1),
        SIZE,
        verdicts=has_verdict.sum(1),
        degenerate=are_equal(least.min(1), most.max(1)),
        length=lengths.sum(1),
        step=np.zeros(GROUPS, dtype=np.int64),
        prompt=np.arange(GROUPS) % 50,
    )
    assert table.degenerate.tolist() == groups.degenerate.tolist()
    assert table.kind.tolist() == groups.kind.tolist()
    assert {KINDS[kind] for kind in table.kind} == set(KINDS) - {"truncated"}  # which no log tells
    columns = (table.kind.tolist(), table.degenerate.tolist(), table.length.tolist())
    assert batch_metrics(*columns, [False] * GROUPS) == logged
    shares, batch = measure_shares(table), measure_batch(table)
    assert batch is not None
    assert shares.lengths is not None
    for part, group_share, token_share in PARTS:
        assert shares.groups[part].value == pytest.approx(logged[group_share])
        assert shares.lengths[part].value == pytest.approx(logged[token_share])
    assert batch.with_gradient.value == pytest.approx(logged["echo/groups_with_gradient"])
    assert statistics.groups == {kind: int((table.kind == code).sum()) for code, kind in enumerate(KINDS)}

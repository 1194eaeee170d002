"""With traces in the groups: the ledger, the metrics and the dumps are about what the policy wrote."""

from __future__ import annotations

import math

import pyarrow.parquet as pq
import pytest

from tests.trl.by_hand import logps_and_entropies
from tests.trl.test_methods import SOLUTION, first_batch, train
from tests.trl.tiny import all_right, make_model


def only_the_solution(completions, **_):
    return [float(text == SOLUTION) for text in completions]


def test_a_policy_that_fails_everything_has_no_mixed_group(tmp_path):
    trainer, *_ = train(tmp_path, "luffy", only_the_solution)
    logged = trainer.state.log_history[0]
    assert logged["echo/groups/all_fail"] == 1.0
    assert logged["echo/tokens/all_fail"] == 1.0
    assert logged["echo/frac_degenerate"] == 0.0  # the trace's reward differs: there is a policy gradient
    assert (trainer.statistics.groups["all_fail"], trainer.statistics.degenerate["all_fail"]) == (
        4,
        0,
    )
    assert logged["reward"] == 0.25  # TRL's, with the traces
    assert logged["method/policy_reward"] == 0.0


@pytest.mark.parametrize("method", ["luffy", "rl_sft"])
def test_the_policys_reward_is_that_of_its_rows(tmp_path, method):
    def by_place(completions, **_):
        return [1.0] if len(completions) == 1 else [0.0, 1.0, 0.0, 1.0] * 4  # a demonstration is asked about alone

    trainer, batch, _ = first_batch(tmp_path, method, by_place)
    logged = trainer.state.log_history[0]
    assert logged["method/policy_reward"] == pytest.approx(1 / 3)
    assert logged["echo/groups/mixed"] == 1.0
    assert bool(batch["echo_has_gradient"][3]) == (method == "luffy")


def test_all_right_with_a_right_trace_is_all_success(tmp_path):
    trainer, *_ = train(tmp_path, "luffy", all_right)
    assert trainer.statistics.degenerate["all_success"] == trainer.statistics.groups["all_success"] == 4


def test_the_policys_entropy_is_that_of_its_tokens(tmp_path):
    trainer, batch, _ = first_batch(tmp_path, "luffy")
    _, entropy = logps_and_entropies(make_model(), batch)
    own = (batch["completion_mask"] * (1 - batch["trace_mask"])).bool()
    logged = trainer.state.log_history[0]
    assert logged["echo/entropy_source/recorder"] == 1.0
    assert logged["echo/token_entropy"] == pytest.approx(entropy[own].mean().item(), rel=1e-5)


@pytest.mark.parametrize("method", ["luffy", "rl_sft"])
def test_dumps_tell_demonstrations_apart(tmp_path, method):
    train(tmp_path, method, only_the_solution, echo_rollouts_every=1)
    rows = pq.read_table(tmp_path / "rollouts" / "step-000001-process-0.parquet").to_pylist()
    assert [i for i, row in enumerate(rows) if not row["written_by_policy"]] == [3, 7, 11, 15]
    for row in rows:
        trace = not row["written_by_policy"]
        assert all(math.isnan(value) == trace for value in row["entropy"])
        assert row["success"] == trace
        assert row["kind"] == "all_fail"


def test_what_the_verifier_said_is_kept_without_the_texts(tmp_path):
    trainer, *_ = train(tmp_path, "luffy")
    assert trainer.stations.hooks.verified
    assert all(isinstance(key, bytes) and len(key) == 16 for key in trainer.stations.hooks.verified)

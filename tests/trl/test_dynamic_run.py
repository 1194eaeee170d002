"""A run with dynamic sampling: what it leaves as it is, what it counts, how it resumes, what it refuses."""

from __future__ import annotations

import math

import pytest
import torch

from echorl.lab.report.curves import statistics_tables
from echorl.lab.report.training import group_by_seed, read_run
from tests.trl.by_hand import logps_and_entropies
from tests.trl.scripted import Script, by_number, counts, dapo, first_batch, rows_named, same, tokens_of
from tests.trl.tiny import build, make_dataset, make_model, run, some_right

# -- nothing else changes ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss_type", ["dapo", "grpo"])
def test_a_vanishing_coefficient_and_mining_only_change_nothing(tmp_path, loss_type):
    changes = {**dapo(loss_type=loss_type, method_options={"max_rounds": 3}, entropy_coef=0.01), "max_steps": 3}
    switches = (dict(echo_coef=0.0), dict(echo_coef=1e-30), dict(echo_mine_only=True))
    without, vanishing, mined = (run(tmp_path, by_number, **changes, **switch) for switch in switches)
    assert same(without, vanishing)
    assert same(without, mined)
    assert without[2] == vanishing[2] == mined[2]
    assert mined[0].state.log_history[0]["echo/nll"] == vanishing[0].state.log_history[0]["echo/nll"]
    assert vanishing[0].statistics.filtered["groups"] > 3


def test_coefficient_0_makes_no_forward_of_its_own(tmp_path, monkeypatch):
    trainer = build(tmp_path, by_number, echo_coef=0.0, **dapo())
    monkeypatch.setattr(trainer, "_score_with_graph", lambda *_: pytest.fail("a forward"))
    trainer.train()


def test_groups_that_all_differ_are_plain_token_mean_grpo(tmp_path):
    own = dict(loss_type="dapo", epsilon=0.2, epsilon_high=0.28, max_steps=3, echo_coef=0.1)
    assert same(run(tmp_path, Script(), **{**dapo(echo_coef=0.1), "max_steps": 3}), run(tmp_path, Script(), **own))


def test_without_dynamic_sampling_and_with_equal_clips_it_is_grpo(tmp_path):
    plain = {"dynamic_sampling": False, "epsilon_high": 0.2, "loss_type": "grpo"}
    one = run(tmp_path, some_right, **{**dapo(method_options=plain), "max_steps": 3})
    assert same(one, run(tmp_path, some_right, method="grpo", max_steps=3))
    assert one[0].statistics.filtered["groups"] == 0
    assert "method/rounds" not in one[0].state.log_history[0]


@pytest.mark.parametrize("changes", [dict(num_iterations=2), dict(num_iterations=2, pad_to_multiple_of=8)])
def test_old_log_probs_travel_with_their_rows(tmp_path, changes):
    found = first_batch(tmp_path, by_number, **changes)
    logp, _ = logps_and_entropies(make_model(), found.batch)
    mask = found.batch["completion_mask"].bool()
    assert counts(found.log)[0] > 1
    assert torch.allclose(found.batch["old_per_token_logps"][mask], logp[mask], atol=1e-5)


def test_a_reference_model_goes_along(tmp_path):
    make_model().save_pretrained(tmp_path / "model")
    changes = dapo(model=str(tmp_path / "model"), beta=0.1, echo_coef=0.1, method_options={"max_rounds": 2})
    trainer, _, losses, weights = run(tmp_path, by_number, **{**changes, "max_steps": 3})
    assert all(math.isfinite(loss) for loss in losses)
    assert all(w.isfinite().all() for w in weights.values())
    assert trainer.statistics.filtered["groups"] > 0


# -- ledger, metrics, budget ------------------------------------------------------------------------------------------


def test_the_statistics_count_all_rounds_and_show_what_was_filtered(tmp_path):
    script = Script("m++-", "-m+", "mm")
    found = first_batch(tmp_path, script, echo_coef=0.0)
    ledger = found.trainer.statistics
    assert (ledger.groups["mixed"], ledger.groups["all_success"], ledger.groups["all_fail"]) == (4, 3, 2)
    assert ledger.num_tokens == script.tokens
    dropped = rows_named(found.rounds, "m++--m+mm")
    assert ledger.filtered == {"groups": 5, "tokens": sum(len(ids) for key in "+-" for ids in dropped[key])}
    assert "filtered by dynamic sampling" in ledger.table()
    assert ledger.table().splitlines()[-1].split()[2] == "5"


def test_the_report_agrees_with_the_statistics_though_steps_have_different_numbers_of_groups(tmp_path):
    changes = dict(echo_coef=0.0, logging_steps=2) | dapo(echo_coef=0.0)
    trainer, *_ = run(tmp_path, Script("m++-", "-m+", "mm"), **{**changes, "max_steps": 3})
    ledger, (report_run, _) = trainer.statistics, read_run(tmp_path)
    assert ledger.num_groups == 9 + 4 + 4
    [table] = statistics_tables(group_by_seed([report_run]))
    expected = [
        f"{groups / ledger.num_groups:.1%} · {tokens:,} ({tokens / ledger.num_tokens:.1%})"
        for groups, tokens in zip(ledger.groups.values(), ledger.tokens.values(), strict=True)
        if groups
    ]
    assert table.rows[0][1:] == expected


def test_the_token_budget_counts_what_was_dropped(tmp_path):
    script = Script(then="+")
    changes = {**dapo(echo_coef=0.0, method_options={"max_rounds": 3}), "max_steps": 9}
    trainer, *_ = run(tmp_path, script, max_rollout_tokens=1, **changes)
    assert trainer.state.global_step == 1
    assert trainer.statistics.num_tokens == script.tokens


def test_metrics_weigh_each_prompt_alike(tmp_path):
    """The mean reward of 4 groups of 0.5, 1, 1, 0, then 3 of 1, then 3 of 0.5."""
    found = first_batch(tmp_path, Script("m++-", "+++", "mmm"))
    assert found.log["reward"] == pytest.approx((0.5 + 1 + 1 + 0 + 3 + 1.5) / 10)
    assert found.log["echo/groups/mixed"] == pytest.approx(0.4)
    assert found.log["echo/groups_with_gradient"] == 4  # of all rounds together
    assert found.log["echo/clips/all_success"] == 5
    assert found.log["num_tokens"] == sum(len(ids) for batch in found.rounds for ids in tokens_of(batch)) + sum(
        int(batch["prompt_mask"].sum()) for batch in found.rounds
    )


# -- resuming ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("changes", [dict(), dict(num_iterations=2), dict(num_iterations=2, steps_per_generation=4)])
@pytest.mark.parametrize("stop", [1, 3])
def test_resumed_equals_undisturbed_bit_for_bit(tmp_path, changes, stop):
    own = {**dapo(echo_coef=0.1, save_strategy="steps", save_steps=1, **changes), "max_steps": 5}
    whole, _, _, weights = run(tmp_path, by_number, **own)
    resumed = build(tmp_path, by_number, **own)
    resumed.train(resume_from_checkpoint=str(tmp_path / f"checkpoint-{stop}"))
    assert all(torch.equal(weights[n], p) for n, p in resumed.model.named_parameters())
    assert resumed.stations.hooks.stream.drawn == whole.stations.hooks.stream.drawn > 0
    assert resumed.statistics == whole.statistics


# -- what is refused --------------------------------------------------------------------------------------------------


def test_refusals(tmp_path):
    from trl.rewards import get_soft_overlong_punishment

    own = [some_right, get_soft_overlong_punishment(16, 4)]
    with pytest.raises(ValueError, match="is given, and method='dapo' adds it: take it out"):
        build(tmp_path, own, **dapo(method_options={"overlong_buffer": 4}))
    with pytest.raises(ValueError, match=r"max_rounds=2.5 is not allowed: it must be a whole number"):
        build(tmp_path, **dapo(method_options={"max_rounds": 2.5}))
    with pytest.raises(ValueError, match=r"overlong_buffer=17 is not allowed: it must be at most .*=16"):
        build(tmp_path, **dapo(method_options={"overlong_buffer": 17}))
    make_model().save_pretrained(tmp_path / "model")
    for changes, message in (
        (dict(dataset=make_dataset().to_iterable_dataset()), "without random access"),
        (dict(model=str(tmp_path / "model"), beta=0.1, loss_type="grpo"), "beta=0.1 and loss_type='grpo'"),
        (dict(loss_type="bnpo"), r"loss_type='bnpo', .* \(use 'dapo'\); or set method_options="),
        (dict(scale_rewards="batch"), "scale_rewards='batch'"),
        (dict(multi_objective_aggregation="normalize_then_sum"), "normalise each round"),
    ):
        with pytest.raises(
            ValueError, match=rf"method='dapo' samples in rounds, which cannot be combined with .*{message}"
        ):
            build(tmp_path, **dapo(**changes))

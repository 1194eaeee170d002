"""What is remembered of prompts: SPO's rates over visits, and after a resume."""

from __future__ import annotations

import pytest
import torch

from echorl.trl.sampling.row_keys import RowKeys, row_key
from tests.trl.by_hand import train_and_keep
from tests.trl.scripted import GIVEN, Script, same
from tests.trl.tiny import build, make_dataset, run

ONE_BATCH = dict(echo_coef=0.0, dataset=make_dataset(4))
"""Four prompts, so that every batch visits each of them."""


def batches(tmp_path, reward, **changes):
    trainer = build(tmp_path, reward, **{"echo_coef": 0.0, **changes})
    kept, _ = train_and_keep(trainer)
    return trainer, kept


# -- SPO --------------------------------------------------------------------------------------------------------------


def test_all_success_groups_gain_1_less_the_rate_of_earlier_visits(tmp_path):
    """Half right at first, then all: v = 2/4, then (0.9 2 + 4) / (0.9 4 + 4); without a prior."""
    changes = dict(method="spo", method_options={"prior": 0}, max_steps=3, **ONE_BATCH)
    trainer, kept = batches(tmp_path, Script("mmmm", "++++", "----"), **changes)
    first = [given - (2 - given) / 3 for given in GIVEN["m"]] * 4  # the mean of the other three
    assert kept[0]["advantages"].tolist() == pytest.approx(first)
    assert kept[1]["advantages"].tolist() == pytest.approx([0.5] * 16)
    assert kept[2]["advantages"].tolist() == pytest.approx([-5.8 / 7.6] * 16)
    logged = trainer.state.log_history
    assert [entry["method/tracked"] for entry in logged[:3]] == [0.0, 1.0, 1.0]
    assert logged[2]["method/tracked_rate"] == pytest.approx(5.8 / 7.6)


def test_a_prompt_that_is_always_right_keeps_an_advantage(tmp_path):
    """Half a success and half a failure before the first visit: v = 0.5, then 4.45 / 4.9."""
    trainer, kept = batches(tmp_path, Script("++++", "++++"), method="spo", max_steps=2, **ONE_BATCH)
    assert kept[0]["advantages"].tolist() == pytest.approx([0.5] * 16)
    assert kept[1]["advantages"].tolist() == pytest.approx([0.45 / 4.9] * 16)
    assert [entry["method/tracked"] for entry in trainer.state.log_history[:2]] == [0.0, 1.0]


def with_offline(*rewards):
    return make_dataset(4).add_column("earlier", list(rewards))


def test_rates_begin_with_a_columns_rewards(tmp_path):
    """8 of 8, none of 2, half of 2, and a row that has none: the prior."""
    rows = with_offline([1.0] * 8, [0.0] * 2, [1.0, 0.5], None)
    changes = dict(method="spo", method_options={"offline": "earlier"}, max_steps=1, **{**ONE_BATCH, "dataset": rows})
    trainer, kept = batches(tmp_path, Script("++++"), **changes)
    rates = {0: 8.5 / 9, 1: 0.5 / 3, 2: 0.5, 3: 0.5}
    order = {row_key(row): row["number"] for row in rows}
    expected = [1 - rates[order[key]] for key in trainer.stations.hooks.entries for _ in range(4)]
    assert kept[0]["advantages"].tolist() == pytest.approx(expected)
    first = trainer.stations.hooks.entries[row_key(rows[0])]
    assert first == pytest.approx((0.9 * 8 * 8.5 / 9 + 4, 0.9 * 8 * 0.5 / 9))


@pytest.mark.parametrize(
    ("rows", "changes", "message"),
    [
        (
            make_dataset(4),
            {},
            r"offline='earlier', which is no column of the training rows \(there are: prompt, number\)",
        ),
        (make_dataset(4).add_column("earlier", [0.5] * 4), {}, "training row 0: earlier=0.5 is no list of numbers"),
        (with_offline([1.0], [1.0], [None], [1.0]), {}, r"training row 2: earlier=\[None\] is no list of numbers"),
        (
            with_offline(*[[1.0]] * 4),
            {"remove_unused_columns": True},
            "would take the column 'earlier' out of the rows",
        ),
    ],
)
def test_a_column_that_cannot_be_read_is_refused(tmp_path, rows, changes, message):
    with pytest.raises(ValueError, match=message):
        build(tmp_path, method="spo", method_options={"offline": "earlier"}, dataset=rows, **changes)


def test_rates_belong_to_prompts_in_whatever_order_they_come(tmp_path):
    def by_prompt(number, **_):
        return [float(i % 4 < n) for i, n in enumerate(number)]  # n of 4 rollouts of prompt n are right

    trainer, _ = batches(tmp_path, by_prompt, method="spo", max_steps=3, method_options={"decay": 1.0}, **ONE_BATCH)
    entries = trainer.stations.hooks.entries
    expected = {row_key(row): (3.0 * row["number"] + 0.5, 12.5 - 3 * row["number"]) for row in make_dataset(4)}
    assert entries == expected


def test_weight_0_is_leave_one_out(tmp_path):
    own = dict(ONE_BATCH, max_steps=3)
    one, other, tracked = (
        run(tmp_path, Script(*["m+-m"] * 8), method=method, method_options=options, **own)
        for method, options in (("spo", {"weight": 0.0}), ("rloo", {}), ("spo", {}))
    )
    assert any(not torch.allclose(tracked[1][-1][name], other[1][-1][name], atol=1e-6) for name in other[1][-1])
    assert all(torch.allclose(one[1][-1][name], other[1][-1][name], atol=1e-6) for name in one[1][-1])
    assert one[2] == pytest.approx(other[2], abs=1e-6)


def easy_first(number, **_):
    """Prompts 0 to 3 are solved, the others mixed."""
    return [GIVEN["+" if n < 4 else "m"][i % 4] for i, n in enumerate(number)]


# -- with the checkpoint ----------------------------------------------------------------------------------------------


def test_a_resumed_run_remembers_and_other_rows_are_refused(tmp_path):
    changes = dict(method="spo", echo_coef=0.0, max_steps=5, save_strategy="steps", save_steps=3)
    own = dict(changes, dataset=make_dataset(8))
    whole, *_, weights = run(tmp_path, easy_first, **own)
    resumed = build(tmp_path, easy_first, **own)
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-3"))
    assert all(torch.equal(weights[name], p) for name, p in resumed.model.named_parameters())
    assert resumed.stations.hooks.entries == whole.stations.hooks.entries
    assert len(whole.stations.hooks.entries) == 8
    other = build(tmp_path, easy_first, **changes, dataset=make_dataset(9))
    with pytest.raises(ValueError, match="the memory of method='spo' in this checkpoint is of other training rows"):
        other.train(resume_from_checkpoint=str(tmp_path / "checkpoint-3"))


def test_a_fingerprint_tells_rows_and_their_order_apart():
    def rows_fingerprint(rows):
        return RowKeys(rows, "spo").fingerprint

    rows = make_dataset(8)
    assert rows_fingerprint(rows) == rows_fingerprint(make_dataset(8))
    assert len({rows_fingerprint(each) for each in (rows, make_dataset(7), rows.select([1, 0, *range(2, 8)]))}) == 3
    assert rows_fingerprint(rows.to_iterable_dataset()) == ""


def test_the_memory_of_another_method_is_refused(tmp_path):
    own = dict(echo_coef=0.0, dataset=make_dataset(8), max_steps=4, save_strategy="steps", save_steps=2)
    run(tmp_path, easy_first, method="spo", **own)
    other = build(tmp_path, easy_first, method="failure_prefix", method_options={"online": True}, **own)
    refusal = r"the memory of method='spo', which method='failure_prefix' cannot use"
    with pytest.raises(ValueError, match=refusal):
        other.train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
    assert other.state.global_step == 2


def test_a_memory_begins_empty_from_a_method_without_one(tmp_path):
    own = dict(echo_coef=0.0, dataset=make_dataset(4), max_steps=4, save_strategy="steps", save_steps=2)
    run(tmp_path, easy_first, method="grpo", **own)
    later = build(tmp_path, easy_first, method="spo", method_options={"decay": 1.0}, **own)
    later.train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
    assert set(later.stations.hooks.entries.values()) == {(8.5, 0.5)}  # the prior, two visits of four rollouts


# -- beside EchoRL ----------------------------------------------------------------------------------------------------


def by_kind(number, **_):
    """Two prompts of four rollouts all right, one with a single failure, one mixed; then again."""
    given = {**GIVEN, "h": (1.0, 1.0, 0.0, 1.0)}
    return [given["+h+m"[n % 4]][i % 4] for i, n in enumerate(number)]


@pytest.mark.parametrize(
    ("method", "acts"), [("spo", "tracked"), ("failure_prefix", "prefixed"), ("erpo", "hotter"), ("greso", "skipped")]
)
def test_a_vanishing_coefficient_disturbs_no_memory(tmp_path, method, acts):
    """Beyond the first visit, where what is remembered acts."""
    options = {"online": True} if method == "failure_prefix" else {}
    changes = dict(method=method, method_options=options, dataset=make_dataset(8), max_steps=4)
    without, vanishing = (run(tmp_path, by_kind, echo_coef=coef, **changes) for coef in (0.0, 1e-30))
    assert any(entry.get(f"method/{acts}", 0.0) > 0 for entry in vanishing[0].state.log_history)
    assert same(without, vanishing)
    assert without[2] == vanishing[2]

"""What is remembered of prompts: SPO's rates over visits, prompts passed over, and both after a resume."""

from __future__ import annotations

import pytest
import torch

from echorl.trl.parts.row_keys import row_key, rows_fingerprint
from tests.trl.scripted import GIVEN, Script, same
from tests.trl.test_gradient import keep_batch
from tests.trl.tiny import build, make_dataset, run

ONE_BATCH = dict(echo_coef=0.0, dataset=make_dataset(4))
"""Four prompts, so that every batch visits each of them."""


def batches(tmp_path, reward, **changes):
    trainer = build(tmp_path, reward, **{"echo_coef": 0.0, **changes})
    kept = keep_batch(trainer)
    trainer.train()
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
    expected = [1 - rates[order[key]] for key in trainer.part.keys for _ in range(4)]
    assert kept[0]["advantages"].tolist() == pytest.approx(expected)
    first = trainer.part.entries[row_key(rows[0])]
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
    entries = trainer.part.entries
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


# -- prompts passed over ----------------------------------------------------------------------------------------------


def easy_first(number, **_):
    """Prompts 0 to 3 are solved, the others mixed."""
    return [GIVEN["+" if n < 4 else "m"][i % 4] for i, n in enumerate(number)]


class Seen:
    """Passes prompts' numbers on, and keeps them."""

    __name__ = "seen"

    def __init__(self, reward):
        self.reward, self.numbers = reward, []

    def __call__(self, number, **kwargs):
        self.numbers.append(number[::4])
        return self.reward(number=number, **kwargs)


def test_solved_prompts_give_way_until_they_have_rested(tmp_path):
    """8 prompts, two batches an epoch: the solved ones come up once, and once more after two passes."""
    seen = Seen(easy_first)
    changes = dict(method="skip_solved", method_options={"rest": 2}, dataset=make_dataset(8), max_steps=8)
    trainer, _ = batches(tmp_path, seen, **changes)
    easy = [sum(n < 4 for n in numbers[0 + i] + numbers[1 + i]) for numbers in [seen.numbers] for i in (0, 2, 4, 6)]
    assert easy == [4, 0, 0, 4]
    assert all(len(set(numbers)) == 4 for numbers in seen.numbers)
    skipped = [entry["method/skipped"] for entry in trainer.state.log_history[:8]]
    assert sum(skipped[2:6]) == 2.0  # four prompts, twice, in batches of four
    assert not any(skipped[:2] + skipped[6:])


def test_where_every_prompt_is_solved_none_is_passed_over(tmp_path):
    seen = Seen(lambda number, **_: [1.0] * len(number))
    changes = dict(method="skip_solved", dataset=make_dataset(8), max_steps=4)
    trainer, _ = batches(tmp_path, seen, **changes)
    assert sorted(seen.numbers[2] + seen.numbers[3]) == list(range(8))
    assert [entry["method/starved"] for entry in trainer.state.log_history[:4]] == [0.0, 0.0, 1.0, 1.0]
    assert "starved" in trainer.warned


def test_without_rest_it_is_grpo_bit_for_bit(tmp_path):
    own = dict(echo_coef=0.0, dataset=make_dataset(8), max_steps=6)
    one, other, rested = (
        run(tmp_path, easy_first, method=method, method_options=options, **own)
        for method, options in (("skip_solved", {"rest": 0}), ("grpo", {}), ("skip_solved", {"rest": 3}))
    )
    assert same(one, other)
    assert not same(rested, other)


# -- with the checkpoint ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["spo", "skip_solved"])
def test_a_resumed_run_remembers_and_other_rows_are_refused(tmp_path, method):
    changes = dict(method=method, echo_coef=0.0, max_steps=5, save_strategy="steps", save_steps=3)
    own = dict(changes, dataset=make_dataset(8))
    whole, *_, weights = run(tmp_path, easy_first, **own)
    resumed = build(tmp_path, easy_first, **own)
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-3"))
    assert all(torch.equal(weights[name], p) for name, p in resumed.model.named_parameters())
    assert resumed.part.entries == whole.part.entries
    assert len(whole.part.entries) == 8
    other = build(tmp_path, easy_first, **changes, dataset=make_dataset(9))
    with pytest.raises(ValueError, match=f"method='{method}' remembers in this checkpoint is of other training rows"):
        other.train(resume_from_checkpoint=str(tmp_path / "checkpoint-3"))


def test_a_fingerprint_tells_rows_and_their_order_apart():
    rows = make_dataset(8)
    assert rows_fingerprint(rows) == rows_fingerprint(make_dataset(8))
    assert len({rows_fingerprint(each) for each in (rows, make_dataset(7), rows.select([1, 0, *range(2, 8)]))}) == 3
    assert rows_fingerprint(rows.to_iterable_dataset()) == ""


def test_streamed_rows_cannot_be_passed_over(tmp_path):
    with pytest.raises(ValueError, match="'skip_solved' does not go with a training set without random access"):
        build(tmp_path, method="skip_solved", dataset=make_dataset().to_iterable_dataset())


def test_the_memory_of_another_method_is_refused(tmp_path):
    own = dict(echo_coef=0.0, dataset=make_dataset(8), max_steps=4, save_strategy="steps", save_steps=2)
    run(tmp_path, easy_first, method="spo", **own)
    other = build(tmp_path, easy_first, method="skip_solved", **own)
    refusal = r"method='spo' remembers, which method='skip_solved' cannot go on from"
    with pytest.raises(ValueError, match=refusal):
        other.train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
    path = tmp_path / "checkpoint-2" / "echorl_state_0.pt"
    state = {key: value for key, value in torch.load(path).items() if key != "settings"}
    torch.save({**state, "method": "spo"}, path)  # as an earlier version wrote it
    with pytest.raises(ValueError, match=refusal):
        other.train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
    assert other.state.global_step == 2


def test_a_memory_begins_empty_from_a_method_without_one(tmp_path):
    own = dict(echo_coef=0.0, dataset=make_dataset(4), max_steps=4, save_strategy="steps", save_steps=2)
    run(tmp_path, easy_first, method="grpo", **own)
    later = build(tmp_path, easy_first, method="spo", method_options={"decay": 1.0}, **own)
    later.train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
    assert set(later.part.entries.values()) == {(8.5, 0.5)}  # the prior, two visits of four rollouts


# -- beside EchoRL ----------------------------------------------------------------------------------------------------


def by_kind(number, **_):
    """Two prompts of four rollouts all right, one with a single failure, one mixed; then again."""
    given = {**GIVEN, "h": (1.0, 1.0, 0.0, 1.0)}
    return [given["+h+m"[n % 4]][i % 4] for i, n in enumerate(number)]


@pytest.mark.parametrize(
    ("method", "acts"), [("spo", "tracked"), ("skip_solved", "skipped"), ("failure_prefix", "prefixed")]
)
def test_a_vanishing_coefficient_disturbs_no_memory(tmp_path, method, acts):
    """Beyond the first visit, where what is remembered acts."""
    changes = dict(method=method, dataset=make_dataset(8), max_steps=4)
    without, vanishing = (run(tmp_path, by_kind, echo_coef=coef, **changes) for coef in (0.0, 1e-30))
    assert any(entry.get(f"method/{acts}", 0.0) > 0 for entry in vanishing[0].state.log_history)
    assert same(without, vanishing)
    assert without[2] == vanishing[2]

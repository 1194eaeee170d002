"""The first sentences of an audit and its table of shares, on logs whose shares are known."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from echorl.lab.audit.advice import advise
from echorl.lab.audit.rates import count_successes, usual_size
from echorl.lab.audit.summary import batch_texts, recent_rows, recent_title, share_rows
from tests.lab.audit.made import long_log, results_of
from tests.lab.audit.simulated import group_table


@pytest.fixture(scope="module")
def results():
    return results_of(long_log(), "8 of 8 rollouts answer '7'.")


def test_the_results_are_json_without_nan(results):
    assert json.loads(json.dumps(results, allow_nan=False)) == results | json.loads(json.dumps(results))


def test_the_sentences_name_the_parts_of_the_last_fifth():
    """Five steps of 40 groups; in the last one 20 are all right and 10 are all wrong."""
    length = np.array([80] * 160 + [80, 10, 10, 100] * 10)
    last = [count for number in range(10) for count in (8, 8, 0, 1 + number % 7)]
    table = group_table([4] * 160 + last, length=length, step=np.arange(200) // 40)
    first, second, *rest = results_of(table, "why", "why")["summary"]
    assert first == (
        "In the last fifth of the run (step 4) 75 % of groups, 50 % of tokens, gave no gradient: 50 % all right, 25 % "
        "all wrong."
    )
    assert second.startswith("With 16 rollouts a group it would be ")
    assert rest == ["2 prompts look mislabelled."]


def test_a_log_without_steps_is_told_as_a_whole():
    summary = results_of(group_table([8, 8, 0, 3], step=np.full(4, -1)))["summary"]
    assert summary[0].startswith("In this log 75 % of groups, 75 % of tokens, gave no gradient")


def test_a_log_in_which_every_group_has_a_gradient():
    table = group_table([4] * 200, step=np.arange(200) // 40)
    assert results_of(table)["summary"][0] == "In the last fifth of the run (step 4) every group gave a gradient."


def test_a_log_of_few_groups_has_no_last_fifth():
    """16 groups in four steps, as of a first try: a fifth would be one step of four groups."""
    results = results_of(group_table([4, 8, 0, 8] * 4))
    assert results["summary"][0].startswith("In this log 75 % of groups, 75 % of tokens, gave no gradient: 50 % all")
    assert recent_title(results) == "This log: 16 groups"
    texts = " ".join(batch_texts(results))
    assert texts.startswith("A step had 4 groups on average, and ")
    assert "fifth" not in texts
    assert "100 steps" not in texts


def test_a_gradient_of_another_reward_alone_is_told():
    table = group_table([8] * 20, degenerate=np.arange(20) % 2 == 0)
    summary = results_of(table)["summary"]
    assert summary[1] == (
        "In another 50 % the verifier says the same of all rollouts, and the gradient comes from another reward or "
        "partial credit alone."
    )
    assert any("would say the same of all, as it now does in 100 %, in " in text for text in summary)


def test_groups_that_are_too_large_for_other_sizes_are_told():
    summary = results_of(group_table([0, 100] * 10, size=100))["summary"]
    assert "Shares with more than the logged 100 rollouts a group are not extrapolated." in summary


def test_no_suspects_are_not_told_of_a_log_without_texts():
    with_texts = group_table([4] * 20, num_texts=np.full(20, 8))
    assert results_of(with_texts)["summary"][-1] == "No prompt looks mislabelled, and no reward unusual."
    assert "mislabelled" not in " ".join(results_of(group_table([4] * 20))["summary"])


def test_the_table_of_the_terminal_fits_80_columns(results):
    head, rows = recent_rows(results)
    assert head == ["", "groups", "tokens", "groups, whole run"]
    assert [row[0] for row in rows] == ["no gradient", "  all right", "  all wrong", "some right, some wrong"]
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    assert sum(widths) + 2 * (len(widths) - 1) <= 80
    assert recent_title(results).startswith("The last fifth of the run (steps ")


def test_shares_of_rollouts_are_shown_where_sizes_differ():
    table = group_table([4, 8] * 10, size=8)
    assert "rollouts" not in share_rows(results_of(table), "whole")[0]
    sizes = np.array([8, 16] * 10)
    unequal = group_table([4, 16] * 10, verdicts=sizes, length=sizes, degenerate=np.array([False, True] * 10))
    object.__setattr__(unequal, "size", sizes)
    assert "rollouts" in share_rows(results_of(unequal), "whole")[0]


def test_the_batch_and_the_cost_of_dynamic_sampling(results):
    texts = list(batch_texts(results))
    assert re.match(r"A step of the last fifth had 4 groups on average, and \S+ \[\S+, \S+\] of them gave a", texts[0])
    assert texts[1].startswith("To fill a batch of 4 groups with a gradient, dynamic sampling would draw ")


def test_the_histogram_counts_groups_of_the_usual_size():
    table = group_table([0, 3, 8, 8, 2], verdicts=np.array([8, 8, 8, 8, 4]))
    assert usual_size(table) == 8
    assert count_successes(table, 8) == [1, 0, 0, 1, 0, 0, 0, 0, 2]
    assert usual_size(group_table([0, 0], verdicts=np.zeros(2, dtype=np.int64))) == 0


def test_advice_is_about_the_losses_of_the_last_fifth(results):
    shares = results["losses"]["recent"]["groups"]
    expected = advise({"all_success": shares["all_success_no_gradient"]["value"], "all_fail": 0.02})
    assert [each["kind"] for each in results["advice"]][:1] == [expected[0].kind]


def test_larger_groups_are_not_told_of_rollouts_that_depend_on_each_other():
    """Half of the groups is all right and half has four of eight: no independent draws give neither more nor less."""
    summary = results_of(group_table([8, 4] * 200))["summary"]
    assert any(text.startswith("The share with 16 rollouts a group cannot be told: ") for text in summary)

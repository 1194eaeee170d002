"""Paired differences by hand."""

from __future__ import annotations

import pytest
from scipy import stats

from echorl.lab.compare import table
from echorl.lab.compare.plan import Comparison, Run
from echorl.lab.evaluate.metrics import item_means, mean_of_runs, paired_average, paired_runs, pass_at_1

RATES = {"grpo": 1e-6, "echorl": 1e-5}


def scores(*verdicts, **changes) -> dict:
    behaviour = {"length": 10.0, "entropy": 0.5, "blank_share": 0.1, "truncated": 0.0}
    return {"right": [item.count("1") for item in verdicts], "samples": len(verdicts[0]), **behaviour, **changes}


@pytest.fixture
def comparison() -> Comparison:
    arms = {"grpo": {}, "echorl": {"echo_coef": 0.001}}
    return Comparison(recipe=("r",), arms=arms, rollout_tokens=1, output_dir="o", seeds=(0, 1), samples=2)


@pytest.fixture
def results() -> dict:
    made = {
        Run("grpo", 1e-6, 0): ("10", "00"),
        Run("grpo", 1e-6, 1): ("11", "00"),
        Run("echorl", 1e-5, 0): ("11", "10"),
        Run("echorl", 1e-5, 1): ("11", "00"),
    }
    return {
        run: {
            "training": {"updates": 3 + run.seed, "rollout_tokens": 100},
            "test": scores(*items, length=10.0 + run.seed),
        }
        for run, items in made.items()
    }


def test_means_and_differences(comparison, results):
    compared = table.compare(comparison, RATES, results)["test"]
    assert compared["pass@1, %"]["grpo"] | {"values": None} == {
        "values": None, "mean": 37.5, "interval": vars(mean_of_runs([25.0, 50.0])), "reference": None,
        "difference": None, "bootstrap": None, "p": None, "holm": None,
    }  # fmt: skip
    assert compared["pass@1, %"]["echorl"]["values"] == [75.0, 50.0]
    assert compared["pass@1, %"]["echorl"]["difference"] == vars(mean_of_runs([50.0, 0.0]))
    assert compared["pass@2, %"]["echorl"]["values"] == [100.0, 50.0]
    assert compared["tokens a rollout"]["echorl"]["difference"]["value"] == 0.0
    assert compared["tokens a rollout"]["echorl"]["bootstrap"] is None


def test_an_arm_is_compared_with_the_one_that_it_names(results):
    arms = {"grpo": {}, "echorl": {}, "best": {}}
    study = dict(recipe=("r",), arms=arms, rollout_tokens=1, output_dir="o", seeds=(0, 1), samples=2)
    comparison = Comparison(**study, references={"best": "echorl"})
    results |= {Run("best", 1e-5, seed): results[Run("echorl", 1e-5, seed)] for seed in (0, 1)}
    compared = table.compare(comparison, {**RATES, "best": 1e-5}, results)["test"]["pass@1, %"]
    assert [compared[arm]["reference"] for arm in arms] == [None, "grpo", "echorl"]
    assert compared["best"]["difference"]["value"] == compared["best"]["bootstrap"]["value"] == 0.0
    assert compared["echorl"]["difference"]["value"] == 25.0


def test_updates_are_compared(comparison, results):
    compared = table.compare(comparison, RATES, results)["training"]["updates"]
    assert compared["grpo"]["values"] == [3.0, 4.0]
    assert compared["echorl"]["difference"]["value"] == 0.0


def test_rollout_tokens_are_compared(comparison, results):
    results[Run("echorl", 1e-5, 1)]["training"]["rollout_tokens"] = 140
    compared = table.compare(comparison, RATES, results)
    assert compared["training"]["rollout tokens"]["echorl"]["mean"] == 120.0
    assert "| rollout tokens | echorl | 1e-05 | 120 | grpo |" in table.markdown(table.tables_of_tests(RATES, compared))


def test_markdown_has_every_number(comparison, results):
    text = table.markdown(table.tables_of_tests(RATES, table.compare(comparison, RATES, results)))
    assert "| pass@1, % | echorl | 1e-05 | 62.5 | grpo | +25 [-293, +343] | 0.5 |" in text
    assert "**test**" in text
    assert "**training**" in text


def test_one_seed_has_intervals_over_prompts_alone(comparison, results):
    single = Comparison(**{**vars(comparison), "samples": 1, "seeds": (0,), "averages": {"both": ("test", "test2")},
                        "tests": ("test", "test2")})  # fmt: skip
    results = {run: {**parts, "test2": scores("11", "11")} for run, parts in results.items()}
    compared = table.compare(single, RATES, results)
    row = compared["test"]["pass@1, %"]["echorl"]
    assert row["difference"] is None
    assert row["values"] == [75.0]
    verdicts = {arm: table.verdicts_of(results[Run(arm, RATES[arm], 0)]["test"]) for arm in RATES}
    assert row["interval"] == {name: 100 * v for name, v in vars(pass_at_1(verdicts["echorl"])).items()}
    paired = vars(paired_average([(item_means(verdicts["grpo"]), item_means(verdicts["echorl"]))]))
    assert row["bootstrap"] == pytest.approx({name: 100 * v for name, v in paired.items()})
    assert compared["both"]["pass@1, %"]["echorl"]["bootstrap"]["value"] == 25.0
    assert compared["test"]["tokens a rollout"]["echorl"]["interval"] is None


def test_an_arm_that_is_not_trained_has_no_cost(results):
    arms = {"start": {"max_steps": 0}, "grpo": {}, "echorl": {}}
    comparison = Comparison(recipe=("r",), arms=arms, steps=4, output_dir="o", seeds=(0, 1), samples=2)
    for seed in (0, 1):
        start = {"training": {"updates": 0, "rollout_tokens": 0}, "test": scores("00", "00")}
        results[Run("start", None, seed)] = start
    compared = table.compare(comparison, {"start": None, **RATES}, results)
    assert compared["test"]["pass@1, %"]["grpo"]["difference"]["value"] == 37.5
    assert list(compared["training"]["updates"]) == ["grpo", "echorl"]
    assert compared["training"]["updates"]["grpo"]["reference"] is None


def test_the_grid(comparison):
    three = Comparison(**{**vars(comparison), "learning_rates": (1e-6, 1e-5, 1e-4)})
    values = {run: {1e-6: 0.25, 1e-5: 0.5, 1e-4: None}[run.rate] for run in three.grid()}
    grid = table.grid_table(three, values, {"grpo": 1e-5, "echorl": 1e-5})
    assert grid.rows == [
        ["1e-06", "25.0", "25.0"],
        ["1e-05", "**50.0**", "**50.0**"],
        ["0.0001", "diverged", "diverged"],
    ]
    assert grid.note == ""


def test_the_best_rate_at_the_edge_of_the_grid_is_told(comparison):
    three = Comparison(**{**vars(comparison), "learning_rates": (1e-6, 1e-5, 1e-4), "grid_arm": "echorl"})
    values = {run: run.rate for run in three.grid()}
    grid = table.grid_table(three, values, three.chosen(values))
    assert grid.note == "The best rate of echorl, 0.0001, is the highest of the grid: extend the grid."


def test_the_bootstrap_draws_runs_and_items():
    flat = paired_runs([[0.0, 0.0]] * 3, [[1.0, 1.0]] * 3)
    assert (flat.value, flat.low, flat.high) == (1.0, 1.0, 1.0)
    by_run = paired_runs([[0.0] * 50] * 4, [[float(i)] * 50 for i in range(4)])
    by_item = paired_runs([[0.0] * 4] * 50, [[float(i) for i in range(4)]] * 50)
    for estimate in (by_run, by_item):
        assert estimate.value == 1.5
        assert estimate.low < 0.8
        assert estimate.high > 2.2
    with pytest.raises(ValueError, match="as many runs, all on the same items"):
        paired_runs([[0.0]], [[0.0, 1.0]])


def test_p_values_are_scipys_and_corrected_over_the_arms_of_a_row():
    values = {"grpo": [1.0, 2.0, 4.0], "a": [2.0, 3.5, 4.5], "b": [1.5, 2.0, 4.5], "c": [9.0, 9.0, 9.5]}
    rows = table.against({"grpo": None, "a": "grpo", "b": "grpo", "c": "grpo"}, values)
    for arm in "abc":
        differences = [b - a for a, b in zip(values["grpo"], values[arm], strict=True)]
        assert rows[arm]["p"] == pytest.approx(stats.ttest_1samp(differences, 0).pvalue)
    ordered = sorted("abc", key=lambda arm: rows[arm]["p"])
    assert rows[ordered[0]]["holm"] == pytest.approx(3 * rows[ordered[0]]["p"])
    assert rows["grpo"]["holm"] is None
    assert [rows[arm]["holm"] for arm in ordered] == sorted(rows[arm]["holm"] for arm in ordered)


def test_runs_that_all_agree_have_no_p():
    rows = table.against({"grpo": None, "a": "grpo"}, {"grpo": [1.0, 2.0], "a": [2.0, 3.0]})
    assert rows["a"]["p"] is rows["a"]["holm"] is None


def test_tests_are_averaged_with_equal_weights(comparison, results):
    both = Comparison(**{**vars(comparison), "tests": {"test": {}, "far": {}}, "averages": {"all": ("test", "far")}})
    for run, result in results.items():
        result["far"] = scores("00", "00", "01", length=20.0 + run.seed)
    compared = table.compare(both, RATES, results)
    assert list(compared) == ["test", "far", "all", "training"]
    averaged = compared["all"]["pass@1, %"]["echorl"]
    assert averaged["values"] == pytest.approx([100 * (1 + 0.5 + 0 + 0 + 0.5) / 5, 100 * (1 + 0 + 0 + 0 + 0.5) / 5])
    assert compared["all"]["tokens a rollout"]["echorl"]["values"] == [15.0, 16.0]


def test_other_ks_and_the_likeliest_completion(comparison, results):
    more = Comparison(**{**vars(comparison), "pass_at": (2,), "greedy": True})
    for result in results.values():
        result["test"]["greedy"] = [1, 0]
    compared = table.compare(more, RATES, results)["test"]
    assert [name for name in compared if name.startswith(("pass", "greedy"))] == ["pass@2, %", "greedy, %"]
    assert compared["greedy, %"]["grpo"]["mean"] == 50.0


def test_costs_are_compared_where_all_runs_logged_them(comparison, results):
    costs = {"minutes": 2.0, "degenerate": 0.5, "uniform_tokens": 0.25}
    for result in results.values():
        result["training"] |= costs
    compared = table.compare(comparison, RATES, results)["training"]
    assert compared["degenerate groups, %"]["grpo"]["mean"] == 50.0
    assert compared["tokens outside mixed groups, %"]["echorl"]["difference"]["value"] == 0.0
    del results[Run("grpo", 1e-6, 0)]["training"]["minutes"]
    assert "minutes" not in table.compare(comparison, RATES, results)["training"]


def test_an_average_draws_prompts_within_each_test():
    """One test's prompts all gain 10, the other's lose 10: drawn together, the mean would move; here it cannot."""
    first, second = [[0.0] * 8] * 3, [[10.0] * 4 + [-10.0] * 4] * 3
    estimate = paired_runs(first, second, [4, 4])
    assert (estimate.value, estimate.low, estimate.high) == (0.0, 0.0, 0.0)
    assert paired_runs(first, second).high > 1.0
    with pytest.raises(ValueError, match=r"blocks=\[4, 5\] are 9 items, not 8"):
        paired_runs(first, second, [4, 5])


def test_an_arm_whose_runs_all_agree_counts_in_holms_correction():
    references = {"grpo": None, "a": "grpo", "b": "grpo"}
    rows = table.against(references, {"grpo": [0.0, 0.0, 0.0], "a": [1.0, 1.1, 0.9], "b": [2.0, 2.0, 2.0]})
    assert rows["b"]["p"] is rows["b"]["holm"] is None
    assert rows["a"]["holm"] == pytest.approx(2 * rows["a"]["p"])


def test_counts_are_printed_whole():
    values = {"grpo": [100800.0] * 2, "a": [101800.0, 101900.0]}
    measures = {"rollout tokens": table.against({"grpo": None, "a": "grpo"}, values)}
    rows = table.table_rows({"grpo": None, "a": None}, measures)
    assert rows[0][3] == "100,800"
    assert rows[1][3:6] == ["101,850", "grpo", "+1,050 [+415, +1,685]"]

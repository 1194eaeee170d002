"""The first line of a comparison: the differences that its seeds can tell, and whether rates were tuned."""

from __future__ import annotations

import pytest

from echorl.lab.compare.plan import Comparison
from echorl.lab.compare.results import results_markdown
from echorl.lab.compare.table import against
from echorl.lab.report.compared import of_results
from echorl.lab.report.limits import NOTHING, ONE_SEED, TUNED_IN_PART, UNTUNED, limits

ARMS = {"grpo": {}, "echo": {}, "spo": {}}


def results(values, *, tuned=(), measure="pass@1, %"):
    """Results of arms that are compared with the first, from one number a seed."""
    first = next(iter(values))
    measures = {measure: against({arm: first if arm != first else None for arm in values}, values)}
    training = {"updates": against(dict.fromkeys(values), values)}
    return {
        "tests": {"test": measures, "training": training},
        "learning_rates": dict.fromkeys(values),
        "validation": {f"{arm}/rate-0.1/seed-1000": 0.5 for arm in tuned},
        "diverged": [],
    }


def test_several_seeds_by_hand():
    """Differences 0, 1, 2: mean 1, standard error 1 / sqrt(3), and t of 2 degrees of freedom is 4.303: 2.48."""
    text = limits(results({"grpo": [50.0, 50.0, 50.0], "echo": [50.0, 51.0, 52.0]}, tuned=("grpo", "echo")))
    assert text.startswith("With 3 seeds and the spread between them, a measured difference of pass@1 must be larger ")
    assert "larger than 2.5 points to be told from the luck of training." in text
    assert "star" not in text
    assert UNTUNED not in text


def test_several_arms_have_a_range_and_a_warning():
    arms = {"grpo": [50.0, 50.0, 50.0], "echo": [50.0, 51.0, 52.0], "spo": [50.0, 52.0, 54.0]}
    text = limits(results(arms, tuned=("grpo",)))
    assert "larger than 2.5 to 5.0 points (by arm and test)" in text
    assert "Of 2 compared arms one can exceed this by luck: believe the differences with a star." in text
    assert text.endswith(TUNED_IN_PART.format(arms="grpo"))


def test_one_seed_tells_nothing_about_training():
    assert limits(results({"grpo": [50.0], "echo": [60.0]})) == f"{ONE_SEED} {UNTUNED}"


@pytest.mark.parametrize("seeds", [1, 3])
def test_a_single_arm_is_not_compared(seeds):
    assert limits(results({"grpo": [50.0] * seeds})) == NOTHING


def test_equal_differences_have_no_spread():
    text = limits(results({"grpo": [50.0, 51.0], "echo": [52.0, 53.0]}, measure="pass@4, %"))
    assert text.startswith("With 2 seeds, whose differences of pass@4 are all equal, ")


def test_text_and_page_begin_with_it(tmp_path):
    made = results({"grpo": [50.0, 51.0], "echo": [52.0, 54.0]})
    study = Comparison(recipe=("r",), arms=ARMS, steps=1, output_dir="o")
    assert results_markdown(study, made).partition("\n")[0] == limits(made)
    assert of_results(tmp_path, made).lead[0] == limits(made)

"""A probe's predictions beside a comparison's gains, from made-up results."""

from __future__ import annotations

import pytest

from benchmarks.predicted import (
    PREDICTORS,
    Point,
    make_sections,
    rank_correlation,
    read_points,
    rule_of,
    spearman,
)
from benchmarks.scatter import _apart
from echorl.support.files import write_json
from tests.lab.report.made import make_probe

COSINES = {
    ("echo", "verified"): 0.9,
    ("random", "verified"): 0.5,
    ("full", "verified"): 0.1,
    ("tracked", "all_success"): -0.2,
    ("full", "all_success"): -0.6,
}
METHODS = {
    "grpo": {"method": "grpo", "echo_coef": 0.0, "echo_select": "max_entropy"},
    "echo": {"method": "grpo", "echo_coef": 0.1, "echo_select": "max_entropy"},
    "random": {"method": "grpo", "echo_coef": 0.1, "echo_select": "random"},
    "positive": {"method": "positive_nll", "echo_coef": 0.1, "echo_select": "full"},
    "spo": {"method": "spo", "echo_coef": 0.0, "echo_select": "max_entropy"},
    "agpo": {"method": "agpo", "echo_coef": 0.0, "echo_select": "max_entropy"},
    "dapo": {"method": "dapo", "echo_coef": 0.0, "echo_select": "max_entropy"},
}
GAINS = {"grpo": 0.0, "echo": 4.0, "random": 3.0, "positive": 2.0, "spo": 1.0, "agpo": -1.0, "dapo": 9.0}
REFERENCES = {"grpo": None, "random": "echo"}


def results() -> dict:
    rows = {
        arm: {"values": [50.0 + gain, 52.0 + gain], "reference": REFERENCES.get(arm, "grpo")}
        for arm, gain in GAINS.items()
    }
    return {"tests": {"test": {"pass@1, %": rows}, "training": {}}, "methods": METHODS}


def write_probe(folder, name="probe"):
    beside = {"mean": 2.0, "noise": 3.0, "shared": 0.5}
    rows = [
        {
            "rule": rule,
            "label": rule,
            "groups": groups,
            "cosine": {"pass_at_1": {"value": cosine}},
            "saves": {"value": abs(cosine) / 10},
            "beside_loss": beside,
        }
        for (rule, groups), cosine in COSINES.items()
    ]
    write_json(folder / name / "probe.json", {"rules": rows})


def test_an_arm_with_a_known_rule_is_a_point(tmp_path):
    (tmp_path / "probe").mkdir()
    write_probe(tmp_path)
    points = {point.arm: point for point in read_points(tmp_path, "sums", results())}
    assert points.keys() == {
        "echo",
        "random",
        "positive",
        "spo",
        "agpo",
    }  # dapo has no term, grpo is what gains are over
    assert {arm: point.predicted[PREDICTORS[0]] for arm, point in points.items()} == {
        "echo": 0.9, "random": 0.5, "positive": 0.1, "spo": -0.2, "agpo": -0.6
    }  # fmt: skip
    worth = (1 + 0.1 * 2) ** 2 / (1 + 2 * 0.1 * 0.5 + 0.1**2 * 3) - 1
    assert points["random"].predicted[PREDICTORS[2]] == pytest.approx(worth)
    assert points["spo"].predicted[PREDICTORS[2]] is None
    assert points["random"].gains == {"test": [3.0, 3.0]}  # over grpo, not over echo, which has a term itself


def test_without_a_probe_or_with_one_seed_there_is_none(tmp_path):
    assert read_points(tmp_path, "sums", results()) == []
    (tmp_path / "probe").mkdir()
    write_probe(tmp_path)
    single = results()
    for row in single["tests"]["test"]["pass@1, %"].values():
        row["values"] = row["values"][:1]
    assert read_points(tmp_path, "sums", single) == []


@pytest.mark.parametrize(
    ("own", "rule"),
    [
        ({"method": None, "echo_coef": 0.001, "echo_select": "max_entropy"}, ("echo", "verified")),
        ({"method": "clip_prefix", "echo_coef": 1e-30, "echo_select": "max_entropy"}, None),
        ({"method": "grpo", "echo_coef": 0.1, "echo_select": "min_entropy"}, None),
        ({"method": "dapo", "echo_coef": 0.0, "echo_select": "max_entropy"}, None),
    ],
)
def test_the_rule_of_an_arm(own, rule):
    assert rule_of(own) == rule


def test_spearman_against_known_values():
    assert spearman([1, 2, 3, 4, 5], [5, 6, 7, 8, 7]) == pytest.approx(0.8207827)  # scipy.stats.spearmanr's example
    assert spearman([3, 1, 2], [1, 3, 2]) == pytest.approx(-1.0)
    assert spearman([1, 1, 1], [1, 2, 3]) is None


def made(x: float | None, gains: list[float], *, rule: str = "", study: str = "sums", test: str = "test") -> Point:
    return Point(study, "probe", f"arm {x}", rule or f"rule {x}", dict.fromkeys(PREDICTORS, x), {test: gains})


def test_the_interval_of_a_rank_correlation():
    clear = [made(x, [x - 0.1, x + 0.1]) for x in range(10)]
    rho, low, high = rank_correlation(clear, PREDICTORS[0], "test")
    assert (rho, high) == (pytest.approx(1.0), pytest.approx(1.0))
    assert low > 0.9
    noise = [made(x, [(-1) ** x * 3.0, (-1) ** x - 2.0]) for x in range(8)]
    rho, low, high = rank_correlation(noise, PREDICTORS[0], "test")
    assert low < 0 < high
    assert rank_correlation(clear[:3], PREDICTORS[0], "test") is None
    assert rank_correlation([*clear, made(None, [9.0, 9.0])], PREDICTORS[0], "test")[0] == pytest.approx(1.0)


def test_arms_of_one_rule_are_drawn_together():
    """Twelve arms of four rules, in which order agrees with the prediction but for one rule that has nine of them."""
    few = [made(float(x), [float(x)] * 3, rule=f"rule {x}") for x in range(3)]
    many = [made(9.0, [i / 100 - 1] * 3, rule="rule 9") for i in range(9)]
    rho, _, high = rank_correlation([*few, *many], PREDICTORS[0], "test")
    assert rho < 0
    assert high == pytest.approx(1.0)  # where the rule of many is not drawn
    assert rank_correlation([*few[:2], *many], PREDICTORS[0], "test") is None  # three rules


def test_studies_without_a_common_test_have_no_section():
    arms = [made(x, [x, x + 1.0], study=study, test=study) for x in (1.0, 2.0) for study in ("sums", "products")]
    assert make_sections(arms) == ([], [])
    assert make_sections([]) == ([], [])


def test_arms_of_several_studies_are_told_apart():
    arms = [made(float(x), [x, x + 1.0], study=study) for x in range(3) for study in ("sums", "products")]
    scatter = make_sections(arms)[0][0]
    assert scatter.names[:2] == ["arm 0.0, sums", "arm 0.0, products"]


def test_results_without_pass_at_1_or_of_before_there_were_choices(tmp_path):
    (tmp_path / "probe").mkdir()
    write_probe(tmp_path)
    without = results()
    without["tests"]["test"] = {"pass@4, %": without["tests"]["test"]["pass@1, %"]}
    assert read_points(tmp_path, "sums", without) == []
    old = results()
    old["methods"] = {arm: {n: v for n, v in own.items() if n != "echo_select"} for arm, own in METHODS.items()}
    assert "echo" in {point.arm for point in read_points(tmp_path, "sums", old)}


def test_a_section_of_a_report_draws_it(tmp_path):
    make_probe(tmp_path / "probe")
    write_probe(tmp_path)
    charts, sections = make_sections(read_points(tmp_path, "sums", results()))
    assert [section.title for section in sections] == ["Did the probe tell which arm gains?"]
    assert charts[0].title == "Gain against the probe: cosine with pass@1"
    correlations, points = sections[-1].tables
    assert correlations.rows[0][:3] == ["probe", "cosine with pass@1", "5"]
    assert correlations.rows[0][3] == "5"
    assert correlations.rows[0][4].startswith("+1.00 [")
    assert len(points.rows) == 5
    assert len(sections[-1].charts) == 3


def test_places_that_are_nearly_equal_stand_side_by_side():
    assert _apart([1.0, 2.0, 1.0], 0.5) == [0.75, 2.0, 1.25]

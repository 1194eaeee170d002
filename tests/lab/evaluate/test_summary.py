"""The table's numbers, against hand-computed ones."""

from __future__ import annotations

import math

import pytest

from echorl.lab.evaluate.store import read_samples, write_samples
from echorl.lab.evaluate.summary import Scored, averages
from echorl.lab.statistics import Z_95, wilson
from tests.lab.evaluate.fakes import run

ITEMS = {"a": [("7", 1), ("7", 1), ("8", 0), ("", 0)], "b": [("1", 0), ("2", 1), ("1", 0), ("1", 0)]}


def scored() -> Scored:
    rows = [
        dict(
            item=item,
            sample=i,
            tokens=10 * (i + 1),
            truncated=i == 3,
            answer=answer,
            score=float(score),
            reason="" if answer else "no answer",
        )
        for item, samples in ITEMS.items()
        for i, (answer, score) in enumerate(samples)
    ]
    about = {"name": "x", "title": "X", "grader": "number", "distribution": "in", "private": False}
    settings = {"items": 2, "samples": 4, "max_new_tokens": 40, "prompts": "0123"}
    return Scored(rows, {"benchmark": about, "settings": settings})


def test_by_hand():
    summary = scored().summary()
    values = {name: measure["value"] for name, measure in summary["measures"].items()}
    # a: 2 of 4 right, b: 1 of 4. pass@2: 1 - C(2,2)/C(4,2) = 5/6 and 1 - C(3,2)/C(4,2) = 1/2.
    assert values == pytest.approx({"avg@4": 3 / 8, "pass@1": 3 / 8, "pass@2": 2 / 3, "pass@4": 1.0, "maj@4": 0.5})
    # Item means 1/2 and 1/4: sd = sqrt(2 (1/8)^2) = sqrt(2)/8, over sqrt(2).
    assert summary["measures"]["avg@4"]["standard_error"] == pytest.approx(1 / 8)
    assert (summary["mean_tokens"], summary["truncated"], summary["no_answer"]) == (25.0, 0.25, 0.125)
    assert summary["reasons"] == {"no answer": 1}
    assert summary["mean_score"] == 3 / 8


def test_partial_credit_is_no_success():
    half = scored()
    half.rows[0]["score"] = 0.9
    summary = half.summary()
    assert summary["measures"]["avg@4"]["value"] == 2 / 8
    assert summary["mean_score"] == pytest.approx(2.9 / 8)


def test_averages_weigh_benchmarks_alike():
    def row(kind, value, error, samples=2):
        return {
            "distribution": kind,
            "samples": samples,
            "items": 30,
            "measures": {f"avg@{samples}": {"value": value, "standard_error": error}},
        }

    summary = averages(
        {
            "a": row("in", 0.2, 0.03),
            "b": row("in", 0.6, 0.04, samples=1),
            "c": row("out", 0.9, 0.1),
            "d": row("other", 0, 0),
        }
    )
    assert list(summary) == ["in"]  # one benchmark is no average, and "other" has none
    assert summary["in"]["benchmarks"] == ["a", "b"]
    assert summary["in"]["value"] == pytest.approx(0.4)
    assert summary["in"]["standard_error"] == pytest.approx(math.hypot(0.03, 0.04) / 2)
    bounds = wilson(summary["in"]["value"], 0.4 * 0.6 / 0.025**2)
    assert (summary["in"]["low"], summary["in"]["high"]) == pytest.approx(bounds)
    assert summary["in"]["high"] == pytest.approx(0.4 + Z_95 * 0.025, abs=2e-3)


def test_an_average_stays_a_share():
    def row(value, error):
        return {
            "distribution": "in",
            "samples": 1,
            "items": 30,
            "measures": {"avg@1": {"value": value, "standard_error": error}},
        }

    low = averages({"a": row(0.0, 0.0), "b": row(1 / 30, 1 / 30)})["in"]
    assert 0 <= low["low"] < low["value"] < low["high"] < 0.2
    split = averages({"a": row(0.0, 0.0), "b": row(1.0, 0.0)})["in"]
    assert split["low"] < 0.4 < 0.6 < split["high"]  # no spread was seen: that of 60 items


def test_a_single_item_has_no_error_and_no_averages_interval():
    single = {"distribution": "in", "samples": 1, "measures": {"avg@1": {"value": 1.0, "standard_error": None}}}
    assert averages({"a": single, "b": single})["in"]["low"] is None


def test_a_file_that_lacks_samples(tmp_path):
    run(tmp_path)
    path = tmp_path / "samples/letters.parquet"
    rows, meta = read_samples(path)
    write_samples(path, rows[:-1], meta)
    with pytest.raises(ValueError, match="lacks samples"):
        Scored.read(path)

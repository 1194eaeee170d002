"""Two evaluations on the same items, and what cannot be compared."""

from __future__ import annotations

import pytest

from echorl.lab.evaluate.contrast import _average, contrast
from echorl.lab.evaluate.store import read_samples, write_samples
from tests.lab.evaluate.fakes import COMMON, run, work

IN = [dict(name=name, distribution="in", size=size) for name, size in (("first", 6), ("second", 9))]


@pytest.fixture
def places(tmp_path):
    for name, seed in (("a", 0), ("b", 1)):
        run(tmp_path / name, *(work(**changes) for changes in IN), common={**COMMON, "seed": seed})
    return [tmp_path / "a", tmp_path / "b"]


def means(place, name):
    rows, _ = read_samples(place / f"samples/{name}.parquet")
    return sum(row["score"] for row in rows) / len(rows)


def test_differences_and_their_average(places):
    contrasts = contrast(places)
    differences = []
    for name, size in (("first", 6), ("second", 9)):
        row = contrasts["benchmarks"][name]["measures"]["avg@4"]
        assert contrasts["benchmarks"][name]["items"] == size
        assert list(contrasts["benchmarks"][name]["measures"]) == ["avg@4", "pass@4", "maj@4"]
        assert row["first"] == pytest.approx(means(places[0], name))
        assert row["second"] == pytest.approx(means(places[1], name))
        assert row["value"] == pytest.approx(row["second"] - row["first"])
        assert row["low"] < row["value"] < row["high"]
        assert not row["no_spread"]
        differences.append(row["value"])
    average = contrasts["averages"]["in"]
    assert average["benchmarks"] == ["first", "second"]
    assert average["value"] == pytest.approx(sum(differences) / 2)
    assert list(contrasts["averages"]) == ["in"]


def test_with_itself(places):
    contrasts = contrast([places[0], places[0] / "results.json"])
    for row in [*contrasts["averages"].values(), *contrasts["benchmarks"]["first"]["measures"].values()]:
        assert (row["value"], row["low"], row["high"]) == (0, 0, 0)
        assert row["no_spread"]


def test_items_that_all_differ_by_the_same_have_no_spread():
    """A third, whose differences are not equal to the last bit."""
    thirds = [0.0, 1 / 3, 2 / 3]
    assert _average([(thirds, [value + 1 / 3 for value in thirds])])["no_spread"]
    assert not _average([(thirds, thirds), (thirds, thirds[::-1])])["no_spread"]


def test_some_of_the_benchmarks(places):
    contrasts = contrast(places, ["second"])
    assert list(contrasts["benchmarks"]) == ["second"]
    assert not contrasts["averages"]
    assert contrast(places, ["second", "second"]) == contrasts  # named twice it counts once


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (dict(size=5), "hold different items .*6 and 5; 'item-5' is only in one"),
        (dict(samples=2), "samples is 4 in .* and 2 in "),
        (dict(grader="math"), "grader is choice in .* and math in "),
    ],
)
def test_what_differs_is_named(places, tmp_path, changes, words):
    other = tmp_path / "other"
    run(other, work(**{**IN[0], **changes}))
    with pytest.raises(ValueError, match=f"^first: .*{words}"):
        contrast([places[0], other], ["first"])


def test_another_temperature(places, tmp_path):
    run(tmp_path / "hot", work(**IN[0]), common={**COMMON, "temperature": 1.0})
    with pytest.raises(ValueError, match=r"^first: temperature is 0.6 in .* and 1.0 in "):
        contrast([places[0], tmp_path / "hot"], ["first"])


def test_other_prompts_under_the_same_ids(places):
    path = places[1] / "samples/first.parquet"
    rows, meta = read_samples(path)
    write_samples(path, rows, {**meta, "settings": {**meta["settings"], "prompts": "4567"}})
    with pytest.raises(ValueError, match="the same ids and other prompts"):
        contrast(places)


def test_a_benchmark_that_is_missing(places, tmp_path):
    run(tmp_path / "less", work(**IN[0]))
    with pytest.raises(ValueError, match=r"less has no scored samples of second \(only first\)"):
        contrast([places[0], tmp_path / "less"])


def test_no_benchmark_in_common(places, tmp_path):
    run(tmp_path / "other", work(name="third", distribution="in", size=3))
    with pytest.raises(ValueError, match=r"both folders \(.*a has first, second and .*other has third\)"):
        contrast([places[0], tmp_path / "other"])


def test_no_evaluation(places, tmp_path):
    with pytest.raises(ValueError, match="is no folder of an evaluation"):
        contrast([places[0], tmp_path / "nowhere"])
    (tmp_path / "settings.json").write_text("[]")
    with pytest.raises(ValueError, match=r"settings\.json was not written by `echorl eval`"):
        contrast([places[0], tmp_path])

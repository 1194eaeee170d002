import pytest

from echorl.quickstart.measure import group_kinds, mean_and_margin, means_by


def test_group_kinds() -> None:
    assert group_kinds([1, 1, 0, 0, 1, 0, 0, 1], 2) == {"all_success": 0.25, "all_fail": 0.25, "mixed": 0.5}


def test_mean_and_margin() -> None:
    assert mean_and_margin([0.5]) == (0.5, 0.0)
    mean, margin = mean_and_margin([0.0, 1.0])
    assert mean == 0.5
    assert margin == pytest.approx(1.96 * 0.5)


def test_means_by() -> None:
    assert means_by(["a", "b", "b"], [1.0, 0.0, 1.0]) == {"b": {"mean": 0.5, "n": 2}, "a": {"mean": 1.0, "n": 1}}

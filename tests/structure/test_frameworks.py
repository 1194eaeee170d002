"""The page of frameworks is that of the stored results, and each test that it rests on exists."""

import json
from pathlib import Path

import pytest

from docs.frameworks import COLUMNS, FEATURES, PAGE, STORED, SUITES, named_tests, page, store

TESTS = Path(__file__).parents[1]


def test_the_page_is_that_of_the_stored_results():
    stored = json.loads(STORED.read_text(encoding="utf-8"))
    assert page(stored) == PAGE.read_text(encoding="utf-8"), "run `python -m docs.frameworks`"
    assert stored.keys() <= SUITES.keys()
    assert all(suite["passed"].keys() <= named_tests() for suite in stored.values())


def test_features_name_frameworks():
    assert {column for cells in FEATURES.values() for column in cells} <= COLUMNS.keys()


@pytest.mark.parametrize("test", sorted(named_tests()))
def test_a_test_of_the_page_exists(test):
    file, _, name = test.partition("::")
    assert f"\ndef {name.partition('[')[0]}(" in (TESTS / f"{file}.py").read_text(encoding="utf-8")


def test_a_failed_case_and_a_skipped_one_are_no_pass():
    test = "trl/test_base_identity::test_no_extra_forward"
    node = "tests/trl/test_base_identity.py::test_no_extra_forward"
    outcomes = {f"{node}[a]": "passed", f"{node}_more": "failed"}
    results = {"date": "2026-11-30", "versions": {"trl": "1"}, "outcomes": outcomes}
    stored = {}
    store(stored, "trl", results)
    assert stored["trl"]["passed"] == {test: "2026-11-30"}
    for outcome in ("skipped", "failed"):
        cases = {f"{node}[a]": "passed", f"{node}[b]": outcome}
        store(stored, "trl", results | {"outcomes": cases})
        assert stored["trl"]["passed"] == {}
        store(stored, "trl", results | {"date": "2026-12-01"})
        assert stored["trl"]["passed"] == {test: "2026-12-01"}
    store(stored, "trl", results | {"versions": {"trl": "2"}, "outcomes": {}})
    assert stored["trl"] == {"versions": {"trl": "2"}, "passed": {}}

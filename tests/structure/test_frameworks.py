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
    assert all(set(suite["passed"]) <= named_tests() for suite in stored.values())


def test_features_name_frameworks():
    assert {column for cells in FEATURES.values() for column in cells} <= COLUMNS.keys()


@pytest.mark.parametrize("test", sorted(named_tests()))
def test_a_test_of_the_page_exists(test):
    file, _, name = test.partition("::")
    assert f"\ndef {name.partition('[')[0]}(" in (TESTS / f"{file}.py").read_text(encoding="utf-8")


TEST = "trl/test_base_identity::test_no_extra_forward"
NODE = "tests/trl/test_base_identity.py::test_no_extra_forward"
RUN = {
    "date": "2026-11-30",
    "commit": "1234567",
    "versions": {"trl": "1"},
    "exit_status": 0,
    "stopped": "",
    "named": [],
    "deselected": 0,
    "outcomes": {f"{NODE}[a]": "passed", f"{NODE}_more": "failed"},
}


def test_a_run_takes_the_place_of_the_stored_one():
    stored = {}
    store(stored, "trl", RUN)
    run = {"date": "2026-11-30", "commit": "1234567", "versions": {"trl": "1"}, "passed": [TEST]}
    assert stored == {"trl": run}
    newer = {"date": "2026-12-01", "commit": "2345678", "versions": {"trl": "2"}}
    store(stored, "trl", RUN | newer)
    assert stored == {"trl": {**newer, "passed": [TEST]}}


@pytest.mark.parametrize(
    ("exit_status", "outcomes"),
    [
        (0, {f"{NODE}[a]": "passed", f"{NODE}[b]": "skipped"}),
        (1, {f"{NODE}[a]": "passed", f"{NODE}[b]": "failed"}),
        (2, {"tests/trl/test_base_identity.py": "error"}),  # of collection
        (5, {}),
    ],
)
def test_what_a_run_does_not_pass_is_no_longer_stored(exit_status, outcomes):
    stored = {}
    store(stored, "trl", RUN)
    store(stored, "trl", RUN | {"exit_status": exit_status, "outcomes": outcomes})
    assert stored["trl"]["passed"] == []


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"deselected": 3}, "3 tests were deselected"),
        ({"named": [f"{NODE}[a]"]}, f"only {NODE}[a] was asked for"),
        ({"exit_status": 1, "stopped": "stopping after 1 failures"}, "stopping after 1 failures"),
        ({"exit_status": 2}, "pytest was interrupted (exit status 2)"),
    ],
)
def test_a_part_of_a_run_is_refused(changes, reason):
    stored = {}
    with pytest.raises(ValueError) as refused:
        store(stored, "trl", RUN | changes)
    assert str(refused.value) == f"trl: {reason}; store the results of a whole `make test`."
    assert stored == {}


def test_the_results_of_a_run_say_what_it_left_out(tmp_path):
    file = tmp_path / "test_cases.py"
    file.write_text(
        "import pytest\n@pytest.mark.parametrize('case', 'abc')\ndef test_it(case):\n    assert case != 'b'\n"
    )

    def results(*arguments):
        options = ["-qq", "-c", "/dev/null", "--rootdir", str(tmp_path), "-p", "tests.results"]
        pytest.main([*options, "--results", str(tmp_path / "results.json"), *arguments])
        return json.loads((tmp_path / "results.json").read_text())

    whole = results(str(file))
    node = "test_cases.py::test_it"
    assert whole["outcomes"] == {f"{node}[a]": "passed", f"{node}[b]": "failed", f"{node}[c]": "passed"}
    assert (whole["exit_status"], whole["deselected"], whole["named"], whole["stopped"]) == (1, 0, [], "")
    assert results(str(file), "-k", "not b")["deselected"] == 1
    assert results(str(file), "-k", "not b", "-n", "1")["deselected"] == 1
    assert results(f"{file}::test_it[a]")["named"] == [f"{file}::test_it[a]"]
    assert results(str(file), "-x")["stopped"] == "stopping after 1 failures"


def test_a_cell_of_another_version_than_its_columns_is_empty():
    stored = json.loads(STORED.read_text(encoding="utf-8"))
    row = "DeepSpeed ZeRO-2, two processes"
    assert f"| {row} | yes |" in page(stored)
    stored["sharded"]["versions"]["trl"] = "1.0.0"
    assert f"| {row} |  |" in page(stored)


def test_the_versions_have_the_runs_date_and_commit():
    stored = {"trl": {"date": "2026-11-30", "commit": "1234567+changes", "versions": {"trl": "1"}, "passed": [TEST]}}
    assert "| `make test` | trl 1 | 2026-11-30 | 1234567+changes |" in page(stored)

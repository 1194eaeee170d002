"""Run every benchmark in a separate process; stop at the first failure."""

from __future__ import annotations

import pkgutil
import subprocess
import sys
from pathlib import Path

HELPERS = {
    "__main__",
    "failure_prefixes",
    "measure",
    "predicted",
    "results",
    "rivals",
    "scatter",
    "sizes",
    "top_logprobs",
}
"""Modules that measure nothing; `rivals`, which draws stored runs (`make rivals`); `top_logprobs`, which needs vLLM."""


def main() -> None:
    """Run the benchmarks one after another."""
    for module in pkgutil.iter_modules([str(Path(__file__).parent)]):
        if module.name not in HELPERS and not module.ispkg:
            print(f"== {module.name}", flush=True)
            subprocess.run([sys.executable, "-m", f"benchmarks.{module.name}"], check=True)


if __name__ == "__main__":
    main()

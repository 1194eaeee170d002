"""`echorl quickstart`: GRPO and GRPO + EchoRL on a small policy, on the CPU, in minutes."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from echorl.cli.parser import parse
from echorl.core.options import option
from echorl.lab.options import SEED
from echorl.support.errors import resumable
from echorl.support.installed import check_installed

NEEDED = ("trl", "transformers", "datasets", "reasoning_gym", "pyarrow", "matplotlib", "jinja2", "rich")


@dataclass(frozen=True, kw_only=True)
class QuickstartOptions:
    """Train the shipped policy with GRPO and with GRPO + EchoRL, on the CPU; then show a table, and leave a page and a
    picture. A second run with the same settings trains nothing again.
    """

    output_dir: Path = option(Path("quickstart-run"), "Folder of the results.")
    fresh: bool = option(False, "Discard the results in the folder and start again.")
    seed: int = option(0, "Seed of both runs.", **SEED)
    tiny: bool = option(False, "A run of seconds, to see that everything works: too small to show a difference.")


def run(argv: Sequence[str]) -> int:
    """Run the quickstart. Returns 0.

    Raises:
        ImportError: something is not installed.
        ValueError: the output folder will not do.
        Interrupted: Ctrl-C.
    """
    args = parse("quickstart", QuickstartOptions, argv)
    started = time.monotonic()
    check_installed("the quickstart", NEEDED, "trl,lab")
    _be_quiet()
    with resumable():
        return _run(args, started)


def _run(args: QuickstartOptions, started: float) -> int:
    from dataclasses import replace

    from echorl.cli.bars import Bars
    from echorl.lab.quickstart.run import quickstart
    from echorl.lab.quickstart.study import TINY, Study
    from echorl.lab.quickstart.terminal import show
    from echorl.support.lock import alone

    study = replace(TINY if args.tiny else Study(), seed=args.seed)
    with alone(args.output_dir, "quickstart"), Bars() as bars:
        summary = quickstart(args.output_dir, study, fresh=args.fresh, view=bars)
    show(summary, args.output_dir, time.monotonic() - started)
    return 0


def _be_quiet() -> None:
    """No network, and none of the libraries' bars and deprecation notes between our own lines."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    warnings.filterwarnings("ignore", category=FutureWarning)
    warnings.filterwarnings("ignore", category=DeprecationWarning)

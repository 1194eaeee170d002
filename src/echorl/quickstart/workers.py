"""Runs the quickstart's workers side by side and watches how far they are."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Protocol

from echorl.quickstart.study import ARMS, LABELS, Study

POLL_SECONDS = 0.5


class View(Protocol):
    """Shows how far a quickstart is."""

    def begin(self, text: str, total: int) -> Callable[[int], None]:
        """A piece of work begins; the result is called with the number of its parts done."""


class Workers:
    """A process for each of `names`; leaving the `with` block ends those that still run.

    Raises:
        RuntimeError: from `wait`, a worker failed; the message holds the last line that it wrote.
    """

    def __init__(self, names: Sequence[str], output: Path, study: Study, view: View) -> None:
        self.output = output
        self.processes = {name: self._start(name, study) for name in names}
        self.totals = {name: study.num_steps if name in ARMS else 1 for name in names}
        verbs = {name: "training and testing" if name in ARMS else "testing" for name in names}
        self.bars = {name: view.begin(f"{verbs[name]} {LABELS[name]}", self.totals[name]) for name in names}

    def _start(self, name: str, study: Study) -> subprocess.Popen[bytes]:
        parts = [name, str(self.output), json.dumps(asdict(study)), str(os.getpid())]
        command = [sys.executable, "-m", "echorl.quickstart.worker", *parts]
        quiet = {"TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
        environment = {**os.environ, **quiet, "OMP_NUM_THREADS": "1"}
        with self._log(name).open("wb") as log:
            # A session of its own: Ctrl-C comes to the quickstart alone, which then ends its workers.
            own = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": log, "start_new_session": True}
            return subprocess.Popen(command, env=environment, **own)

    def _log(self, name: str) -> Path:
        return self.output / f"{name}.log"

    def __enter__(self) -> Workers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            process.wait()

    def wait(self) -> None:
        """Return when every worker is done; their logs are then removed."""
        running = set(self.processes)
        while running:
            time.sleep(POLL_SECONDS)
            for name in sorted(running):
                code = self.processes[name].poll()
                self.bars[name](self.totals[name] if code == 0 else self._steps(name))
                if code == 0:
                    running.remove(name)
                    self._log(name).unlink()
                elif code is not None:
                    raise RuntimeError(f"{LABELS[name]} failed (exit code {code}): {self._last_words(name)}")

    def _steps(self, name: str) -> int:
        """Optimiser steps done, by the lines of metrics.jsonl."""
        path = self.output / name / "metrics.jsonl"
        return path.read_bytes().count(b'"reward"') if path.exists() else 0

    def _last_words(self, name: str) -> str:
        lines = self._log(name).read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return f"{lines[-1] if lines else 'no output'} (all of it: {self._log(name)})"

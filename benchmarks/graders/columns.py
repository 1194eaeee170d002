"""Columns of the table: echorl's graders, and any `module:function` in a separate process with a time limit."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.graders.wrong import Case

ROOT = Path(__file__).resolve().parents[2]
ACCEPTED = 0.5
"""A score above it counts as accepted."""
START_SECONDS = 300


@dataclass(frozen=True)
class Outcome:
    """Score of a case, or the reason why there is none: "timeout" or "error ..."."""

    score: float
    note: str = ""

    @property
    def accepted(self) -> bool:
        """True for a score that counts as right."""
        return self.score > ACCEPTED


def ours(cases: Sequence[Case]) -> list[Outcome]:
    """Outcomes of echorl's graders; right answers to mathematics are graded without the shortcut for equal texts."""
    from echorl.tasks.verify import GRADERS

    outcomes: dict[int, Outcome] = {}
    for name in dict.fromkeys(case.grader for case in cases):
        for shortcut in (True, False):
            rows = [
                i
                for i, case in enumerate(cases)
                if case.grader == name and (not case.right or name != "math") == shortcut
            ]
            texts, references = [cases[i].answer for i in rows], [_reference_answer(cases[i]) for i in rows]
            grade = GRADERS[name].grade if shortcut else grade_without_shortcut
            verdicts = grade(texts, references) if rows else []
            outcomes |= {i: Outcome(verdict.score, verdict.reason) for i, verdict in zip(rows, verdicts, strict=True)}
    return [outcomes[i] for i in range(len(cases))]


def _reference_answer(case: Case) -> str:
    from echorl.tasks.verify import geometry_reference

    return (
        case.reference_answer
        if case.grader != "geometry"
        else geometry_reference("", float(case.reference_answer), [float(case.reference_answer)])
    )


def grade_without_shortcut(texts: Sequence[str], references: Sequence[str]) -> list:
    """Verdicts of the mathematics grader when equal texts are compared like different ones."""
    from echorl.tasks.verify import GRADERS
    from echorl.tasks.verify.base import refusal
    from echorl.tasks.verify.mathematics import MAX_ANSWER_CHARS, MathGrader, judge_reading

    grader = GRADERS["math"]
    assert isinstance(grader, MathGrader)
    pairs = [(grader.read(text), reference) for text, reference in zip(texts, references, strict=True)]
    verdicts = [refusal(pair[0], max_chars=MAX_ANSWER_CHARS) or judge_reading(*pair) for pair in pairs]
    asked = iter(grader.ask([pair for pair, verdict in zip(pairs, verdicts, strict=True) if verdict is None]))
    return [next(asked) if verdict is None else verdict for verdict in verdicts]


@dataclass
class Function:
    """A grader `module:function`, by `workers` processes of the interpreter `python`."""

    name: str
    timeout: float = 5.0
    workers: int = 2
    python: str = sys.executable
    failed: list[str] = field(default_factory=list)

    def __call__(self, cases: Sequence[Case]) -> list[Outcome]:
        outcomes: list[Outcome | None] = [None] * len(cases)
        rows = iter(range(len(cases)))
        lock = threading.Lock()

        def serve() -> None:
            worker = _Worker(self)
            try:
                while True:
                    with lock:
                        i = next(rows, None)
                    if i is None:
                        return
                    outcomes[i] = worker.score(cases[i].answer, cases[i].reference_answer)
            finally:
                worker.close()

        with ThreadPoolExecutor(self.workers) as threads:
            for future in [threads.submit(serve) for _ in range(self.workers)]:
                future.result()
        return [outcome for outcome in outcomes if outcome is not None]


class _Worker:
    """A process that is started again after a time-out or its death."""

    def __init__(self, grader: Function) -> None:
        self.grader = grader
        self.process = self._start()

    def _start(self) -> subprocess.Popen[str]:
        command = [self.grader.python, "-m", "benchmarks.graders.worker", self.grader.name]
        environment = _environment()
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment,
        )
        reply = _reply(process, START_SECONDS)
        if reply is None or "ready" not in reply:
            process.kill()
            reason = (reply or {}).get("refused") or f"the grader {self.grader.name!r} did not start"
            raise ValueError(reason)
        return process

    def score(self, answer: str, reference: str) -> Outcome:
        """Outcome of one case."""
        assert self.process.stdin is not None
        try:
            print(json.dumps([answer, reference]), file=self.process.stdin, flush=True)
            reply = _reply(self.process, self.grader.timeout)
        except BrokenPipeError:
            reply = {}
        if not reply:
            note = "timeout" if reply is None else "error: its process ended"
            self.close()
            self.process = self._start()
            return Outcome(0.0, note)
        if "no_score" in reply:
            raise ValueError(
                f"the grader {self.grader.name!r} returned {reply['no_score']} for the reference "
                f"answer {reference!r}: it has to return a number, 1 for right and 0 for wrong"
            )
        return Outcome(reply.get("score", 0.0), f"error: {reply['error']}" if "error" in reply else "")

    def close(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with suppress(BrokenPipeError):
                    pipe.close()


def _reply(process: subprocess.Popen[str], timeout: float) -> dict | None:
    """The next line of a process; None after `timeout` seconds, {} if it has ended."""
    assert process.stdout is not None
    if not select.select([process.stdout], [], [], timeout)[0]:
        return None
    line = process.stdout.readline()
    return json.loads(line) if line else {}


def _environment() -> dict[str, str]:
    paths = [os.getcwd(), str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}

"""The graders that are measured: ours, and any `module:function` in a process of its own under a time limit."""

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
    """What a grader said of a case: its score, or why there is none ("timeout", "error ...")."""

    score: float
    note: str = ""

    @property
    def accepted(self) -> bool:
        return self.score > ACCEPTED


def ours(cases: Sequence[Case]) -> list[Outcome]:
    """Our graders. Right answers to mathematics are judged without the shortcut for equal texts."""
    from echorl.tasks.verify import GRADERS

    outcomes: dict[int, Outcome] = {}
    for name in dict.fromkeys(case.grader for case in cases):
        for shortcut in (True, False):
            rows = [
                i
                for i, case in enumerate(cases)
                if case.grader == name and (not case.right or name != "math") == shortcut
            ]
            texts, golds = [cases[i].answer for i in rows], [_gold(cases[i]) for i in rows]
            grade = GRADERS[name].grade if shortcut else grade_without_shortcut
            verdicts = grade(texts, golds) if rows else []
            outcomes |= {i: Outcome(verdict.score, verdict.reason) for i, verdict in zip(rows, verdicts, strict=True)}
    return [outcomes[i] for i in range(len(cases))]


def _gold(case: Case) -> str:
    from echorl.tasks.verify import geometry_gold

    return case.gold if case.grader != "geometry" else geometry_gold("", float(case.gold), [float(case.gold)])


def grade_without_shortcut(texts: Sequence[str], golds: Sequence[str]) -> list:
    """The verdicts of the mathematics grader where no two texts count as equal for being the same."""
    from echorl.tasks.verify import GRADERS
    from echorl.tasks.verify.base import refusal
    from echorl.tasks.verify.mathematics import MAX_ANSWER_CHARS, MathGrader, judge_reading

    grader = GRADERS["math"]
    assert isinstance(grader, MathGrader)
    pairs = [(grader.read(text), gold) for text, gold in zip(texts, golds, strict=True)]
    judged = [refusal(pair[0], max_chars=MAX_ANSWER_CHARS) or judge_reading(*pair) for pair in pairs]
    asked = iter(grader.ask([pair for pair, verdict in zip(pairs, judged, strict=True) if verdict is None]))
    return [next(asked) if verdict is None else verdict for verdict in judged]


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
                    outcomes[i] = worker.score(cases[i].answer, cases[i].gold)
            finally:
                worker.close()

        with ThreadPoolExecutor(self.workers) as threads:
            for future in [threads.submit(serve) for _ in range(self.workers)]:
                future.result()
        return [outcome for outcome in outcomes if outcome is not None]


class _Worker:
    """One process, started anew after a time-out or a death."""

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

    def score(self, answer: str, gold: str) -> Outcome:
        assert self.process.stdin is not None
        try:
            print(json.dumps([answer, gold]), file=self.process.stdin, flush=True)
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
                f"the grader {self.grader.name!r} returned {reply['no_score']} for the gold {gold!r}: it has to "
                "return a number, 1 for right and 0 for wrong"
            )
        return Outcome(reply.get("score", 0.0), f"error: {reply['error']}" if "error" in reply else "")

    def close(self) -> None:
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

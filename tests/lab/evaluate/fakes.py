"""A benchmark and an engine made on the spot: what they say depends on items and seeds alone."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from echorl.lab.evaluate.benchmarks import Benchmark, Item
from echorl.lab.evaluate.engines import Response
from echorl.lab.evaluate.plan import Chunk, Work
from echorl.lab.evaluate.run import evaluate
from echorl.lab.evaluate.store import Store

COMMON = {"model": "0123", "backend": "fake", "temperature": 0.6, "top_p": 1.0, "batch_size": 4, "seed": 0}


@dataclass(frozen=True)
class Slow:
    """A grader that takes some seconds a call."""

    grader: object
    seconds: float

    def grade(self, texts, reference_answers):
        time.sleep(self.seconds)
        return self.grader.grade(texts, reference_answers)

    def answer(self, text):
        return self.grader.answer(text)


@dataclass(frozen=True, kw_only=True)
class Letters(Benchmark):
    """Questions whose reference answer is A, B, C, D, A, ..."""

    name: str = "letters"
    title: str = "Letters"
    grader: str = "choice"
    size: int = 6
    seconds: float = 0.0

    def items(self, data=None):
        if data == "missing":
            raise ValueError("missing: there is no such file")
        end = "!" if data == "reworded" else "?"
        return [
            Item(
                id=f"item-{i}", prompt=[{"role": "user", "content": f"secret {i}{end}"}], reference_answer="ABCD"[i % 4]
            )
            for i in range(self.size)
        ]

    def get_grader(self):
        return Slow(super().get_grader(), self.seconds)


class Scripted:
    """An engine: a letter by the request's seed, no answer or a cut-off one for some. It logs each chunk it makes."""

    def __init__(self, log: Path | None = None, seconds: float = 0.0) -> None:
        self.log, self.seconds = log, seconds

    def generate(self, chunk: Chunk, max_new_tokens: int) -> list[Response]:
        time.sleep(self.seconds)
        if self.log:
            with self.log.open("a") as file:
                file.write(f"{chunk.index}\n")
        return [_response(request.seed, max_new_tokens) for request in chunk.requests]


def _response(seed: int, max_new_tokens: int) -> Response:
    if seed % 7 == 0:
        return Response("Let me think", max_new_tokens, True)
    return Response(f"So it is that.\nThe answer is {'ABCD'[seed % 4]}.", 5 + seed % 11, False)


def work(samples: int = 4, **changes) -> Work:
    benchmark = Letters(**changes)
    return Work(benchmark=benchmark, items=benchmark.items(), samples=samples, max_new_tokens=32, longest=8)


def run(folder: Path, *works: Work, log: Path | None = None, seconds: float = 0.0, common=COMMON, **others) -> dict:
    return evaluate(Store(folder), "fake", works or [work()], common, lambda: Scripted(log, seconds), **others)

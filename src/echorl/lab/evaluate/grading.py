"""Scores of stored samples, which are made apart from the samples, so that they need no model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from echorl.lab.evaluate.plan import hash_prompts
from echorl.lab.evaluate.store import Rows, read_samples, write_samples
from echorl.lab.jobs import View

if TYPE_CHECKING:
    from echorl.lab.evaluate.benchmarks import Benchmark, Item, TaskGrader
    from echorl.lab.evaluate.engines import Response
    from echorl.lab.evaluate.plan import Request, Work
    from echorl.tasks.verify import Grader

SLICE = 512
"""Samples that are scored between two reports of progress."""
Show = Callable[[int], None]


def sampled_row(benchmark: Benchmark, request: Request, response: Response) -> dict[str, Any]:
    """Return the stored row of a completion, which has only the answer for a private benchmark."""
    row = {"benchmark": benchmark.name, "item": request.item.id, "sample": request.sample}
    if benchmark.private:
        row["answer"] = benchmark.get_grader().answer(response.text)
    else:
        row["response"] = response.text
    return {**row, "tokens": response.tokens, "truncated": response.truncated}


def score(
    rows: Rows, reference_answers: Sequence[str], grader: Grader | TaskGrader, show: Show = lambda done: None
) -> Rows:
    """Return the rows with answer, score, reason and reference answer; `show` is called with the number of rows done.

    Rows without a response, those of private benchmarks, are scored by their answers, and get no reference answer.
    """
    scored: Rows = []
    for start in range(0, len(rows), SLICE):
        part, references = rows[start : start + SLICE], reference_answers[start : start + SLICE]
        texts = [row["response"] if "response" in row else _boxed(row["answer"]) for row in part]
        for row, reference, verdict in zip(part, references, grader.grade(texts, references), strict=True):
            scored.append({**row, "score": float(verdict.score), "reason": verdict.reason})
            if "response" in row:
                scored[-1] |= {"answer": grader.answer(row["response"]), "reference_answer": reference}
        show(len(scored))
    return scored


def _boxed(answer: str) -> str:
    return f"\\boxed{{{answer}}}" if answer else ""


def reference_answers_of(rows: Rows, items: Sequence[Item]) -> list[str]:
    """Return each row's reference answer; `items` are the sampled items."""
    reference_answers = {item.id: item.reference_answer for item in items}
    return [reference_answers[row["item"]] for row in rows]


def describe(work: Work, common: Mapping[str, Any]) -> dict[str, Any]:
    """Return the metadata of a file of scored samples: its benchmark, and the settings of the sampling."""
    benchmark = work.benchmark
    about = {name: getattr(benchmark, name) for name in ("name", "title", "grader", "distribution", "private")}
    return {"benchmark": about, "settings": {**common, **work.key()}}


def score_again(path: Path, data: str | None, view: View) -> int:
    """Score the samples in a file again, in place, and return the number of scores that changed.

    Raises:
        ValueError: the file is not readable or not scored samples, its benchmark is not known, or the items of a
            private benchmark, whose reference answers are not in the file, cannot be read.
    """
    from echorl.lab.evaluate.benchmarks import load_benchmark

    rows, meta = read_samples(path)
    about = meta.get("benchmark")
    if not rows:
        raise ValueError(f"{path} holds no samples: give the samples of an evaluation.")
    if about is None:
        raise ValueError(f"{path} is a part of an evaluation that is not finished: run its command again first.")
    benchmark = load_benchmark(about["name"])
    if about["private"]:
        reference_answers = _private_reference_answers(path, rows, benchmark, meta["settings"], data)
    else:
        reference_answers = [row["reference_answer"] for row in rows]
    bare = [{name: value for name, value in row.items() if name not in ("score", "reason")} for row in rows]
    show = view.begin(f"{about['name']}: scoring", len(rows))
    scored = score(bare, reference_answers, benchmark.get_grader(), show)
    write_samples(path, scored, meta)
    return sum(old["score"] != new["score"] for old, new in zip(rows, scored, strict=True))


def _private_reference_answers(
    path: Path, rows: Rows, benchmark: Benchmark, settings: Mapping[str, Any], data: str | None
) -> list[str]:
    try:
        items = benchmark.items(data)[: settings["items"]]
    except (ValueError, OSError, ImportError) as error:
        raise ValueError(
            f"{path} holds no reference answers, since items of {benchmark.title} must not be published, and the items "
            f"cannot be read here ({error}): name their file with --data."
        ) from None
    if hash_prompts(items) != settings["prompts"]:  # with other or reordered choices a letter stands for another one
        raise ValueError(f"{path} was sampled from other items of {benchmark.title}: name their file with --data.")
    return reference_answers_of(rows, items)

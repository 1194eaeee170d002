"""Scores are made anew from stored samples."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from echorl.lab.evaluate.grading import score, score_again
from echorl.lab.evaluate.store import Store, read_samples, write_samples
from echorl.lab.jobs import Silent
from echorl.tasks.verify import GRADERS
from tests.lab.evaluate.fakes import Letters, run
from tests.lab.evaluate.test_run import stop_after


@pytest.fixture
def samples(tmp_path, monkeypatch):
    monkeypatch.setattr("echorl.lab.evaluate.benchmarks.load_benchmark", lambda name: Letters())
    run(tmp_path)
    return tmp_path / "samples/letters.parquet"


def test_the_same_grader_changes_nothing(samples):
    before = samples.read_bytes()
    assert score_again(samples, None, Silent()) == 0
    assert samples.read_bytes() == before


def test_scores_that_were_wrong_are_put_right(samples):
    rows, meta = read_samples(samples)
    wrong = [{**row, "score": 1 - row["score"], "reason": "died"} if i < 5 else row for i, row in enumerate(rows)]
    write_samples(samples, wrong, meta)
    assert score_again(samples, None, Silent()) == 5
    assert read_samples(samples) == (rows, meta)


def test_what_cannot_be_scored_again(tmp_path, samples):
    other = tmp_path / "other.parquet"
    pq.write_table(pa.table({"x": [1]}), other)
    for path, words in (
        (tmp_path / "none.parquet", "there is no such file"),
        (other, "was not written by `echorl eval`"),
    ):
        with pytest.raises(ValueError, match=words):
            score_again(path, None, Silent())
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "part", view=stop_after(4))
    with pytest.raises(ValueError, match="part of an evaluation that is not finished"):
        score_again(Store(tmp_path / "part").parts("letters").path(0), None, Silent())


def test_reasons_and_answers_are_the_graders():
    rows = [{"response": text} for text in ("So it is C.\n\nThe answer is C.", "Let me think", "The answer is D.")]
    scored = score(rows, ["C"] * 3, GRADERS["choice"])
    assert [(row["answer"], row["score"], row["reason"]) for row in scored] == [
        ("C", 1.0, ""),
        ("", 0.0, "no answer"),
        ("D", 0.0, ""),
    ]
    assert [row["reference_answer"] for row in scored] == ["C"] * 3

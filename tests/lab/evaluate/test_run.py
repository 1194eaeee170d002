"""An evaluation with a scripted engine: resumption, what is stored, what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from echorl.lab.evaluate import grading
from echorl.lab.evaluate.store import Store, read_samples
from echorl.lab.jobs import Silent
from echorl.support.files import is_scratch
from echorl.support.folder import Parts
from tests.lab.evaluate.fakes import COMMON, Letters, run, work


def contents(folder: Path) -> dict[str, bytes]:
    """Name -> bytes of each file, without scratch files, which a kill may leave until the command's next run."""
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file() and not is_scratch(path.name)]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def stop_after(number: int):
    """A view that stops the run when so many samples are there."""

    class Stop(Silent):
        def begin(self, text, total):
            def show(done):
                if "sampling" in text and done >= number:
                    raise KeyboardInterrupt

            return show

    return Stop()


@pytest.fixture
def undisturbed(tmp_path) -> Path:
    run(tmp_path / "whole")
    return tmp_path / "whole"


def test_what_a_run_leaves(undisturbed):
    assert set(contents(undisturbed)) == {"settings.json", "results.json", "samples/letters.parquet"}
    rows, meta = read_samples(undisturbed / "samples/letters.parquet")
    assert len(rows) == 24
    assert meta["benchmark"]["name"] == "letters"
    for row in rows:
        assert row["reference_answer"] == "ABCD"[int(row["item"][-1]) % 4]
        assert row["truncated"] == ("answer" not in row["response"]) == (not row["answer"])
        assert row["score"] == float(row["answer"] == row["reference_answer"])


@pytest.mark.parametrize("done", [4, 12, 24])
def test_a_stopped_run_goes_on_and_makes_no_chunk_twice(tmp_path, undisturbed, done):
    folder, log = tmp_path / "stopped", tmp_path / "log"
    with pytest.raises(KeyboardInterrupt):
        run(folder, log=log, view=stop_after(done))
    run(folder, log=log)
    assert contents(folder) == contents(undisturbed)
    assert log.read_text().split() == list("012345")


def test_a_chunk_does_not_depend_on_the_others(tmp_path, undisturbed):
    folder, log = tmp_path / "stopped", tmp_path / "log"
    with pytest.raises(KeyboardInterrupt):
        run(folder, log=log, view=stop_after(24))
    for index in (1, 4):
        Store(folder).parts("letters").path(index).unlink()
    run(folder, log=log)
    assert contents(folder) == contents(undisturbed)
    assert log.read_text().split() == [*"012345", "1", "4"]


def test_a_run_killed_between_its_last_two_moves_leaves_no_chunk(tmp_path, undisturbed, monkeypatch):
    folder = tmp_path / "stopped"
    with monkeypatch.context() as patch:
        patch.setattr(Parts, "remove", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            run(folder)
    assert Store(folder).parts("letters").path(0).exists()
    run(folder)
    assert contents(folder) == contents(undisturbed)


def test_scoring_that_was_stopped_needs_no_engine(tmp_path, undisturbed, monkeypatch):
    folder, log = tmp_path / "stopped", tmp_path / "log"
    with monkeypatch.context() as patch:
        patch.setattr(Letters, "get_grader", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            run(folder, log=log)
    made = log.read_text()
    run(folder, log=log)
    assert log.read_text() == made
    assert contents(folder) == contents(undisturbed)


def test_a_finished_run_does_nothing(tmp_path, undisturbed):
    before, log = contents(undisturbed), tmp_path / "log"
    run(undisturbed, log=log)
    assert contents(undisturbed) == before
    assert not log.exists()


def test_another_benchmark_joins_the_folder(undisturbed):
    results = run(undisturbed, work(name="more", size=3, distribution="out"))
    assert list(results["benchmarks"]) == ["letters", "more"]
    assert json.loads((undisturbed / "results.json").read_text()) == results


@pytest.mark.parametrize(
    ("common", "changes", "words"),
    [
        ({"temperature": 1.0}, {}, "temperature 0.6 then, 1.0 now"),
        ({"model": "4567"}, {}, "model '0123' then, '4567' now"),
        ({}, {"samples": 8}, "letters: samples 4 then, 8 now"),
        ({}, {"size": 5}, "letters: items 6 then, 5 now"),
    ],
)
def test_other_settings_are_refused(undisturbed, common, changes, words):
    with pytest.raises(ValueError, match="holds samples made with other settings") as caught:
        run(undisturbed, work(**changes), common={**COMMON, **common})
    assert words in str(caught.value)


def test_a_folder_of_something_else_is_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(ValueError, match="holds files that `echorl eval` did not write"):
        run(tmp_path)
    (tmp_path / "settings.json").write_text('{"editor": "vi"}')
    with pytest.raises(ValueError, match=r"settings\.json was not written by `echorl eval`"):
        run(tmp_path)


def test_damaged_chunks_are_sampled_again(tmp_path, undisturbed):
    folder, log = tmp_path / "stopped", tmp_path / "log"
    with pytest.raises(KeyboardInterrupt):
        run(folder, log=log, view=stop_after(12))
    first, second, third = map(Store(folder).parts("letters").path, range(3))
    shutil.copy(first, second)
    third.write_bytes(third.read_bytes()[:100])
    run(folder, log=log)
    assert contents(folder) == contents(undisturbed)
    assert log.read_text().split() == [*"012", "1", "2", *"345"]


class TestPrivate:
    """A benchmark whose items must not be published."""

    @pytest.fixture
    def folder(self, tmp_path, monkeypatch) -> Path:
        monkeypatch.setattr("echorl.lab.evaluate.benchmarks.load_benchmark", lambda name: Letters(private=True))
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "run", work(private=True), view=stop_after(12))
        return tmp_path / "run"

    def test_no_text_is_stored(self, folder):
        for table in [pq.read_table(path) for path in (folder / "parts").rglob("*.parquet")]:
            assert table.column_names == ["benchmark", "item", "sample", "tokens", "truncated", "answer"]
        run(folder, work(private=True))
        table = pq.read_table(folder / "samples/letters.parquet")
        assert table.column_names == [
            "benchmark", "item", "sample", "tokens", "truncated", "answer", "score", "reason",
        ]  # fmt: skip
        everything = b"".join(contents(folder).values())
        assert b"secret" not in everything
        assert b"So it is" not in everything

    def test_it_is_scored_like_a_public_one(self, folder, undisturbed):
        run(folder, work(private=True))
        private, public = (read_samples(path / "samples/letters.parquet")[0] for path in (folder, undisturbed))
        names = ("item", "sample", "answer", "score", "tokens", "truncated")
        assert [[row[n] for n in names] for row in private] == [[row[n] for n in names] for row in public]

    def test_it_is_scored_again_from_the_answers(self, folder):
        run(folder, work(private=True))
        path = folder / "samples/letters.parquet"
        before = path.read_bytes()
        assert grading.score_again(path, None, Silent()) == 0
        assert path.read_bytes() == before
        with pytest.raises(ValueError, match=r"the items cannot be read here .*no such file.*--data"):
            grading.score_again(path, "missing", Silent())

    def test_other_items_are_not_taken_for_these(self, folder):
        run(folder, work(private=True))
        with pytest.raises(ValueError, match="was sampled from other items of Letters"):
            grading.score_again(folder / "samples/letters.parquet", "reworded", Silent())

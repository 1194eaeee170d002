"""Every gold of every benchmark file: its own answer is accepted, a shuffled one is not."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from echorl.tasks.base import final_answer
from echorl.tasks.verify import GRADERS, ChoiceGrader, Validation, Verdict, geometry_gold


class Generous(ChoiceGrader):
    """Accepts whatever starts with a letter before F, refuses an F."""

    def judge(self, answer: str, gold: str) -> Verdict:
        return Verdict(float(answer < "F"))


def test_a_bad_grader_is_found_out() -> None:
    found = Generous().validate(["A", "B", "F", "B"])
    assert (found.own, found.own_accepted, found.other) == (4, 3, 4)
    assert found.other_accepted == len([slip for slip in found.slips if slip.kind == "other"]) == 3
    assert [(slip.gold, slip.completion) for slip in found.slips if slip.kind == "own"] == [("F", "The answer is F.")]


def test_golds_of_one_value_are_not_told_apart() -> None:
    assert GRADERS["math"].validate(["0.5", "\\frac{1}{2}", "1/2", "$0.50$"]) == Validation(4, 4, 0, 0)
    assert GRADERS["number"].validate(["1,000", "1000"]) == Validation(2, 2, 0, 0)
    assert GRADERS["choice"].validate([]) == Validation(0, 0, 0, 0)


def check(grader: str, golds: list[str], own: int | None = None) -> Validation:
    found = GRADERS[grader].validate(golds)
    assert found.own == (own or len(golds))
    assert not [slip for slip in found.slips if slip.kind == "own"]
    assert found.other >= 0.5 * found.own
    assert found.other_accepted < 0.001 * found.other
    return found


@pytest.mark.parametrize(
    ("source", "rows"),
    [("aime", 960), ("aime25", 960), ("amc", 2656), ("math", 500), ("minerva", 272), ("olympiad_bench", 675)],
)
def test_mathematics(shared_data: Path, source: str, rows: int) -> None:
    import pyarrow.parquet as parquet

    table = parquet.read_table(shared_data / "benchmarks/math_suite.parquet", columns=["data_source", "reward_model"])
    golds = [row["reward_model"]["ground_truth"] for row in table.to_pylist() if row["data_source"] == source]
    assert len(golds) == rows
    check("math", golds)


def test_math500(shared_data: Path) -> None:
    check("math", [json.loads(line)["answer"] for line in (shared_data / "benchmarks/math500.jsonl").open()])


@pytest.mark.parametrize("part", ["train", "test"])
def test_gsm8k(shared_data: Path, part: str) -> None:
    rows = [json.loads(line) for line in (shared_data / f"gsm8k/{part}.jsonl").open()]
    check("number", [final_answer(row["answer"]) for row in rows])


def test_choices(shared_data: Path) -> None:
    import pyarrow.parquet as parquet

    arc = parquet.read_table(shared_data / "benchmarks/arc_challenge.parquet")["reward_model"].to_pylist()
    check("choice", [row["ground_truth"] for row in arc])
    check("choice", parquet.read_table(shared_data / "benchmarks/mmlu_pro.parquet")["answer"].to_pylist())


def test_geometry3k(shared_data: Path) -> None:
    """Three items have statements, not numbers, as choices: they have letters alone."""
    with zipfile.ZipFile(shared_data / "benchmarks/geometry3k_test.zip") as archive:
        rows = [json.loads(archive.read(name)) for name in archive.namelist() if name.endswith("data.json")]
    golds = [gold_of(row["answer"], row["precise_value"]) for row in rows]
    assert len(golds) == 601
    check("geometry", golds, own=2 * 601 - 3)


def gold_of(letter: str, values: list[float | str]) -> str:
    if any(isinstance(value, str) for value in values):
        return geometry_gold(letter, None, [])
    return geometry_gold(letter, values["ABCD".index(letter)], values)


def test_reasoning_gym() -> None:
    from echorl.tasks import load_task

    for generator in ("chain_sum", "gcd", "word_sorting", "polynomial_equations"):
        golds = load_task("reasoning_gym", generator=generator).dataset("test", size=30)["instance"][:]
        found = GRADERS["reasoning_gym"].validate(golds)
        assert (found.own, found.own_accepted, found.other_accepted) == (30, 30, 0)

"""The reference answers of the real benchmark files, as the graders take them."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

from echorl.tasks.base import final_answer
from echorl.tasks.geometry3k import choice_values
from echorl.tasks.verify import geometry_reference

ReferenceAnswers = dict[str, tuple[str, list[str]]]


def reference_answers_of(folder: Path) -> ReferenceAnswers:
    """File or part of it -> grader, reference answers."""
    lines = {part: (folder / f"gsm8k/{part}.jsonl").read_text(encoding="utf-8") for part in ("train", "test")}
    numbers = {
        f"gsm8k {part}": ("number", [final_answer(json.loads(line)["answer"]) for line in text.splitlines()])
        for part, text in lines.items()
    }
    files = folder / "benchmarks"
    return {**mathematics(files), **choices(files), **numbers, "geometry3k": ("geometry", geometry3k(files))}


def mathematics(files: Path) -> ReferenceAnswers:
    import pyarrow.parquet as parquet

    table = parquet.read_table(files / "math_suite.parquet", columns=["data_source", "reward_model"])
    reference_answers: ReferenceAnswers = {}
    for row in table.to_pylist():
        reference_answers.setdefault(row["data_source"], ("math", []))[1].append(row["reward_model"]["ground_truth"])
    lines = (files / "math500.jsonl").read_text(encoding="utf-8").splitlines()
    return {**reference_answers, "math500": ("math", [json.loads(line)["answer"] for line in lines])}


def choices(files: Path) -> ReferenceAnswers:
    import pyarrow.parquet as parquet

    arc = parquet.read_table(files / "arc_challenge.parquet", columns=["reward_model"])["reward_model"].to_pylist()
    mmlu_pro = parquet.read_table(files / "mmlu_pro.parquet", columns=["answer"])["answer"].to_pylist()
    return {"arc_challenge": ("choice", [row["ground_truth"] for row in arc]), "mmlu_pro": ("choice", mmlu_pro)}


def geometry3k(files: Path) -> list[str]:
    """Three items have statements, not numbers, as choices: they have letters alone."""
    with zipfile.ZipFile(files / "geometry3k_test.zip") as archive:
        rows = [json.loads(archive.read(name)) for name in archive.namelist() if name.endswith("data.json")]
    return [_geometry_reference(row["answer"], row["choices"], row["precise_value"]) for row in rows]


def _geometry_reference(letter: str, choices: list[str], precise_values: list[float | str]) -> str:
    if any(isinstance(value, str) for value in precise_values):
        return geometry_reference(letter, None, [])
    values = choice_values(choices, precise_values)
    return geometry_reference(letter, values["ABCD".index(letter)], values)

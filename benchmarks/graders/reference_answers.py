"""Reference answers: a small built-in list, or the distinct ones of the benchmarks' files."""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path

FILES = (
    "benchmarks/math_suite.parquet",
    "benchmarks/math500.jsonl",
    "benchmarks/arc_challenge.parquet",
    "benchmarks/mmlu_pro.parquet",
    "gsm8k/test.jsonl",
    "benchmarks/geometry3k_test.zip",
)
ROLLOUTS = "math_rollouts/qwen25_math_100x8.jsonl"

BUILT_IN = {
    "math": r"""42; -7; 0; 10000; 1234567; 0.25; -1.5; 2.5e-19; 6.02e23; \frac{14}{3}; -\frac{5}{8}; \frac{1}{3};
        2\frac{3}{4}; 3\sqrt{2}; \frac{\sqrt{3}}{2}; 12\pi; 5-2\sqrt{6}; \sqrt[3]{4}; 2^{10}; 45^\circ; 30^{\circ};
        62.5\%; 17.5%; .375; $k=3$; 3-4i; 2x+3y; x^2-5x+6; \frac{n(n+1)}{2}; 2\pi r; R-r; \frac{M}{m}; 6k; E_{1}+2E_{2};
        \frac{\omega}{2\pi}; (\gamma-1)mc^2; e^{-2t}; \sin(2t); \ln 2; A\cos(\omega t); (3,-4);
        (1,\frac{1}{2},0); (0,1]; [-2,7); (-\infty,3)\cup(5,\infty); \{1,2,5\}; 1,3,9; -2,-2; y=2x+3;
        f(x)=x^2+1; \frac{dx}{dt}=kx-a; x \ge 4; 52_8; 1011_2; \begin{pmatrix} 1 & 2 \\ 0 & -3 \end{pmatrix};
        \binom{n}{2}; \text{east}; \text{(C)}; 15\text{ cm}^2; 8\mbox{ kg}; \lfloor\frac{n}{2}\rfloor+1; 5!;
        \arcsin(\frac{5}{13}); \frac{C}{S}; (a+5)(b-2)""",
    "number": "0; 3; 18; 42; -5; 104; 2500; 64000; 1250000; 0.5; 3.75; 12.5",
    "choice": "A; B; C; D; E; F; G; H; I; J",
    "geometry": "60.0; 18.8; 157.1; 28.0; 9.77",
}


@dataclass(frozen=True)
class ReferenceAnswer:
    """A reference answer and the kind of grader for it: `math`, `number`, `choice` or `geometry` (a rounded value)."""

    kind: str
    text: str


def built_in() -> list[ReferenceAnswer]:
    """The reference answers of the built-in list."""
    return [ReferenceAnswer(kind, text.strip()) for kind, texts in BUILT_IN.items() for text in texts.split(";")]


def read_reference_answers(folder: Path) -> list[ReferenceAnswer]:
    """The distinct reference answers of the files in `folder`, in order."""
    if missing := [name for name in FILES if not (folder / name).is_file()]:
        raise ValueError(
            f"--data {folder} has no {missing[0]}: give the folder that holds {', '.join(FILES)}, or omit --data "
            "for the built-in reference answers"
        )
    suite, math500, arc, mmlu_pro, gsm8k, geometry3k = (folder / name for name in FILES)
    mathematics = [row["ground_truth"] for row in _column(suite, "reward_model")]
    mathematics += [json.loads(line)["answer"] for line in math500.read_text(encoding="utf-8").splitlines()]
    letters = [row["ground_truth"] for row in _column(arc, "reward_model")] + _column(mmlu_pro, "answer")
    solutions = [json.loads(line)["answer"] for line in gsm8k.read_text(encoding="utf-8").splitlines()]
    numbers = [solution.rpartition("####")[2].strip() for solution in solutions]
    texts = {"math": mathematics, "number": numbers, "choice": letters, "geometry": _values(geometry3k)}
    return [ReferenceAnswer(kind, text) for kind, column in texts.items() for text in dict.fromkeys(column)]


def _values(path: Path) -> list[str]:
    """The right values of Geometry3K from 5 up with at most two decimals; half a unit of others is over 1 %."""
    with zipfile.ZipFile(path) as archive:
        rows = [json.loads(archive.read(name)) for name in archive.namelist() if name.endswith("data.json")]
    values = [row["precise_value"]["ABCD".index(row["answer"])] for row in rows]
    return [repr(value) for value in values if isinstance(value, float) and value >= 5 and value == round(value, 2)]


def _column(path: Path, name: str) -> list:
    import pyarrow.parquet as parquet

    return parquet.read_table(path, columns=[name])[name].to_pylist()


def read_rollouts(folder: Path) -> list[tuple[ReferenceAnswer, str, bool]]:
    """Reference answer, completion and label of each labelled rollout; an empty list if the folder has none."""
    path = folder / ROLLOUTS
    if not path.is_file():
        return []
    rows = [json.loads(line) for line in path.open(encoding="utf-8")]
    return [(ReferenceAnswer("math", row["answer"]), row["solution"], row["correct"]) for row in rows]

"""The ten benchmarks of the paper, and GSM8K."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from echorl.lab.evaluate.benchmarks.base import Benchmark, DataBenchmark
from echorl.lab.evaluate.benchmarks.layouts import (
    ARC,
    GEOMETRY,
    GEOMETRY_RELEASE,
    GPQA,
    GSM8K,
    MMLU_PRO,
    OLYMPIAD,
    choice_suite,
    columns,
    suite,
)
from echorl.tasks import geometry3k
from echorl.tasks.openr1_math import SYSTEM
from echorl.tasks.rows import Location

SUITE = "math_suite"
"""Name of LUFFY's file of six benchmarks in a local folder."""

_mathematics = partial(DataBenchmark, grader="math", distribution="in", system=SYSTEM)
_choice = partial(DataBenchmark, grader="choice", distribution="out", system=SYSTEM)

_ALL = (
    _mathematics(
        name="aime24",
        title="AIME 2024",
        samples=32,
        source="American Invitational Mathematics Examination 2024, I and II",
        licence="problems (c) Mathematical Association of America",
        location=Location(hub_id="HuggingFaceH4/aime_2024", split="train", stems=("aime24", SUITE)),
        layouts=(suite("aime"), columns("problem", "answer", "id")),
    ),
    _mathematics(
        name="aime25",
        title="AIME 2025",
        samples=32,
        source="American Invitational Mathematics Examination 2025, I and II",
        licence="problems (c) Mathematical Association of America",
        location=Location(hub_id="math-ai/aime25", stems=("aime25", SUITE)),
        layouts=(suite("aime25"), columns("problem", "answer", "id")),
    ),
    _mathematics(
        name="amc",
        title="AMC",
        samples=32,
        source="American Mathematics Competitions 12, 2022 and 2023, integer answers",
        licence="problems (c) Mathematical Association of America",
        location=Location(hub_id="AI-MO/aimo-validation-amc", split="train", stems=("amc", SUITE)),
        layouts=(suite("amc"), columns("problem", "answer", "id")),
    ),
    _mathematics(
        name="math500",
        title="MATH-500",
        source="Hendrycks et al., MATH (arXiv 2103.03874); the 500 of Lightman et al. (arXiv 2305.20050)",
        licence="MIT",
        location=Location(hub_id="HuggingFaceH4/MATH-500", stems=("math500", SUITE)),
        layouts=(suite("math"), columns("problem", "answer", "unique_id")),
    ),
    _mathematics(
        name="minerva",
        title="Minerva Math",
        source="Lewkowycz et al., OCWCourses (arXiv 2206.14858), from MIT OpenCourseWare",
        licence="CC BY-NC-SA 4.0 (MIT OpenCourseWare)",
        location=Location(hub_id="math-ai/minervamath", stems=("minerva", SUITE)),
        layouts=(suite("minerva"), columns("question", "answer"), columns("problem", "answer")),
    ),
    _mathematics(
        name="olympiadbench",
        title="OlympiadBench",
        source="He et al. (arXiv 2402.14008): open-ended mathematics in English, text only",
        licence="Apache-2.0",
        location=Location(
            hub_id="Hothan/OlympiadBench",
            config="OE_TO_maths_en_COMP",
            split="train",
            stems=("olympiadbench", "OE_TO_maths_en_COMP", SUITE),
        ),
        layouts=(suite("olympiad_bench"), OLYMPIAD),
    ),
    _choice(
        name="arc_challenge",
        title="ARC-Challenge",
        source="Clark et al. (arXiv 1803.05457)",
        licence="CC BY-SA 4.0",
        location=Location(hub_id="allenai/ai2_arc", config="ARC-Challenge", stems=("arc_challenge",)),
        layouts=(choice_suite("arc_c"), ARC),
    ),
    _choice(
        name="gpqa_diamond",
        title="GPQA-diamond",
        source="Rein et al. (arXiv 2311.12022)",
        licence="CC BY 4.0; its authors ask that no item be published in plain text",
        private=True,
        location=Location(hub_id="Idavidrein/gpqa", config="gpqa_diamond", split="train", stems=("gpqa_diamond",)),
        layouts=(GPQA,),
    ),
    _choice(
        name="mmlu_pro",
        title="MMLU-Pro",
        source="Wang et al. (arXiv 2406.01574)",
        licence="MIT",
        location=Location(hub_id="TIGER-Lab/MMLU-Pro", stems=("mmlu_pro",)),
        layouts=(MMLU_PRO,),
    ),
    DataBenchmark(
        name="geometry3k",
        title="Geometry3K",
        grader="geometry",
        source="Lu et al., Inter-GPS (arXiv 2105.04165)",
        licence="MIT",
        template=geometry3k.TEMPLATE,
        location=geometry3k.location("test"),
        layouts=(GEOMETRY, GEOMETRY_RELEASE),
    ),
    DataBenchmark(
        name="gsm8k",
        title="GSM8K",
        grader="number",
        source="Cobbe et al. (arXiv 2110.14168)",
        licence="MIT",
        system=SYSTEM,
        location=Location(hub_id="openai/gsm8k", config="main", stems=("gsm8k",)),
        layouts=(GSM8K,),
    ),
)

BENCHMARKS: Mapping[str, Benchmark] = {benchmark.name: benchmark for benchmark in _ALL}
"""Name -> benchmark."""

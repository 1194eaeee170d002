from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from echorl.lab.evaluate.benchmarks import BENCHMARKS, load_benchmark
from echorl.tasks import rows
from echorl.tasks.verify import GRADERS

IN = ["aime24", "aime25", "amc", "math500", "minerva", "olympiadbench"]
OUT = ["arc_challenge", "gpqa_diamond", "mmlu_pro"]


def test_the_papers_benchmarks() -> None:
    assert [name for name, benchmark in BENCHMARKS.items() if benchmark.distribution == "in"] == IN
    assert [name for name, benchmark in BENCHMARKS.items() if benchmark.distribution == "out"] == OUT
    assert [name for name in BENCHMARKS if BENCHMARKS[name].samples == 32] == IN[:3]
    assert [name for name in BENCHMARKS if BENCHMARKS[name].private] == ["gpqa_diamond"]


@pytest.mark.parametrize("name", BENCHMARKS)
def test_each_benchmark_is_complete(name: str) -> None:
    benchmark = BENCHMARKS[name]
    assert benchmark.name == name
    assert benchmark.get_grader() is GRADERS[benchmark.grader]
    assert benchmark.location.hub_id.count("/") == 1
    assert benchmark.title
    assert benchmark.source
    assert benchmark.licence
    assert "{question}" in benchmark.template
    assert "\\boxed{" in benchmark.system + benchmark.template


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("aime2024", r"unknown benchmark 'aime2024' \(did you mean aime24"),
        ("MATH-500", r"did you mean math500"),
        ("chain_sums", r"did you mean chain_sum"),
        ("gms8k", r"\(did you mean gsm8k\?\)"),
        ("word_problems:hard", r"no split 'hard'; give one of .*word_problems:harder"),
        ("openr1_math", r"no split 'test'; give one of openr1_math:train, openr1_math:validation"),
        (
            "xyz",
            r"unknown benchmark 'xyz'; choose one of aime24, .*, gsm8k, or a task as TASK or TASK:SPLIT: quickstart",
        ),
    ],
)
def test_unknown_names_are_refused(name: str, message: str) -> None:
    pytest.importorskip("reasoning_gym")
    with pytest.raises(ValueError, match=message):
        load_benchmark(name)


def test_the_task_of_a_recipe_is_a_benchmark(tmp_path: Path) -> None:
    pytest.importorskip("reasoning_gym")
    recipe = tmp_path / "mine.yaml"
    options = {"generator": "products", "config": {"max_terms": 3}, "template": "{question}!"}
    recipe.write_text(yaml.safe_dump({"task": "reasoning_gym", "task_options": options, "learning_rate": 1.0}))
    benchmark = load_benchmark(f"{recipe}:validation")
    assert (benchmark.split, benchmark.task.config) == ("validation", {"max_terms": 3})
    assert benchmark.items()[0].prompt.endswith("!")
    assert load_benchmark(str(recipe)).split == "test"
    recipe.write_text("task: quickstart")
    assert load_benchmark(str(recipe)).items() == load_benchmark("quickstart").items()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, r"^recipe \S+mine.yaml cannot be read \(No such file or directory\); give a recipe of"),
        ("a: [", r"^recipe \S+mine.yaml cannot be read: while parsing"),
        (
            "learning_rate: 1.0",
            r"^recipe \S+mine.yaml names no task; give a recipe of `echorl train` with ",
        ),
        ("task: nonsense", r"^recipe \S+mine.yaml: unknown task 'nonsense'; choose one of"),
        ("{task: word_problems, task_options: '{\"chat\": '}", r"^task_options='.*' is not JSON"),
        ("{task: word_problems, task_options: [1]}", r"^task_options=\[1\] is not a mapping"),
    ],
)
def test_a_recipe_without_a_task_is_refused(tmp_path: Path, text: str | None, message: str) -> None:
    if text is not None:
        (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(ValueError, match=message):
        load_benchmark(str(tmp_path / "mine.yaml"))


@pytest.mark.parametrize(
    ("error", "message"),
    [
        ("gated", r"Idavidrein/gpqa is gated: accept its terms at https://\S+ and log in \(hf auth login\), or give "),
        ("absent", r"the hub has no dataset Idavidrein/gpqa: check your login"),
        ("offline", r"Idavidrein/gpqa cannot be reached \(ConnectionError\): check the network, or give"),
    ],
)
def test_errors_of_the_hub_say_what_to_do(monkeypatch, error: str, message: str) -> None:
    import datasets
    from datasets.exceptions import DatasetNotFoundError

    raised = {
        "gated": DatasetNotFoundError("Dataset 'Idavidrein/gpqa' is a gated dataset on the Hub. You must log in."),
        "absent": DatasetNotFoundError("Dataset 'Idavidrein/gpqa' doesn't exist on the Hub or cannot be accessed."),
        "offline": ConnectionError("Couldn't reach 'Idavidrein/gpqa' on the Hub (LocalEntryNotFoundError)"),
    }[error]

    def fail(*_, **__):
        raise raised

    monkeypatch.setattr(datasets, "load_dataset", fail)
    with pytest.raises(ValueError, match=message):
        load_benchmark("gpqa_diamond").items()


def test_the_right_rows_are_requested_from_the_hub(monkeypatch) -> None:
    asked = []

    def load(hub_id: str, config: str | None, split: str) -> list[dict]:
        asked.append((hub_id, config, split))
        return [{"question": "q", "answer": "#### 4"}]

    monkeypatch.setattr(rows, "hub_rows", load)
    assert [item.reference_answer for item in load_benchmark("gsm8k").items()] == ["4"]
    assert asked == [("openai/gsm8k", "main", "test")]


def test_images_of_the_hub_stay_encoded(monkeypatch) -> None:
    import datasets

    from tests.lab.evaluate.benchmarks.files import geometry_row, picture

    kinds = datasets.Features(
        {
            "images": datasets.List(datasets.Image()),
            "problem": datasets.Value("string"),
            "answer": datasets.Value("string"),
        }
    )
    data = datasets.Dataset.from_list([geometry_row(3, "65")], features=kinds)
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: data)
    assert rows.hub_rows("a/b", None, "test")[0]["images"][0]["bytes"] == picture(3)
    assert load_benchmark("geometry3k").items()[0].images[0].getpixel((0, 0)) == (3, 0, 0)

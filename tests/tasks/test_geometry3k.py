import json
import zipfile
from pathlib import Path

import pytest

from echorl.tasks import load_task
from echorl.tasks.geometry3k import read_problem
from tests.pictures import picture

pytest.importorskip("PIL")


def release_row(number: int) -> dict:
    return {
        "id": number,
        "problem_text": "Find x .",
        "annotat_text": f" Find ${number}x$. ",
        "choices": ["1", "2", "3", "2 \\sqrt { 2 }"],
        "answer": "D",
        "precise_value": [1.0, 2.0, 3.0, 2.828],
    }


def write_zip(path: Path, folders: dict[str, dict], pictures: bool = True) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for folder, row in folders.items():
            archive.writestr(f"{folder}/data.json", json.dumps(row))
            if pictures:
                archive.writestr(f"{folder}/img_diagram.png", picture(row["id"]))
    return path


def write_parquet(path: Path, size: int = 3) -> Path:
    from datasets import Dataset, Features, Image, List, Value

    kinds = Features({"images": List(Image()), "problem": Value("string"), "answer": Value("string")})
    rows = [
        {
            "images": [{"bytes": picture(i), "path": None}],
            "problem": f"<image>Find {i}.",
            "answer": f"{i} \\sqrt {{ 2 }}",
        }
        for i in range(size)
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    Dataset.from_list(rows, features=kinds).to_parquet(path)
    return path


@pytest.fixture
def release(tmp_path: Path) -> Path:
    folders = {"train/1": 1, "train/2": 2, "val/3": 3, "test/4": 4, "__MACOSX/test/5": 5}
    return write_zip(tmp_path / "geometry3k.zip", {folder: release_row(i) for folder, i in folders.items()})


@pytest.mark.parametrize(("split", "numbers"), [("train", [1, 2]), ("validation", [3]), ("test", [4])])
@pytest.mark.parametrize("whole_folder", [False, True])
def test_rows_of_the_release_are_read(release: Path, split: str, numbers: list[int], whole_folder: bool) -> None:
    rows = load_task("geometry3k", data=str(release.parent if whole_folder else release)).dataset(split)
    assert rows["question"][:] == [f"Find ${i}x$." for i in numbers]
    assert [images[0].getpixel((0, 0)) for images in rows["images"]] == [(i, 0, 0) for i in numbers]
    assert "\\boxed" in rows["prompt"][0][0]["content"]
    assert "A) 1" not in rows["prompt"][0][0]["content"]


def test_choices_are_shown_and_only_then_a_letter_counts(release: Path) -> None:
    shown = load_task("geometry3k", data=str(release), choices=True).dataset("test")[0]
    assert shown["question"] == "Find $4x$.\nA) 1\nB) 2\nC) 3\nD) 2 \\sqrt { 2 }"
    hidden = load_task("geometry3k", data=str(release)).dataset("test")[0]
    assert json.loads(shown["answer"]) == {"letter": "D", "value": 2.828, "choices": [1.0, 2.0, 3.0, 2.828]}
    score = load_task("geometry3k").verifier
    texts = ["\\boxed{D}", "\\boxed{2 \\sqrt{2}}", "\\boxed{3}"]
    assert score(completions=texts, answer=[shown["answer"]] * 3) == [1.0, 1.0, 0.0]
    assert score(completions=texts, answer=[hidden["answer"]] * 3) == [0.0, 1.0, 0.0]


def test_mixed_numbers_are_what_the_choices_say(tmp_path: Path) -> None:
    """The release's precise values multiply their parts."""
    choices = ["2 \\frac { 1 } { 3 }", "5 \\frac { 3 } { 7 }", "4", "\\frac { 5 } { 2 } \\sqrt { 3 }"]
    row = {**release_row(1), "choices": choices, "answer": "B", "precise_value": [2 / 3, 15 / 7, 4.0, 4.33]}
    answer = load_task("geometry3k", data=str(write_zip(tmp_path / "a.zip", {"test/1": row}))).dataset("test")[
        "answer"
    ][0]
    assert json.loads(answer)["choices"] == pytest.approx([7 / 3, 38 / 7, 4.0, 4.33])
    texts = [
        "\\boxed{5\\frac{3}{7}}",
        "\\boxed{5.43}",
        "\\boxed{\\frac{38}{7}}",
        "\\boxed{2.143}",
        "\\boxed{\\frac{15}{7}}",
    ]
    assert load_task("geometry3k").verifier(completions=texts, answer=[answer] * 5) == [1.0] * 3 + [0.0] * 2
    hub = read_problem({"problem": "Find x.", "answer": "5 \\frac { 3 } { 7 }", "images": []})
    assert json.loads(hub.reference_answer)["value"] == pytest.approx(38 / 7)


def test_an_answer_without_a_value_is_left_out(tmp_path: Path) -> None:
    statements = {"choices": list("abcd"), "precise_value": ["angle 1", "angle 2", "angle 3", "angle 4"]}
    data = write_zip(tmp_path / "a.zip", {"test/1": {**release_row(1), **statements}, "test/2": release_row(2)})
    assert load_task("geometry3k", data=str(data)).dataset("test")["question"][:] == ["Find $2x$."]


@pytest.mark.parametrize("place", ["test-00000-of-00001.parquet", "data/test-00000-of-00001.parquet", "any.parquet"])
def test_rows_of_the_hub_are_read(tmp_path: Path, place: str) -> None:
    file = write_parquet(tmp_path / place)
    data = file if file.name == "any.parquet" else tmp_path
    rows = load_task("geometry3k", data=str(data), template="Q: {question}").dataset("test")
    assert rows["prompt"][:] == [[{"role": "user", "content": f"Q: Find {i}."}] for i in range(3)]
    assert [images[0].getpixel((0, 0))[0] for images in rows["images"]] == [0, 1, 2]
    assert [json.loads(answer)["value"] for answer in rows["answer"]] == pytest.approx([0.0, 2**0.5, 8**0.5])


def test_trl_reads_the_rows(release: Path) -> None:
    from trl.data_utils import prepare_multimodal_messages

    row = load_task("geometry3k", data=str(release)).dataset("train", size=1)[0]
    content = prepare_multimodal_messages(row["prompt"], row["images"])[0]["content"]
    assert [part["type"] for part in content] == ["image", "text"]
    assert content[0]["image"] is row["images"][0]


def test_a_draw_is_the_seeds(tmp_path: Path) -> None:
    task = load_task("geometry3k", data=str(write_parquet(tmp_path / "rows.parquet", size=30)))
    some = task.dataset("train", size=5, seed=1)["question"][:]
    assert some == task.dataset("train", size=5, seed=1)["question"][:] != task.dataset("train", size=5)["question"][:]
    with pytest.raises(ValueError, match="has 30 rows, not 31"):
        task.dataset("train", size=31)


def test_an_error_says_what_is_wrong_with_a_file(tmp_path: Path, release: Path) -> None:
    def read(path: Path, split: str = "test", **options) -> None:
        load_task("geometry3k", data=str(path), **options).dataset(split)

    with pytest.raises(ValueError, match=r"no file or folder .*nowhere"):
        read(tmp_path / "nowhere")
    (tmp_path / "bad.zip").write_bytes(b"no zip")
    with pytest.raises(ValueError, match=r"bad\.zip is not a zip file"):
        read(tmp_path / "bad.zip")
    with pytest.raises(ValueError, match=r"one\.zip has no val/<id>/data\.json \(its splits: test\)"):
        read(write_zip(tmp_path / "one.zip", {"test/4": release_row(4)}), "validation")
    with pytest.raises(ValueError, match=r"test/4 has no readable data\.json or img_diagram\.png"):
        read(write_zip(tmp_path / "bare.zip", {"test/4": release_row(4)}, pictures=False))
    (tmp_path / "rows.jsonl").write_text('{"problem": "p", "answer": "1"}\n')
    with pytest.raises(
        ValueError, match=r"has no column 'images'; it needs \(images, problem, answer\) or \(id, .* and has"
    ):
        read(tmp_path / "rows.jsonl")
    with pytest.raises(ValueError, match=r"the hub's rows have no choices"):
        read(write_parquet(tmp_path / "hub.parquet"), choices=True)


def test_a_file_of_other_rows_in_the_folder_is_named(tmp_path: Path) -> None:
    from datasets import Dataset

    write_parquet(tmp_path / "validation-0.parquet")
    Dataset.from_list([{"question": "1+1?", "answer": "2"}]).to_parquet(tmp_path / "validation-1.parquet")
    with pytest.raises(
        ValueError, match=r"validation-1\.parquet has no column 'images', 'problem'; it needs \(images, "
    ):
        load_task("geometry3k", data=str(tmp_path)).dataset("validation")


def test_an_answer_that_takes_too_long_is_an_error(monkeypatch) -> None:
    monkeypatch.setattr("echorl.tasks.geometry3k.TIMEOUT", 0.2)
    row = {"problem": "Find x.", "answer": "9^{9^{9^9}}", "images": []}
    with pytest.raises(ValueError, match=r"9\^\{9.* could not be computed \((timeout|memory)\); run the command again"):
        read_problem(row)


def test_the_real_zip_is_read(shared_data: Path) -> None:
    rows = load_task("geometry3k", data=str(shared_data / "benchmarks/geometry3k_test.zip")).dataset("test")
    assert len(rows) == 598  # of 601: three answers are statements
    assert min(rows[i]["images"][0].size[0] for i in range(0, 598, 50)) > 50
    assert all(rows["question"][:])

"""`echorl train` on Geometry3K with a tiny Qwen2.5-VL: real diagrams where they are, else a file in the hub's schema.

Where torchvision is missing the processor, which then cannot be loaded from a folder, is made on the spot.
"""

from __future__ import annotations

import io
import json
from pathlib import Path
from zipfile import ZipFile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from transformers import AutoModelForImageTextToText, AutoProcessor
from transformers.utils import is_torchvision_available

from echorl.cli import main
from echorl.lab.evaluate.sampling import sample
from echorl.models.loading import load_policy
from echorl.support.errors import UserError
from echorl.train.data import read_rows
from echorl.trl.metrics_file import read_metrics
from tests.cli.conftest import REWARDS
from tests.trl import tiny_vision

LOAD_PROCESSOR = AutoProcessor.from_pretrained


@pytest.fixture(scope="module")
def vision_model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("vision")
    tiny_vision.make_model().save_pretrained(folder)
    tiny_vision.save_processor(folder)
    return folder


@pytest.fixture(autouse=True)
def _processor(monkeypatch):
    if not is_torchvision_available():
        monkeypatch.setattr(AutoProcessor, "from_pretrained", lambda *a, **k: tiny_vision.make_processor())


def encoded(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def made_up(tmp_path) -> Path:
    """12 rows as hiyouga/geometry3k has them."""
    rows = [
        {
            "images": [{"bytes": encoded(tiny_vision.make_pictures(row)[0]), "path": None}],
            "problem": f"<image>{row}+1=?",
            "answer": str(row + 1),
        }
        for row in range(12)
    ]
    path = tmp_path / "geometry3k.parquet"
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


@pytest.fixture
def geometry(recipe, vision_model):
    """A recipe of the task on these data. A second function verifies: a random policy solves no problem."""

    def write(data: Path, **changes) -> str:
        options = {"data": str(data), "template": "{question}"}
        return recipe(
            **{
                "model_name_or_path": str(vision_model),
                "train_file": None,
                "task": "geometry3k",
                "task_options": options,
                "train_size": 12,
                "echo_success_reward_func": ["some_right"],
                "echo_coef": 0.1,
                **changes,
            }
        )

    return write


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "model.safetensors")


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def check_run(run: Path, steps: int) -> None:
    lines = [line for line in read_metrics(run / "metrics.jsonl") if "loss" in line]
    assert [line["step"] for line in lines] == list(range(1, steps + 1))
    assert all(line["echo/entropy_source/recorder"] == 1.0 for line in lines)
    assert sum(line["echo/clips/mixed"] + line["echo/clips/all_success"] for line in lines) > 0
    assert all("rewards/geometry/mean" in line for line in lines)


def test_two_steps_on_a_file_in_the_hubs_schema(tmp_path, geometry, made_up, vision_model):
    assert main(["train", "--config", geometry(made_up)]) == 0
    check_run(tmp_path / "run", 2)
    model = AutoModelForImageTextToText.from_pretrained(tmp_path / "run")
    assert not same(dict(model.state_dict()), tiny_vision.make_model().state_dict())
    processor = AutoProcessor.from_pretrained(tmp_path / "run", padding_side="left")
    prompt = [{"role": "user", "content": "1+1=?"}]
    found = sample(model, processor, [prompt], images=[tiny_vision.make_pictures(0)], group_size=2, max_new_tokens=4)
    assert len(found.texts) == 2


def test_two_steps_on_real_diagrams(tmp_path, geometry, shared_data):
    path = tmp_path / "geometry3k_train.zip"  # the release's zip of the split to train on, from that of the test split
    with ZipFile(shared_data / "benchmarks/geometry3k_test.zip") as test, ZipFile(path, "w") as train:
        for name in test.namelist():
            train.writestr(name.replace("test/", "train/"), test.read(name))
    assert main(["train", "--config", geometry(path)]) == 0
    check_run(tmp_path / "run", 2)


def test_resumed_in_the_middle_of_a_generation_batch_it_ends_as_if_it_had_not_stopped(tmp_path, geometry, made_up):
    """The checkpoint holds the images of the batch in use."""
    batching = dict(steps_per_generation=4, gradient_accumulation_steps=2, per_device_train_batch_size=4)
    path = geometry(made_up, max_steps=4, save_strategy="steps", save_steps=1, lr_scheduler_type="constant", **batching)
    assert main(["train", "--config", path, "--output_dir", str(tmp_path / "whole")]) == 0
    assert main(["train", "--config", path, "--max_steps", "3"]) == 0
    buffer = torch.load(tmp_path / "run/checkpoint-3/echorl_state_0.pt", weights_only=True)["position"]["buffer"]
    assert "pixel_values" in buffer[0]
    assert main(["train", "--config", path, "--resume_from_checkpoint", "true"]) == 0
    assert same(weights(tmp_path / "run"), weights(tmp_path / "whole"))


def test_the_trained_model_is_evaluated(tmp_path, geometry, made_up):
    """Plumbing: a random policy answers nothing."""
    assert main(["train", "--config", geometry(made_up, max_steps=1)]) == 0
    options = ["--data", str(made_up), "--max_new_tokens", "4", "--device", "cpu", "--output_dir", "evaluated"]
    assert main(["eval", "--model", str(tmp_path / "run"), "--benchmarks", "geometry3k", *options]) == 0
    samples = pq.read_table(tmp_path / "evaluated/samples/geometry3k.parquet")
    assert samples.num_rows == 12


def test_an_adapter_is_trained_resumed_and_loaded(tmp_path, geometry, made_up):
    changes = dict(use_peft=True, lora_target_modules=["q_proj", "v_proj"], lora_dropout=0.0)
    path = geometry(made_up, save_strategy="steps", save_steps=1, lr_scheduler_type="constant", **changes)
    assert main(["train", "--config", path, "--output_dir", str(tmp_path / "whole")]) == 0
    assert main(["train", "--config", path, "--max_steps", "1"]) == 0
    assert main(["train", "--config", path, "--resume_from_checkpoint", "true"]) == 0
    adapters = [load_file(tmp_path / run / "adapter_model.safetensors") for run in ("run", "whole")]
    assert same(*adapters)
    model, _ = load_policy(tmp_path / "run")
    assert not same(model.state_dict(), tiny_vision.make_model().state_dict())


def test_dapo_draws_prompts_with_images_anew(tmp_path, geometry, made_up):
    options = {"max_rounds": 3, "overlong_buffer": 0}
    assert main(["train", "--config", geometry(made_up, method="dapo", method_options=options)]) == 0
    assert max(line.get("method/rounds", 0) for line in read_metrics(tmp_path / "run/metrics.jsonl")) > 1


@pytest.mark.skipif(is_torchvision_available(), reason="torchvision is installed")
def test_without_torchvision_the_message_names_it(monkeypatch, geometry, made_up, fails):
    monkeypatch.setattr(AutoProcessor, "from_pretrained", LOAD_PROCESSOR)
    fails(["train", "--config", geometry(made_up)], "torchvision")


# -- rows with paths of images ----------------------------------------------------------------------------------------


@pytest.fixture
def picture_rows(tmp_path):
    folder = tmp_path / "rows"
    (folder / "png").mkdir(parents=True)
    for row in range(6):
        for number, picture in enumerate(tiny_vision.make_pictures(row)):
            picture.save(folder / f"png/{row}-{number}.png")

    def write(**changes) -> Path:
        rows = [
            {
                "prompt": [{"role": "user", "content": f"{row}+1=?"}],
                "images": [f"png/{row}-{number}.png" for number in range(1 + row % 3)],
            }
            for row in range(6)
        ]
        rows[-1].update(changes)
        path = folder / "rows.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return path

    return write


def test_a_jsonl_file_names_its_images(tmp_path, recipe, vision_model, picture_rows):
    path = recipe(
        model_name_or_path=str(vision_model), train_file=str(picture_rows()), reward_funcs=[f"{REWARDS}:some_right"]
    )
    assert main(["train", "--config", path]) == 0
    sizes = [[picture.size for picture in row["images"]] for row in read_rows(picture_rows())]
    assert sizes == [[picture.size for picture in tiny_vision.make_pictures(row)] for row in range(6)]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": ["png/7.png"]}, r"line 6: no image file png/7\.png in .*rows; paths are taken from"),
        ({"images": "png/0-0.png"}, r"line 6: 'images' is not made of paths"),
        ({"image": 7}, r"line 6: 'image' is not made of paths"),
    ],
)
def test_images_that_are_not_there(picture_rows, changes, message):
    with pytest.raises(UserError, match=message):
        read_rows(picture_rows(**changes))

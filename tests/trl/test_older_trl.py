"""What EchoRL refuses with an older TRL, and translates for one; `make test-trl-oldest` runs all tests with one."""

from importlib import metadata
from pathlib import Path

import pytest

from echorl.train.parsing import parse
from echorl.train.recipe import read_recipes
from echorl.train.run import TRAIN
from echorl.trl.prompts import check_images
from tests.trl.tiny import build

ROOT = Path(__file__).resolve().parents[2]
OLDER_NAME = "gradient_checkpointing"


@pytest.fixture
def older(monkeypatch):
    """Pretends that TRL 1.14.1 is installed."""
    version = metadata.version
    monkeypatch.setattr(metadata, "version", lambda name: "1.14.1" if name == "trl" else version(name))


def test_share_prompts_is_refused(older, tmp_path):
    with pytest.raises(ValueError, match=r"combined with trl 1\.14\.1: pip install 'trl>=1\.15', or remove it"):
        build(tmp_path, share_prompts=True)


def test_images_are_refused_and_texts_are_not(older):
    check_images([{"prompt": "1+1="}, {"prompt": "1+2=", "images": []}])
    with pytest.raises(ValueError, match=r"rows have images, but trl 1\.14\.1 fails .*: pip install 'trl>=1\.16', or"):
        check_images([{"prompt": "1+1=", "images": ["1.png"]}])


def test_a_recipe_switches_checkpointing_off_under_the_name_that_transformers_has(tmp_path):
    settings = parse(TRAIN, read_recipes([ROOT / "recipes/cpu/quickstart.yaml"]), ["--output_dir", str(tmp_path)])
    name = "activation_checkpointing" if hasattr(settings.training, "activation_checkpointing") else OLDER_NAME
    assert getattr(settings.training, name) is False
    assert settings.given[name] is False

"""The model card that a run leaves: a base model that is a folder is named, and never linked to as "None"."""

from pathlib import Path

import pytest

from echorl.trl.card import describe
from tests.trl.tiny import all_right, build, make_model


@pytest.mark.parametrize("saved", [True, False])
def test_a_folder_is_named_by_its_last_parts(tmp_path, saved):
    folder = tmp_path / "runs" / "warm-start"
    make_model().save_pretrained(folder)
    trainer = build(tmp_path / "out", all_right, model=str(folder) if saved else None)
    trainer.create_model_card(model_name="out")
    card = (tmp_path / "out" / "README.md").read_text()
    base = "the model in `runs/warm-start`" if saved else "a model without a name"
    assert f"This model is a fine-tuned version of {base}." in card
    assert "None" not in card
    assert f'model="{tmp_path / "out"}"' in card
    assert str(tmp_path / "runs") not in card


def test_a_relative_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert describe(".") == f"the model in `{'/'.join(Path(tmp_path).parts[-2:])}`"

"""The model card that a run leaves: it never links to a base model "None"."""

import pytest

from tests.trl.tiny import all_right, build, make_model


@pytest.mark.parametrize("saved", [True, False])
def test_a_base_model_in_a_folder_is_called_one(tmp_path, saved):
    folder = tmp_path / "runs" / "warm-start"
    make_model().save_pretrained(folder)
    trainer = build(tmp_path / "out", all_right, model=str(folder) if saved else None)
    trainer.create_model_card(model_name="out")
    card = (tmp_path / "out" / "README.md").read_text()
    assert "This model is a fine-tuned version of a model in a folder." in card
    assert "None" not in card
    assert f'model="{tmp_path / "out"}"' in card
    assert str(tmp_path / "runs") not in card


def test_the_card_names_echorl_and_its_settings(tmp_path):
    trainer = build(tmp_path, all_right, echo_coef=0.02, method="dapo", method_options={"dynamic_sampling": False})
    trainer.create_model_card(model_name="out")
    card = (tmp_path / "README.md").read_text()
    part = card[card.index("### EchoRL") : card.index("## Citations")]
    assert "EchoClips are part of the loss." in part
    assert "| `method` | `dapo` |\n| `method_options` | `{'dynamic_sampling': False}` |" in part
    assert "| `echo_coef` | `0.02` |" in part
    assert "| `echo_select` | `max_entropy` |" in part
    assert "### Framework versions\n\n- echorl: " in part

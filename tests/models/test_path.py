"""The two models of echorl by name; other names stay those of folders and of the hub."""

from __future__ import annotations

import pytest

from echorl.models import POLICY, find_model, path


def test_a_model_of_echorl_is_a_folder():
    assert path("quickstart") == str(POLICY)
    assert find_model("quickstart") == (str(POLICY), "(a folder)")


def test_other_names_are_not_for_path():
    with pytest.raises(ValueError, match=r"path\('Qwen/Qwen3-0.6B'\): the models of echorl are 'quickstart' and"):
        path("Qwen/Qwen3-0.6B")
    assert find_model("Qwen/Qwen3-0.6B")[0] == "Qwen/Qwen3-0.6B"


@pytest.mark.parametrize(
    ("name", "meant"), [("quickstrat", "quickstart"), ("quick-start", "quickstart"), ("smollm", "smollm2")]
)
def test_a_name_that_is_nearly_a_shipped_one_is_asked_for(name, meant, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=f"there is no model '{name}'; did you mean '{meant}'?"):
        find_model(name)
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).mkdir()
    assert find_model(name) == (name, "(a folder)")
    assert find_model("gpt2")[0] == "gpt2"

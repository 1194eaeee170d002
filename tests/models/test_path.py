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

"""The two models of echorl by name; other names stay those of folders and of the hub."""

from __future__ import annotations

import pytest

from echorl.models import POLICY, find_model, path, problem_of_model


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
    with pytest.raises(ValueError, match=f"'{name}' is no model; '{meant}' is one"):
        find_model(name)
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).mkdir()
    (tmp_path / name / "config.json").write_text("{}")
    assert find_model(name) == (name, "(a folder)")
    assert find_model("gpt2")[0] == "gpt2"


@pytest.mark.parametrize("name", ["./none", "/none/at/all", "~/none", "a/b/none", "runs/none", "here/none"])
def test_a_path_to_nothing_is_not_asked_of_the_hub(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").mkdir()
    with pytest.raises(ValueError, match=f"'{name}' does not exist in {tmp_path}: correct the path"):
        find_model(name)


def test_a_name_that_the_hub_can_have_stays_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert not any(map(problem_of_model, ["gpt2", "there/none", "Qwen/Qwen3-0.6B"]))


def test_a_folder_or_a_file_without_a_model_is_refused(tmp_path):
    (tmp_path / "weights.safetensors").write_text("")
    with pytest.raises(ValueError, match="is a folder without a config"):
        find_model(str(tmp_path))
    with pytest.raises(ValueError, match="is a file: give the folder"):
        find_model(str(tmp_path / "weights.safetensors"))


def test_the_folder_of_a_run_names_its_latest_checkpoint(tmp_path):
    advice = "is a folder without a config.json: give "
    assert problem_of_model(str(tmp_path)) == f"{advice}the folder of a model or of a checkpoint"
    for step in (9, 10, 11):
        (tmp_path / f"checkpoint-{step}").mkdir()
    assert problem_of_model(str(tmp_path)) == f"{advice}the folder of a model or of a checkpoint"
    for step in (9, 10):
        (tmp_path / f"checkpoint-{step}" / "config.json").write_text("{}")
    assert problem_of_model(str(tmp_path)) == f"{advice}its latest checkpoint, {tmp_path / 'checkpoint-10'}"

"""Hashes that identify a run: every byte that it reads counts, options that only log or save do not."""

from __future__ import annotations

import os

import pytest

from echorl.lab.compare.run import run_key
from echorl.models import fingerprint

MEGABYTE = 1 << 20


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(bytes(2 * MEGABYTE))
    (folder / "config.json").write_text("{}")
    return folder


def key(model, **options):
    return run_key({"model_name_or_path": str(model), **options})


def test_a_change_behind_the_first_megabyte_is_another_model(model):
    before = key(model)
    (model / "model.safetensors").write_bytes(bytes(2 * MEGABYTE - 1) + b"1")
    assert key(model) != before


@pytest.mark.parametrize("name", ["pytorch_model.bin", "tokenizer.json", "chat_template.jinja"])
def test_every_file_of_the_model_counts(model, name):
    (model / name).write_text("one")
    before = key(model)
    (model / name).write_text("two")
    assert key(model) != before


def test_files_that_a_trainer_adds_do_not_count(model):
    before = key(model)
    (model / "training_args.bin").write_text("x")
    (model / "metrics.jsonl").write_text("x")
    assert key(model) == before


def test_reward_functions_count_by_their_content(model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for names in (["rewards.py:right"], "rewards.right", ["rewards:right"]):
        (tmp_path / "rewards.py").write_text("one")
        before = key(model, reward_funcs=names)
        (tmp_path / "rewards.py").write_text("two")
        assert key(model, reward_funcs=names) != before
    assert key(model, reward_funcs=["trl.rewards.think_format_reward"])["files"] == {}


@pytest.mark.parametrize("option", ["train_file", "eval_file"])
def test_files_of_rows_count_by_their_content(model, tmp_path, option):
    rows = tmp_path / "rows.jsonl"
    rows.write_text("one")
    before = key(model, **{option: str(rows)})
    rows.write_text("two")
    assert key(model, **{option: str(rows)}) != before


def test_a_rule_counts_by_its_content_and_class_however_its_path_is_written(model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "other").mkdir()
    for path, text in (("rule.py", "one"), ("other/rule.py", "two")):
        (tmp_path / path).write_text(text)
    before = key(model, method="rule.py:Rule")
    for path in (tmp_path / "rule.py", "./rule.py", "other/../rule.py"):
        assert key(model, method=f"{path}:Rule") == before
    assert before["options"]["method"] == "rule.py:Rule"
    assert before["files"].keys() == {"rule.py"}
    assert key(model, method="rule.py:Other") != before
    assert key(model, method="other/rule.py:Rule") != before
    monkeypatch.chdir(tmp_path / "other")
    assert key(model, method="rule.py:Rule") != before
    assert key(model, method="../rule.py:Rule") == before


def test_a_rule_and_a_reward_function_in_files_of_one_name_both_count(model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "other").mkdir()
    for path in ("rule.py", "other/rule.py"):
        (tmp_path / path).write_text(path)
    keys = [key(model, method="other/rule.py:Rule", reward_funcs=["rule.py:right"])]
    for path in ("rule.py", "other/rule.py"):
        (tmp_path / path).write_text("edited")
        keys.append(key(model, method="other/rule.py:Rule", reward_funcs=["rule.py:right"]))
    assert len({str(each["files"]) for each in keys}) == 3


def test_a_row_function_counts_by_its_content(model, tmp_path):
    code = tmp_path / "rows.py"
    code.write_text("one")
    before = key(model, row_func=f"{code}:change")
    code.write_text("two")
    assert key(model, row_func=f"{code}:change") != before


@pytest.mark.parametrize("as_json", [False, True])
def test_a_tasks_data_counts_by_its_content_file_or_folder(model, tmp_path, as_json):
    folder = tmp_path / "gsm8k"
    folder.mkdir()
    for place in (folder, folder / "test.jsonl"):
        (folder / "test.jsonl").write_text("one")
        options = f'{{"data": "{place}"}}' if as_json else {"data": str(place)}
        before = key(model, task="gsm8k", task_options=options)
        (folder / "test.jsonl").write_text("two")
        assert key(model, task="gsm8k", task_options=options) != before


@pytest.mark.parametrize("as_json", [False, True])
def test_a_file_of_a_methods_options_counts_by_its_content(model, tmp_path, as_json):
    path = tmp_path / "prefixes.jsonl"
    path.write_text("one")
    options = f'{{"prefixes": "{path}"}}' if as_json else {"prefixes": str(path), "online": False}
    before = key(model, method="failure_prefix", method_options=options)
    path.write_text("two")
    assert key(model, method="failure_prefix", method_options=options) != before


def test_options_that_only_log_or_save_do_not_count(model):
    noise = dict(
        save_steps=5, save_total_limit=3, logging_steps=7, report_to="none", disable_tqdm=True, log_completions=True,
        run_name="x", echo_rollouts_every=5, output_dir="elsewhere", resume_from_checkpoint="true",
    )  # fmt: skip
    assert key(model, beta=0.1, **noise) == key(model, beta=0.1) != key(model)


def test_a_file_is_read_once_while_it_stays_the_same(model, monkeypatch):
    path, reads = model / "model.safetensors", []
    read = fingerprint._read
    monkeypatch.setattr(fingerprint, "_read", lambda p: reads.append(p) or read(p))
    os.utime(path, (1, 1))
    first = fingerprint.hash_file(path)
    assert fingerprint.hash_file(path) == first
    assert len(reads) == 1
    path.write_bytes(b"other")
    assert fingerprint.hash_file(path) != first


def test_a_rule_counts_by_the_content_of_its_file(model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_rule.py").write_text("one")
    before = key(model, method="my_rule.py:MyRule")
    assert list(before["files"]) == ["my_rule.py"]
    (tmp_path / "my_rule.py").write_text("two")
    assert key(model, method="my_rule.py:MyRule") != before
    assert key(model, method="grpo")["files"] == {}

"""A run takes the place of no other, finished, begun or at work, nor of a user's files; and what goes if it shall."""

from __future__ import annotations

import pytest
from filelock import FileLock

from echorl.cli import main
from echorl.support.errors import UserError
from echorl.train.earlier_run import delete, earlier_run, written_after

FINISHED = ("model.safetensors", "metrics.jsonl", "rollouts/step-000001-process-0.parquet", "tokenizer.json")
USERS = ("notes.txt", "rollouts/mine.txt", "run.json", "data.jsonl")
OF_THE_RUN = "# echorl 0.1.0, trl 1.16.0\n"


def fill(folder, *names, config=OF_THE_RUN):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("old")
    if config is not None:
        (folder / "config.yaml").write_text(config)
    return folder


def names(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def ask(folder, *, overwrite=False, restart=False, model="quickstart"):
    return earlier_run(folder, overwrite=overwrite, restart=restart, model=model)


@pytest.mark.parametrize(
    ("files", "config", "named"),
    [
        (("model.safetensors",), OF_THE_RUN, "model.safetensors"),
        (("model-00001-of-00002.safetensors",), OF_THE_RUN, "model-00001-of-00002.safetensors"),
        (("adapter_model.safetensors",), None, "adapter_model.safetensors"),
        (("pytorch_model.bin",), None, "pytorch_model.bin"),  # a base model, which a run would mix with its own
        (("metrics.jsonl",), OF_THE_RUN, "metrics.jsonl"),  # killed before its first checkpoint
        (("rollouts/step-000001-process-0.parquet",), OF_THE_RUN, "rollouts/step-000001-process-0.parquet"),
        (("completions/completions_00001.parquet",), OF_THE_RUN, "completions/completions_00001.parquet"),
        (("checkpoint-2/model.safetensors",), OF_THE_RUN, "checkpoint-2"),
        ((), "# my recipe\nseed: 1\n", "config.yaml"),  # the run would write its own over it
        (("README.md",), None, "README.md"),
    ],
)
def test_a_folder_with_something_to_lose_is_refused(tmp_path, files, config, named):
    fill(tmp_path, *files, *USERS, config=config)
    before = names(tmp_path)
    is_of_a_run = config == OF_THE_RUN
    end = " of an earlier run: .*--overwrite_output_dir" if is_of_a_run else ", and no config.yaml of a run of echorl"
    for overwrite in (False,) if is_of_a_run else (False, True):  # what no run of echorl wrote is never deleted
        with pytest.raises(UserError, match=f"holds {named}{end}"):
            ask(tmp_path, overwrite=overwrite)
    assert names(tmp_path) == before


def test_a_folder_with_nothing_to_lose_is_taken(tmp_path):
    fill(tmp_path, *USERS)
    (tmp_path / "metrics.jsonl").touch()  # ended before its first log, by too large a batch, say
    delete(ask(tmp_path), tmp_path)
    assert names(tmp_path) == sorted([*USERS, "config.yaml"])


def test_what_an_earlier_run_wrote_goes_and_the_users_files_stay(tmp_path):
    fill(tmp_path, *FINISHED, *USERS, "checkpoint-4/model.safetensors", "completions/completions_00001.parquet")
    delete(ask(tmp_path, overwrite=True), tmp_path)
    assert names(tmp_path) == sorted([*USERS, "config.yaml"])
    assert not (tmp_path / "completions").exists()


def test_a_resumed_run_without_a_checkpoint_begins_anew_unless_it_had_ended(tmp_path):
    begun = fill(tmp_path / "begun", "metrics.jsonl", "checkpoint-1/model.safetensors", *USERS)
    delete(ask(begun, restart=True), begun)
    assert names(begun) == sorted([*USERS, "config.yaml"])
    with pytest.raises(UserError, match=r"holds model.safetensors of an earlier run: give another"):
        ask(fill(tmp_path / "ended", *FINISHED), restart=True)
    with pytest.raises(UserError, match=r"holds README.md, and no config.yaml of a run of echorl: give another"):
        ask(fill(tmp_path / "users", "README.md", config=None), restart=True)


def test_the_model_of_a_run_is_not_deleted_for_it(tmp_path):
    fill(tmp_path, *FINISHED, "checkpoint-4/model.safetensors")
    for model in (tmp_path, tmp_path / "checkpoint-4"):
        with pytest.raises(UserError, match="lies in output_dir"):
            ask(tmp_path, overwrite=True, model=str(model))


def test_a_link_goes_and_not_what_it_shows_to(tmp_path):
    kept = fill(tmp_path / "elsewhere", "model.safetensors")
    run = fill(tmp_path / "run", "notes.txt")
    (run / "checkpoint-1").symlink_to(kept)
    delete(ask(run, overwrite=True), run)
    assert names(run) == ["config.yaml", "notes.txt"]
    assert names(kept) == ["config.yaml", "model.safetensors"]


def test_stored_rollouts_behind_a_checkpoint(tmp_path):
    of_echorl = [f"rollouts/step-{step:06d}-process-{rank}.parquet" for step in (1, 3, 5, 11) for rank in (0, 1)]
    of_trl = [f"completions/completions_{step:05d}.parquet" for step in (2, 4, 5)]
    fill(tmp_path, *of_echorl, *of_trl, "rollouts/step-x-process-y.parquet")
    found = [str(path.relative_to(tmp_path)) for path in written_after(tmp_path, 4)]
    assert sorted(found) == sorted([*of_echorl[4:], of_trl[2]])


def test_a_finished_run_without_checkpoints_is_kept(tmp_path, recipe, fails):
    run = fill(tmp_path / "run", *FINISHED, *USERS)
    before = names(run)
    for more in ([], ["--resume_from_checkpoint", "true"]):
        fails(["train", "--config", recipe(), *more], "holds model.safetensors of an earlier run")
    assert names(run) == [".lock", *before]
    assert (run / "metrics.jsonl").read_text() == "old"


def test_a_run_that_overwrites_leaves_none_of_the_earlier_ones_rollouts(tmp_path, recipe):
    run = fill(tmp_path / "run", *FINISHED, "rollouts/step-000007-process-0.parquet", *USERS, "checkpoint-9/x")
    more = ["--max_steps", "1", "--echo_rollouts_every", "1", "--overwrite_output_dir"]
    assert main(["train", "--config", recipe(), *more]) == 0
    assert sorted(path.name for path in (run / "rollouts").iterdir()) == ["mine.txt", "step-000001-process-0.parquet"]
    assert {*USERS} < {*names(run)}
    assert not (run / "checkpoint-9").exists()


@pytest.mark.parametrize("command", ["train", "sft"])
def test_two_runs_in_one_folder(tmp_path, recipe, fails, command):
    path = (
        recipe() if command == "train" else recipe(reward_funcs=None, num_generations=None, max_completion_length=None)
    )
    (tmp_path / "run").mkdir()
    with FileLock(tmp_path / "run" / ".lock"):
        fails([command, "--config", path, "--overwrite_output_dir"], f"another `echorl {command}` is at work in")
    assert names(tmp_path / "run") == [".lock"]


def test_a_checkpoint_of_another_folder_gives_no_leave_to_overwrite(tmp_path, recipe, model, fails):
    path = recipe(save_strategy="steps", save_steps=1, max_steps=1)
    assert main(["train", "--config", path, "--output_dir", str(tmp_path / "first")]) == 0
    run = fill(tmp_path / "run", *FINISHED)
    more = ["--resume_from_checkpoint", str(tmp_path / "first" / "checkpoint-1")]
    for steps in ("2", "1"):  # with 1 it has nothing to train and would copy the checkpoint's model
        fails(["train", "--config", path, *more, "--max_steps", steps], "holds model.safetensors of an earlier run")
    assert (run / "model.safetensors").read_text() == "old"

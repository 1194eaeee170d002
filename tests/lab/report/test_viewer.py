"""The gallery's data: whole groups, evenly chosen, inert, and what a half-written dump does."""

from __future__ import annotations

import json

import pytest

from echorl.lab.report.viewer import from_clips, from_dumps, gallery_json, spread
from tests.lab.report import made
from tests.lab.report.test_gallery import TEXTS


def test_a_group_by_hand(tmp_path):
    made.dump(tmp_path, made.group_rows(3, 0, size=3))
    gallery = from_dumps(tmp_path / "rollouts", 100)
    [group] = gallery.groups
    assert (group["kind"], group["step"], group["name"], group["prompt"]) == ("mixed", 3, "group 1", "1+1=?\n")
    assert [(rollout["ok"], rollout["clip"], rollout["length"]) for rollout in group["rollouts"]] == [
        (True, None, 5), (True, 200, 5), (False, None, 5)
    ]  # fmt: skip
    first, second = group["rollouts"][1]["steps"]
    assert (first["number"], first["clip"], first["mean"], first["texts"]) == (1, 2, 200, ["1+1=2", "\n"])
    assert (first["nats"], second["clip"], second["special"]) == ([300, 100], 0, [2])
    assert (gallery.total, gallery.num_rollouts, gallery.notes) == (3, 3, [])


def test_groups_of_several_processes_are_whole(tmp_path):
    rows = made.group_rows(0, 0)
    for process in (0, 1):
        made.dump(tmp_path, rows[2 * process : 2 * process + 2], f"step-000000-process-{process}.parquet")
    [group] = from_dumps(tmp_path / "rollouts", 100).groups
    assert len(group["rollouts"]) == 4


def test_a_limit_takes_whole_groups_evenly_over_the_run(tmp_path):
    for step in range(5):
        rows = [row for group in range(2) for row in made.group_rows(step, group)]
        made.dump(tmp_path, rows, f"step-{step:06d}-process-0.parquet")
    gallery = from_dumps(tmp_path / "rollouts", 24)
    assert [group["step"] for group in gallery.groups] == [0, 0, 2, 2, 4, 4]
    assert (gallery.num_rollouts, gallery.total) == (24, 40)
    assert [group["step"] for group in from_dumps(tmp_path / "rollouts", 5).groups] == [4]
    assert from_dumps(tmp_path / "rollouts", 1).num_rollouts == 4  # a group stays whole


@pytest.mark.parametrize(("limit", "names"), [(100, "abcd"), (3, "acd"), (2, "ad"), (1, "d"), (0, "d")])
def test_spread_by_hand(limit, names):
    assert "".join(spread([(name, 1) for name in "abcd"], limit)) == names


def test_a_dump_that_is_being_written_is_left_out_with_a_note(tmp_path):
    path = made.dump(tmp_path, made.group_rows(0, 0))
    half = path.with_name("step-000005-process-0.parquet")
    half.write_bytes(path.read_bytes()[:100])
    gallery = from_dumps(tmp_path / "rollouts", 100)
    assert len(gallery.groups) == 1
    assert gallery.notes == [f"{half} is no whole dump and was left out; the run may be writing it."]


def test_no_dump():
    assert from_dumps(made.Path("nowhere"), 100).groups == []


def test_nothing_in_the_data_ends_its_element(tmp_path):
    made.dump(tmp_path, made.hostile_rows())
    text = gallery_json([(made.HOSTILE, from_dumps(tmp_path / "rollouts", 100).groups)])
    assert not set("<>&\u2028") & set(text)
    data = json.loads(text)
    shown = made.HOSTILE.replace("\u2028", "\\u2028")
    assert data["runs"] == [made.HOSTILE]
    assert data["groups"][0]["rollouts"][0]["steps"][0]["texts"] == [data["groups"][0]["prompt"]]
    assert data["groups"][0]["prompt"] in (made.HOSTILE, shown)


@pytest.mark.parametrize("text", [text for text in TEXTS if text])
def test_any_unicode(tmp_path, text):
    rows = made.group_rows(0, 0, completion=text, tokens=[text], entropy=[float("nan")], step_ids=[0])
    made.dump(tmp_path, rows)
    [group] = json.loads(gallery_json([("a", from_dumps(tmp_path / "rollouts", 100).groups)]))["groups"]
    [step] = group["rollouts"][0]["steps"]
    assert (step["texts"], step["nats"], step["mean"]) == ([text], [None], None)


def clip_row(line: int) -> dict:
    return {
        "group": line, "kind": "mixed", "group_size": 4, "successes": 2, "file": "dir/rows.jsonl", "line": line,
        "prompt": [{"role": "user", "content": "1+1?"}], "response": "1+1=2\n#### 2", "step": 0, "step_entropy": 0.2,
        "others": [{"file": "dir/rows.jsonl", "line": 9, "step": 1, "entropy": 0.15}],
        "tokens": ["1+1=2", "\n", "#### ", "2", "<eos>"], "entropy": [0.3, 0.1, 0.0, 0.0, None],
        "step_ids": [0, 0, 1, 1, 1],
    }  # fmt: skip


def write_clips(folder, format, count=5):
    from echorl.lab.mine.clips import COLUMNS
    from echorl.lab.mine.clips import write_clips as write_clips_of_mine

    rows = [{**dict.fromkeys(COLUMNS), **clip_row(line)} for line in range(1, count + 1)]
    return write_clips_of_mine(folder, iter(rows), format)


@pytest.mark.parametrize("format", ["jsonl", "parquet"])
def test_mined_clips(tmp_path, format):
    path = write_clips(tmp_path, format)
    gallery = from_clips(path, 100)
    group = gallery.groups[1]
    assert (group["name"], group["prompt"]) == ("rows.jsonl:2, 2 of 4 right", "user: 1+1?")
    [rollout] = group["rollouts"]
    assert (rollout["clip"], rollout["others"]) == (200, [["rows.jsonl:9, step 2", 150]])
    assert [step["clip"] for step in rollout["steps"]] == [2, 0]
    assert rollout["steps"][1]["nats"] == [0, 0, None]
    some = from_clips(path, 2)
    assert ([group["name"].partition(",")[0] for group in some.groups], some.total) == (
        ["rows.jsonl:1", "rows.jsonl:4"],
        5,
    )


def test_clips_without_tokens_are_told(tmp_path):
    row = {name: value for name, value in clip_row(1).items() if name != "tokens"}
    (tmp_path / "clips.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"was not written by `echorl mine`, or is damaged .*tokens.*: mine again"):
        from_clips(tmp_path / "clips.jsonl", 10)

"""How a run stands: the checkpoint that it goes on from, and the words beside its progress."""

from __future__ import annotations

from echorl.lab.compare.conduct import _note, _reached
from echorl.support.files import write_json


def test_a_run_goes_on_from_its_newest_complete_checkpoint(tmp_path):
    assert _reached(tmp_path, "updates") == 0
    (tmp_path / "checkpoint-20").mkdir()
    write_json(tmp_path / "checkpoint-20" / "trainer_state.json", {"global_step": 20})
    (tmp_path / "checkpoint-40").mkdir()  # killed while it was written
    assert _reached(tmp_path, "updates") == 20


def test_the_words_beside_a_run(tmp_path):
    assert _note(tmp_path) == ""
    (tmp_path / "policy").mkdir()
    write_json(tmp_path / "policy" / "metrics.jsonl", {"reward": 0.614})
    assert _note(tmp_path) == "reward 0.61"
    write_json(tmp_path / "run.json", {"key": {}, "value": None})
    assert _note(tmp_path) == "reward 0.61"
    write_json(tmp_path / "run.json", {"key": {}, "value": {"updates": 4}})
    assert _note(tmp_path) == "scoring"

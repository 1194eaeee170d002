"""The export of suspects, read back as JSONL."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from echorl.lab.audit.evidence import Place
from echorl.lab.audit.export import MAX_CHARS, export, rollouts_at
from echorl.lab.audit.findings import SUSPECT_KINDS, Suspect, Suspects
from echorl.lab.audit.read import read_log
from echorl.lab.audit.suspects import find_suspects
from echorl.lab.logs.rows import LoggedRollout
from echorl.lab.options import Columns
from tests.lab.audit.rollouts import rollout


def exported(path: Path, suspects: Sequence[Suspect], rollouts: Sequence[LoggedRollout]) -> list[dict[str, Any]]:
    export(
        Suspects(tuple(suspects), dict.fromkeys(SUSPECT_KINDS, 0)), rollouts, [Path("1.jsonl"), Path("2.jsonl")], path
    )
    return [json.loads(line) for line in path.read_text(encoding="ascii").splitlines()]


def test_a_suspect_with_its_rollouts(tmp_path: Path) -> None:
    places = (Place(1, 4), Place(0, 2))
    rollouts = [rollout(text, 0.0, line, file=file) for text, line, file in (("a", 2, 0), ("b", 2, 1), ("c", 4, 1))]
    (row,) = exported(tmp_path / "suspects.jsonl", [Suspect("mislabelled", 3, "Why.", 0.8, places)], rollouts)
    told = {"reference_answer": "7", "step": 0, "reward": 0.0, "truncated": None}
    assert row == {
        "kind": "mislabelled",
        "why": "Why.",
        "prompt": "3+4?",
        "reference_answer": "7",
        "rollouts": [
            {"file": "2.jsonl", "line": 4, **told, "response": "c"},
            {"file": "1.jsonl", "line": 2, **told, "response": "a"},
        ],
    }


def test_a_rollout_of_a_line_of_several(tmp_path: Path) -> None:
    suspect = Suspect("mislabelled", 3, "Why.", 0.8, (Place(0, 7),))
    (row,) = exported(tmp_path / "suspects.jsonl", [suspect], [rollout("a", 0.0, 7)._replace(batch=2, position=1)])
    assert (row["rollouts"][0]["line"], row["rollouts"][0]["index"]) == (2, 1)


def test_a_finding_about_the_log_has_a_prompt_for_each_rollout(tmp_path: Path) -> None:
    suspect = Suspect("reward_values", None, "Why.", 1.0, (Place(0, 1),))
    (row,) = exported(tmp_path / "suspects.jsonl", [suspect], [rollout("a", 0.5)])
    assert "prompt" not in row
    assert row["rollouts"][0]["prompt"] == "3+4?"


def test_rollouts_that_cannot_be_read_again_are_places(tmp_path: Path) -> None:
    (row,) = exported(tmp_path / "suspects.jsonl", [Suspect("mislabelled", 0, "Why.", 1.0, (Place(0, 1),))], [])
    assert (row["prompt"], row["rollouts"]) == (None, [{"file": "1.jsonl", "line": 1}])


def test_hostile_texts_are_cut_and_escaped(tmp_path: Path) -> None:
    text = "\x1b[31m\ud800\u202e" + "[" * 10**6
    suspect = Suspect("mislabelled", 0, "Why.", 1.0, (Place(0, 1),))
    (row,) = exported(tmp_path / "suspects.jsonl", [suspect], [rollout(text, prompt=text, reference_answer=text)])
    response = row["rollouts"][0]["response"]
    assert response.startswith(text[:100])
    assert f"[... {len(text) - MAX_CHARS:,} characters left out ...]" in response
    assert (tmp_path / "suspects.jsonl").read_text(encoding="ascii").strip().isprintable()


def test_no_suspects_are_an_empty_file(tmp_path: Path) -> None:
    assert exported(tmp_path / "suspects.jsonl", [], [rollout("a")]) == []


def test_a_log_from_its_files_to_the_export(tmp_path: Path) -> None:
    """Two files: in the second one the prompt looks mislabelled."""
    for name, reference, reward in (("log_1", "8", 1.0), ("log_2", "7", 0.0)):
        row = {"prompt": f"{name}?", "completion": "So \\boxed{8}.", "score": reward, "answer": reference, "step": 1}
        (tmp_path / f"{name}.jsonl").write_text(f"{json.dumps(row)}\n" * 8)
    log = read_log([tmp_path], Columns(), 1.0)
    suspects = find_suspects(log.groups, log.evidence)
    rollouts = rollouts_at(suspects.places(), log.files, Columns())
    export(suspects, rollouts, log.files, tmp_path / "suspects.jsonl")
    (row,) = map(json.loads, (tmp_path / "suspects.jsonl").read_text().splitlines())
    assert (row["kind"], row["prompt"], row["reference_answer"]) == ("mislabelled", "log_2?", "7")
    assert [each["line"] for each in row["rollouts"]] == list(range(1, 9))
    assert {each["response"] for each in row["rollouts"]} == {"So \\boxed{8}."}


def test_only_regular_files_are_read_again(tmp_path: Path) -> None:
    assert list(rollouts_at([Place(0, 1)], [tmp_path / "gone.jsonl"], Columns())) == []

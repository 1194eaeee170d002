"""Export of suspects as JSONL, each with the texts of the rollouts to look at."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from echorl.lab.audit.evidence import Place
from echorl.lab.audit.suspects import Suspect, Suspects
from echorl.support.files import replacing

if TYPE_CHECKING:
    from echorl.lab.logs.rows import LoggedRollout

MAX_CHARS = 4_000
"""Characters of a prompt or a response that are exported: a quarter from its beginning, the rest from its end."""


def export(suspects: Suspects, rollouts: Iterable[LoggedRollout], files: Sequence[Path], path: Path) -> None:
    """Write a line for each suspect that is listed: kind, why, prompt, reference answer, and rollouts with their texts.

    Long texts are cut in the middle, and say how many characters are left out. The file is ASCII: no text from the log
    can change a terminal that shows it.

    Args:
        rollouts: those at the places of the suspects, in any order, read from the log again. One that is missing, as of
            a pipe that cannot be read twice, is exported as its place alone.
        files: the log's files, in the order in which the places count them.
    """
    wanted = suspects.places()
    texts = {place: _texts_of(each) for each in rollouts if (place := Place(each.file, each.line)) in wanted}
    with replacing(path) as scratch, scratch.open("w", encoding="ascii", newline="\n") as file:
        for suspect in suspects.listed:
            file.write(json.dumps(_as_json(suspect, texts, files)) + "\n")


def _texts_of(rollout: LoggedRollout) -> dict[str, Any]:
    return {
        "prompt": cut(rollout.prompt),
        "reference_answer": None if rollout.reference_answer is None else cut(rollout.reference_answer),
        "step": rollout.step,
        "reward": rollout.reward,
        "truncated": rollout.truncated,
        "response": None if rollout.response is None else cut(rollout.response),
    }


def _as_json(suspect: Suspect, texts: Mapping[Place, Mapping[str, Any]], files: Sequence[Path]) -> dict[str, Any]:
    rollouts = [
        {"file": str(files[place.file]), "line": place.line, **texts.get(place, {})} for place in suspect.places
    ]
    row: dict[str, Any] = {"kind": suspect.kind, "why": suspect.why}
    if suspect.prompt is not None:  # then all rollouts have the same prompt
        first = next((texts[place] for place in suspect.places if place in texts), {})
        row |= {name: first.get(name) for name in ("prompt", "reference_answer")}
        rollouts = [{name: value for name, value in each.items() if name != "prompt"} for each in rollouts]
    return {**row, "rollouts": rollouts}


def cut(text: str) -> str:
    """Return a text, a long one without its middle.

    >>> len(cut("x" * 4_000)), cut("x" * 5_000).count("x"), cut("x" * 5_000)[1_000:1_036]
    (4000, 4000, '\\n[... 1,000 characters left out ...]')
    """
    if len(text) <= MAX_CHARS:
        return text
    start = MAX_CHARS // 4
    end = len(text) - (MAX_CHARS - start)
    return f"{text[:start]}\n[... {end - start:,} characters left out ...]\n{text[end:]}"

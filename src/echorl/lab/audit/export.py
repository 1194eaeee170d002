"""Export of suspects as JSONL, each with the texts of the rollouts to look at."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from echorl.lab.audit.evidence import Place
from echorl.lab.audit.findings import Suspect, Suspects
from echorl.lab.logs.rows import LoggedRollout, read_logs
from echorl.lab.options import Columns
from echorl.support.files import replacing

MAX_CHARS = 4_000
"""Characters of a prompt or a response that are exported: a quarter from its beginning, the rest from its end."""


class Excerpt(NamedTuple):
    """The shortened texts of a rollout; no response where the log has none."""

    prompt: str
    response: str | None


def export(suspects: Suspects, rollouts: Iterable[LoggedRollout], files: Sequence[Path], path: Path) -> None:
    """Write a line for each suspect that is listed: kind, why, prompt, reference answer, and rollouts with their texts.

    Long texts are cut in the middle, and say how many characters are left out. The file is ASCII: no text from the log
    can change a terminal that shows it.

    Args:
        rollouts: those at `suspects.places()`, in any order, as `rollouts_at` reads them. One that is missing, as of a
            pipe that cannot be read twice, is exported as its place alone.
        files: the log's files, in the order in which the places count them.
    """
    places = suspects.places()
    texts = {place: _texts_of(each) for each in rollouts if (place := Place(each.file, each.line)) in places}
    with replacing(path) as scratch, scratch.open("w", encoding="ascii", newline="\n") as file:
        for suspect in suspects.listed:
            file.write(json.dumps(_as_json(suspect, texts, files)) + "\n")


def rollouts_at(places: Collection[Place], files: Sequence[Path], columns: Columns) -> Iterator[LoggedRollout]:
    """Yield the rollouts at these places, read from the files again as far as needed; none of what is no regular file.

    Args:
        columns: the user's names of columns, as the log was read with.
    """
    lines: dict[int, set[int]] = {}
    for place in places:
        lines.setdefault(place.file, set()).add(place.line)
    for number, lines_of_file in sorted(lines.items()):
        path, last = files[number], max(lines_of_file)
        for log_file in read_logs([path] if path.is_file() else [], columns):
            for rollout in log_file.rollouts:
                if rollout.line in lines_of_file:
                    yield rollout._replace(file=number)
                if rollout.line >= last:
                    break


def _texts_of(rollout: LoggedRollout) -> dict[str, Any]:
    place = {"line": rollout.batch, "index": rollout.position} if rollout.batch else {}
    return {
        **place,
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

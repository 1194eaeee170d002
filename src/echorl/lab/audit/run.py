"""An audit: a log is read, measured and searched, and the results are written to a folder."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from echorl.lab.audit.evidence import Place
from echorl.lab.audit.export import Excerpt, export, rollouts_at
from echorl.lab.audit.read import Log, read_log
from echorl.lab.jobs import View
from echorl.lab.logs.places import log_place
from echorl.lab.logs.rows import LoggedRollout
from echorl.lab.options import Columns
from echorl.support.files import write_json
from echorl.support.folder import ResultFolder
from echorl.support.texts import parse_json

RESULTS, SUSPECTS, PAGE = "audit.json", "suspects.jsonl", "page.html"
"""The files of an audit."""
SPECIAL = re.compile(r"<\|\w+\|>")
"""Special tokens of chat templates, such as <|im_start|>."""
PROMPT = (110, 50)
RESPONSE = (100, 200)
"""Characters from the beginning and from the end of a text that the page shows, about."""
WORD = 30
"""Characters that a text can lose, so that it is not cut within a word."""


@dataclass(frozen=True, kw_only=True)
class AuditPlan:
    """Settings of an audit: files and folders of the log, its columns, and the least reward of a right rollout."""

    places: Sequence[Path]
    columns: Columns
    success_reward: float


def audit(folder: Path, plan: AuditPlan, view: View) -> dict[str, Any]:
    """Audit a log into `folder`, in place of what an earlier audit of this log left there. Returns the results.

    The folder is made once the log is read. Every file is written in one move, the numbers last.

    Raises:
        UserError: another process works in the folder, or it cannot be written to.
        ValueError: the log cannot be used, or the folder holds something else, such as the audit of another log.
    """
    results_folder = ResultFolder(folder, "audit", holds="results")
    results_folder.check_owner()
    log = read_log(plan.places, plan.columns, plan.success_reward, view.begin("reading the log", None))
    with results_folder.locked():
        results_folder.claim({"log": [os.path.abspath(log_place(place)) for place in plan.places]})
        return _write(folder, plan, log, view)


def _write(folder: Path, plan: AuditPlan, log: Log, view: View) -> dict[str, Any]:
    """Measure a log and write the files. Returns the results."""
    measured = view.begin("measuring groups", 1)
    from echorl.lab.audit.measure import measure  # with scipy, which takes longer than to find a wrong row
    from echorl.lab.audit.suspects import find_suspects

    suspects = find_suspects(log.groups, log.evidence)
    excerpts: dict[Place, Excerpt] = {}
    rollouts = rollouts_at(suspects.places(), log.files, plan.columns)
    export(suspects, _noting_texts(rollouts, excerpts), log.files, folder / SUSPECTS)
    results = measure(log.groups, suspects, excerpts, _describe(log, plan))
    measured(1)
    drawn = view.begin("drawing the page", 1)
    _draw(results, folder / PAGE)
    write_json(folder / RESULTS, results)
    drawn(1)
    return results


def _draw(results: dict[str, Any], path: Path) -> None:
    from echorl.lab.audit.page import make_page
    from echorl.lab.report.page import write

    write(make_page(results), path)


def _noting_texts(rollouts: Iterator[LoggedRollout], excerpts: dict[Place, Excerpt]) -> Iterator[LoggedRollout]:
    """Yield the rollouts, and put their shortened texts into `excerpts`."""
    for rollout in rollouts:
        response = None if rollout.response is None else shortened(rollout.response.strip(), *RESPONSE)
        excerpts[Place(rollout.file, rollout.line)] = Excerpt(headline(rollout.prompt), response)
        yield rollout


def headline(prompt: str) -> str:
    """Return a prompt on one line, of chat messages (JSON) the last of the user; of a long one beginning and end.

    >>> headline('[{"role": "system", "content": "Think."}, {"role": "user", "content": "1 + 1?"}]')
    '1 + 1?'
    >>> headline("<|im_start|>user\\n1 + 1?<|im_end|>")
    'user 1 + 1?'
    """
    text = " ".join(SPECIAL.sub(" ", _question(prompt)).split())
    return shortened(text, *PROMPT)


def shortened(text: str, first: int, last: int) -> str:
    """Return a text, a long one without its middle, cut between words where these are short.

    >>> shortened("one two three four five six", 9, 9)
    'one two ... five six'
    """
    if len(text) <= first + last:
        return text
    start, end = text[: first + 1], text[-last - 1 :]
    words = re.match(r"(?s)(.*\S)\s", start), re.match(r"(?s)\S*\s+(\S.*)", end)
    start = words[0][1] if words[0] and first - len(words[0][1]) <= WORD else start[:-1]
    end = words[1][1] if words[1] and last - len(words[1][1]) <= WORD else end[1:]
    return f"{start} ... {end}"


def _question(prompt: str) -> str:
    try:
        messages = parse_json(prompt)
    except ValueError:
        return prompt
    if not (isinstance(messages, list) and all(isinstance(each, dict) for each in messages)):
        return prompt
    texts = [each.get("content") for each in messages if each.get("role") == "user"]
    return texts[-1] if texts and isinstance(texts[-1], str) else prompt


def _describe(log: Log, plan: AuditPlan) -> dict[str, Any]:
    """Return where the log lies, and which column was read as what."""
    return {
        "places": [str(place) for place in plan.places],
        "files": [str(path) for path in log.files],
        "columns": log.columns.read_as,
        "notes": log.notes,
    }

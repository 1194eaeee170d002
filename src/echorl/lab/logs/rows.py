"""Rollouts of training logs of any format, one after the other."""

from __future__ import annotations

import json
import reprlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from echorl.lab.logs.columns import CUT_OFF, SOLUTION, VERL_KEY, LogColumns, find_log_columns, is_missing
from echorl.lab.logs.files import Row, RowFile, first_values, open_rows
from echorl.lab.logs.forms import Form, find_form
from echorl.lab.options import Columns
from echorl.support.errors import located
from echorl.support.texts import finite_number, is_text


class LoggedRollout(NamedTuple):
    """A row of a training log.

    Attributes:
        prompt: text; of chat messages their JSON. "" where the log has none.
        group: the value of the group's column as text, of a log without steps with the epoch; "" where it has neither.
        step: None where the log has none.
        reward: the verifier's; None where there is no verdict.
        rewards: all rewards, in the order of the file's columns.
        advantage: None where the log has none.
        response: text.
        length: response tokens, where the log has them.
        truncated: the response ended at the limit of length; None where the log does not tell.
        reference_answer: None where the log has none.
        for_training: false for a text that the policy did not sample, and for a rollout of an evaluation.
        file: the place of the file among those read.
        line: from 1; of parquet the row, of a file with several rollouts in a line the number of the rollout.
        batch: of a file with several rollouts in a line the line; else 0.
        position: of such a file the rollout's place in its line, from 0.
    """

    prompt: str
    group: str
    step: int | None
    reward: float | None
    rewards: tuple[float | None, ...]
    advantage: float | None
    response: str | None
    length: int | None
    truncated: bool | None
    reference_answer: str | None
    for_training: bool
    file: int
    line: int
    batch: int = 0
    position: int = 0


Reader = Callable[[Row, int, int], LoggedRollout]
"""(row, file, line) -> rollout."""


@dataclass(frozen=True)
class LogFile:
    """A file of a log, with what its columns were read as."""

    source: RowFile
    columns: LogColumns
    rollouts: Iterator[LoggedRollout]


def read_logs(files: Sequence[Path], columns: Columns) -> Iterator[LogFile]:
    """Yield each file, with an iterator of its rollouts that must be used up before the next file is taken.

    Raises:
        ValueError: a file is empty or damaged, or a row cannot be used; the message begins with file and line.
    """
    for number, path in enumerate(files):
        with open_rows(path, may_grow=True) as file:
            form = find_form(file.first_rows[0][1], path)
            values = first_values(row for _, row in _split(file.first_rows, form, path))
            with located(f"{path}, line {file.first_line}"):
                layout = find_log_columns(values, columns)
                if layout.response is None and SOLUTION in values and _solutions_differ(file, layout):
                    layout = find_log_columns(values, replace(columns, response=SOLUTION))
            counted = layout.length if isinstance(values.get(layout.length or ""), list) else None
            rows = _split(file.rows(layout.names, counted), form, path)
            yield LogFile(file, layout, _read(rows, form, layout, number, path))


def _solutions_differ(file: RowFile, layout: LogColumns) -> bool:
    """Return whether a column `solution` holds responses: reference answers are equal within a group."""
    name = layout.prompt or layout.group or ""
    solutions = {(str(row.get(name)), str(row.get(SOLUTION))) for row in file.sample((name, SOLUTION))}
    return len(solutions) > len({group for group, _ in solutions})


def _split(rows: Iterable[tuple[int, Row]], form: Form | None, path: Path) -> Iterator[tuple[int, Row]]:
    """Yield the line and the row of each rollout, of lines that may hold several."""
    if form is None:
        yield from rows
        return
    for line, row in rows:
        with located(f"{path}, line {line}"):
            rollouts = list(form(row))
        yield from ((line, each) for each in rollouts)


def _read(
    rows: Iterable[tuple[int, Row]], form: Form | None, layout: LogColumns, file: int, path: Path
) -> Iterator[LoggedRollout]:
    read = reader(layout, may_lack_reward=form is not None)
    last_line = position = 0
    for number, (line, row) in enumerate(rows, 1):
        with located(f"{path}, line {line}"):
            rollout = read(row, file, line)
        position, last_line = (position + 1 if line == last_line else 0), line
        yield rollout if form is None else rollout._replace(line=number, batch=line, position=position)


def reader(layout: LogColumns, may_lack_reward: bool) -> Reader:
    """Return the function that reads a row with these columns, of a file, at a line.

    It raises ValueError where a value is missing or of another type; the message is the advice alone.

    Args:
        may_lack_reward: a row without the verifier's column has no verdict.
    """

    def read(row: Row, file: int, line: int) -> LoggedRollout:
        """Return the rollout in a row; ValueError with the advice alone."""
        kind = row.get(layout.kind) if layout.kind else None
        if layout.reward not in row and not may_lack_reward:
            raise ValueError(f"there is no {layout.reward!r}: give a reward, or null where there is no verdict.")
        return LoggedRollout(
            prompt=_text(row, layout.prompt, "prompt") if layout.prompt else "",
            group=_group(row, layout),
            step=_step(row.get(layout.step), layout.step) if layout.step else None,
            reward=None if kind == "unscored" else _number(row, layout.reward, layout),
            rewards=tuple([_number(row, name, layout) for name in layout.rewards]),
            advantage=_advantage(row, layout, kind),
            response=_response(row, layout.response) if layout.response else None,
            length=_length(row.get(layout.length), layout.length) if layout.length else None,
            truncated=_truncated(row, layout),
            reference_answer=_reference_answer(row, layout.reference_answer) if layout.reference_answer else None,
            for_training=_for_training(row, layout),
            file=file,
            line=line,
        )

    return read


def _text(row: Row, column: str, name: str) -> str:
    value = row.get(column)
    if value is None:
        raise ValueError(f"there is no {name} (column {column!r}): give one, or leave the row out.")
    return _whole(value if isinstance(value, str) else to_text(value), column)


def _response(row: Row, column: str) -> str:
    """Return the response as text; of messages what the policy wrote, a line or more each."""
    value = row.get(column)
    if isinstance(value, list) and all(isinstance(message, dict) for message in value):
        written = [message.get("content") for message in value if message.get("role") == "assistant"]
        return _whole("\n".join(each if isinstance(each, str) else to_text(each) for each in written if each), column)
    return _text(row, column, "response")


def _group(row: Row, layout: LogColumns) -> str:
    text = _text(row, layout.group, "group") if layout.group else ""
    if layout.epoch:
        text = f"{row.get(layout.epoch)}\n{text}"
    return VERL_KEY.sub("", text) if layout.group == "uid" else text


def _whole(text: str, column: str) -> str:
    if not is_text(text):
        raise ValueError(
            f"{column!r} holds half of a character (a lone surrogate): remove it, or write the whole character."
        )
    return text


def to_text(value: Any) -> str:
    """Return a value that is not text, such as messages, as JSON."""
    return json.dumps(_without_nulls(value), ensure_ascii=False, default=str)


def _without_nulls(value: Any) -> Any:
    """Return messages without the keys that parquet gives every message because one of them has it."""
    if isinstance(value, list):
        return [_without_nulls(each) for each in value]
    if isinstance(value, dict):
        return {key: _without_nulls(part) for key, part in value.items() if part is not None}
    return value


def _number(row: Row, column: str, layout: LogColumns) -> float | None:
    value = row.get(column)
    number = finite_number(value)
    if number is None and value is not None and not (layout.rolling and is_missing(value)):
        raise ValueError(
            f"the reward {reprlib.repr(value)} (column {column!r}) is neither a finite number nor true or false "
            "without quotes: write one, or null where there is no verdict."
        )
    return number


def _advantage(row: Row, layout: LogColumns, kind: Any) -> float | None:
    if kind in ("uniform_reward", "truncated"):
        return 0.0
    return _number(row, layout.advantage, layout) if layout.advantage else None


def _for_training(row: Row, layout: LogColumns) -> bool:
    if layout.kind and is_missing(row.get(layout.kind)):
        return False
    return not layout.from_policy or row.get(layout.from_policy) is not False


def _step(value: Any, column: str) -> int:
    number = finite_number(value)
    if number is None or number != int(number) or not 0 <= number < 2**53:
        raise ValueError(f"the step {reprlib.repr(value)} (column {column!r}) is no whole number from 0: write one.")
    return int(number)


def _length(value: Any, column: str) -> int | None:
    if is_missing(value):
        return None
    number = len(value) if isinstance(value, list) else finite_number(value)
    if number is None or not 0 <= number < 2**31:
        raise ValueError(f"the length {reprlib.repr(value)} (column {column!r}) is no number of tokens: write one.")
    return int(number)


def _truncated(row: Row, layout: LogColumns) -> bool | None:
    if layout.truncated:
        value = finite_number(row.get(layout.truncated))
        return None if value is None else bool(value)
    if layout.stop_reason:
        reason = row.get(layout.stop_reason)
        return reason in CUT_OFF if isinstance(reason, str) else None
    return None


def _reference_answer(row: Row, column: str) -> str | None:
    value = row.get(column)
    return None if value is None else _whole(value if isinstance(value, str) else to_text(value), column)

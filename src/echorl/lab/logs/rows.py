"""Rollouts of training logs of any format, one after the other."""

from __future__ import annotations

import json
import reprlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from echorl.lab.logs.columns import CUT_OFF, LogColumns, find_log_columns, is_missing
from echorl.lab.logs.files import Row, located, open_rows
from echorl.lab.options import Columns
from echorl.support.texts import finite_number, is_text


class LoggedRollout(NamedTuple):
    """A row of a training log.

    Attributes:
        prompt: text; of chat messages their JSON. "" where the log has none.
        group: the value of the group's column as text; "" where the log has none.
        step: None where the log has none.
        reward: the verifier's; None where there is no verdict.
        rewards: all rewards, in the order of the file's columns.
        advantage: None where the log has none.
        response: text.
        length: response tokens, where the log has them.
        truncated: the response ended at the limit of length; None where the log does not tell.
        reference_answer: None where the log has none.
        from_policy: false for a text that the policy did not sample.
        file: the place of the file among those read.
        line: from 1; of parquet the row, of a file with a batch in each line the rollout.
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
    from_policy: bool
    file: int
    line: int


@dataclass(frozen=True)
class LogFile:
    """A file of a log, with what its columns were read as."""

    path: Path
    columns: LogColumns
    rollouts: Iterator[LoggedRollout]


def read_logs(files: Sequence[Path], columns: Columns) -> Iterator[LogFile]:
    """Yield each file, with an iterator of its rollouts that must be used up before the next file is taken.

    Raises:
        ValueError: a file is empty or damaged, or a row cannot be used; the message begins with file and line.
    """
    for number, path in enumerate(files):
        with open_rows(path) as file:
            batches = _holds_batches(file.values)
            values = _of_first_rollout(file.values) if batches else file.values
            with located(path, file.first_line):
                layout = find_log_columns(values, columns)
            counted = layout.length if isinstance(values.get(layout.length or ""), list) else None
            rows = file.rows(layout.names, counted)
            numbered = _split_batches(rows, layout, path) if batches else ((line, line, row) for line, row in rows)
            yield LogFile(path, layout, _read(numbered, layout, number, path))


def _holds_batches(row: Row) -> bool:
    """Return whether each line holds a whole batch, as a list in each column: ms-swift's completions.jsonl."""
    return isinstance(row.get("completion"), list) and isinstance((row.get("prompt") or [None])[0], str)


def _of_first_rollout(row: Row) -> Row:
    lists = {name: value for name, value in row.items() if isinstance(value, list)}
    return {name: next((each for each in value if not is_missing(each)), None) for name, value in lists.items()}


def _split_batches(rows: Iterator[tuple[int, Row]], layout: LogColumns, path: Path) -> Iterator[tuple[int, int, Row]]:
    """Yield line, number and row of each rollout of lines that hold batches."""
    number = 0
    for line, row in rows:
        with located(path, line):
            columns = {name: row[name] for name in layout.names if name in row}
            sizes = {len(value) if isinstance(value, list) else -1 for value in columns.values()}
            if len(sizes) != 1 or -1 in sizes:
                raise ValueError("its columns are not lists of one length: give each rollout a value in every column.")
        for values in zip(*columns.values(), strict=True):
            number += 1
            yield line, number, dict(zip(columns, values, strict=True))


def _read(rows: Iterator[tuple[int, int, Row]], layout: LogColumns, file: int, path: Path) -> Iterator[LoggedRollout]:
    read = reader(layout)
    for line, number, row in rows:
        with located(path, line):
            rollout = read(row, file, number)
        yield rollout


def reader(layout: LogColumns) -> Callable[[Row, int, int], LoggedRollout]:
    """Return the function that reads a row with these columns, of a file, at a line.

    It raises ValueError where a value is missing or of another type; the message is the advice alone.
    """

    def read(row: Row, file: int, line: int) -> LoggedRollout:
        return LoggedRollout(
            prompt=_text(row, layout.prompt, "prompt") if layout.prompt else "",
            group=_text(row, layout.group, "group") if layout.group else "",
            step=_step(row.get(layout.step), layout.step) if layout.step else None,
            reward=_number(row, layout.reward, layout),
            rewards=tuple([_number(row, name, layout) for name in layout.rewards]),
            advantage=_number(row, layout.advantage, layout) if layout.advantage else None,
            response=_text(row, layout.response, "response") if layout.response else None,
            length=_length(row.get(layout.length), layout.length) if layout.length else None,
            truncated=_truncated(row, layout),
            reference_answer=_reference_answer(row, layout.reference_answer),
            from_policy=row.get(layout.from_policy) is not False if layout.from_policy else True,
            file=file,
            line=line,
        )

    return read


def _text(row: Row, column: str, name: str) -> str:
    value = row.get(column)
    if value is None:
        raise ValueError(f"there is no {name} (column {column!r}): give one, or leave the row out.")
    text = value if isinstance(value, str) else to_text(value)
    if not is_text(text):
        raise ValueError(
            f"{column!r} holds half of a character (a lone surrogate): remove it, or write the whole character."
        )
    return text


def to_text(value: Any) -> str:
    """Return a value as text: one message's own text, several messages and other values as JSON."""
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], dict):
        content = value[0].get("content")
        if isinstance(content, str) and value[0].get("role") == "assistant":
            return content
    return json.dumps(_without_nulls(value), ensure_ascii=False, default=str)


def _without_nulls(value: Any) -> Any:
    """Return messages without the keys that parquet gives every message because one of them has it."""
    if isinstance(value, list):
        return [_without_nulls(each) for each in value]
    if isinstance(value, dict):
        return {key: _without_nulls(part) for key, part in value.items() if part is not None}
    return value


def _number(row: Row, column: str, layout: LogColumns) -> float | None:
    if column not in row:
        raise ValueError(f"there is no {column!r}: give one, or null where there is no verdict.")
    value = row[column]
    number = finite_number(value)
    if number is None and value is not None and not (layout.rolling and is_missing(value)):
        raise ValueError(
            f"the reward {reprlib.repr(value)} (column {column!r}) is neither a finite number nor true or false: "
            "write one, or null where there is no verdict."
        )
    return number


def _step(value: Any, column: str) -> int:
    number = finite_number(value)
    if number is None or number != int(number) or not 0 <= number < 2**53:
        raise ValueError(f"the step {reprlib.repr(value)} (column {column!r}) is no whole number from 0: write one.")
    return int(number)


def _length(value: Any, column: str) -> int | None:
    if value is None:
        return None
    number = len(value) if isinstance(value, list) else finite_number(value)
    if number is None or not 0 <= number < 2**53:
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


def _reference_answer(row: Row, column: str | None) -> str | None:
    value = row.get(column) if column else None
    return value if value is None or isinstance(value, str) else to_text(value)

"""Known layouts of stored rollouts: the columns of the prompt, the response, the reward and the group."""

from __future__ import annotations

import json
import reprlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from echorl.lab.logs.columns import ANSWER, PROMPTS, RESPONSES, REWARDS, first_of, list_names
from echorl.lab.logs.files import ROWS_AT_ONCE, first_values, open_rows
from echorl.lab.options import Columns
from echorl.support.errors import located
from echorl.support.texts import finite_number, is_text

TRL_OWN = ("step", "prompt", "completion", "advantage")
KNOWN = (
    "known are TRL's completion logs (prompt, completion, a reward function's column, advantage), verl's rollout dumps "
    "(input, output, score), id + question + solution + correct, and a column of each of prompt "
    f"({', '.join(PROMPTS)}), response ({', '.join((*RESPONSES, ANSWER))}) and reward ({', '.join(REWARDS)}); name "
    "others with --prompt, --response, --reward and --group"
)
Row = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Layout:
    """The columns of a file of rollouts.

    Attributes:
        prompt, response, reward: their columns.
        group: columns whose values together name the group.
        numbered: `group` holds ids that end in "-" and the sample's number, which is no part of the name.
    """

    prompt: str
    response: str
    reward: str
    group: tuple[str, ...]
    numbered: bool = False


@dataclass(frozen=True)
class Rollout:
    """A rollout as it was read.

    Attributes:
        prompt: text, or chat messages.
        response: text.
        reward: a number; a label of true is 1. None where there is no verdict.
        group: equal for the rollouts of one prompt.
        place: file and line (of parquet: row), from 1.
    """

    prompt: str | list[dict[str, Any]]
    response: str
    reward: float | None
    group: str
    place: tuple[str, int]


def find_layout(row: Row, columns: Columns) -> Layout:
    """Return the layout of a file from its columns, each with its first value that is not null, and the user's names.

    Raises:
        ValueError: the layout is unknown, or leaves the reward open; the message says what to name.
    """
    named: dict[str, Any] = {name: column for name, column in vars(columns).items() if column}
    if columns.group:
        named |= {"group": (columns.group,), "numbered": False}
    layout = replace(_layout_of(row, columns), **named)
    missing = [name for name in (layout.prompt, layout.response, layout.reward, *layout.group) if name not in row]
    if missing:
        raise ValueError(f"there is no column {missing[0]!r} among {list_names(row)}: name another one.")
    return layout


def _layout_of(row: Row, columns: Columns) -> Layout:
    """Return the layout of numbered samples, TRL's or verl's where the row has all its columns, else a general one."""
    step = ("step",) if "step" in row else ()
    if {"id", "question", "solution", "correct"} <= row.keys():
        return Layout(prompt="question", response="solution", reward="correct", group=("id",), numbered=True)
    if {"prompt", "completion", "advantage"} <= row.keys():
        of_function = columns.reward or _trl_reward(row)
        return Layout(prompt="prompt", response="completion", reward=of_function, group=(*step, "prompt"))
    if {"input", "output", "score"} <= row.keys():
        return Layout(prompt="input", response="output", reward="score", group=(*step, "input"))
    prompt = columns.prompt or first_of(PROMPTS, row)
    response = columns.response or first_of((*RESPONSES, ANSWER), row)
    reward = columns.reward or first_of(REWARDS, row)
    if not prompt or not response:
        raise ValueError(f"the columns {list_names(row)} are no layout that is known: {KNOWN}.")
    if not reward:
        raise ValueError(f"there is no reward among the columns {list_names(row)}: name it with --reward.")
    return Layout(prompt=prompt, response=response, reward=reward, group=(prompt,))


def _trl_reward(row: Row) -> str:
    """Return TRL's column of rewards, named after the reward function; extra columns may hold numbers or text, too."""
    columns = {name: value for name, value in row.items() if name not in TRL_OWN and not name.startswith("echo/")}
    rewards = [name for name, value in columns.items() if value is None or isinstance(value, (int, float))]
    if all(columns[name] is None for name in rewards):
        rewards += [name for name, value in columns.items() if finite_number(value) is not None]
    if len(rewards) != 1:
        raise ValueError(
            f"{'each of the columns ' + list_names(rewards) if rewards else 'no column'} may be the verifier's reward "
            "in this log of TRL's: name it with --reward."
        )
    return rewards[0]


def to_rollout(row: Row, layout: Layout, place: tuple[str, int]) -> Rollout:
    """Return a row as a rollout.

    Raises:
        ValueError: a value is missing, or of another type.
    """
    return Rollout(
        prompt=read_prompt(row, layout.prompt),
        response=_response(read_value(row, layout.response, "response"), layout.response),
        reward=_reward(row, layout.reward),
        group=_group(row, layout),
        place=place,
    )


def read_value(row: Row, column: str, name: str) -> Any:
    """Return a row's value; ValueError where it is missing, or holds half of a character."""
    value = row.get(column)
    if value is None:
        raise ValueError(f"there is no {name} (column {column!r}): give one, or leave the row out.")
    if not is_text(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)):
        raise ValueError(
            f"{column!r} holds half of a character (a lone surrogate): remove it, or write the whole character."
        )
    return value


def read_prompt(row: Row, column: str) -> str | list[dict[str, Any]]:
    """Return a row's prompt, text or chat messages; ValueError for anything else."""
    value = read_value(row, column, "prompt")
    if isinstance(value, str):
        return value
    messages = _messages(value, column)
    if not messages:
        raise ValueError(f"{column!r} is an empty list: give text or chat messages.")
    return [{**message, "content": _text(message, column)} for message in messages]


def _response(value: Any, column: str) -> str:
    """Return the text, or that of the one message that the policy wrote."""
    if isinstance(value, str):
        return value
    messages = _messages(value, column)
    if len(messages) != 1:
        raise ValueError(
            f"{column!r} holds {len(messages)} messages, and only a response of one turn can be mined: give text or "
            "one message."
        )
    return _text(messages[0], column)


def _messages(value: Any, column: str) -> list[dict[str, Any]]:
    if not (isinstance(value, list) and all(isinstance(message, dict) and "role" in message for message in value)):
        raise ValueError(f"{column!r} is neither text nor a list of chat messages: give one of them.")
    # Parquet gives every message every key that one of them has.
    return [{key: part for key, part in message.items() if part is not None} for message in value]


def _text(message: dict[str, Any], column: str) -> str:
    content = message.get("content", "")
    parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
    if not (isinstance(parts, list) and all(isinstance(part, dict) for part in parts)):
        problem = "whose content is neither text nor a list of parts with a type"
    elif any(part.get("type") != "text" for part in parts):
        problem = "with images"
    elif not all(isinstance(part.get("text"), str) for part in parts):
        problem = "with a part of type 'text' that has no text"
    else:
        return "".join(part["text"] for part in parts)
    raise ValueError(f"{column!r} holds a message {problem}, and only text can be mined: give messages of text.")


def _reward(row: Row, column: str) -> float | None:
    if column not in row:
        raise ValueError(f"there is no reward (column {column!r}): give one, or null where there is no verdict.")
    number = finite_number(row[column])
    if number is None and row[column] is not None:
        raise ValueError(
            f"the reward {reprlib.repr(row[column])} (column {column!r}) is neither a finite number nor true or false: "
            "write one, or null where there is no verdict."
        )
    return number


def _group(row: Row, layout: Layout) -> str:
    names = [str(read_value(row, column, "group")) for column in layout.group]
    return (names[0].rpartition("-")[0] or names[0]) if layout.numbered else "\n".join(names)


def check_columns(path: Path, columns: Columns) -> None:
    """Refuse a file whose columns are no layout, before a model is loaded; a pipe, which is read once, is not read."""
    if path.is_file():
        with open_rows(path) as file, located(f"{path}, line {file.first_line}"):
            find_layout(first_values(row for _, row in file.first_rows), columns)


def read_rollouts(files: Sequence[Path], columns: Columns, advance: Callable[[int], None]) -> Iterator[Rollout]:
    """Yield all rollouts in order; each file may have its own layout. `advance` takes the number of rows read so far.

    Raises:
        ValueError: a file is empty or damaged, or a row cannot be used; the message begins with file and line.
    """
    count = 0
    for path in files:
        with open_rows(path) as file:
            with located(f"{path}, line {file.first_line}"):
                layout = find_layout(first_values(row for _, row in file.first_rows), columns)
            for line, row in file.rows((layout.prompt, layout.response, layout.reward, *layout.group)):
                with located(f"{path}, line {line}"):
                    rollout = to_rollout(row, layout, (str(path), line))
                count += 1
                if count % ROWS_AT_ONCE == 0:
                    advance(count)
                yield rollout
    advance(count)

"""The layouts of rollouts that are known: which columns hold the prompt, the response, the reward, the group."""

from __future__ import annotations

import json
import reprlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from echorl.lab.options import Columns
from echorl.support.texts import finite_number, is_text

RESPONSES = ("response", "completion", "output", "solution")
REWARDS = ("reward", "score", "label", "correct")
TRL_OWN = ("step", "prompt", "completion", "advantage")
KNOWN = (
    "known are TRL's completion logs (prompt, completion, a reward function's column, advantage), verl's rollout dumps "
    "(input, output, score), id + question + solution + correct, and prompt + response or completion + reward, label "
    "or correct; name others with --prompt, --response, --reward and --group"
)
Row = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Where a row's parts are.

    Attributes:
        name: of the layout.
        prompt, response, reward: columns.
        group: columns whose values together name the group.
        numbered: `group` holds ids that end in "-" and the sample's number, which is no part of the name.
    """

    name: str
    prompt: str
    response: str
    reward: str
    group: tuple[str, ...]
    numbered: bool = False


@dataclass(frozen=True)
class Rollout:
    """One rollout as it was read.

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
    """The layout of a file from its columns, each with its first value that is not null, and what the user says.

    Raises:
        ValueError: none that is known, or it leaves the reward open; the message says what to name.
    """
    layout = _named_layout(row, columns) or _general(row, columns)
    missing = [name for name in (layout.prompt, layout.response, layout.reward, *layout.group) if name not in row]
    if missing:
        raise ValueError(f"there is no column {missing[0]!r} among {_list(row)}: name another one.")
    return layout


def _named_layout(row: Row, columns: Columns) -> Layout | None:
    """TRL's, verl's, or that of numbered samples, where the row has all its columns."""
    stepped = ("step",) if "step" in row else ()
    if {"id", "question", "solution", "correct"} <= row.keys():
        found = ("samples", "question", "solution", "correct", ("id",))
    elif {"prompt", "completion", "advantage"} <= row.keys():
        found = ("trl", "prompt", "completion", columns.reward or _trl_reward(row), (*stepped, "prompt"))
    elif {"input", "output", "score"} <= row.keys():
        found = ("verl", "input", "output", "score", (*stepped, "input"))
    else:
        return None
    name, prompt, response, reward, group = found
    prompt = columns.prompt or prompt
    return Layout(
        name=name,
        prompt=prompt,
        response=columns.response or response,
        reward=columns.reward or reward,
        group=(columns.group,) if columns.group else group,
        numbered=name == "samples" and not columns.group,
    )


def _trl_reward(row: Row) -> str:
    """TRL names a column after each reward function; extra columns may be numbers, too, and text may be one."""
    others = {name: value for name, value in row.items() if name not in TRL_OWN and not name.startswith("echo/")}
    found = [name for name, value in others.items() if value is None or isinstance(value, (int, float))]
    if all(others[name] is None for name in found):
        found += [name for name, value in others.items() if finite_number(value) is not None]
    if len(found) != 1:
        raise ValueError(
            f"{'no column' if not found else 'each of the columns ' + _list(found)} may be the verifier's reward in "
            "this log of TRL's: name it with --reward."
        )
    return found[0]


def _general(row: Row, columns: Columns) -> Layout:
    prompt = columns.prompt or _first(row, ("prompt", "question", "input"))
    response = columns.response or _first(row, RESPONSES)
    reward = columns.reward or _first(row, REWARDS)
    if prompt is None or response is None:
        raise ValueError(f"the columns {_list(row)} are no layout that is known: {KNOWN}.")
    if reward is None:
        raise ValueError(f"there is no reward among the columns {_list(row)}: name it with --reward.")
    group = (columns.group or prompt,)
    return Layout(name="general", prompt=prompt, response=response, reward=reward, group=group)


def _first(row: Row, names: Iterable[str]) -> str | None:
    return next((name for name in names if name in row), None)


def _list(names: Iterable[str]) -> str:
    return ", ".join(map(repr, names)) or "(none)"


def to_rollout(row: Row, layout: Layout, place: tuple[str, int]) -> Rollout:
    """A row as a rollout.

    Raises:
        ValueError: a part is missing, or is not what it should be.
    """
    return Rollout(
        prompt=_prompt(_part(row, layout.prompt, "prompt"), layout.prompt),
        response=_response(_part(row, layout.response, "response"), layout.response),
        reward=_reward(row, layout.reward),
        group=_group(row, layout),
        place=place,
    )


def _part(row: Row, column: str, what: str) -> Any:
    if row.get(column) is None:
        raise ValueError(f"there is no {what} (column {column!r}): give one, or leave the row out.")
    return row[column]


def _prompt(value: Any, column: str) -> str | list[dict[str, Any]]:
    if isinstance(value, str):
        return _whole(value, column)
    messages = _messages(value, column)
    if not messages:
        raise ValueError(f"{column!r} is an empty list: give text or chat messages.")
    return [{**message, "content": _text(message, column)} for message in messages]


def _response(value: Any, column: str) -> str:
    """Text, or the one message that the policy wrote."""
    if isinstance(value, str):
        return _whole(value, column)
    messages = _messages(value, column)
    if len(messages) != 1:
        raise ValueError(f"{column!r} holds {len(messages)} messages, and only a response of one turn can be mined.")
    return _text(messages[0], column)


def _messages(value: Any, column: str) -> list[dict[str, Any]]:
    if not (isinstance(value, list) and all(isinstance(message, dict) and "role" in message for message in value)):
        raise ValueError(f"{column!r} is neither text nor a list of chat messages.")
    _whole(json.dumps(value, ensure_ascii=False, default=str), column)
    # Parquet gives every message every key that one of them has.
    return [{key: part for key, part in message.items() if part is not None} for message in value]


def _text(message: dict[str, Any], column: str) -> str:
    content = message.get("content", "")
    parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
    if not (isinstance(parts, list) and all(isinstance(part, dict) for part in parts)):
        raise ValueError(f"{column!r} holds a message whose content is neither text nor a list of parts with a type.")
    if any(part.get("type") != "text" for part in parts):
        raise ValueError(f"{column!r} holds a message with images, and only text can be mined.")
    if not all(isinstance(part.get("text"), str) for part in parts):
        raise ValueError(f"{column!r} holds a message with a part of type 'text' that has no text.")
    return _whole("".join(part["text"] for part in parts), column)


def _whole(text: str, column: str) -> str:
    if not is_text(text):
        raise ValueError(
            f"{column!r} holds half of a character (a lone surrogate): remove it, or write the whole character."
        )
    return text


def _reward(row: Row, column: str) -> float | None:
    if column not in row:
        raise ValueError(f"there is no reward (column {column!r}): give one, or null where there is no verdict.")
    value = row[column]
    number = finite_number(value)
    if number is None and value is not None:
        shown = reprlib.repr(value)
        raise ValueError(
            f"the reward {shown} (column {column!r}) is neither a finite number nor true or false: write one, or null "
            "where there is no verdict."
        )
    return number


def _group(row: Row, layout: Layout) -> str:
    names = [_whole(str(_part(row, column, "group")), column) for column in layout.group]
    if layout.numbered:
        return names[0].rpartition("-")[0] or names[0]
    return "\n".join(names)

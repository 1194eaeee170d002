"""The layouts of rollouts that are known: which columns hold the prompt, the response, the reward, the group."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

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
class Columns:
    """What the user says of the columns; None leaves it to the layout."""

    prompt: str | None = None
    response: str | None = None
    reward: str | None = None
    group: str | None = None


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
        reward: a number; a label of true is 1.
        group: equal for the rollouts of one prompt.
        place: file and line (of parquet: row), from 1.
    """

    prompt: str | list[dict[str, Any]]
    response: str
    reward: float
    group: str
    place: tuple[str, int]


def find_layout(row: Row, columns: Columns) -> Layout:
    """The layout of a file from its first row and what the user says.

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
    """TRL names a column after each reward function; extra columns may be numbers, too."""
    found = [name for name, value in row.items() if name not in TRL_OWN and isinstance(value, (int, float))]
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
        reward=_reward(_part(row, layout.reward, "reward"), layout.reward),
        group=_group(row, layout),
        place=place,
    )


def _part(row: Row, column: str, what: str) -> Any:
    if row.get(column) is None:
        raise ValueError(f"there is no {what} (column {column!r}): give one, or leave the row out.")
    return row[column]


def _prompt(value: Any, column: str) -> str | list[dict[str, Any]]:
    if isinstance(value, str):
        return value
    return [{**message, "content": _text(message, column)} for message in _messages(value, column)]


def _response(value: Any, column: str) -> str:
    """Text, or the one message that the policy wrote."""
    if isinstance(value, str):
        return value
    messages = _messages(value, column)
    if len(messages) != 1:
        raise ValueError(f"{column!r} holds {len(messages)} messages, and only a response of one turn can be mined.")
    return _text(messages[0], column)


def _messages(value: Any, column: str) -> list[dict[str, Any]]:
    if not (isinstance(value, list) and all(isinstance(message, dict) and "role" in message for message in value)):
        raise ValueError(f"{column!r} is neither text nor a list of chat messages.")
    # Parquet gives every message every key that one of them has.
    return [{key: part for key, part in message.items() if part is not None} for message in value]


def _text(message: dict[str, Any], column: str) -> str:
    content = message.get("content", "")
    if isinstance(content, str):
        return content
    if any(part.get("type") != "text" for part in content):
        raise ValueError(f"{column!r} holds a message with images, and only text can be mined.")
    return "".join(part["text"] for part in content)


def _reward(value: Any, column: str) -> float:
    if isinstance(value, (bool, int, float)) and math.isfinite(value):
        return float(value)
    raise ValueError(f"the reward {value!r} (column {column!r}) is no number and no true or false.")


def _group(row: Row, layout: Layout) -> str:
    names = [_part(row, column, "group") for column in layout.group]
    if layout.numbered:
        return str(names[0]).rpartition("-")[0] or str(names[0])
    return "\n".join(map(str, names))

"""Demonstrations: the column of worked solutions in a data set, as texts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datasets import Dataset

COLUMNS = ("demonstration", "target")
"""Names of a column of demonstrations; the first one counts. LUFFY's data and OpenR1-Math use `target`."""


def find_column(names: Iterable[str]) -> str | None:
    """The column of demonstrations among the names; None if there is none.

    >>> find_column(["prompt", "target"])
    'target'
    """
    columns = set(names)
    return next((name for name in COLUMNS if name in columns), None)


def demonstration_text(value: Any) -> str | None:
    """The text of a demonstration, or of the last message by the assistant in it; None where a row has none.

    Raises:
        ValueError: the value is neither a string nor messages with one by the assistant, or its text is empty.

    >>> demonstration_text([{"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "#### 4"}])
    '#### 4'
    """
    if value is None:
        return None
    text = value if isinstance(value, str) else _last_answer(value)
    if text is None:
        raise ValueError(
            f"demonstration {_short(value)} is neither a string nor messages with one by the assistant; "
            "write one of both, or None"
        )
    if not text.strip():
        raise ValueError(f"demonstration {_short(value)} is empty; write the solution, or None where there is none")
    return text


def _last_answer(value: Any) -> str | None:
    messages = value if isinstance(value, list) else []
    texts = [m.get("content") for m in messages if isinstance(m, Mapping) and m.get("role") == "assistant"]
    return texts[-1] if texts and isinstance(texts[-1], str) else None


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def to_prompt_completion(rows: Dataset) -> Dataset:
    """Columns `prompt` and `completion` for supervised training; rows without a demonstration are excluded.

    Raises:
        ValueError: there is no column of demonstrations, all of its rows are empty, or a row has a wrong value.
    """
    column = find_column(rows.column_names)
    if column is None:
        raise ValueError(
            f"no demonstrations to train on: add a column {' or '.join(map(repr, COLUMNS))} "
            f"(the columns are {', '.join(rows.column_names)})."
        )
    pairs = []
    for number, row in enumerate(rows.select_columns(["prompt", column])):
        try:
            text = demonstration_text(row[column])
        except ValueError as error:
            raise ValueError(f"row {number}: {error}.") from None
        if text is not None:
            chat = not isinstance(row["prompt"], str)
            completion = [{"role": "assistant", "content": text}] if chat else text
            pairs.append({"prompt": row["prompt"], "completion": completion})
    if not pairs:
        raise ValueError(f"the column {column!r} holds no demonstration in any row.")
    return type(rows).from_list(pairs)

"""Demonstrations of the training rows: their check before the run, and their tokens as a completion's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from datasets import Dataset

from echorl.tasks.demonstrations import COLUMNS, demonstration_text, find_column
from echorl.trl.context import Context

THINK = "<think>\n"
"""Beginning of the traces of reasoning models, and end of the prompts of their chat templates."""


def check_demonstrations(context: Context) -> str:
    """Return the column of demonstrations.

    Raises:
        ValueError: there is none, one is neither None nor usable text (its row is named), the trainer would drop the
            column, or it has tools.
    """
    method, rows = context.args.method, context.rows
    if "tools" in context.features:
        raise ValueError(f"method={method!r} cannot be combined with tools: demonstrations hold no tool calls.")
    names = column_names(rows)
    column = find_column(names)
    if column is None:
        raise ValueError(
            f"method={method!r} learns from demonstrations: add a column {' or '.join(map(repr, COLUMNS))} to the "
            f"training rows (there are: {', '.join(names) or 'none'}); None in it where a row has no demonstration."
        )
    check_column(column, context, _check)
    return column


def check_column(column: str, context: Context, check: Callable[[Any, str], Any]) -> None:
    """Check a column that the method reads; `check` gets each value and its place in words.

    Raises:
        ValueError: `remove_unused_columns` is set, or as `check`.
    """
    if context.args.remove_unused_columns:
        raise ValueError(
            f"remove_unused_columns=True would take the column {column!r} out of the rows, and method="
            f"{context.args.method!r} reads it: set it to False."
        )
    if isinstance(context.rows, Dataset):
        for number, value in enumerate(context.rows[column]):
            check(value, f"training row {number}")


def require_column(option: str, column: str, context: Context, advice: str) -> None:
    """Check that the rows have the column that an option names.

    Raises:
        ValueError: they do not; the message ends with the advice.
    """
    names = column_names(context.rows)
    if column not in names:
        raise ValueError(
            f"method={context.args.method!r} has {option}={column!r}, which is no column of the training rows (there "
            f"are: {', '.join(names) or 'none'}): {advice}."
        )


def column_names(rows: Any) -> list[str]:
    """Return the names of the rows' columns; of streamed rows without them, the keys of the first row."""
    if rows is None:
        return []
    return rows.column_names or list(next(iter(rows), {}))


def _check(value: Any, place: str) -> None:
    try:
        demonstration_text(value)
    except ValueError as error:
        raise ValueError(f"{place}: {error}.") from None


def opening(context: Context) -> str:
    """Return THINK if the chat template ends prompts with it: completions, and demonstrations, then begin after it."""
    processor, template = context.processor, context.chat_template
    if not processor.chat_template and not template:
        return ""
    has_images = processor is not context.tokenizer
    content = [{"type": "text", "text": "?"}] if has_images else "?"
    prompt = processor.apply_chat_template(
        [{"role": "user", "content": content}],
        chat_template=template,
        add_generation_prompt=True,
        tokenize=False,
        **(context.args.chat_template_kwargs or {}),
    )
    return THINK if prompt.endswith(THINK) else ""


def tokenize(tokenizer: Any, text: str) -> list[int]:
    """Return the text's tokens and EOS, as a completion."""
    return [*tokenizer(text, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]


def as_completion(text: str, prompt: Any) -> Any:
    """Return the text as the reward functions see completions of this prompt."""
    return text if isinstance(prompt, str) else [{"role": "assistant", "content": text}]

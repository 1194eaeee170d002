"""The demonstrations of the training rows: checked before the run, tokenised as the policy would have written them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from datasets import Dataset

from echorl.tasks.demonstrations import COLUMNS, demonstration_text, find_column

if TYPE_CHECKING:
    from echorl.trl.trainer import EchoGRPOTrainer

THINK = "<think>\n"
"""How traces of reasoning models begin, and the prompts of chat templates for such models end."""


def check_demonstrations(trainer: EchoGRPOTrainer) -> str:
    """The column of demonstrations.

    Raises:
        ValueError: there is none, one is neither None nor usable text (its row is named), the trainer would drop the
            column, or it has tools.
    """
    method, rows = trainer.args.method, trainer.train_dataset
    if trainer.tools:
        raise ValueError(f"method={method!r} does not go with tools: demonstrations hold no tool calls.")
    names = column_names(rows)
    column = find_column(names)
    if column is None:
        raise ValueError(
            f"method={method!r} learns from demonstrations: add a column {' or '.join(map(repr, COLUMNS))} to the "
            f"training rows (there are: {', '.join(names) or 'none'}); None in it where a row has no demonstration."
        )
    if trainer.args.remove_unused_columns:
        raise ValueError(
            f"remove_unused_columns=True would take the column {column!r} out of the rows, and method={method!r} "
            "learns from it: set it to False."
        )
    if isinstance(rows, Dataset):
        for number, value in enumerate(rows[column]):
            _check(value, f"training row {number}")
    return column


def column_names(rows: Any) -> list[str]:
    """The names of the rows' columns; of streamed rows that do not tell, the first row's."""
    if rows is None:
        return []
    return rows.column_names or list(next(iter(rows), {}))


def _check(value: Any, place: str) -> None:
    try:
        demonstration_text(value)
    except ValueError as error:
        raise ValueError(f"{place}: {error}.") from None


def opening(trainer: EchoGRPOTrainer) -> str:
    """THINK if the chat template ends prompts with it: completions then begin after it, and so must demonstrations."""
    if not trainer.processing_class.chat_template and not trainer.chat_template:
        return ""
    content = [{"type": "text", "text": "?"}] if trainer._is_vlm else "?"
    prompt = trainer.processing_class.apply_chat_template(
        [{"role": "user", "content": content}],
        chat_template=trainer.chat_template,
        add_generation_prompt=True,
        tokenize=False,
        **trainer.chat_template_kwargs,
    )
    return THINK if prompt.endswith(THINK) else ""


def tokenize(trainer: EchoGRPOTrainer, text: str) -> list[int]:
    """The text's tokens and EOS, as a completion."""
    tokenizer = trainer._tokenizer
    return [*tokenizer(text, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]


def as_completion(text: str, prompt: Any) -> Any:
    """The text as the reward functions see completions of this prompt."""
    return text if isinstance(prompt, str) else [{"role": "assistant", "content": text}]

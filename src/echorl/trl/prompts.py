"""Whether the tokenizer can render the prompts: TRL finds out in the first step only, from within transformers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trl.data_utils import is_conversational

if TYPE_CHECKING:
    from echorl.trl.trainer import EchoGRPOTrainer


def check_chat_template(trainer: EchoGRPOTrainer) -> None:
    """Refuse chat messages where there is no chat template; a `rollout_func` renders its prompts itself.

    Raises:
        ValueError: names the tokenizer and the ways out.
    """
    if trainer.processing_class.chat_template or trainer.chat_template or trainer.rollout_func is not None:
        return
    evaluation = trainer.eval_dataset
    datasets = [trainer.train_dataset, *(evaluation.values() if isinstance(evaluation, dict) else [evaluation])]
    if any(is_conversational(next(iter(dataset), {})) for dataset in datasets if dataset is not None):
        name = trainer._tokenizer.name_or_path
        raise ValueError(
            f"the tokenizer{f' of {name!r}' if name else ''} has no chat template, but the prompts are chat messages: "
            "give them as text (a task of echorl: chat=false), take an instruct model, or save a chat_template.jinja "
            "beside the tokenizer (in Python: set tokenizer.chat_template)."
        )

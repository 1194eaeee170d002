"""`echorl sft`: supervised training on a task's demonstrations (TRL's SFTTrainer), the warm start before RL."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from echorl.train.options import DataArguments
from echorl.train.run import launch, trainer_options

if TYPE_CHECKING:
    from datasets import Dataset

    from echorl.train.parsing import Command, Settings
    from echorl.trl.recipe import SFTConfig, SFTTrainer

ABOUT = "TRL's SFTConfig"


def run(argv: Sequence[str]) -> int:
    """Run `echorl sft`. Returns 0; raises what `echorl.support.errors.guard` shows."""
    return launch(sft_command(), argv)


def sft_command() -> Command:
    from echorl.train.parsing import Command

    return Command("sft", DataArguments, _config_class, _make_trainer, ABOUT, "recipes/cpu/smollm2/warm-start.yaml")


def _config_class() -> type[SFTConfig]:
    from echorl.trl.recipe import SFTConfig

    return SFTConfig


def _make_trainer(settings: Settings, name: str) -> SFTTrainer:
    from echorl.trl.recipe import SFTTrainer

    train = _rows(settings, "train")
    evaluation = None if settings.training.eval_strategy == "no" else _rows(settings, "eval")
    common = trainer_options(settings)
    return SFTTrainer(name, settings.training, train_dataset=train, eval_dataset=evaluation, **common)


def _rows(settings: Settings, part: str) -> Dataset:
    """Prompts and demonstrations."""
    from echorl.tasks.demonstrations import to_prompt_completion
    from echorl.train.data import make_dataset, make_task

    return to_prompt_completion(make_dataset(settings.own, make_task(settings.own), part))

"""`echorl sft`: supervised training on a task's demonstrations (TRL's SFTTrainer), the warm start before RL."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from echorl.tasks.demonstrations import to_prompt_completion
from echorl.train.data import make_dataset, make_task
from echorl.train.options import DataArguments
from echorl.train.parsing import Command, Settings
from echorl.train.run import launch, trainer_options

if TYPE_CHECKING:
    from datasets import Dataset

    from echorl.trl.recipe import SFTTrainer


def run(argv: Sequence[str]) -> None:
    """Run `echorl sft`; raises what `echorl.support.errors.guard` shows."""
    launch(SFT, argv)


def _make_trainer(settings: Settings, name: str) -> SFTTrainer:
    from echorl.trl.metrics_file import MetricsFile
    from echorl.trl.recipe import SFTTrainer

    def rows(part: Literal["train", "eval"]) -> Dataset:
        return to_prompt_completion(make_dataset(settings.data, make_task(settings.data), part))

    train = rows("train")
    evaluation = None if settings.training.eval_strategy == "no" else rows("eval")
    common = trainer_options(settings)
    trainer = SFTTrainer(name, settings.training, train_dataset=train, eval_dataset=evaluation, **common)
    trainer.add_callback(MetricsFile(Path(settings.training.output_dir) / "metrics.jsonl"))
    return trainer


SFT = Command(
    name="sft",
    data=DataArguments,
    config="echorl.trl.recipe:SFTConfig",
    make_trainer=_make_trainer,
    about="TRL's SFTConfig",
    first_recipe="recipes/cpu/smollm2/warm-start.yaml",
)

"""Train one arm of the quickstart: GRPO, or GRPO + EchoRL, from the shipped policy."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

from transformers import PrinterCallback
from transformers.trainer_utils import get_last_checkpoint

from echorl.lab.quickstart.arm_folder import MARK, prepare_folder
from echorl.lab.quickstart.study import Study
from echorl.models import POLICY
from echorl.models.loading import load_policy
from echorl.support.stored import cached
from echorl.tasks import load_task
from echorl.tasks.quickstart import MAX_NEW_TOKENS, TASK
from echorl.trl import EchoGRPOConfig, EchoGRPOTrainer
from echorl.trl.metrics_file import MetricsFile, read_metrics
from echorl.trl.statistics import StatisticsTable


def train_arm(study: Study, coef: float, folder: Path) -> dict[str, Any]:
    """Train in `folder` (policy in `folder/policy`), unless it is done already; a killed run goes on where it was.

    Returns:
        {"seconds": of training, "metrics": the lines of metrics.jsonl that have a reward}.

    Raises:
        ValueError: `folder` holds something that no quickstart wrote.
    """
    key = study.key("arm", coef=coef)
    prepare_folder(folder, key)
    return cached(folder / MARK, key, lambda: _train(study, coef, folder))


def _train(study: Study, coef: float, folder: Path) -> dict[str, Any]:
    started = time.monotonic()
    trainer = make_trainer(study, coef, folder)
    trainer.remove_callback(PrinterCallback)
    trainer.remove_callback(StatisticsTable)
    trainer.train(resume_from_checkpoint=get_last_checkpoint(str(folder)))
    trainer.save_model(str(folder / "policy"))
    for checkpoint in folder.glob("checkpoint-*"):
        shutil.rmtree(checkpoint)
    lines = [line for line in read_metrics(folder / "metrics.jsonl") if "reward" in line]
    return {"seconds": time.monotonic() - started, "metrics": lines}


def make_trainer(study: Study, coef: float, folder: Path) -> EchoGRPOTrainer:
    """The arms differ in `echo_coef` and in what is measured, in nothing else."""
    task = load_task(**TASK)
    model, tokenizer = load_policy(POLICY)
    size = study.num_steps * study.prompts_per_step
    return EchoGRPOTrainer(
        model,
        [task.verifier],
        args=make_config(study, coef, folder),
        train_dataset=task.dataset("train", size=size, seed=study.seed),
        processing_class=tokenizer,
        callbacks=[MetricsFile(folder / "metrics.jsonl")],
    )


def make_config(study: Study, coef: float, folder: Path) -> EchoGRPOConfig:
    """An arm's settings; without EchoRL there are no clips to dump."""
    return EchoGRPOConfig(
        output_dir=str(folder),
        echo_coef=coef,
        echo_rollouts_every=study.rollouts_every if coef else 0,
        learning_rate=study.learning_rate,
        lr_scheduler_type="constant",
        loss_type="grpo",
        per_device_train_batch_size=study.prompts_per_step * study.group_size,
        num_generations=study.group_size,
        max_completion_length=MAX_NEW_TOKENS,
        temperature=1.0,
        max_steps=study.num_steps,
        save_steps=max(1, study.num_steps // 12),
        save_total_limit=1,
        seed=study.seed,
        logging_steps=1,
        report_to="none",
        disable_tqdm=True,
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        dataloader_pin_memory=False,
    )

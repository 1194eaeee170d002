"""Files of an earlier run of `echorl train` or `echorl sft`, and the check whether a new run may replace them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from echorl.support.errors import UserError
from echorl.train.run_folder import checkpoints, progress

if TYPE_CHECKING:
    from echorl.train.parsing import Settings

METRICS = "metrics.jsonl"
MODEL = ("model*.safetensors", "pytorch_model*.bin", "adapter_model.*")
"""The weights of a finished run."""
ROLLOUTS = ("rollouts/step-*-process-*.parquet", "completions/completions_*.parquet")
"""Dumps, and TRL's tables of completions; both have the number of a step, from 1, in their names."""
FILES = (
    *MODEL, METRICS, *ROLLOUTS,
    "model.safetensors.index.json", "pytorch_model.bin.index.json", "adapter_config.json", "config.json",
    "generation_config.json", "training_args.bin", "trainer_state.json", "README.md", "tokenizer.json",
    "tokenizer.model", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json",
    "vocab.txt", "merges.txt", "spiece.model", "chat_template.jinja", "chat_template.json",
    "additional_chat_templates/*.jinja", "processor_config.json", "preprocessor_config.json",
    "image_processor_config.json", "video_preprocessor_config.json",
)  # fmt: skip
"""Files that a run writes (by echorl, TRL, transformers) besides checkpoints and config.yaml; other files stay."""
RECORDED = b"# echorl "
"""First bytes of a run's config.yaml, which is the first file that a run writes and is replaced, never deleted."""


def outdated(settings: Settings, checkpoint: Path | None) -> list[Path]:
    """Return the files that a run replaces: an earlier run's, or of a resumed run those written after its checkpoint.

    Raises:
        UserError: as `earlier_run`.
    """
    folder = Path(settings.training.output_dir)
    if checkpoint is not None and checkpoint.resolve().parent == folder.resolve():
        return written_after(folder, progress(checkpoint)["updates"])
    return earlier_run(
        folder,
        overwrite=settings.data.overwrite_output_dir,
        restart=str(settings.training.resume_from_checkpoint).lower() == "true",
        model=settings.model_name,
    )


def earlier_run(folder: str | Path, *, overwrite: bool, restart: bool, model: str) -> list[Path]:
    """Return the files of the run in this folder, to be deleted before another run begins; empty without a run.

    Args:
        overwrite: whether the user allows it (`--overwrite_output_dir`).
        restart: whether the user asked for a resume of a run without a complete checkpoint: without a final model it
            begins again.
        model: the model that the new run starts from.

    Raises:
        UserError: the user does not allow it, the new run starts from a model in this folder, or no run wrote the
            files.
    """
    config, resumable = Path(folder, "config.yaml"), checkpoints(folder)
    files = [*resumable, *(path for pattern in FILES for path in sorted(Path(folder).glob(pattern)))]
    begun = config.is_file() and config.read_bytes().startswith(RECORDED)
    losses = [path for path in files if path.name != METRICS or path.stat().st_size]
    losses += [config] if config.is_file() and not begun else []
    finished = any(path.match(pattern) for path in files for pattern in MODEL)
    if losses and not begun:
        raise UserError(
            f"output_dir={str(folder)!r} holds {losses[0].relative_to(folder)}, and no config.yaml of a run of echorl: "
            "give another --output_dir, or move the files away."
        )
    if losses and not overwrite and not (restart and begun and not finished):
        resume = "go on with --resume_from_checkpoint true, " if resumable and not restart else ""
        raise UserError(
            f"output_dir={str(folder)!r} holds {losses[0].relative_to(folder)} of an earlier run: {resume}give "
            "another --output_dir, or start anew with --overwrite_output_dir, which deletes that run's files."
        )
    if files and os.path.isdir(model) and any(os.path.samefile(model, place) for place in (folder, *resumable)):
        raise UserError(
            f"model_name_or_path={model!r} lies in output_dir={str(folder)!r}, where a new run replaces an earlier "
            "one's files: give another --output_dir."
        )
    return files


def delete(paths: Iterable[Path], folder: str | Path) -> None:
    """Delete these files and checkpoints, and folders below `folder` that are then empty."""
    for path in paths:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
        if path.parent != Path(folder) and not any(path.parent.iterdir()):
            path.parent.rmdir()


def written_after(folder: str | Path, step: int) -> list[Path]:
    """Return the stored rollouts of steps that a run resumed at `step` will make again."""
    return [path for pattern in ROLLOUTS for path in Path(folder).glob(pattern) if _step(path) > step]


def _step(path: Path) -> int:
    digits = path.stem.replace("_", "-").split("-")[1]
    return int(digits) if digits.isdigit() else -1

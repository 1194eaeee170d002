"""`echorl train`: a recipe and the command line -> a trained model in `output_dir`; shared with `echorl sft`."""

from __future__ import annotations

import os
import shlex
import sys
import warnings
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from echorl.support.errors import Interrupted, UserError, as_user_error, where
from echorl.support.folder import ResultFolder
from echorl.support.installed import check_installed
from echorl.train import earlier_run, run_folder
from echorl.train.data import make_dataset, make_task, reward_functions
from echorl.train.early import check_early
from echorl.train.offload import offload_warning
from echorl.train.options import ECHO_OPTIONS, TrainArguments
from echorl.train.parsing import Command, make_parser, parse, read_first, short_help
from echorl.train.recipe import read_recipes

if TYPE_CHECKING:
    from transformers import Trainer

    from echorl.train.parsing import Settings
    from echorl.trl import EchoGRPOTrainer
    from echorl.trl.recipe import ModelConfig

LIBRARIES = ("transformers", "peft", "accelerate", "huggingface_hub", "tokenizers", "safetensors", "bitsandbytes")
INTERNAL = "`(is_)?gradient_checkpointing(_enable)?` is deprecated"  # by TRL's own default and between libraries


def run(argv: Sequence[str]) -> None:
    """Run `echorl train`; raises what `echorl.support.errors.guard` shows."""
    launch(TRAIN, argv)


def launch(command: Command, argv: Sequence[str]) -> None:
    """Run a command that trains."""
    if not argv:
        raise UserError(
            f"`echorl {command.name}` got no recipe and no option: name a recipe, such as --config "
            f"{command.first_recipe} of echorl's repository (`echorl {command.name} --help` tells more)."
        )
    options, rest = read_first(argv)
    if options.help:
        short_help(command).print_help()
        return
    check_installed(f"`echorl {command.name}`", ("trl",), "trl")
    recipe = read_recipes(options.config)
    os.environ.update(recipe.env)
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")  # TRL's ping, unless the user turned it on
    warnings.filterwarnings("ignore", message=INTERNAL)
    if options.help_all:
        make_parser(command).print_help()
        return
    check_early(command, recipe, rest)
    settings = parse(command, recipe, rest)
    try:
        _train(command, settings, list(recipe.env))
    except KeyboardInterrupt:
        raise Interrupted(_how_to_resume(command, settings.training.output_dir)) from None
    except SystemExit as error:  # of a reward function, whose exit status could be 0
        raise UserError(
            f"training was ended by SystemExit({error.code!r}){where(error)}: let the code that is called there "
            "return or raise an error."
        ) from error


def _train(command: Command, settings: Settings, variables: Sequence[str]) -> None:
    """Train, or finish a run that has made its last step; one process at a time works in the folder."""
    import torch

    training = settings.training
    folder = ResultFolder(training.output_dir, command.name)
    folder.check_writable()
    # The trainer holds the group of processes, too. Were it the last to let go, the group's threads would be joined
    # while Python's lock is held, and a thread that waits for this lock would never end.
    group = torch.distributed.group.WORLD if torch.distributed.is_initialized() else None
    with folder.locked() if training.process_index == 0 else nullcontext():
        check_reporting(training.report_to)
        name, config = _model(settings)
        checkpoint = run_folder.choose_checkpoint(training.resume_from_checkpoint, training.output_dir, _say)
        limit = None
        if checkpoint is not None:
            run_folder.check_same_model(checkpoint, settings.model_name, config, peft=settings.model.use_peft)
            limit = run_folder.limit_reached(checkpoint, training)
        outdated = earlier_run.outdated(settings, checkpoint)
        if checkpoint is not None and limit is not None:
            _finish(checkpoint, settings, limit, outdated)
        else:
            _train_to_the_end(checkpoint, command, settings, name, outdated, variables)
    del group


def _train_to_the_end(
    checkpoint: Path | None,
    command: Command,
    settings: Settings,
    name: str,
    outdated: list[Path],
    variables: Sequence[str],
) -> None:
    """Train the model of this name, from a checkpoint if there is one, in a folder without the outdated files."""
    from transformers import ProgressCallback

    from echorl.train.progress import ShortProgress

    training = settings.training
    if checkpoint is not None:
        run_folder.check_resumable(checkpoint)
    with as_user_error(ValueError, OSError, ImportError, doing="the trainer cannot be set up", by=LIBRARIES):
        trainer = command.make_trainer(settings, name)
    if warning := offload_warning(trainer.accelerator.state.deepspeed_plugin, training.gradient_accumulation_steps):
        _say(warning)
    if not training.disable_tqdm:
        trainer.remove_callback(ProgressCallback)
        trainer.add_callback(ShortProgress)
    trainer.accelerator.wait_for_everyone()  # every process has looked at the folder before the first one changes it
    if trainer.accelerator.is_main_process:
        earlier_run.delete(outdated, training.output_dir)
        run_folder.write_config(command.name, settings, variables)
    trainer.accelerator.wait_for_everyone()
    _call_train(trainer, checkpoint)
    trainer.save_model(training.output_dir)
    if training.push_to_hub:
        trainer.push_to_hub()
    _say(f"the model is in {training.output_dir}, its curves in {Path(training.output_dir) / 'metrics.jsonl'}")
    trainer.accelerator.end_training()  # as `trainer.end()`, which older versions of transformers lack


def _call_train(trainer: Trainer, checkpoint: Path | None) -> None:
    """Train without the bars of every saved file, and end the lines of the training's own bars."""
    from transformers.utils import logging

    from echorl.train.progress import ShortProgress

    logging.disable_progress_bar()
    try:
        trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
    finally:
        logging.enable_progress_bar()
        if isinstance(bar := trainer.pop_callback(ShortProgress), ShortProgress):
            bar.close()


def _finish(checkpoint: Path, settings: Settings, limit: str, outdated: list[Path]) -> None:
    """Put the model of a run that has made its last step in place; the Trainer would make one more step."""
    from transformers.trainer_utils import rotate_checkpoints

    training = settings.training
    if training.process_index == 0:
        earlier_run.delete(outdated, training.output_dir)
        final = run_folder.final(checkpoint, training)
        run_folder.copy_model(final, training.output_dir)
        # A run that was killed right after it saved its last checkpoint has not deleted the older ones.
        rotate_checkpoints(training.output_dir, training.save_total_limit, best_model_checkpoint=str(final))
    _say(f"{checkpoint} is the end of this run ({limit}): its model is in {training.output_dir}")


def _model(settings: Settings) -> tuple[str, dict[str, Any]]:
    """Return the model's name as transformers knows it, and its configuration."""
    from transformers import AutoConfig
    from transformers.utils import is_torchvision_available

    from echorl.models import find_model
    from echorl.models.loading import is_image_config, load_processor

    name = settings.model.model_name_or_path
    if not name:
        raise UserError("model_name_or_path is not set: give a folder, a model of the hub, 'quickstart' or 'smollm2'.")
    path, place = find_model(name)
    trust = settings.training.trust_remote_code
    with as_user_error(OSError, ValueError, doing=f"model_name_or_path={name!r} {place} cannot be loaded"):
        config = AutoConfig.from_pretrained(path, revision=settings.model.model_revision, trust_remote_code=trust)
        if is_image_config(config) and not is_torchvision_available():
            load_processor(path)  # its error names torchvision, the trainer's a missing file
    return path, config.to_dict()


def check_reporting(report_to: list[str] | str) -> None:
    """Check that the integrations which a run reports to are installed.

    Raises:
        UserError: one is not, or has no such name; the message lists those that are.
    """
    from transformers.integrations import get_available_reporting_integrations

    available = get_available_reporting_integrations()
    for name in [report_to] if isinstance(report_to, str) else report_to or []:
        if name not in ("none", "all", *available):
            raise UserError(
                f"report_to={name!r} is not available; install its package, or choose from: none, "
                f"{', '.join(available)}."
            )


def _make_trainer(settings: Settings, name: str) -> EchoGRPOTrainer:
    from transformers import set_seed

    from echorl.trl import EchoGRPOTrainer

    data, training = settings.data, settings.training
    task = make_task(data)
    rewards = reward_functions(data, task)
    _name_verifier(
        training, task.verifier.__name__ if task is not None else None, [function.__name__ for function in rewards]
    )
    train = make_dataset(data, task, "train")
    evaluation = None if training.eval_strategy == "no" else make_dataset(data, task, "eval")
    set_seed(training.seed)
    common = trainer_options(settings)
    return EchoGRPOTrainer(name, rewards, training, train_dataset=train, eval_dataset=evaluation, **common)


def _name_verifier(training: Any, verifier: str | None, names: list[str]) -> None:
    """Let the task's verifier verify beside other functions, unless one is named; refuse names without a function."""
    from echorl.core.verdicts import resolve_verifiers

    if verifier is not None and len(names) > 1 and not training.success_reward_func_names():
        training.echo_success_reward_func = [verifier]
    if training.success_reward_func_names() or training.echo_config().mines or len(set(names)) < len(names):
        resolve_verifiers(training.success_reward_func_names(), names)


def trainer_options(settings: Settings) -> dict[str, Any]:
    """Return the arguments of every TRL trainer: PEFT, quantisation; others go into the model's config."""
    from echorl.trl.recipe import get_quantization_config

    model, training = settings.model, settings.training
    training.model_init_kwargs = {
        "revision": model.model_revision,
        "attn_implementation": model.attn_implementation,
        "dtype": model.dtype,
        **(training.model_init_kwargs or {}),
    }
    return {
        "peft_config": _peft_config(model),
        "quantization_config": get_quantization_config(model),
    }


def _peft_config(model: ModelConfig) -> Any:
    """Return TRL's, in which a single target module is a module's name, not a pattern that matches a whole path."""
    from echorl.trl.recipe import get_peft_config

    config: Any = get_peft_config(model)  # a LoraConfig, though TRL says no more than PeftConfig
    target = getattr(config, "target_modules", None)
    if isinstance(target, str) and target.isidentifier():  # unlike "all-linear"
        config.target_modules = {target}
    return config


def _how_to_resume(command: Command, folder: str) -> str:
    config = Path(folder) / "config.yaml"
    again = f"echorl {command.name} --config {shlex.quote(str(config))} --resume_from_checkpoint true"
    if any(map(run_folder.is_complete, run_folder.checkpoints(folder))):
        return f"interrupted; go on with: {again}"
    how = f"start again with: {again}" if config.exists() else "run the same command to start again."
    return f"interrupted before the first checkpoint in {folder}; {how}"


def _say(text: str) -> None:
    if os.environ.get("RANK", "0") == "0":
        print(f"echorl: {text}", file=sys.stderr, flush=True)


TRAIN = Command(
    name="train",
    data=TrainArguments,
    config="echorl.trl:EchoGRPOConfig",
    make_trainer=_make_trainer,
    about="EchoGRPOConfig (TRL's GRPOConfig plus echo_*)",
    first_recipe="recipes/cpu/quickstart.yaml",
    echo_options=ECHO_OPTIONS,
)

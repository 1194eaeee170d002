"""`echorl train`: a recipe and the command line -> a trained model in `output_dir`; shared with `echorl sft`."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import warnings
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from echorl.support.errors import Interrupted, UserError, as_user_error, bad_argument, where
from echorl.support.folder import ResultFolder
from echorl.train import earlier_run, run_folder
from echorl.train.options import TrainArguments

if TYPE_CHECKING:
    from transformers import Trainer

    from echorl.tasks import Task
    from echorl.train.parsing import Command, Settings
    from echorl.trl import EchoGRPOConfig, EchoGRPOTrainer
    from echorl.trl.recipe import ModelConfig

LIBRARIES = ("transformers", "peft", "accelerate", "huggingface_hub", "tokenizers", "safetensors", "bitsandbytes")
ABOUT = "EchoGRPOConfig (TRL's GRPOConfig plus echo_*)"
INTERNAL = "`(is_)?gradient_checkpointing(_enable)?` is deprecated"  # by TRL's own default and between libraries
NOTHING = (
    "`echorl {name}` was told nothing to train on: name a recipe, --config {recipe} of echorl's repository for a first "
    "run (`echorl {name} --help` tells more)."
)
USAGE = "echorl {name} [--config recipe.yaml [more.yaml ...]] [--any_option value ...]"
HELP = (
    "Every option can stand in the recipe (YAML) and on the command line, which wins. Of several recipes the last one "
    "that has an option wins. Options are the fields of {about}, of TRL's ModelConfig (model_name_or_path, use_peft, "
    "lora_*) and those below."
)
PROCESSES = "Under several processes: accelerate launch --num_processes 2 -m echorl {name} --config recipe.yaml"


def run(argv: Sequence[str]) -> int:
    """Run `echorl train`. Returns 0; raises what `echorl.support.errors.guard` shows."""
    return launch(train_command(), argv)


def train_command() -> Command:
    from echorl.train.parsing import Command

    return Command("train", TrainArguments, _config_class, _make_trainer, ABOUT, "recipes/cpu/quickstart.yaml")


def launch(command: Command, argv: Sequence[str]) -> int:
    """Run a command that trains."""
    if not argv:
        raise UserError(NOTHING.format(name=command.name, recipe=command.first))
    known, rest = _first_look(argv)
    if known.help:
        _help(command).print_help()
        return 0
    from echorl.train.parsing import make_parser, parse
    from echorl.train.recipe import read_recipes

    recipe = read_recipes(known.config)
    os.environ.update(recipe.env)
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")  # TRL's ping, unless the user turned it on
    warnings.filterwarnings("ignore", message=INTERNAL)
    if known.help_all:
        make_parser(command).print_help()
        return 0
    settings = parse(command, recipe, rest)
    try:
        _train(command, settings, recipe.env)
    except KeyboardInterrupt:
        raise Interrupted(_how_to_resume(command, settings.training.output_dir)) from None
    except SystemExit as error:  # of a reward function, say; the exit status would be its own, such as 0
        raise UserError(
            f"training was ended by SystemExit({error.code!r}) {where(error)}: let the code that is called there "
            "return or raise an error."
        ) from error
    return 0


def _help(command: Command) -> argparse.ArgumentParser:
    """Return a parser that prints the short help; importing the trainer's options would take seconds."""
    parser = argparse.ArgumentParser(
        usage=USAGE.format(name=command.name),
        description=HELP.format(about=command.about),
        epilog=PROCESSES.format(name=command.name),
        add_help=False,
    )
    parser.add_argument("--help_all", action="store_true", help="Print every option with its default.")
    for each in fields(command.own):
        parser.add_argument(f"--{each.name}", metavar="VALUE", help=each.metadata["help"])
    return parser


def _first_look(argv: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    class Parser(argparse.ArgumentParser):
        def error(self, message: str) -> NoReturn:
            raise bad_argument(message)

    parser = Parser(add_help=False, allow_abbrev=False)
    parser.add_argument("--config", nargs="+", action="extend", default=[])
    parser.add_argument("--help", "-h", action="store_true")
    parser.add_argument("--help_all", "--help-all", action="store_true")
    return parser.parse_known_args(list(argv))


def _train(command: Command, settings: Settings, env: Mapping[str, str]) -> None:
    training = settings.training
    folder = ResultFolder(training.output_dir, command.name)
    folder.check_writable()
    with folder.locked() if training.process_index == 0 else nullcontext():
        _check_reporting(training.report_to)
        name, config = _model(settings)
        checkpoint = run_folder.choose_checkpoint(training.resume_from_checkpoint, training.output_dir, _say)
        if checkpoint is not None:
            run_folder.check_same_model(checkpoint, settings.model_name, config, peft=settings.model.use_peft)
        outdated = earlier_run.outdated(settings, checkpoint)
        if checkpoint is None:
            _train_from(None, command, settings, env, name, outdated)
        elif (limit := run_folder.reached(checkpoint, training)) is not None:
            _finish(checkpoint, settings, limit, outdated)
        else:
            run_folder.check_resumable(checkpoint)
            _train_from(checkpoint, command, settings, env, name, outdated)


def _train_from(
    checkpoint: Path | None,
    command: Command,
    settings: Settings,
    env: Mapping[str, str],
    name: str,
    outdated: list[Path],
) -> None:
    """Train the model of this name to the end, in a folder without the outdated files."""
    training = settings.training
    with as_user_error(ValueError, OSError, ImportError, doing="the trainer cannot be set up", by=LIBRARIES):
        trainer = command.make_trainer(settings, name)
    if not training.disable_tqdm:
        _shorten_progress(trainer)
    trainer.accelerator.wait_for_everyone()  # every process has looked at the folder before the first one changes it
    if trainer.accelerator.is_main_process:
        earlier_run.delete(outdated, training.output_dir)
        run_folder.write_config(command.name, settings, env)
    trainer.accelerator.wait_for_everyone()
    _run_to_the_end(trainer, checkpoint)
    trainer.save_model(training.output_dir)
    if training.push_to_hub:
        trainer.push_to_hub()
    if trainer.accelerator.is_main_process:
        _say(f"the model is in {training.output_dir}, its curves in {Path(training.output_dir) / 'metrics.jsonl'}")
    trainer.end()


def _run_to_the_end(trainer: Trainer, checkpoint: Path | None) -> None:
    from transformers.utils import logging

    from echorl.train.progress import ShortProgress

    logging.disable_progress_bar()  # those of every saved file, which cut the training's own in pieces
    try:
        trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
    finally:
        logging.enable_progress_bar()
        if isinstance(bar := trainer.pop_callback(ShortProgress), ShortProgress):
            bar.close()


def _finish(checkpoint: Path, settings: Settings, limit: str, outdated: list[Path]) -> None:
    """Put the model of a run that had made its last step in place; the Trainer would make one more step."""
    from transformers.trainer_utils import rotate_checkpoints

    folder = settings.training.output_dir
    if settings.training.process_index == 0:
        earlier_run.delete(outdated, folder)
        final = run_folder.final(checkpoint, settings.training)
        run_folder.copy_model(final, folder)
        # A run that was killed right after it saved its last checkpoint has not deleted the older ones.
        rotate_checkpoints(folder, settings.training.save_total_limit, best_model_checkpoint=str(final))
    _say(f"{checkpoint} is the end of this run ({limit}): its model is in {folder}")


def _model(settings: Settings) -> tuple[str, dict[str, Any]]:
    """The model's name as transformers knows it, and its configuration."""
    from transformers import AutoConfig
    from transformers.utils import is_torchvision_available

    from echorl.models import find_model
    from echorl.models.loading import is_image_config, load_processor

    name = settings.model.model_name_or_path
    if not name:
        own = "'quickstart' or 'smollm2'"
        raise UserError(f"model_name_or_path is not set: give a folder, a model of the hub, {own}.")
    known, place = find_model(name)
    trust = settings.training.trust_remote_code
    with as_user_error(OSError, ValueError, doing=f"model_name_or_path={name!r} {place} cannot be loaded"):
        config = AutoConfig.from_pretrained(known, revision=settings.model.model_revision, trust_remote_code=trust)
        if is_image_config(config) and not is_torchvision_available():
            load_processor(known)  # its error names torchvision, the trainer's a missing file
    return known, config.to_dict()


def _check_reporting(report_to: list[str] | str) -> None:
    from transformers.integrations import get_available_reporting_integrations

    there = get_available_reporting_integrations()
    for name in [report_to] if isinstance(report_to, str) else report_to or []:
        if name not in ("none", "all", *there):
            raise UserError(
                f"report_to={name!r} is not available; install its package, or take from: none, {', '.join(there)}."
            )


def _config_class() -> type[EchoGRPOConfig]:
    from echorl.trl import EchoGRPOConfig

    return EchoGRPOConfig


def _make_trainer(settings: Settings, name: str) -> EchoGRPOTrainer:
    from transformers import set_seed

    from echorl.train.data import make_dataset, make_task, reward_functions
    from echorl.trl import EchoGRPOTrainer

    own, training = settings.own, settings.training
    task = make_task(own)
    rewards = reward_functions(own, task)
    _name_verifier(settings, task, [function.__name__ for function in rewards])
    train = make_dataset(own, task, "train")
    evaluation = None if training.eval_strategy == "no" else make_dataset(own, task, "eval")
    set_seed(training.seed)
    common = trainer_options(settings)
    return EchoGRPOTrainer(name, rewards, training, train_dataset=train, eval_dataset=evaluation, **common)


def trainer_options(settings: Settings) -> dict[str, Any]:
    """Return the arguments of every TRL trainer: callbacks, PEFT, quantisation; others go into the model's config."""
    from echorl.trl.metrics_file import MetricsFile
    from echorl.trl.recipe import get_quantization_config

    settings.training.model_init_kwargs = _model_options(settings)
    return {
        "callbacks": [MetricsFile(Path(settings.training.output_dir) / "metrics.jsonl")],
        "peft_config": _peft_config(settings.model),
        "quantization_config": get_quantization_config(settings.model),
    }


def _shorten_progress(trainer: Trainer) -> None:
    from transformers import ProgressCallback

    from echorl.train.progress import ShortProgress

    trainer.remove_callback(ProgressCallback)
    trainer.add_callback(ShortProgress)


def _peft_config(model: ModelConfig) -> Any:
    """TRL's, except that a single target module is a module's name, not a pattern that must match its whole path."""
    from echorl.trl.recipe import get_peft_config

    config: Any = get_peft_config(model)  # a LoraConfig, though TRL says no more than PeftConfig
    target = getattr(config, "target_modules", None)
    if isinstance(target, str) and target.isidentifier():  # "all-linear" is none
        config.target_modules = {target}
    return config


def _name_verifier(settings: Settings, task: Task | None, names: list[str]) -> None:
    """With several functions the task's verifier verifies, unless told otherwise; refuse names that are not there."""
    from echorl.trl.verifiers import resolve_verifiers

    training = settings.training
    if task is not None and len(names) > 1 and not training.success_reward_func_names():
        training.echo_success_reward_func = [task.verifier.__name__]
    if training.success_reward_func_names() or training.echo_config().mines or len(set(names)) < len(names):
        resolve_verifiers(training.success_reward_func_names(), names)


def _model_options(settings: Settings) -> dict[str, Any]:
    model = settings.model
    options = {"revision": model.model_revision, "attn_implementation": model.attn_implementation, "dtype": model.dtype}
    return {**options, **(settings.training.model_init_kwargs or {})}


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

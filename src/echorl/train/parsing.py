"""From a recipe and the command line to the dataclasses of a run, with a sentence for whatever doesn't fit."""

from __future__ import annotations

import argparse
import difflib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NoReturn

from echorl.support.bounds import ANY, COUNT, SEED, TEMPERATURE, Bounds, check_value
from echorl.support.errors import UserError, one_line
from echorl.support.texts import is_text
from echorl.train.options import DataArguments
from echorl.train.recipe import Recipe

if TYPE_CHECKING:
    from transformers import Trainer, TrainingArguments

    from echorl.trl.recipe import ModelConfig, TrlParser


_LEAST_0 = "warmup_steps save_steps logging_steps eval_steps weight_decay learning_rate max_grad_norm num_train_epochs"
_LEAST_0 += " adam_epsilon neftune_noise_alpha epsilon epsilon_high delta top_k beta lora_alpha save_total_limit"
_LEAST_1 = "train_size eval_size per_device_train_batch_size per_device_eval_batch_size gradient_accumulation_steps"
_LEAST_1 += " max_completion_length num_iterations steps_per_generation generation_batch_size num_generations_eval"
_LEAST_1 += " ref_model_sync_steps pad_to_multiple_of lora_r eval_accumulation_steps"
_SHARES = "top_p min_p top_entropy_quantile label_smoothing_factor lora_dropout ref_model_mixup_alpha"
BOUNDS = {
    **dict.fromkeys(_LEAST_0.split(), Bounds(0, 10**12)),
    **dict.fromkeys(_LEAST_1.split(), COUNT),
    **dict.fromkeys(_SHARES.split(), Bounds(0, 1)),
    **dict.fromkeys(("adam_beta1", "adam_beta2"), Bounds(0, 0.999999999)),
    **dict.fromkeys(("seed", "data_seed", "task_seed"), SEED),
    "dataloader_num_workers": Bounds(0, 1000),
    "repetition_penalty": Bounds(1e-3, 1e3),
    "temperature": TEMPERATURE,
}
"""Of options that are TRL's or transformers', which look at few of them before the training."""
NAMES = ("output_dir", "train_file", "eval_file", "model_name_or_path", "dataset_name", "task", "row_func")
"""Options whose text names a file or a folder, or begins with one."""


@dataclass(frozen=True)
class Command:
    """A command that trains, `echorl NAME`.

    Attributes:
        own: the dataclass of the options that are neither the trainer's nor the model's.
        config_class: imports and gives the dataclass of the trainer's options.
        make_trainer: the trainer for these settings and the model's name as transformers knows it.
        about: where the trainer's options come from, for the help.
        first: a recipe for a first run, for who gives none.
    """

    name: str
    own: type[DataArguments]
    config_class: Callable[[], type[TrainingArguments]]
    make_trainer: Callable[[Settings, str], Trainer]
    about: str
    first: str


@dataclass(frozen=True)
class Settings:
    """What a run was asked for.

    Attributes:
        own, training, model: the dataclasses, all options in them.
        given: the options that differ from the defaults, as written: recipe and command line together.
        defaults: all options with their defaults; those that methods set with the value that holds if not written.
    """

    own: Any
    training: Any
    model: ModelConfig
    given: dict[str, Any]
    defaults: dict[str, Any]

    @property
    def model_name(self) -> str:
        """The model's name or path, once it was checked that there is one."""
        assert self.model.model_name_or_path is not None
        return self.model.model_name_or_path


def make_parser(command: Command) -> TrlParser:
    """TRL's parser over the three dataclasses; it raises `UserError` where argparse would print its usage and exit."""
    config_class = command.config_class()
    from echorl.trl.recipe import ModelConfig, TrlParser

    class Parser(TrlParser):
        def error(self, message: str) -> NoReturn:
            raise UserError(re.sub(r"argument (--\w+)\S*: ", r"\1: ", message) + ".")

    dataclasses: list[Any] = [command.own, config_class, ModelConfig]  # no class is of the type that transformers names
    return Parser(dataclasses, prog=f"echorl {command.name}", allow_abbrev=False)


def parse(command: Command, recipe: Recipe, argv: Sequence[str]) -> Settings:
    """The settings of a run: defaults, then the recipe (without its `env`), then the command line.

    An option that is null in the recipe has its default.

    Raises:
        UserError: names the option that is unknown, or whose value is not allowed, and the file it is from.
    """
    from echorl.methods import SET_BY_METHODS  # here, since torch takes its time

    parser = make_parser(command)
    defaults = vars(parser.parse_known_args([])[0])
    recipe = replace(recipe, options={name: value for name, value in recipe.options.items() if value is not None})
    _check_recipe(parser, recipe)
    parser.set_defaults_with_config(**recipe.options)
    namespace, rest = parser.parse_known_args(list(argv))
    if rest:
        _refuse(rest[0], parser)
    values = vars(namespace)
    if values["output_dir"] is None:
        values["output_dir"] = f"runs/{recipe.name}"
    given = {name: value for name, value in values.items() if value != defaults[name] or name in recipe.options}
    _check_values(parser, {name: values[name] for name in _written(parser, recipe, argv)})
    own, training, model = _build(parser, values)
    defaults |= {name: getattr(training, name) for name in SET_BY_METHODS if name in defaults.keys() - given.keys()}
    return Settings(own=own, training=training, model=model, given=given, defaults=defaults)


def _check_recipe(parser: TrlParser, recipe: Recipe) -> None:
    actions = {action.dest: action for action in reversed(parser._actions) if action.dest != "help"}
    for name, value in recipe.options.items():
        place = recipe.origin.get(name, "the recipe")
        if name not in actions:
            raise UserError(f"{place}: unknown option {name!r}{_nearest(name, parser)}")
        _check_value(parser, actions[name], value, f"{place}: {name}")


def _refuse(word: str, parser: TrlParser) -> None:
    if not word.startswith("-"):
        raise UserError(f"unexpected {word!r} on the command line: options are written --name value.")
    name = word.lstrip("-").partition("=")[0].replace("-", "_")
    raise UserError(f"unknown option {word.partition('=')[0]!r} on the command line{_nearest(name, parser)}")


def _nearest(name: object, parser: TrlParser) -> str:
    known = [action.dest for action in parser._actions]
    found = difflib.get_close_matches(str(name), known, n=1, cutoff=0.5)
    return f"; did you mean {found[0]!r}?" if found else f"; `{parser.prog} --help_all` lists them all."


def _written(parser: TrlParser, recipe: Recipe, argv: Sequence[str]) -> set[str]:
    """The options that stand in the recipe or on the command line, whatever their values."""
    actions = parser._option_string_actions
    words = [word.partition("=")[0] for word in argv]
    return {*recipe.options, *(actions[word].dest for word in words if word in actions)}


def _check_values(parser: TrlParser, written: dict[str, Any]) -> None:
    """Refuse numbers that no training could use, and names that no file could have.

    Raises:
        UserError: names the option and the value.
    """
    kinds = {action.dest: action.type for action in parser._actions}
    for name, value in written.items():
        if isinstance(value, str) and (name in BOUNDS or kinds.get(name) in (int, float)):  # in YAML, "1e-5" say
            value = _as_number(name, value)
        if name in NAMES or not isinstance(value, str):
            check_value(name, value, BOUNDS.get(name, ANY))
        elif "\0" in value or not is_text(value):
            raise UserError(f"{name}={value[:60]!r} holds a NUL character or text that is not UTF-8: remove it.")


def _as_number(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise UserError(f"{name}={text!r} is not a number.") from None


def _check_value(parser: TrlParser, action: argparse.Action, value: Any, place: str) -> None:
    """What argparse checks of a command line, for a value in YAML (it takes defaults as they are)."""
    if value is None or isinstance(value, dict):
        return
    for item in value if isinstance(value, list) and action.nargs == "+" else [value]:
        try:
            parser._check_value(action, parser._get_value(action, item if isinstance(item, str) else str(item)))
        except argparse.ArgumentError as error:
            raise UserError(f"{place}: {error.message}.") from None


def _build(parser: TrlParser, values: dict[str, Any]) -> tuple[Any, ...]:
    generations = values.get("num_generations")
    if generations is not None and int(generations) < 2:
        raise UserError(f"num_generations={generations}: a group needs at least 2 rollouts to compare; set 2 or more.")
    try:
        return parser.parse_dict(values)
    except (ValueError, TypeError, ImportError, OSError) as error:  # an OSError: a file of settings that is none
        raise UserError(one_line(error) + _hint(str(error))) from error


def _hint(message: str) -> str:
    """TRL names a size that is computed; say from what."""
    if "generation_batch_size" in message and "num_generations" in message:
        return (
            " It is per_device_train_batch_size x processes x steps_per_generation (by default the gradient "
            "accumulation steps): change one of these or num_generations."
        )
    return ""

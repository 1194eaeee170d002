"""From a recipe and the command line to the dataclasses of a run, with a sentence for whatever doesn't fit."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NoReturn

from echorl.support.errors import UserError, bad_argument, nearest, one_line, unknown_word
from echorl.support.texts import problem_of_name, problem_of_text
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
BOUNDS: dict[str, tuple[float, float]] = {
    **dict.fromkeys(_LEAST_0.split(), (0, 10**12)),
    **dict.fromkeys(_LEAST_1.split(), (1, 10**7)),
    **dict.fromkeys(_SHARES.split(), (0, 1)),
    **dict.fromkeys(("adam_beta1", "adam_beta2"), (0, 0.999999999)),
    **dict.fromkeys(("seed", "data_seed"), (0, 2**32 - 1)),
    "dataloader_num_workers": (0, 1000),
    "repetition_penalty": (1e-3, 1e3),
    "temperature": (1e-6, 10**6),
}
"""The least and the largest value of options of TRL and transformers, which look at few of them before the training."""
ANY = (-(10**12), 10**12)
"""The bounds of all other numbers."""
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

    def dataclasses(self) -> tuple[Any, ...]:
        """Return the dataclasses whose fields are the options."""
        from echorl.trl.recipe import ModelConfig

        return self.own, self.config_class(), ModelConfig


@dataclass(frozen=True)
class Settings:
    """The settings of a run.

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
    """Return TRL's parser over the three dataclasses; where argparse would print its usage and exit it raises."""
    from echorl.trl.recipe import TrlParser

    class Parser(TrlParser):
        def error(self, message: str) -> NoReturn:
            raise bad_argument(message)

    dataclasses: list[Any] = [*command.dataclasses()]  # no class is of the type that transformers names
    return Parser(dataclasses, prog=f"echorl {command.name}", allow_abbrev=False)


def parse(command: Command, recipe: Recipe, argv: Sequence[str]) -> Settings:
    """Return the settings of a run: defaults, then the recipe (without its `env`), then the command line.

    An option that is null in the recipe has its default.

    Raises:
        UserError: names the option that is unknown, or whose value is not allowed, and the file it is from.
    """
    from echorl.methods import SET_BY_METHODS  # here, since torch takes its time

    parser, listing = make_parser(command), f"echorl {command.name} --help_all"
    defaults = vars(parser.parse_args([]))
    recipe = replace(recipe, options={name: value for name, value in recipe.options.items() if value is not None})
    for name, value in recipe.options.items():
        place = recipe.origin.get(name, "the recipe")
        if name not in defaults:
            raise UserError(f"{place}: unknown option {name!r}{nearest(str(name), defaults, listing)}")
        _check_type(parser, name, value, place)
    parser.set_defaults_with_config(**recipe.options)
    unset = argparse.Namespace(**dict.fromkeys(defaults, _UNSET))
    namespace, rest = parser.parse_known_args(list(argv), unset)
    if rest:
        raise unknown_word(rest[0], defaults, listing)
    written = {name for name, value in vars(namespace).items() if value is not _UNSET} | recipe.options.keys()
    values = vars(parser.parse_args(list(argv)))
    if values["output_dir"] is None:
        values["output_dir"] = f"runs/{recipe.name}"
    given = {name: value for name, value in values.items() if value != defaults[name] or name in recipe.options}
    for name in sorted(written):
        _check_value(name, values[name])
    own, training, model = _build(parser, values)
    defaults |= {name: getattr(training, name) for name in SET_BY_METHODS if name in defaults.keys() - given.keys()}
    return Settings(own=own, training=training, model=model, given=given, defaults=defaults)


_UNSET = object()


def _check_type(parser: TrlParser, name: str, value: Any, place: str) -> None:
    """Check a value of a recipe as the parser checks one of the command line (it takes defaults as they are)."""
    for item in [] if isinstance(value, dict) else value if isinstance(value, list) else [value]:
        try:
            read = getattr(parser.parse_args([f"--{name}={item}"]), name)
        except UserError as error:
            raise UserError(f"{place}: {str(error).removeprefix('--')}") from None
        if isinstance(value, list) and not isinstance(read, list):
            raise UserError(f"{place}: {name}={value!r} is a list: give a single value.")


def _check_value(name: str, value: Any) -> None:
    """Refuse numbers that no training could use, and names that no file could have.

    Raises:
        UserError: names the option and the value.
    """
    for each in value if isinstance(value, list) else [value]:
        problem_of = problem_of_name if name in NAMES else problem_of_text
        if isinstance(each, str) and (name in NAMES or each.strip()) and (problem := problem_of(each)):
            raise UserError(f"{name}={each[:60]!r} {problem}.")
        if isinstance(each, (int, float)) and not isinstance(each, bool):
            least, most = BOUNDS.get(name, ANY)
            if not least <= each <= most:
                raise UserError(f"{name}={each} is not allowed: it must be a finite number from {least} to {most}.")


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

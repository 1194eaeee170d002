"""The dataclasses of a run from a recipe and the command line, with a sentence for every option that does not fit."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any, NoReturn

from echorl.support.errors import NO_BF16, ON_A_CPU, UserError, bad_argument, nearest, one_line, unknown_word
from echorl.support.texts import problem_of_name, problem_of_text
from echorl.train.options import DataArguments
from echorl.train.recipe import Recipe

if TYPE_CHECKING:
    from transformers import Trainer

    from echorl.trl.recipe import ModelConfig, TrlParser

LEAST_0 = (
    "warmup_steps", "save_steps", "logging_steps", "eval_steps", "weight_decay", "learning_rate", "max_grad_norm",
    "num_train_epochs", "adam_epsilon", "neftune_noise_alpha", "epsilon", "epsilon_high", "delta", "top_k", "beta",
    "lora_alpha", "save_total_limit",
)  # fmt: skip
LEAST_1 = (
    "train_size", "eval_size", "per_device_train_batch_size", "per_device_eval_batch_size",
    "gradient_accumulation_steps", "max_completion_length", "num_iterations", "steps_per_generation",
    "generation_batch_size", "num_generations_eval", "ref_model_sync_steps", "pad_to_multiple_of", "lora_r",
    "eval_accumulation_steps",
)  # fmt: skip
SHARES = ("top_p", "min_p", "top_entropy_quantile", "label_smoothing_factor", "lora_dropout", "ref_model_mixup_alpha")
BOUNDS: dict[str, tuple[float, float]] = {
    **dict.fromkeys(LEAST_0, (0, 10**12)),
    **dict.fromkeys(LEAST_1, (1, 10**7)),
    **dict.fromkeys(SHARES, (0, 1)),
    **dict.fromkeys(("adam_beta1", "adam_beta2"), (0, 0.999999999)),
    **dict.fromkeys(("seed", "data_seed"), (0, 2**32 - 1)),
    "dataloader_num_workers": (0, 1000),
    "repetition_penalty": (1e-3, 1e3),
    "temperature": (1e-6, 10**6),
}
"""The least and the largest value of options of TRL and transformers, which check few of them before the training."""
OLDER_NAMES = {
    "activation_checkpointing": "gradient_checkpointing",
    "activation_checkpointing_kwargs": "gradient_checkpointing_kwargs",
}
"""Option in a recipe -> its name in older versions of transformers, which lack the newer name."""
OTHER_NUMBERS = (-(10**12), 10**12)
"""The bounds of all other numbers."""
PATHS = ("output_dir", "train_file", "eval_file", "model_name_or_path", "dataset_name", "task", "row_func")
"""Options whose text names a file or a folder, or begins with such a name."""

USAGE = "echorl {name} [--config recipe.yaml [more.yaml ...]] [--any_option value ...]"
HELP = (
    "Every option can stand in the recipe (YAML) and on the command line, which wins. Of several recipes the last one "
    "that has an option wins. Options are the fields of {about}, of TRL's ModelConfig (model_name_or_path, use_peft, "
    "lora_*) and those below."
)
PROCESSES = "Under several processes: accelerate launch --num_processes 2 -m echorl {name} --config recipe.yaml"


@dataclass(frozen=True, kw_only=True)
class Command:
    """A command that trains, `echorl NAME`.

    Attributes:
        data: the dataclass of the options that are neither the trainer's nor the model's.
        config: import string of the dataclass of the trainer's options.
        make_trainer: makes the trainer from the settings and the model's name as transformers knows it.
        about: the source of the trainer's options, for the help.
        first_recipe: a recipe for a first run, for a user who gives none.
        echo_options: the trainer's options that echorl adds to TRL's.
    """

    name: str
    data: type[DataArguments]
    config: str
    make_trainer: Callable[[Settings, str], Trainer]
    about: str
    first_recipe: str
    echo_options: tuple[str, ...] = ()

    def dataclasses(self) -> list[Any]:
        """Return the dataclasses whose fields are the options."""
        from echorl.trl.recipe import ModelConfig

        return [self.data, resolve_name(self.config), ModelConfig]


@dataclass(frozen=True)
class Settings:
    """The settings of a run.

    Attributes:
        data, training, model: the dataclasses, which hold all options.
        given: the options that differ from the defaults, as written: recipe and command line together.
        defaults: all options with their defaults; those that methods set with the value that holds if not written.
    """

    data: Any
    training: Any
    model: ModelConfig
    given: dict[str, Any]
    defaults: dict[str, Any]

    @property
    def model_name(self) -> str:
        """Return the model's name or path, once it was checked that there is one."""
        assert self.model.model_name_or_path is not None
        return self.model.model_name_or_path


class _RaisesUserErrors:
    """Mixin of a parser: a `UserError` in place of argparse's usage and exit."""

    def error(self, message: str) -> NoReturn:
        raise bad_argument(message)


def read_first(argv: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """Return the options that are read before TRL is imported, and the other words."""

    class Parser(_RaisesUserErrors, argparse.ArgumentParser):
        pass

    parser = Parser(add_help=False, allow_abbrev=False)
    parser.add_argument("--config", nargs="+", action="extend", default=[])
    parser.add_argument("--help", "-h", action="store_true")
    parser.add_argument("--help_all", "--help-all", action="store_true")
    return parser.parse_known_args(list(argv))


def short_help(command: Command) -> argparse.ArgumentParser:
    """Return a parser that prints the short help; importing the trainer's options would take seconds."""
    parser = argparse.ArgumentParser(
        usage=USAGE.format(name=command.name),
        description=HELP.format(about=command.about),
        epilog=PROCESSES.format(name=command.name),
        add_help=False,
    )
    parser.add_argument("--help_all", action="store_true", help="Print every option with its default.")
    for each in fields(command.data):
        parser.add_argument(f"--{each.name}", metavar="VALUE", help=each.metadata["help"])
    return parser


def make_parser(command: Command) -> TrlParser:
    """Return TRL's parser over the three dataclasses."""
    from echorl.trl.recipe import TrlParser

    class Parser(_RaisesUserErrors, TrlParser):
        pass

    return Parser(command.dataclasses(), prog=f"echorl {command.name}", allow_abbrev=False)


def parse(command: Command, recipe: Recipe, argv: Sequence[str]) -> Settings:
    """Return the settings of a run: defaults, then the recipe (without its `env`), then the command line.

    An option that is null in the recipe has its default, and `bf16: auto` is `bf16_is_fast()`.

    Raises:
        UserError: names the option that is unknown, or whose value is not allowed, and the file that it is from.
    """
    from echorl.methods import SET_BY_METHODS  # here, since torch takes its time

    parser, listing = make_parser(command), f"echorl {command.name} --help_all"
    defaults = vars(parser.parse_args([]))
    options = {
        name if name in defaults else OLDER_NAMES.get(name, name): value
        for name, value in recipe.options.items()
        if value is not None
    }
    if options.get("bf16") == "auto":
        options["bf16"] = bf16_is_fast()
    recipe = replace(recipe, options=options)
    for name, value in recipe.options.items():
        place = recipe.origin.get(name, "the recipe")
        if name not in defaults:
            raise UserError(f"{place}: unknown option {name!r}{nearest(str(name), defaults, listing)}")
        _check_type(parser, name, value, place)
    parser.set_defaults_with_config(**recipe.options)
    unset = object()
    namespace, rest = parser.parse_known_args(list(argv), argparse.Namespace(**dict.fromkeys(defaults, unset)))
    if rest:
        raise unknown_word(rest[0], defaults, listing)
    written = {name for name, value in vars(namespace).items() if value is not unset} | recipe.options.keys()
    values = vars(parser.parse_args(list(argv)))
    if values["output_dir"] is None:
        values["output_dir"] = f"runs/{recipe.name}"
    given = {name: value for name, value in values.items() if value != defaults[name] or name in recipe.options}
    for name in sorted(written):
        _check_value(name, values[name])
    if (size := values.get("num_generations")) is not None and size < 2:
        raise UserError(f"num_generations={size}: a group needs at least 2 rollouts to compare; set 2 or more.")
    try:
        data, training, model = parser.parse_dict(values)
    except (ValueError, TypeError, ImportError, OSError) as error:  # an OSError: a file of settings cannot be read
        raise UserError(one_line(error) + _hint(str(error))) from error
    defaults |= {name: getattr(training, name) for name in SET_BY_METHODS if name in defaults.keys() - given.keys()}
    return Settings(data=data, training=training, model=model, given=given, defaults=defaults)


def bf16_is_fast() -> bool:
    """Return whether this machine multiplies bf16 matrices in hardware: a GPU that does, or the CPU's flags say so."""
    import torch

    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def _check_type(parser: TrlParser, name: str, value: Any, place: str) -> None:
    """Check a value of a recipe as the parser checks one of the command line (it takes defaults as they are)."""
    for item in [] if isinstance(value, dict) else value if isinstance(value, list) else [value]:
        try:
            parsed = getattr(parser.parse_args([f"--{name}={item}"]), name)
        except UserError as error:
            raise UserError(f"{place}: {str(error).removeprefix('--')}") from None
        if isinstance(value, list) and not isinstance(parsed, list):
            raise UserError(f"{place}: {name}={value!r} is a list: give a single value.")


def _check_value(name: str, value: Any) -> None:
    """Refuse numbers that no training could use, and names that no file could have.

    Raises:
        UserError: names the option and the value.
    """
    for each in value if isinstance(value, list) else [value]:
        problem_of = problem_of_name if name in PATHS else problem_of_text
        if isinstance(each, str) and (name in PATHS or each.strip()) and (problem := problem_of(each)):
            raise UserError(f"{name}={each[:60]!r} {problem}.")
        if isinstance(each, (int, float)) and not isinstance(each, bool):
            least, most = BOUNDS.get(name, OTHER_NUMBERS)
            if not least <= each <= most:
                raise UserError(f"{name}={each} is not allowed: it must be a finite number from {least} to {most}.")


def _hint(message: str) -> str:
    """Return what TRL's message on a batch size or on bf16 does not say; empty for any other message."""
    if NO_BF16 in message and ON_A_CPU not in message:  # of `SFTConfig`
        return ON_A_CPU
    if "generation_batch_size" in message and "num_generations" in message:
        return (
            " It is per_device_train_batch_size x processes x steps_per_generation (by default the gradient "
            "accumulation steps): change one of these or num_generations."
        )
    return ""

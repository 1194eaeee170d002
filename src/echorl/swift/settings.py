"""EchoRL's settings in ms-swift, given by a plug-in file, and the settings of ms-swift that EchoRL refuses."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from echorl.core.config import EchoConfig
from echorl.core.refusals import refuse_if
from echorl.core.verdicts import resolve_verifiers
from echorl.support.installed import check_version

OPTION = "success_reward_func"
OLDEST = "4.6.0"
NEWEST_TESTED = "4.6.0"


@dataclass(frozen=True)
class EchoSettings:
    """The arguments of `use_echo`.

    Attributes:
        echo: the `EchoConfig`.
        success_reward_func: the reward functions that verify, by the names in `--reward_funcs` or by their classes'.
    """

    echo: EchoConfig
    success_reward_func: tuple[str, ...] = ()

    def line(self) -> str:
        """Return a line for the log: whether EchoRL is active, and with which settings."""
        if not self.echo.mines:
            return "EchoRL is off (coef=0): this is plain ms-swift."
        settings = ", ".join(f"{f.name}={getattr(self.echo, f.name)!r}" for f in fields(EchoConfig))
        return f"EchoRL is active: {settings}."

    def columns(self, trainer: Any) -> list[int] | None:
        """Return the columns of the trainer's reward functions that verify; None where none is named or needed.

        Raises:
            ValueError: a name does not exist, or several functions and none named.
        """
        from swift.rewards import orms

        available = trainer.reward_func_names
        if not self.success_reward_func and len(available) != 1 and not self.echo.mines:
            return None
        classes = {key: getattr(function, "__name__", key) for key, function in orms.items()}
        names = [name if name in available else classes.get(name, name) for name in self.success_reward_func]
        return resolve_verifiers(names, available, option=f"use_echo({OPTION}=...)")


_active: list[EchoSettings] = []


def use_echo(success_reward_func: str | Sequence[str] | None = None, **options: Any) -> None:
    """Train with EchoRL: `swift rlhf --rlhf_type grpo` then uses `echorl.swift.trainer.EchoTrainer`.

    Args:
        success_reward_func: the reward function that verifies, or several; not needed where there is one only.
        options: of `echorl.EchoConfig`, such as `coef=0.001`.

    Raises:
        ValueError: an option does not exist (the message has the nearest one), or a value is out of range.
        ImportError: ms-swift is missing or older than 4.6.
    """
    check_swift_version()
    names = [field.name for field in fields(EchoConfig)]
    for name in options:
        if name not in names:
            nearest = difflib.get_close_matches(name, [*names, OPTION], n=1, cutoff=0.0)[0]
            raise ValueError(f"use_echo({name}=...) does not exist: did you mean {nearest}?")
    if any(name.startswith("swift.megatron") for name in sys.modules):
        raise ValueError(
            "megatron has trainers of its own, which EchoRL does not extend: "
            "use swift rlhf, or take use_echo out of the plug-in file."
        )
    verifiers = (success_reward_func,) if isinstance(success_reward_func, str) else tuple(success_reward_func or ())
    _active[:] = [EchoSettings(EchoConfig(**options), verifiers)]
    _register()


def _register() -> None:
    """Put EchoRL's trainer in the place of ms-swift's; any other training method would go without EchoRL, silently."""
    from swift.trainers.trainer_factory import TrainerFactory

    trainers = TrainerFactory.TRAINER_MAPPING
    for method in trainers:
        trainers[method] = "echorl.swift.other.OtherTrainer"
    trainers["grpo"] = "echorl.swift.trainer.EchoTrainer"


def active_settings() -> EchoSettings:
    """Return the arguments of the last `use_echo`."""
    if not _active:
        raise ValueError("EchoTrainer has no settings: call echorl.swift.use_echo in the plug-in file.")
    return _active[0]


def check_swift_version() -> None:
    """Check ms-swift's version, as `check_version` does."""
    check_version("swift", "ms-swift", oldest=OLDEST, newest_tested=NEWEST_TESTED)


def check_run(trainer: Any, settings: EchoSettings) -> None:
    """Refuse settings that EchoRL cannot be combined with; at coef 0, which is plain ms-swift, there are none.

    Raises:
        ValueError: one sentence that names the setting and the way out.
    """
    if settings.echo.mines:
        refuse_if(_refusals(trainer, settings.echo))


def _refusals(trainer: Any, config: EchoConfig) -> dict[str, bool]:
    """Return the sentence on each setting that EchoRL cannot be combined with, and whether it is set."""
    template = trainer.template
    return {
        "--dynamic_sample true drops the groups that EchoRL needs: set it to false, or coef=0.": trainer.dynamic_sample,
        (
            "--padding_free true (or packing) joins the rollouts that EchoRL cuts into steps: "
            "set it to false, or coef=0."
        ): bool(template.padding_free),
        (
            f"--sequence_parallel_size {template.sequence_parallel_size} spreads a rollout's tokens over processes "
            "in a way that EchoRL's weights do not follow: set it to 1, or coef=0."
        ): template.sequence_parallel_size > 1,
        (
            "--use_liger_kernel true computes the loss without the log-probs that EchoRL's term needs: "
            "set it to false, or coef=0."
        ): bool(trainer.use_liger_loss),
        (
            f"--num_generations {trainer.num_generations} gives no groups to compare: set it to at least 2."
        ): trainer.num_generations < 2,
        (
            "a teacher (--teacher_model) gives every group a gradient, so that none is without: "
            "leave it out, or set coef=0."
        ): bool(trainer._has_teacher_explicit()),
        (
            f"without_policy_gradient={config.without_policy_gradient!r} is not implemented for ms-swift: "
            "leave it at 'allow'."
        ): config.without_policy_gradient != "allow",
    }

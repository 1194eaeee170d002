"""The plug-in: it takes EchoRL's keys from axolotl's YAML and hands them to the trainer's arguments."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from axolotl.integrations.base import BasePlugin
from pydantic import BaseModel

from echorl.core.refusals import refuse_if

TRAINER = "echorl.axolotl.trainer.AxolotlEchoTrainer"
OTHER_TRAINERS = ("async_prefetch", "use_data_producer")
"""Keys that choose axolotl's asynchronous trainer, which scores rollouts by itself."""


class EchoArgs(BaseModel):
    """The key that carries EchoRL's settings through axolotl's validation, which drops keys that it does not know."""

    echo: dict[str, Any] | None = None


class EchoPlugin(BasePlugin):
    """Trains `rl: grpo` with EchoRL. All fields that `EchoGRPOConfig` adds to TRL's are keys of the YAML."""

    def register(self, cfg: dict[str, Any]) -> None:
        """Take EchoRL's settings from the YAML as written, before axolotl has validated it.

        Raises:
            ValueError: an unknown key, or a setting of axolotl that excludes EchoRL; names it and the way out.
        """
        check(cfg)
        cfg["echo"] = settings(cfg)
        cfg["trainer_cls"] = TRAINER

    def get_input_args(self) -> str:
        """Return the name of the model of the keys that axolotl is to keep."""
        return "echorl.axolotl.plugin.EchoArgs"

    def get_training_args_mixin(self) -> str:
        """Return the name of the dataclass that goes before TRL's into the arguments."""
        return "echorl.trl.EchoGRPOConfig"

    def get_training_args(self, cfg: Any) -> dict[str, Any]:
        """Return the arguments beside those that axolotl has set."""
        return dict(cfg.echo)


def names() -> list[str]:
    """Return the fields that `EchoGRPOConfig` adds to TRL's `GRPOConfig`."""
    from echorl.trl import EchoGRPOConfig  # here, since the settings of other runs need no TRL

    base = {field.name for field in fields(EchoGRPOConfig.__base__)}  # type: ignore[arg-type]
    return [field.name for field in fields(EchoGRPOConfig) if field.name not in base]


def settings(cfg: Mapping[str, Any]) -> dict[str, Any]:
    """Return EchoRL's settings in a YAML.

    axolotl gives `scale_rewards` its own default, as if it were written: left out, it is the method's again.
    """
    values = {name: cfg[name] for name in names() if name in cfg}
    return values if "scale_rewards" in (cfg.get("trl") or {}) else {"scale_rewards": None, **values}


def check(cfg: Mapping[str, Any]) -> None:
    """Refuse what EchoRL does not know or cannot train with.

    Raises:
        ValueError: names the key and the way out.
    """
    for key in cfg:
        if key.startswith("echo_") and key not in names():
            raise ValueError(f"unknown key {key!r}: EchoRL's keys are {', '.join(names())}.")
    trl = cfg.get("trl") or {}
    refuse_if(
        {
            f"rl: {cfg.get('rl')}; write rl: grpo": cfg.get("rl") != "grpo",
            f"trainer_cls: {cfg.get('trainer_cls')}, which it sets itself; remove that": bool(cfg.get("trainer_cls")),
            **{
                f"trl.{name}, which trains with another trainer; remove it": bool(trl.get(name))
                for name in OTHER_TRAINERS
            },
            "context_parallel_size > 1; remove it": (cfg.get("context_parallel_size") or 1) > 1,
        },
        "EchoPlugin cannot be combined with {}.",
    )

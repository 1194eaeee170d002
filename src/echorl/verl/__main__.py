"""`python -m echorl.verl ...`: verl's `main_ppo` with EchoRL, its settings checked before anything is started."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from echorl.verl.versions import check_verl_version

if TYPE_CHECKING:
    from omegaconf import DictConfig


def make_main() -> Callable[[], None]:
    """Return the program, whose overrides hydra reads from the command line."""
    import hydra
    from verl.trainer import main_ppo

    from echorl.verl import plugin
    from echorl.verl.settings import check_launch

    plugin.register()

    @hydra.main(config_path="pkg://verl.trainer.config", config_name="ppo_trainer", version_base=None)
    def main(config: DictConfig) -> None:
        """Check the settings, then do what `python -m verl.trainer.main_ppo` does with the same overrides."""
        _or_exit(lambda: check_launch(config))  # hydra would print a traceback
        main_ppo.main.__wrapped__(config)

    return main


def check_plugins(policy: str) -> None:
    """Check that `VERL_USE_EXTERNAL_PLUGINS` lets Ray's processes load EchoRL as a plug-in.

    Raises:
        ValueError: it does not.
    """
    if policy != "auto" and "echorl" not in [name.strip() for name in policy.split(",")]:
        raise ValueError(f"VERL_USE_EXTERNAL_PLUGINS={policy} keeps EchoRL out of verl's processes: add echorl to it.")


def _or_exit(check: Callable[[], None]) -> None:
    """Make a check; a refusal is one sentence on stderr, and ends the program with exit code 2."""
    try:
        check()
    except (ImportError, ValueError) as error:
        print(f"echorl: error: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    _or_exit(check_verl_version)
    _or_exit(lambda: check_plugins(os.environ.get("VERL_USE_EXTERNAL_PLUGINS", "auto").strip().lower()))
    make_main()()

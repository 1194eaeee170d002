"""TRL's printed table of completions (`log_completions`) without EchoRL's columns, for which it has no room."""

from __future__ import annotations

from typing import Any

from transformers.utils import is_rich_available
from trl.trainer.utils import print_prompt_completions_sample

from echorl.trl.dump import LOGGED_COLUMNS


class PrintsWithoutClips:
    """Mixin of a TRL trainer: EchoRL's columns go to the Parquet and to W&B, and are not printed.

    TRL takes the columns of all three from one mapping, so its own printing is switched off while it logs.
    """

    accelerator: Any
    state: Any
    num_completions_to_print: Any
    _logs: Any

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """Log as TRL does, and print its table without EchoRL's columns."""
        columns = self._logs["extra"]
        if not columns.keys() & set(LOGGED_COLUMNS) or not is_rich_available():
            super().log(logs, *args, **kwargs)  # type: ignore[misc]
            return
        number, self.num_completions_to_print = self.num_completions_to_print, 0
        try:
            super().log(logs, *args, **kwargs)  # type: ignore[misc]
        finally:
            self.num_completions_to_print = number
        if self.accelerator.is_main_process:
            print_prompt_completions_sample(
                self._logs["prompt"],
                self._logs["completion"],
                self._logs["rewards"],
                self._logs["advantages"],
                self.state.global_step,
                number,
                extra={name: values for name, values in columns.items() if name not in LOGGED_COLUMNS},
            )

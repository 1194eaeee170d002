"""Plan of `echorl mine`: its settings, without torch, so that a folder with other settings is refused at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from echorl.core.config import EchoConfig
from echorl.core.options import check_options
from echorl.lab.options import Columns, Mining
from echorl.support.folder import ResultFolder


@dataclass(frozen=True, kw_only=True)
class Reading:
    """Settings of the tokens that rollouts become.

    Attributes:
        chat: whether a prompt of text is written as a user's message with the chat template.
        end: whether the token that ends a sequence is put behind a response that lacks it.
        max_length: the longest prompt with response that is scored, in tokens; None: no limit but the model's context.
    """

    chat: bool = False
    end: bool = True
    max_length: int | None = None


@dataclass(frozen=True, kw_only=True)
class Plan(Mining):
    """Settings of `echorl mine`.

    Attributes:
        files: JSONL or parquet, in order.
        columns: names of their columns.
        reading: settings of the tokens.
        echo: settings of the clips.
    """

    files: Sequence[Path]
    columns: Columns
    reading: Reading
    echo: EchoConfig

    def __post_init__(self) -> None:
        check_options(self)

    def settings(self) -> dict[str, Any]:
        """Return the settings that the clips depend on, besides the model and the rollouts."""
        return {
            **{field.name: getattr(self, field.name) for field in fields(Mining)},
            **asdict(self.reading),
            **{f"echo_{name}": value for name, value in vars(self.echo).items()},
        }


def results_in(folder: Path) -> ResultFolder:
    """Return the folder of the command's results."""
    return ResultFolder(folder, "mine", holds="clips made")

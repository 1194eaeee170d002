"""The model card of a run on folders: TRL says "None" where there is no model of the hub."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from trl.trainer.utils import get_config_model_id

NO_BASE = "[None](https://huggingface.co/None)"
NO_NAME = 'model="None"'


class FolderInCard:
    """Mixed into a TRL trainer: its cards name the base model's folder, by its last two parts, where it is one.

    The card's example loads a model that is not to go to the hub from its folder.
    """

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        super().create_model_card(*args, **kwargs)
        if self.is_world_process_zero():
            path = Path(self.args.output_dir) / "README.md"
            base = describe(get_config_model_id(self.model.config))
            card = path.read_text(encoding="utf-8").replace(NO_BASE, base)
            path.write_text(card.replace(NO_NAME, f'model="{self.args.output_dir}"'), encoding="utf-8")


def describe(name: str) -> str:
    """What stands in a card for a base model that is not of the hub.

    >>> describe("/home/me/runs/warm-start"), describe("")
    ('the model in `runs/warm-start`', 'a model without a name')
    """
    parts = Path(os.path.abspath(name)).parts[-2:] if name else ()
    return f"the model in `{'/'.join(parts)}`" if parts else "a model without a name"

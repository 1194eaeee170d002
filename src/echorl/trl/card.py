"""The model card of a run on folders, for which TRL has no field and writes "None" with a link."""

from __future__ import annotations

from pathlib import Path
from typing import Any

FOR_NONE = {
    "[None](https://huggingface.co/None)": "a model in a folder",
    'model="None"': 'model="{output_dir}"',
}


class FolderInCard:
    """Mixin of a TRL trainer: its cards have no link to "None", and their example loads the model from its folder."""

    args: Any
    is_world_process_zero: Any

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        super().create_model_card(*args, **kwargs)  # type: ignore[misc]
        if self.is_world_process_zero():
            path = Path(self.args.output_dir) / "README.md"
            card = path.read_text(encoding="utf-8")
            for placeholder, text in FOR_NONE.items():
                card = card.replace(placeholder, text.format(output_dir=self.args.output_dir))
            path.write_text(card, encoding="utf-8")

"""The model card of a run: EchoRL and its settings, and no link to a base model "None"."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import echorl

FOR_NONE = {
    "[None](https://huggingface.co/None)": "a model in a folder",
    'model="None"': 'model="{output_dir}"',
}
"""TRL's text for a model in a folder, for which it has no field -> ours."""
VERSIONS = "### Framework versions\n\n"
"""The line of TRL's card before which EchoRL's part stands."""


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
            path.write_text(self.complete(card), encoding="utf-8")

    def complete(self, card: str) -> str:
        """Return the card with the trainer's own part."""
        return card


def with_settings(card: str, args: Any) -> str:
    """Return the card of a run of `EchoGRPOTrainer` with its method and its settings of EchoRL."""
    head, versions, tail = card.partition(VERSIONS)
    return f"{head}{settings_text(args)}\n{versions}- echorl: {echorl.__version__}\n{tail}"


def settings_text(args: Any) -> str:
    """Return EchoRL's part of a card in Markdown: what the EchoClips did, and a table of the run's settings.

    Args:
        args: the run's `EchoGRPOConfig`.
    """
    config = args.echo_config()
    role = "are part of the loss" if config.trains else "were measured only" if config.mines else "were not used"
    rows: dict[str, Any] = {"method": args.method or "GRPO, as TRL's settings say"}
    rows |= {"method_options": args.parsed_method_options() or None, "loss_type": args.loss_type}
    rows |= {field.name: getattr(args, field.name) for field in fields(args) if field.name.startswith("echo_")}
    lines = [f"| `{name}` | `{value}` |" for name, value in rows.items() if value is not None]
    return "\n".join(
        [
            "### EchoRL\n",
            "This model was trained with `EchoGRPOTrainer` of echorl (EchoRL, [arXiv 2605.31228]"
            f"(https://arxiv.org/abs/2605.31228)). EchoClips {role}.\n",
            "| setting | value |",
            "|---|---|",
            *lines,
            "",
        ]
    )

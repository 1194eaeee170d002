"""The refusal of ms-swift's training methods that EchoRL does not extend."""

from __future__ import annotations

from typing import Any


class OtherTrainer:
    """Stands for the trainers of all training methods but GRPO while `use_echo` is called in the plug-in file."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise ValueError(
            "use_echo extends `swift rlhf --rlhf_type grpo` alone, and this run has another training method: "
            "set --rlhf_type grpo, or take use_echo out of the plug-in file."
        )

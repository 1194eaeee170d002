"""The two ends of the warm start on products; the recipe that stands between them is warm-start.yaml.

    python recipes/cpu/rivals/products/make_policy.py start runs/rivals/products/start
    python recipes/cpu/rivals/products/make_policy.py finish runs/rivals/products/warm-start/checkpoint-600 FOLDER

"start" is the quickstart policy, whose tokenizer takes the new question's words whole: a question then has 12 tokens
instead of 90. The new pieces take the numbers of three that sums need and products don't. "finish" rounds the weights
to bfloat16, half the size on disk; they load as float32.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

from echorl.models import POLICY

INSTEAD = {
    "State the final answer to the following arithmetic problem: ": "Solve the following multiplication: ",
    " + ": " * ",
    " =": ". Give only the result as your final answer.",
}
"""A whole piece of the quickstart's tokenizer -> the piece that takes its number."""
PATTERN = r"Solve the following multiplication: |\. Give only the result as your final answer\.|#### | \* |\n|."


def start(folder: Path) -> None:
    """Copy the quickstart policy into the folder, which may be new, and exchange the pieces."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("config.json", "generation_config.json", "model.safetensors", "tokenizer_config.json"):
        shutil.copy(POLICY / name, folder / name)
    tokenizer = json.loads((POLICY / "tokenizer.json").read_text())
    vocabulary = tokenizer["model"]["vocab"]
    tokenizer["model"]["vocab"] = {INSTEAD.get(piece, piece): number for piece, number in vocabulary.items()}
    tokenizer["pre_tokenizer"]["pattern"]["Regex"] = PATTERN
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer, indent=2) + "\n")


def finish(checkpoint: Path, folder: Path) -> None:
    """Write a checkpoint's policy with weights in bfloat16."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.bfloat16)
    model.config.use_cache = True
    model.save_pretrained(folder)
    shutil.copy(checkpoint / "tokenizer.json", folder)
    shutil.copy(POLICY / "tokenizer_config.json", folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "dtype": "float32"}, indent=2) + "\n")


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["start", folder]:
            start(Path(folder))
        case ["finish", checkpoint, folder]:
            finish(Path(checkpoint), Path(folder))
        case _:
            sys.exit("give `start FOLDER` or `finish CHECKPOINT FOLDER`; the head of this file explains them")

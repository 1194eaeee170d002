"""FSDP2 without GPUs: accelerate offers it for devices only, so its processes on CPUs pass for such."""

import torch
from accelerate.state import PartialState
from accelerate.utils import DistributedType


def allow() -> None:
    """Let accelerate take each process for a device, with gloo between them; before arguments of a trainer exist."""
    PartialState._prepare_backend = lambda self, *args, **kwargs: ("gloo", DistributedType.MULTI_GPU)
    PartialState.set_device = lambda self: setattr(self, "device", torch.device("cpu"))

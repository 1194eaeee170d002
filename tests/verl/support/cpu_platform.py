"""A CPU as a platform of verl: it has none of its own. Chosen by VERL_PLATFORM=cpu; Ray is told of GPUs that aren't."""

from __future__ import annotations

import contextlib
import types

import torch
from verl.plugin.platform.platform_base import PlatformBase
from verl.plugin.platform.platform_manager import PlatformRegistry

DEVICE = types.ModuleType("echorl_cpu_device")


def zero(*args, **kwargs):
    return 0


def nothing(*args, **kwargs):
    return None


MEMORY = ("max_memory_allocated", "max_memory_reserved", "memory_allocated", "memory_reserved")
for name in (*MEMORY, "reset_peak_memory_stats", "current_device"):
    setattr(DEVICE, name, zero)
for name in ("synchronize", "empty_cache", "set_device", "ipc_collect"):
    setattr(DEVICE, name, nothing)
DEVICE.mem_get_info = lambda *args: (1 << 30, 1 << 30)
DEVICE.is_available = lambda: True
DEVICE.device_count = lambda: 1
DEVICE.get_device_name = lambda *args: "CPU"
DEVICE.get_rng_state = torch.get_rng_state
DEVICE.set_rng_state = torch.set_rng_state
DEVICE.manual_seed = DEVICE.manual_seed_all = torch.manual_seed


@PlatformRegistry.register(platform="cpu")
class PlatformCPU(PlatformBase):
    device_name = vendor_name = "cpu"
    device_module = DEVICE

    def is_available(self):
        return True

    def is_platform_available(self, use_smi_check=False):
        return False  # only if asked for

    def current_device(self):
        return torch.device("cpu")

    def device_count(self):
        return 1

    def set_device(self, index): ...

    def synchronize(self, index=None): ...

    def set_allocator_settings(self, settings): ...

    def empty_cache(self): ...

    def profiler_start(self): ...

    def profiler_stop(self): ...

    def cudart(self): ...

    def manual_seed(self, seed):
        torch.manual_seed(seed)

    def manual_seed_all(self, seed):
        torch.manual_seed(seed)

    def get_device_capability(self, index=0):
        return (None, None)

    def communication_backend_name(self):
        return "gloo"

    def visible_devices_envvar(self):
        return "CUDA_VISIBLE_DEVICES"

    def nvtx_range(self, message):
        return contextlib.nullcontext()

    def get_device_uuid(self, index):
        return "cpu"

    def ray_resource_name(self):
        return "GPU"

    def ray_resource_options(self, num_gpus):
        return {"num_gpus": num_gpus}

    def ray_noset_envvars(self):
        return ["RAY_EXPERIMENTAL_NOSET_CUDA_VISIBLE_DEVICES"]

    def is_ipc_supported(self):
        return False

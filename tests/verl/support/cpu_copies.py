"""verl keeps weights aside by `.cpu()`, which on a CPU copies nothing: they would follow those that are trained."""

from verl.utils import fsdp_utils

save = fsdp_utils.fsdp2_sharded_save_to_cpu


def save_copies(model):
    shards, spec = save(model)
    return {name: (shard.clone(), each) for name, (shard, each) in shards.items()}, spec


fsdp_utils.fsdp2_sharded_save_to_cpu = save_copies

"""TransferQueue in memory: the functions that verl's driver and EchoRL call, without Ray."""

from __future__ import annotations

import torch
from tensordict import NonTensorStack, TensorDict
from transfer_queue import KVBatchMeta

from tests.verl.batches import jagged


class Store:
    """partition -> key -> (fields, tag). A batch has those fields that all of its rows have, as in TransferQueue."""

    def __init__(self) -> None:
        self.rows = {}

    def kv_batch_put(self, keys, partition_id, fields=None, tags=None):
        partition = self.rows.setdefault(partition_id, {})
        for i, key in enumerate(keys):
            row, tag = partition.setdefault(key, ({}, {}))
            if fields is not None:
                found = fields[i]
                row.update({name: found[name] for name in fields.keys()})  # noqa: SIM118
            if tags is not None:
                tag.update(tags[i])
        return KVBatchMeta(
            keys=list(keys),
            tags=[partition[key][1] for key in keys],
            partition_id=partition_id,
            fields=self.common(keys, partition_id),
        )

    def kv_put(self, key, partition_id, fields=None, tag=None):
        return self.kv_batch_put([key], partition_id, fields, [tag])

    def common(self, keys, partition_id):
        names = [set(self.rows[partition_id][key][0]) for key in keys]
        return sorted(set.intersection(*names)) if names else []

    def kv_batch_get(self, keys, partition_id, select_fields=None):
        assert keys
        names = self.common(keys, partition_id)
        names = [name for name in names if select_fields is None or name in select_fields]
        columns = {name: [self.rows[partition_id][key][0][name] for key in keys] for name in names}
        tensors = {name: jagged(column) for name, column in columns.items() if isinstance(column[0], torch.Tensor)}
        others = {name: NonTensorStack(*column) for name, column in columns.items() if name not in tensors}
        return TensorDict(tensors | others, batch_size=len(keys))

    def kv_list(self, partition_id=None):
        return {name: {key: tag for key, (_, tag) in rows.items()} for name, rows in self.rows.items()}

    def kv_clear(self, keys, partition_id):
        assert keys
        for key in keys:
            del self.rows[partition_id][key]

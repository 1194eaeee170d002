"""DAPO's dynamic sampling: verl's replay buffers, which leave the groups that they drop for EchoRL to mine."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, TypeAlias

from transfer_queue import KVBatchMeta
from verl.trainer.ppo.v1.replay_buffer import ReplayBuffer, ReplayBufferAsync, _accumulate_eviction_metrics

if TYPE_CHECKING:
    Base: TypeAlias = ReplayBuffer
else:  # it stands before each of verl's two buffers
    Base = object


class Sparing(Base):
    """What both of verl's buffers do differently: the rollouts of a dropped group stay in TransferQueue.

    Attributes:
        dropped: each group dropped since the last `take_dropped`: its metric's value, its rollouts' keys and tags.
        missing: places of the last batch that no accepted group took, at the limit of prompts.
        standing_in: keys of the rollouts that stand for a batch of which no place was taken.
        max_num_gen_batches: of prompts for one batch, the first included; 0: no limit.
    """

    dropped: dict[str, tuple[float, dict[str, dict[str, Any]]]]
    missing: int
    standing_in: list[str]
    max_num_gen_batches: int

    def take_dropped(self) -> dict[str, dict[str, Any]]:
        """Keys and tags of the rollouts dropped since the last call. Who takes them clears them."""
        taken = {key: tag for _, rows in self.dropped.values() for key, tag in rows.items()}
        self.dropped = {}
        return taken

    def _evict_terminal_groups(
        self, global_steps: int, partition_id: str, eviction_reasons: tuple[set[str], set[str], set[str], Any]
    ) -> tuple[set[str], int, int, dict[str, Any]]:
        """Before verl's, which clears what it finds of the evicted groups: hide the rollouts of the uniform ones."""
        stale, uniform, failed, _ = eviction_reasons
        values, partition = self._dapo_classification_cache[partition_id], self.partitions[partition_id]
        for uid in uniform - stale - failed:
            self.dropped[uid] = (values[uid], {})
        for key in [key for key in partition if key.split("_")[0] in self.dropped]:
            self.dropped[key.split("_")[0]][1][key] = partition.pop(key)
        return super()._evict_terminal_groups(global_steps, partition_id, eviction_reasons)


class SparingReplayBuffer(Sparing, ReplayBuffer):
    """Sync: draws as many prompts as are missing, so that no accepted group is too many; verl draws twice as many."""

    def sample(self, global_steps: int, partition_id: str, batch_size: int) -> tuple[KVBatchMeta, dict[str, Any]]:
        """A batch of accepted groups: at the limit of prompts fewer than `batch_size`, for verl's padding rows to fill.

        Where none was accepted, the dropped group with the best metric stands for the batch, which cannot be empty.

        Raises:
            RuntimeError: no rollout at all was generated.
        """
        if partition_id == "val":
            return super().sample(global_steps, partition_id, batch_size)
        metrics: dict[str, Any] = {}
        ready = self._collect(global_steps, partition_id, batch_size, metrics)
        uids, rows, _ = self._select_prompt_uids(partition_id, ready, batch_size)
        self.missing, self.standing_in = batch_size - len(uids), []
        batch = self._materialize_batch(partition_id, uids, rows) if uids else self._stand_in(partition_id)
        if not len(batch):
            raise RuntimeError("no rollout was generated for this batch: every agent loop failed.")
        return batch, metrics

    def _collect(self, global_steps: int, partition_id: str, batch_size: int, metrics: dict[str, Any]) -> set[str]:
        """Ids of the accepted groups: `batch_size` of them, or fewer at the limit; nothing is being generated then."""
        limit = self.max_num_gen_batches or float("inf")
        budget, since = (limit - 1) * batch_size, time.time()
        while True:
            self._sync_metadata_from_transfer_queue()
            reasons = self._terminal_eviction_reasons(global_steps, partition_id)
            _, stale, _, found = self._evict_terminal_groups(global_steps, partition_id, reasons)
            _accumulate_eviction_metrics(metrics, found, stale)
            ready = self._sampleable_terminal_keys(partition_id, reasons)
            running = len(self.pending_keys[partition_id]) + len(self.running_keys[partition_id])
            drawn = int(min(batch_size - len(ready) - running, budget))
            if drawn > 0:
                self.refill_fn(drawn)
                budget -= drawn
            elif running == 0:
                return ready
            else:
                since = self._wait_for_next_poll(partition_id, since)

    def _stand_in(self, partition_id: str) -> KVBatchMeta:
        if not self.dropped:
            return KVBatchMeta(partition_id=partition_id)
        _, rows = self.dropped.pop(max(self.dropped, key=lambda uid: self.dropped[uid][0]))
        self.standing_in = list(rows)
        return KVBatchMeta(partition_id=partition_id, keys=list(rows), tags=list(rows.values()))


class SparingReplayBufferAsync(Sparing, ReplayBufferAsync):
    """Async: verl draws one prompt for each that it evicts, and keeps what is too many for the next batch."""


def spare_dropped(buffer: ReplayBuffer, max_num_gen_batches: int) -> Sparing:
    """The buffer that verl has built, as one that spares what it drops."""
    # verl chooses its class by name and gives settings to no other one, so the class is changed afterwards.
    buffer.__class__ = SparingReplayBufferAsync if isinstance(buffer, ReplayBufferAsync) else SparingReplayBuffer
    buffer.dropped, buffer.missing, buffer.standing_in = {}, 0, []
    buffer.max_num_gen_batches = max(0, max_num_gen_batches)
    return buffer

"""DAPO's dynamic sampling: verl's replay buffers, which keep the groups that they filter for EchoRL to mine."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, TypeAlias

from transfer_queue import KVBatchMeta
from verl.trainer.ppo.v1.replay_buffer import ReplayBuffer, ReplayBufferAsync, _accumulate_eviction_metrics

if TYPE_CHECKING:
    Base: TypeAlias = ReplayBuffer
else:  # the next class is one of verl's two buffers
    Base = object


class KeepsFiltered(Base):
    """The change to verl's two buffers: the rollouts of a filtered group stay in TransferQueue.

    Attributes:
        filtered: each group filtered since the last `take_filtered`: its metric's value, its rollouts' keys and tags.
        missing: places of the last batch without an accepted group, at the limit of prompts.
        standing_in: keys of the rollouts that make up a batch without an accepted group.
        max_num_gen_batches: batches of prompts for one batch, the first included; 0: no limit.
    """

    filtered: dict[str, tuple[float, dict[str, dict[str, Any]]]]
    missing: int
    standing_in: list[str]
    max_num_gen_batches: int

    def take_filtered(self) -> dict[str, dict[str, Any]]:
        """Return keys and tags of the rollouts filtered since the last call; the caller clears them."""
        taken = {key: tag for _, rows in self.filtered.values() for key, tag in rows.items()}
        self.filtered = {}
        return taken

    def _evict_terminal_groups(
        self, global_steps: int, partition_id: str, eviction_reasons: tuple[set[str], set[str], set[str], Any]
    ) -> tuple[set[str], int, int, dict[str, Any]]:
        """Hide the rollouts of uniform groups from verl's method, which clears those of every evicted group."""
        stale, uniform, failed, _ = eviction_reasons
        values, partition = self._dapo_classification_cache[partition_id], self.partitions[partition_id]
        for uid in uniform - stale - failed:
            self.filtered[uid] = (values[uid], {})
        for key in [key for key in partition if key.split("_")[0] in self.filtered]:
            self.filtered[key.split("_")[0]][1][key] = partition.pop(key)
        return super()._evict_terminal_groups(global_steps, partition_id, eviction_reasons)


class KeepingReplayBuffer(KeepsFiltered, ReplayBuffer):
    """The buffer of sync mode. It draws as many prompts as are missing, so that every accepted group is used.

    verl's draws twice as many.
    """

    def sample(self, global_steps: int, partition_id: str, batch_size: int) -> tuple[KVBatchMeta, dict[str, Any]]:
        """Return a batch of accepted groups; at the limit of prompts fewer than `batch_size`: verl pads it.

        Where no group was accepted, the batch is the filtered group with the best metric, since it cannot be empty.

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
            raise RuntimeError("no rollout was generated for this batch: all agent loops failed, see their log.")
        return batch, metrics

    def _collect(self, global_steps: int, partition_id: str, batch_size: int, metrics: dict[str, Any]) -> set[str]:
        """Return the ids of `batch_size` accepted groups, or of fewer at the limit, when nothing is being generated."""
        limit = self.max_num_gen_batches or float("inf")
        budget, since = (limit - 1) * batch_size, time.time()
        while True:
            self._sync_metadata_from_transfer_queue()
            reasons = self._terminal_eviction_reasons(global_steps, partition_id)
            _, stale, _, evicted = self._evict_terminal_groups(global_steps, partition_id, reasons)
            _accumulate_eviction_metrics(metrics, evicted, stale)
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
        if not self.filtered:
            return KVBatchMeta(partition_id=partition_id)
        _, rows = self.filtered.pop(max(self.filtered, key=lambda uid: self.filtered[uid][0]))
        self.standing_in = list(rows)
        return KVBatchMeta(partition_id=partition_id, keys=list(rows), tags=list(rows.values()))


class KeepingReplayBufferAsync(KeepsFiltered, ReplayBufferAsync):
    """The buffer of the asynchronous modes: verl draws a prompt for each that it evicts, and keeps the surplus."""


def keep_filtered(buffer: ReplayBuffer, max_num_gen_batches: int) -> KeepsFiltered:
    """Return the buffer that verl has built, changed to keep the groups that it filters."""
    # verl chooses its class by name and gives settings to no other one, so the class is changed afterwards.
    buffer.__class__ = KeepingReplayBufferAsync if isinstance(buffer, ReplayBufferAsync) else KeepingReplayBuffer
    buffer.filtered, buffer.missing, buffer.standing_in = {}, 0, []
    buffer.max_num_gen_batches = max(0, max_num_gen_batches)
    return buffer

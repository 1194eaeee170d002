"""Groups that dynamic sampling filtered: mined with the batch, and kept out of the policy loss.

Only rollouts that hold a clip take part in the update, cut at its end, in equal shares on every rank and mini-batch,
with an empty response mask, like verl's padding rows. So the policy gradient of each optimiser step is the same as
without them.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
import transfer_queue as tq
from tensordict import TensorDict
from torch import Tensor
from transfer_queue import KVBatchMeta
from verl.utils.tensordict_utils import list_of_dict_to_tensordict

from echorl.core.groups import Groups
from echorl.verl.batch import FIELDS, Batch, read_batch
from echorl.verl.loss import WEIGHTS
from echorl.verl.settings import EchoSettings

if TYPE_CHECKING:  # its import loads the trainers, which import this module
    from echorl.verl.dynamic_sampling import KeepsFiltered

MASKS = ("response_mask", "loss_mask")
PARTITION = "train"
SIZES = "echo_sizes"


@dataclass
class FilteredGroups:
    """The groups that were filtered while one batch was sampled; empty where there were none.

    Attributes:
        batch: rollouts of groups with a success, which may give a clip; with verl's padding rows.
        without_success: the other groups, and the response tokens of their rollouts: for the group statistics alone.
        missing: places of verl's batch without an accepted group.
        standing_in: keys of the filtered group's rollouts that make up verl's batch, where it would be empty.
        clips: (key, weights float32 [L]) of the rollouts in `batch` that hold a clip, up to its end.
        made: keys of the rows that were written for the update.
    """

    batch: KVBatchMeta = field(default_factory=KVBatchMeta)
    without_success: tuple[Groups, Tensor] | None = None
    missing: int = 0
    standing_in: list[str] = field(default_factory=list)
    clips: list[tuple[str, Tensor]] = field(default_factory=list)
    made: list[str] = field(default_factory=list)

    @property
    def num_without_success(self) -> int:
        """Groups without a success."""
        return len(self.without_success[0]) if self.without_success else 0

    def all_groups(self, scored: Batch, keys: Sequence[str]) -> tuple[Groups, Tensor, Tensor]:
        """Return all groups of the step, response tokens of their rollouts [N], and bool [G], which were filtered.

        Args:
            scored: rollouts of verl's batch and of `batch`.
            keys: of the rows that these were read from.
        """
        filtered_keys = {*self.standing_in, *self.batch.keys}
        groups, lengths = scored.rollouts.groups, scored.num_tokens
        filtered = groups.sum(torch.tensor([keys[row] in filtered_keys for row in scored.rows.tolist()])) > 0
        if self.without_success is None:
            return groups, lengths, filtered
        failed, tokens = self.without_success
        joined = Groups(
            kind=torch.cat([groups.kind, failed.kind]),
            degenerate=torch.cat([groups.degenerate, failed.degenerate]),
            index=torch.cat([groups.index, failed.index + len(groups)]),
        )
        return joined, torch.cat([lengths, tokens]), torch.cat([filtered, torch.ones_like(failed.degenerate)])

    def complete(self, like: KVBatchMeta) -> None:
        """Add zeros for the fields that so far only verl's batch has, such as advantages and reference log-probs.

        Rewards after the KL penalty are the rewards, since filtered groups have no reference log-probs.
        """
        missing = sorted(set(like.fields or []) - set(self.batch.fields or []))
        if not len(self.batch) or not missing:
            return
        scores = self._get(self.batch.keys, ["rm_scores"])["rm_scores"]
        fields = dict.fromkeys(missing, torch.zeros_like(scores))
        if "token_level_rewards" in missing:
            fields["token_level_rewards"] = scores
        self._put(self.batch.keys, TensorDict(fields, batch_size=len(self.batch)))

    def keep_clips(self, scored: Batch, weights: Tensor, first: int) -> None:
        """Keep the clips (`weights` [N, T]) of the rows from `first` on, which are those of `batch`."""
        for row, clip in zip(scored.rows.tolist(), weights, strict=True):
            if row >= first and clip.any():
                self.clips.append((self.batch.keys[row - first], clip[: int(clip.nonzero().max()) + 1]))

    def join(self, batch: KVBatchMeta, *, num_ranks: int, num_mini_batches: int) -> KVBatchMeta:
        """Return verl's batch with the rows that hold a clip, as many in each mini-batch of each rank, and `SIZES`."""
        sent = self._with_clips(batch, num_ranks * num_mini_batches) if self.clips else batch
        sent.extra_info[SIZES] = {"mini_batch_size": len(sent) // num_mini_batches}
        accepted = sum(not tag.get("is_padding", False) for tag in batch.tags)
        if self.missing and not self.standing_in:
            # The divisor of verl's means over rows, without the padding rows in the empty places.
            sent.extra_info[SIZES]["global_batch_size"] = accepted / num_mini_batches
        return sent

    def _with_clips(self, batch: KVBatchMeta, num_shares: int) -> KVBatchMeta:
        names = [name for name in batch.fields if name != WEIGHTS]
        data = self._get([key for key, _ in self.clips], names)
        pairs = zip(data, self.clips, strict=True)
        rows = [cut({name: row[name] for name in names}, weights) for row, (_, weights) in pairs]
        rows.sort(key=lambda row: len(row["input_ids"]), reverse=True)
        rows += [{**rows[-1], WEIGHTS: torch.zeros_like(rows[-1][WEIGHTS])}] * (-len(rows) % num_shares)
        name = f"echo{uuid.uuid4().hex}"
        self.made = [f"{name}_{i}_0" for i in range(len(rows))]
        tags = [{"is_padding": True, "seq_len": len(row["input_ids"])} for row in rows]
        self._put(self.made, list_of_dict_to_tensordict(rows), tags)
        keys = interleave(batch.keys, self.made, num_shares)
        tag_of = dict(zip([*batch.keys, *self.made], [*batch.tags, *tags], strict=True))
        return KVBatchMeta(
            keys=keys,
            tags=[tag_of[key] for key in keys],
            partition_id=batch.partition_id,
            fields=batch.fields,
            extra_info=batch.extra_info,
        )

    @contextmanager
    def masked(self) -> Iterator[None]:
        """Keep the rows of a batch without accepted groups out of the policy loss, the entropy bonus and the KL."""
        if not self.standing_in:
            yield
            return
        masks = self._get(self.standing_in, list(MASKS)).select(*MASKS)
        self._put(self.standing_in, masks.apply(torch.zeros_like))
        try:
            yield
        finally:
            self._put(self.standing_in, masks)

    def clear(self) -> None:
        """Remove the rows from TransferQueue; verl removes those of its batch."""
        if keys := [*self.batch.keys, *self.made]:
            tq.kv_clear(keys=keys, partition_id=PARTITION)
        self.batch, self.clips, self.made = KVBatchMeta(), [], []

    def _get(self, keys: Sequence[str], names: list[str]) -> TensorDict:
        return tq.kv_batch_get(keys=list(keys), partition_id=PARTITION, select_fields=names)

    def _put(self, keys: Sequence[str], fields: TensorDict, tags: list[dict[str, Any]] | None = None) -> None:
        tq.kv_batch_put(keys=list(keys), partition_id=PARTITION, fields=fields, tags=tags)


def read_filtered(buffer: KeepsFiltered, settings: EchoSettings) -> FilteredGroups:
    """Return the groups filtered for the last batch; those without a success are cleared from TransferQueue."""
    rows = buffer.take_filtered()
    places: dict[str, Any] = {"missing": buffer.missing, "standing_in": buffer.standing_in}
    if not rows:
        return FilteredGroups(**places)
    data = tq.kv_batch_get(keys=list(rows), partition_id=PARTITION, select_fields=list(FIELDS))
    scored = read_batch(data, list(rows.values()), settings)
    groups, num_success = scored.rollouts.groups, scored.rollouts.num_success
    without_success = num_success == 0
    failed = without_success[groups.index]
    keys = [key for key, has_failed in zip(rows, failed.tolist(), strict=True) if not has_failed]
    batch = KVBatchMeta(partition_id=PARTITION, keys=keys, tags=[rows[key] for key in keys])
    if not failed.any():
        return FilteredGroups(batch=batch, **places)
    tq.kv_clear(keys=sorted(set(rows) - set(keys)), partition_id=PARTITION)
    without = Groups(
        kind=groups.kind[without_success],
        degenerate=groups.degenerate[without_success],
        index=(without_success.cumsum(0) - 1)[groups.index[failed]],
    )
    return FilteredGroups(batch=batch, without_success=(without, scored.num_tokens[failed]), **places)


def cut(row: dict[str, Any], weights: Tensor) -> dict[str, Any]:
    """Return a rollout's fields up to the end of its clip (`weights` [L]), with empty masks and the weights.

    A field of the response's length covers the response, one of the total length prompt and response.
    """
    num_prompt, num_response, kept = len(row["prompts"]), len(row["responses"]), len(weights)
    fields: dict[str, Any] = {}
    for name, value in row.items():
        if name == "prompts" or not isinstance(value, Tensor) or value.dim() == 0:
            fields[name] = value
        elif name == "position_ids":  # [..., tokens]
            fields[name] = value[..., : num_prompt + kept]
        elif len(value) in (num_response, num_prompt + num_response):
            fields[name] = value[: len(value) - num_response + kept]
        else:
            fields[name] = value
    return {**fields, **{name: torch.zeros_like(fields[name]) for name in MASKS}, WEIGHTS: weights}


def interleave(keys: Sequence[str], added: Sequence[str], num_shares: int) -> list[str]:
    """Return `keys` in `num_shares` equal pieces, each followed by its share of `added`. Both must divide evenly.

    >>> interleave(["a", "b", "c", "d"], ["x", "y"], 2)
    ['a', 'b', 'x', 'c', 'd', 'y']
    """
    size, shares = len(keys) // num_shares, []
    for share in range(num_shares):
        shares += [*keys[share * size : (share + 1) * size], *added[share::num_shares]]
    return shares


def with_sizes(update: Callable[[KVBatchMeta], Any]) -> Callable[[KVBatchMeta], Any]:
    """Return the workers' `update` with the sizes that the batch carries in place of those that verl has just set."""

    def call(batch: KVBatchMeta) -> Any:
        batch.extra_info.update(batch.extra_info.pop(SIZES, {}))
        return update(batch)

    return call

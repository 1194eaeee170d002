"""verl's batch as the core's `Rollouts`, and the weights back in verl's form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from tensordict import TensorDict
from torch import Tensor
from verl.utils import tensordict_utils as tu

from echorl.core.rollouts import Rollouts
from echorl.verl.settings import EchoSettings

FIELDS = ("uid", "responses", "response_mask", "rm_scores", "entropy", "token_level_rewards", "extra_fields")


@dataclass(frozen=True, eq=False)
class Batch:
    """A batch of verl without padding rows: N rollouts of T tokens at most.

    Attributes:
        rollouts: all N; the driver holds those of every rank.
        verdicts: float [N], the rewards that decide on success; NaN where there is none.
        scored_entropy: [N, T] token entropies in nats at the sampling temperature; None where no pass gave them.
        rows: int64 [N], their rows in verl's batch of `num_rows`.
        offsets: int64 [num_rows + 1], where each response of verl's batch starts in its flat values.
    """

    rollouts: Rollouts
    verdicts: Tensor
    scored_entropy: Tensor | None
    rows: Tensor
    offsets: Tensor

    @property
    def entropy(self) -> Tensor:
        """[N, T] token entropies.

        Raises:
            RuntimeError: no pass gave them.
        """
        if self.scored_entropy is None:
            raise RuntimeError(
                "verl's old-log-prob pass left no field 'entropy', so EchoRL has nothing to rank steps by."
            )
        return self.scored_entropy

    @property
    def num_tokens(self) -> Tensor:
        """int64 [N]: tokens of each rollout in the loss."""
        return self.rollouts.in_loss.sum(1)

    def to_nested(self, weights: Tensor, num_rows: int) -> Tensor:
        """Return weights [N, T] as verl's jagged tensor over the first `num_rows` rows; padding rows have none."""
        offsets = self.offsets[: num_rows + 1]
        rows = weights.new_zeros(self.offsets.numel() - 1, weights.shape[1])
        rows[self.rows] = weights
        in_response = torch.arange(weights.shape[1]) < offsets.diff().unsqueeze(1)
        return torch.nested.nested_tensor_from_jagged(rows[:num_rows][in_response], offsets=offsets)


def read_batch(data: TensorDict, tags: Sequence[Mapping[str, Any]], settings: EchoSettings) -> Batch:
    """Return the batch of verl's fields (`FIELDS`, those that exist; jagged) and tags, one a row.

    Raises:
        ValueError: `success_key` is not among what the reward function returned.
    """
    rows = torch.tensor([i for i, tag in enumerate(tags) if not tag.get("is_padding", False)], dtype=torch.int64)
    rewards = _padded(data, "rm_scores", rows).sum(1)
    verdicts = rewards if settings.success_key is None else _named_verdicts(data, rows, settings.success_key)
    uids = np.asarray(tu.get(data, "uid"), dtype=object)[rows.numpy()].astype(str)
    rollouts = Rollouts.build(
        rewards=_padded(data, "token_level_rewards", rows).sum(1) if "token_level_rewards" in data else rewards,
        success=verdicts >= settings.echo.success_reward,
        has_verdict=~verdicts.isnan(),
        group_ids=torch.from_numpy(np.unique(uids, return_inverse=True)[1].reshape(-1)),
        token_ids=_padded(data, "responses", rows),
        in_loss=_padded(data, "response_mask", rows).bool(),
    )
    entropy = _padded(data, "entropy", rows) if "entropy" in data else None
    return Batch(
        rollouts=rollouts,
        verdicts=verdicts,
        scored_entropy=entropy,
        rows=rows,
        offsets=data["responses"].offsets(),
    )


def _padded(data: TensorDict, name: str, rows: Tensor) -> Tensor:
    return data[name].to_padded_tensor(0)[rows]


def _named_verdicts(data: TensorDict, rows: Tensor, key: str) -> Tensor:
    """Return float32 [N], the value that the reward function returned under `key`; NaN for None."""
    infos = [tu.get(data, "extra_fields")[i].get("reward_extra_info", {}) for i in rows.tolist()]
    for info in infos:
        if key not in info:
            names = ", ".join(sorted(info)) or "nothing but the score"
            raise ValueError(f"+echo.success_key={key} is not returned by the reward function, which returns {names}.")
    return torch.tensor([float("nan") if info[key] is None else float(info[key]) for info in infos])

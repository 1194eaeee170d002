"""verl's batch in the shapes that `echorl.core` works on, and the weights back in verl's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from tensordict import TensorDict
from torch import Tensor
from verl.utils import tensordict_utils as tu

from echorl.core.groups import Groups, classify_groups
from echorl.verl.settings import EchoSettings

FIELDS = ("uid", "responses", "response_mask", "rm_scores", "entropy", "token_level_rewards", "extra_fields")


@dataclass(frozen=True, eq=False)
class Rollouts:
    """The rollouts of a batch without verl's padding rows: N of them, T tokens at most.

    Attributes:
        rows: int64 [N], their rows in verl's batch of `num_rows`.
        token_ids: int64 [N, T].
        mask: bool [N, T], true on the policy's own tokens that verl's loss counts.
        entropy: [N, T] token entropies in nats at the sampling temperature; None where no pass gave them.
        success, scored: bool [N], the verdict, and false where there is none.
        groups: int64 [N], equal for the rollouts of one prompt.
        kinds: the groups by kind.
        offsets: int64 [num_rows + 1], where each response of verl's batch starts in its flat values.
    """

    rows: Tensor
    token_ids: Tensor
    mask: Tensor
    entropy: Tensor | None
    success: Tensor
    scored: Tensor
    groups: Tensor
    kinds: Groups
    offsets: Tensor

    @property
    def num_groups(self) -> int:
        return self.kinds.kind.numel()

    def to_nested(self, weights: Tensor, num_rows: int) -> Tensor:
        """Weights [N, T] as verl's jagged tensor over the first `num_rows` rows; padding rows have none."""
        offsets = self.offsets[: num_rows + 1]
        everyone = weights.new_zeros(self.offsets.numel() - 1, weights.shape[1])
        everyone[self.rows] = weights
        inside = torch.arange(weights.shape[1]) < offsets.diff().unsqueeze(1)
        return torch.nested.nested_tensor_from_jagged(everyone[:num_rows][inside], offsets=offsets)


def read_rollouts(data: TensorDict, tags: Sequence[Mapping[str, Any]], settings: EchoSettings) -> Rollouts:
    """Rollouts from verl's fields (`FIELDS`, those that exist; jagged) and tags, one a row.

    Raises:
        ValueError: `success_key` is not among what the reward function returned.
    """
    rows = torch.tensor([i for i, tag in enumerate(tags) if not tag.get("is_padding", False)], dtype=torch.int64)
    rewards = _padded(data, "rm_scores", rows).sum(1)
    verdicts = rewards if settings.success_key is None else _named_verdicts(data, rows, settings.success_key)
    scored = ~verdicts.isnan()
    success = scored & (verdicts >= settings.echo.success_reward)
    uids = np.asarray(tu.get(data, "uid"), dtype=object)[rows.numpy()].astype(str)
    groups = torch.from_numpy(np.unique(uids, return_inverse=True)[1].reshape(-1))
    compared = _padded(data, "token_level_rewards", rows).sum(1) if "token_level_rewards" in data else rewards
    return Rollouts(
        rows=rows,
        token_ids=_padded(data, "responses", rows),
        mask=_padded(data, "response_mask", rows).bool(),
        entropy=_padded(data, "entropy", rows) if "entropy" in data else None,
        success=success,
        scored=scored,
        groups=groups,
        kinds=classify_groups(success, scored, compared, groups),
        offsets=data["responses"].offsets(),
    )


def _padded(data: TensorDict, name: str, rows: Tensor) -> Tensor:
    return data[name].to_padded_tensor(0)[rows]


def _named_verdicts(data: TensorDict, rows: Tensor, key: str) -> Tensor:
    """float32 [N]: what the reward function returned under `key`, NaN for None."""
    infos = [tu.get(data, "extra_fields")[i].get("reward_extra_info", {}) for i in rows.tolist()]
    for info in infos:
        if key not in info:
            names = ", ".join(sorted(info)) or "nothing but the score"
            raise ValueError(f"+echo.success_key={key} is not returned by the reward function; there is: {names}.")
    return torch.tensor([float("nan") if info[key] is None else float(info[key]) for info in infos])

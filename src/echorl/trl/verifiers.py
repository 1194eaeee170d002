"""Success from the rewards of the named verifiers, never from the weighted sum of all reward functions."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from echorl.core.rollouts import Rollouts
from echorl.core.verdicts import check_finite, resolve_verifiers, total_reward, verdicts
from echorl.methods import Method
from echorl.tasks.base import as_numbers
from echorl.trl.batch import Capture
from echorl.trl.context import Context


class Verifiers:
    """The reward functions of a run, and the columns of those that verify.

    Args:
        functions, names: TRL's reward functions and their names.
        weights: float [F], of the functions.
        columns: of the functions that verify; None where none is named and none is needed.
        success_reward: a rollout succeeds from this reward of its verifiers on.
        punishment: the column of the overlong punishment; None without one.
        loop: the event loop of asynchronous functions, if there are any.
    """

    def __init__(
        self,
        functions: Sequence[Any],
        names: Sequence[str],
        weights: Tensor,
        columns: list[int] | None,
        success_reward: float,
        *,
        punishment: int | None = None,
        loop: Any = None,
    ) -> None:
        self.functions, self.names, self.weights = functions, names, weights
        self.columns, self.success_reward = columns, success_reward
        self.punishment, self.loop = punishment, loop

    def read(self, out: dict[str, Any], capture: Capture, context: Context) -> Rollouts:
        """Return the rollouts of TRL's batch, with their verdicts and groups."""
        comm, args, rewards = context.comm, context.args, capture.rewards
        success, has_verdict = verdicts(rewards, self.columns or [], self.success_reward)
        size = out["completion_ids"].shape[0]
        masks_truncated = args.mask_truncated_completions
        return Rollouts.build(
            rewards=self.total(rewards),
            success=success,
            has_verdict=has_verdict,
            group_ids=torch.arange(len(success), device=success.device) // args.num_generations,
            token_ids=out["completion_ids"],
            in_loss=tokens_in_loss(out),
            from_policy=comm.gather(capture.plan.from_policy(size, comm.device)),
            local=slice(comm.rank * size, (comm.rank + 1) * size),
            compared=self._compared(rewards, args.multi_objective_aggregation),
            kept=comm.gather(out["completion_mask"].any(1)) if masks_truncated else None,
        )

    def total(self, rewards: Tensor) -> Tensor:
        """Return the weighted sums [N] of the functions' rewards [N, F]; NaN where every function returned None."""
        return total_reward(rewards, self.weights)

    def _compared(self, rewards: Tensor, aggregation: str) -> Tensor:
        """Return the rewards [N] or [N, F'], NaN for None, that differ within a group with a policy gradient."""
        if aggregation != "sum_then_normalize":  # every function is normalised by itself
            return rewards[:, self.weights.to(rewards.device) != 0]
        return self.total(rewards)

    def check(self, rewards: Tensor) -> Tensor:
        """Return the functions' rewards [N, F], without a punishment where it is the rollout's only reward.

        Raises:
            ValueError: as `check_finite`.
        """
        check_finite(rewards, self.names)
        if self.punishment is None:
            return rewards
        is_punishment = torch.arange(rewards.shape[1], device=rewards.device) == self.punishment
        has_reward = ~rewards[:, ~is_punishment].isnan().all(1, keepdim=True)
        return rewards.where(has_reward | ~is_punishment, torch.nan)

    def check_functions(self, context: Context) -> None:
        """Check that the verifiers can be called for some completions alone.

        Raises:
            ValueError: one is a reward model.
        """
        for column in self.columns or []:
            if isinstance(self.functions[column], torch.nn.Module):
                raise ValueError(
                    f"the verifier {self.names[column]!r} is a reward model, and method={context.args.method!r} asks "
                    "verifiers about single completions: name a reward function in echo_success_reward_func."
                )

    def verify(
        self, examples: list[dict[str, Any]], completions: list[Any], ids: list[list[int]], context: Context
    ) -> tuple[Tensor, Tensor]:
        """Return bool [n] twice, success and whether there is a verdict, of completions that get no reward.

        Raises:
            ValueError: a verifier returned something that is no number, or too few of them.
        """
        columns: dict[str, Any] = {
            key: [example[key] for example in examples] for key in examples[0] if key not in ("prompt", "completion")
        }
        columns |= {"prompts": [example["prompt"] for example in examples]}
        columns |= {"completions": completions, "completion_ids": ids}
        columns |= {"trainer_state": context.state, "log_extra": _ignore, "log_metric": _ignore}
        verified = [self._verify(column, columns, len(examples)) for column in self.columns or []]
        return verdicts(
            torch.stack(verified, 1).to(context.comm.device), list(range(len(verified))), self.success_reward
        )

    def _verify(self, column: int, columns: dict[str, Any], size: int) -> Tensor:
        """Return float32 [size], the rewards of one verifier; NaN for None."""
        returned: Any = self.functions[column](**columns)
        if inspect.isawaitable(returned):
            returned = asyncio.run_coroutine_threadsafe(returned, self.loop).result()  # type: ignore[arg-type]
        values = [torch.nan if value is None else value for value in as_numbers(returned)]
        if len(values) != size:
            raise ValueError(
                f"reward function {self.names[column]!r} returned {len(values)} rewards for {size} completions: "
                "return one for each."
            )
        rewards = torch.tensor(values, dtype=torch.float32)
        check_finite(rewards.unsqueeze(1), [self.names[column]])
        return rewards


def _ignore(*args: Any) -> None:
    """Replace TRL's logging of what a reward function reports of rollouts: these completions are none."""


def tokens_in_loss(out: dict[str, Any]) -> Tensor:
    """Return bool [B, T], the policy's own tokens that TRL's loss counts."""
    mask = out["completion_mask"] * out["tool_mask"] if "tool_mask" in out else out["completion_mask"]
    ratio = out.get("importance_sampling_ratio")
    if ratio is not None and ratio.shape[1] == 1:  # rows that the sequence-level correction has set to zero
        mask = mask * (ratio != 0)
    return mask.bool()


def make_verifiers(
    functions: Sequence[Any],
    names: Sequence[str],
    weights: Tensor,
    *,
    method: Method,
    args: Any,
    punishment: int | None,
    loop: Any,
) -> Verifiers:
    """Return the verifiers of a run.

    Raises:
        ValueError: as `resolve_verifiers`, unless neither a name is given nor a verdict needed.
    """
    verifying = args.success_reward_func_names()
    if not verifying:
        candidates = [name for column, name in enumerate(names) if column != punishment]
        verifying = candidates[: len(candidates) == 1]
    needed = args.echo_config().mines or args.max_rollout_tokens or method.needs_verdicts
    undecided = not verifying and len(names) > 1 and not needed
    columns = None if undecided else resolve_verifiers(verifying, list(names))
    return Verifiers(functions, names, weights, columns, args.echo_success_reward, punishment=punishment, loop=loop)

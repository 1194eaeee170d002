"""verl's three PPO trainers with EchoRL: each method wraps verl's method of the same name, and none is copied."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from functools import partial, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import transfer_queue as tq
from omegaconf import DictConfig, open_dict
from tensordict import TensorDict
from torch import Tensor
from transfer_queue import KVBatchMeta
from verl.trainer.ppo.padding_utils import upsample_batch_to_divisible_size
from verl.trainer.ppo.v1.replay_buffer import ReplayBuffer
from verl.trainer.ppo.v1.trainer_base import PPOTrainer, register_trainer
from verl.trainer.ppo.v1.trainer_colocate_async import PPOTrainerColocateAsync
from verl.trainer.ppo.v1.trainer_separate_async import PPOTrainerSeparateAsync
from verl.trainer.ppo.v1.trainer_sync import PPOTrainerSync
from verl.utils.config import omega_conf_to_dataclass
from verl.workers.utils.losses import ppo_loss

from echorl.core.config import EchoConfig
from echorl.core.losses import check_delivered, weight_mass
from echorl.core.miner import EchoMiner
from echorl.core.mining import EchoClips
from echorl.core.statistics import GroupStatistics, audit_line
from echorl.core.steps import StepDelimiters
from echorl.verl.batch import FIELDS, Batch, read_batch
from echorl.verl.dynamic_sampling import keep_filtered
from echorl.verl.filtered import FilteredGroups, read_filtered, with_sizes
from echorl.verl.loss import COEF, COUNT, WEIGHTS, EchoLoss
from echorl.verl.settings import PREFIX, check_run, filters_groups, plain_verl, read_settings
from echorl.verl.versions import check_verl_version

STATE_FILE = "echorl.json"
DUMPED = ("echo_success", "echo_clip", "echo_clip_tokens", "echo_clip_entropy")
"""Columns in verl's dump of rollouts."""

if TYPE_CHECKING:
    Base: TypeAlias = PPOTrainer
else:  # the next class is one of verl's three trainers
    Base = object


class EchoTrainer(Base):
    """EchoRL's part of the three trainers; `mode` is verl's name of the trainer that it extends."""

    mode: str

    def __init__(self, config: DictConfig) -> None:
        """Read and check the settings, before verl starts anything."""
        check_verl_version()
        self.settings = read_settings(config)
        check_run(config, self.settings)
        with open_dict(config):  # verl compares with its names, for one to choose the replay buffer
            config.trainer.v1.trainer_mode = self.mode
        print(self.settings.line(), flush=True)
        self.statistics = GroupStatistics()
        self.miner = EchoMiner(self.echo, None)
        self.mined_mass = 0.0
        self.warned = False
        self.dumped: dict[str, dict[str, Any]] = {}
        self.filtered = FilteredGroups()
        self.keeps_filtered = self.echo.mines and filters_groups(config)
        super().__init__(config)

    @property
    def echo(self) -> EchoConfig:
        return self.settings.echo

    def _build_replay_buffer(self) -> ReplayBuffer:
        """Build verl's buffer; under dynamic sampling it keeps the filtered groups, which EchoRL mines."""
        buffer = super()._build_replay_buffer()
        if not self.keeps_filtered:
            return buffer
        return keep_filtered(buffer, self.config.algorithm.filter_groups.get("max_num_gen_batches", 0))

    def _setup(self) -> None:
        """Give the workers EchoRL's loss once verl has built them; with `coef` 0 they keep verl's."""
        super()._setup()
        if self.echo.mines:
            self.miner.delimiters = StepDelimiters.from_tokenizer(self.tokenizer)
            self.equip_workers()

    def equip_workers(self) -> None:
        """Give the workers EchoRL's loss and, under dynamic sampling, the mini-batch size that a batch carries."""
        self.actor_rollout_wg.set_loss_fn(EchoLoss(self.policy_loss()))
        if self.keeps_filtered:
            self.actor_rollout_wg.update_actor = with_sizes(self.actor_rollout_wg.update_actor)

    def policy_loss(self) -> Callable[..., Any]:
        """Return the loss that EchoRL's term is added to, which is verl's own; override it to use another."""
        return partial(ppo_loss, config=omega_conf_to_dataclass(self.config.actor_rollout_ref.actor))

    @property
    def _num_ranks(self) -> int:
        """Data-parallel ranks of the actor; verl's `_balance_batch` asks for them in the same way."""
        return max(self.actor_rollout_wg._dispatch_info["actor"]) + 1

    def _compute_advantage(self, batch: KVBatchMeta, metrics: dict[str, Any]) -> KVBatchMeta:
        """Record the group statistics and mine, after verl's method, which may take tokens out of the response mask.

        Returns the batch with the new field in its list, by which the workers fetch fields.
        """
        batch = super()._compute_advantage(batch, metrics)
        self.filtered.complete(batch)
        keys, tags = [*batch.keys, *self.filtered.batch.keys], [*batch.tags, *self.filtered.batch.tags]
        data = tq.kv_batch_get(keys=keys, partition_id=batch.partition_id, select_fields=list(FIELDS))
        scored = read_batch(data, tags, self.settings)
        self._record(scored, keys, metrics)
        return self._mine(batch, scored, metrics) if self.echo.mines else batch

    def _record(self, scored: Batch, keys: list[str], metrics: dict[str, Any]) -> None:
        groups, lengths, filtered = self.filtered.all_groups(scored, keys)
        metrics.update(groups.record(self.statistics, lengths, filtered))
        metrics["echo/without_policy_gradient"] = float((groups.degenerate | filtered).all())
        if self.keeps_filtered:
            metrics["echo/filtered"] = float(filtered.sum())
            metrics["echo/missing"] = float(self.filtered.missing)
        self._warn_of_no_success(scored.verdicts[~scored.verdicts.isnan()])

    def _warn_of_no_success(self, rewards: Tensor) -> None:
        """Print once that the verifier's rewards differ and none has been a success: nothing can be learned."""
        if self.warned or not self.echo.mines or not len(rewards):
            return
        least, largest = rewards.aminmax()
        text = self.statistics.unreached(float(least), float(largest), self.echo.success_reward, "+echo.success_reward")
        if text is not None:
            self.warned = True
            print(f"WARNING: {text}", flush=True)

    def _mine(self, batch: KVBatchMeta, scored: Batch, metrics: dict[str, Any]) -> KVBatchMeta:
        mined = self.miner(scored.rollouts, scored.entropy, draw=self._updates_before)
        # verl's loggers reduce a metric with "max", "min", "sum", "total" or "mean" in its name accordingly over the
        # updates of a step; these names have none of them, so they are averaged.
        metrics.update(self.miner.metrics(scored.rollouts, scored.entropy, mined))
        weights = mined.clips.weights
        self._keep_for_dump(batch.keys, scored, mined.clips)
        self.filtered.keep_clips(scored, weights, first=len(batch))
        fields = TensorDict({WEIGHTS: scored.to_nested(weights, len(batch))}, batch_size=len(batch))
        batch = tq.kv_batch_put(keys=batch.keys, partition_id=batch.partition_id, fields=fields)
        metrics["echo/coef"] = self.echo.coef_at(self._updates_before * self._steps_per_batch)
        self.mined_mass = float(weight_mass(weights))
        count = int(mined.count) + (0 if self.echo.average_over == "clip" else self.filtered.num_without_success)
        # A mini-batch is one optimiser step: its share of the batch's prompts (or clips), padding rows not counted.
        batch.extra_info.update({COEF: metrics["echo/coef"], COUNT: max(1, count) / self._num_mini_batches(batch)})
        return batch

    @property
    def _updates_before(self) -> int:
        """Batches that the actor was trained on before this one."""
        return (self.global_steps - 1) * self.parameter_sync_step + self.local_trigger_step

    def _num_mini_batches(self, batch: KVBatchMeta) -> float:
        actor = self.config.actor_rollout_ref.actor
        return max(1.0, len(batch) / (actor.ppo_mini_batch_size * self.config.actor_rollout_ref.rollout.n))

    @property
    def _steps_per_batch(self) -> int:
        """Optimiser steps on a full batch."""
        actor, prompts = self.config.actor_rollout_ref.actor, self.config.data.train_batch_size
        return max(1, prompts // self.parameter_sync_step // actor.ppo_mini_batch_size) * actor.ppo_epochs

    def _update_actor(self, batch: KVBatchMeta, metrics: dict[str, Any]) -> KVBatchMeta:
        """Send clips of filtered groups with the batch, and give the workers' metrics EchoRL's names.

        Raises:
            RuntimeError: the weight mass that was mined and the mass that reached the loss differ.
        """
        if not self.echo.mines:
            return super()._update_actor(batch, metrics)
        num = round(self._num_mini_batches(batch))
        sent = (
            self.filtered.join(batch, num_ranks=self._num_ranks, num_mini_batches=num) if self.keeps_filtered else batch
        )
        with self.filtered.masked():
            super()._update_actor(sent, metrics)
        self.filtered.clear()
        nll, mass = metrics.pop("actor/echo/nll"), metrics.pop("actor/echo/mass")
        check_delivered(self.mined_mass, mass * self._num_mini_batches(batch), tolerance=1e-4)
        if mass:
            metrics["echo/nll"] = nll / mass
        return batch

    def _keep_for_dump(self, keys: list[str], scored: Batch, clips: EchoClips) -> None:
        """Keep success and longest clip of each rollout of verl's batch, for `trainer.rollout_data_dir`."""
        if not self.config.trainer.get("rollout_data_dir"):
            return
        longest, success = clips.longest(), scored.rollouts.success.tolist()
        for i, row in enumerate(scored.rows.tolist()):
            if row >= len(keys):  # of a filtered group
                continue
            end, _, entropy = longest.get(i, (0, -1, -math.inf))
            clip = scored.rollouts.token_ids[i, :end]
            self.dumped[keys[row]] = {
                "echo_success": success[i],
                "echo_clip": self.tokenizer.decode(clip, skip_special_tokens=True) if end else "",
                "echo_clip_tokens": end,
                "echo_clip_entropy": entropy if math.isfinite(entropy) else None,  # JSON has no -inf
            }

    def _log_rollout_data(self, batch: KVBatchMeta, timing_raw: dict[str, Any], rollout_data_dir: str) -> None:
        """Dump a step as verl does; `_dump_generations` adds EchoRL's columns, which are deleted afterwards."""
        super()._log_rollout_data(batch, timing_raw, rollout_data_dir)
        self.dumped = {}

    def _dump_generations(
        self,
        inputs: list[str],
        outputs: list[str],
        gts: list[Any],
        scores: list[float],
        reward_extra_infos_dict: dict[str, list[Any]],
        dump_path: str,
    ) -> None:
        """Add EchoRL's columns to a dump of training rollouts; they are empty for padding rows."""
        keys = reward_extra_infos_dict.get("uid", [])
        if any(key in self.dumped for key in keys):
            columns = {name: [self.dumped.get(key, {}).get(name) for key in keys] for name in DUMPED}
            reward_extra_infos_dict = reward_extra_infos_dict | columns
        super()._dump_generations(inputs, outputs, gts, scores, reward_extra_infos_dict, dump_path)

    def _save_checkpoint(self) -> None:
        """Save EchoRL's state before verl's, since verl ends by naming the checkpoint as the latest."""
        folder = Path(self.config.trainer.default_local_dir, f"global_step_{self.global_steps}")
        folder.mkdir(parents=True, exist_ok=True)
        state = {"statistics": self.statistics.state_dict(), "miner": self.miner.state_dict()}
        (folder / STATE_FILE).write_text(json.dumps(state), encoding="utf-8")
        super()._save_checkpoint()

    def _load_checkpoint(self) -> None:
        """Restore EchoRL's state after verl's; after a checkpoint of plain verl EchoRL starts without state."""
        super()._load_checkpoint()
        trainer = self.config.trainer
        folder = Path(trainer.default_local_dir, f"global_step_{self.global_steps}")
        if trainer.resume_mode == "resume_path":
            folder = Path(trainer.resume_from_path)
        if self.global_steps > 0 and os.path.exists(folder / STATE_FILE):
            state = json.loads((folder / STATE_FILE).read_text(encoding="utf-8"))
            self.statistics.load_state_dict(state["statistics"])
            self.miner.load_state_dict(state["miner"])

    def _shutdown_dump_executor(self) -> None:
        """Print the group statistics and the command that draws them; verl calls this last in training."""
        print(self.statistics.table(), flush=True)
        dump = self.config.trainer.get("rollout_data_dir")
        if dump and self.statistics.num_groups:  # none in a run that only validates
            print(audit_line(dump), flush=True)
        super()._shutdown_dump_executor()


def warn_of_plain_verl(init: Callable[..., None]) -> Callable[..., None]:
    """Return `init` with a warning where `+echo.*` is given to a trainer of plain verl."""

    @wraps(init)
    def checked(self: PPOTrainer, config: DictConfig) -> None:
        section = config.get("echo")
        if section and (section.get("coef", 1) or section.get("mine_only")) and not isinstance(self, EchoTrainer):
            mode = config.trainer.v1.trainer_mode
            print(f"WARNING: {plain_verl(mode)} +echo.* has no effect here.", flush=True)
        init(self, config)

    return checked


PPOTrainer.__init__ = warn_of_plain_verl(PPOTrainer.__init__)


class FilteredLogProbs(PPOTrainer):
    """The old-log-prob pass of the filtered groups.

    In the order of inheritance it comes after verl's three trainers: `separate_async` restores old weights around this
    pass, once for verl's batch and the filtered groups.
    """

    filtered: FilteredGroups

    def _compute_old_log_prob(self, batch: KVBatchMeta, metrics: dict[str, Any]) -> KVBatchMeta:
        """Score verl's batch, then the filtered groups that may give a clip."""
        batch = super()._compute_old_log_prob(batch, metrics)
        if self.keeps_filtered:
            self.filtered.clear()
            self.filtered = read_filtered(self.replay_buffer, self.settings)
            if len(self.filtered.batch):
                rows = upsample_batch_to_divisible_size(
                    self.filtered.batch, self._num_ranks, self.tokenizer.eos_token_id
                )
                self.filtered.batch = super()._compute_old_log_prob(rows, {})
        return batch


@register_trainer(PREFIX + "sync")
class EchoTrainerSync(EchoTrainer, PPOTrainerSync, FilteredLogProbs):
    """`trainer.v1.trainer_mode=echo_sync`."""

    mode = "sync"


@register_trainer(PREFIX + "colocate_async")
class EchoTrainerColocateAsync(EchoTrainer, PPOTrainerColocateAsync, FilteredLogProbs):
    """`trainer.v1.trainer_mode=echo_colocate_async`."""

    mode = "colocate_async"


@register_trainer(PREFIX + "separate_async")
class EchoTrainerSeparateAsync(EchoTrainer, PPOTrainerSeparateAsync, FilteredLogProbs):
    """`trainer.v1.trainer_mode=echo_separate_async`."""

    mode = "separate_async"

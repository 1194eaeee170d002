"""verl's three PPO trainers with EchoRL: each method names the one of verl that it wraps, and none is copied."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from functools import partial, wraps
from pathlib import Path
from typing import Any

import transfer_queue as tq
from omegaconf import DictConfig, open_dict
from tensordict import TensorDict
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
from echorl.core.mining import EchoClips
from echorl.core.statistics import GroupStatistics
from echorl.core.steps import StepDelimiters
from echorl.verl.dropped import DroppedGroups, read_dropped, with_sizes
from echorl.verl.dynamic_sampling import spare_dropped
from echorl.verl.loss import COEF, COUNT, WEIGHTS, EchoLoss
from echorl.verl.mine import clip_metrics, mine_rollouts, next_floor, token_metrics
from echorl.verl.rollouts import FIELDS, Rollouts, read_rollouts
from echorl.verl.settings import PREFIX, check_run, filters_groups, plain_verl, read_settings
from echorl.verl.versions import check_verl_version

STATE_FILE = "echorl.json"


class EchoTrainer:
    """What is the same in all three modes; `mode` is verl's name of the one it stands before."""

    mode: str

    def __init__(self, config: DictConfig) -> None:
        """Read and check the settings, before verl starts anything."""
        check_verl_version()
        self.settings = read_settings(config)
        check_run(config, self.settings)
        with open_dict(config):  # verl compares with its own names, the replay buffer's choice for one
            config.trainer.v1.trainer_mode = self.mode
        print(self.settings.line(), flush=True)
        self.ledger = GroupStatistics()
        self.entropy_floor: float | None = None
        self.mined_mass = 0.0
        self.dumped: dict[str, dict[str, Any]] = {}
        self.dropped = DroppedGroups()
        self.sparing = self.echo.mines and filters_groups(config)
        super().__init__(config)

    @property
    def echo(self) -> EchoConfig:
        return self.settings.echo

    def _build_replay_buffer(self) -> ReplayBuffer:
        """verl's, which leaves what dynamic sampling drops where EchoRL can mine it."""
        buffer = super()._build_replay_buffer()
        if not self.sparing:
            return buffer
        return spare_dropped(buffer, self.config.algorithm.filter_groups.get("max_num_gen_batches", 0))

    def _setup(self) -> None:
        """After verl's, which builds tokenizer and workers. At coef 0 these keep verl's loss."""
        super()._setup()
        if self.echo.mines:
            self.delimiters = StepDelimiters.from_tokenizer(self.tokenizer)
            self.equip_workers()

    def equip_workers(self) -> None:
        """Give the actor's workers EchoRL's loss, once, and mini-batches of another size where a batch asks for it."""
        self.actor_rollout_wg.set_loss_fn(EchoLoss(self.policy_loss()))
        if self.sparing:
            self.actor_rollout_wg.update_actor = with_sizes(self.actor_rollout_wg.update_actor)

    def policy_loss(self) -> Callable[..., Any]:
        """The loss that EchoRL's term is added to: what verl's worker sets. Override it with a loss of your own."""
        return partial(ppo_loss, config=omega_conf_to_dataclass(self.config.actor_rollout_ref.actor))

    @property
    def _num_ranks(self) -> int:
        """Data-parallel ranks of the actor, which verl asks for in its `_balance_batch`."""
        return max(self.actor_rollout_wg._dispatch_info["actor"]) + 1

    def _compute_advantage(self, batch: KVBatchMeta, metrics: dict[str, Any]) -> KVBatchMeta:
        """After verl's, which may take tokens out of the response mask: the ledger, then mining.

        Returns the batch that knows of the new field: the workers fetch what is on its list.
        """
        batch = super()._compute_advantage(batch, metrics)
        self.dropped.complete(batch)
        keys, tags = [*batch.keys, *self.dropped.batch.keys], [*batch.tags, *self.dropped.batch.tags]
        data = tq.kv_batch_get(keys=keys, partition_id=batch.partition_id, select_fields=list(FIELDS))
        rollouts = read_rollouts(data, tags, self.settings)
        self._record(rollouts, keys, metrics)
        return self._mine(batch, rollouts, keys, metrics) if self.echo.mines else batch

    def _record(self, rollouts: Rollouts, keys: list[str], metrics: dict[str, Any]) -> None:
        kinds, lengths, dropped = self.dropped.census(rollouts, keys)
        columns = (kinds.kind, kinds.degenerate, kinds.sum(lengths), dropped)
        metrics.update(self.ledger.record(*(column.tolist() for column in columns)))
        metrics["echo/alone"] = float((kinds.degenerate | dropped).all())
        if self.sparing:
            metrics["echo/dropped"] = float(dropped.sum())
            metrics["echo/missing"] = float(self.dropped.missing)

    def _mine(self, batch: KVBatchMeta, rollouts: Rollouts, keys: list[str], metrics: dict[str, Any]) -> KVBatchMeta:
        self.entropy_floor = next_floor(rollouts, self.echo, self.delimiters, self.entropy_floor)
        clips, step_ids = mine_rollouts(
            rollouts, self.echo, self.delimiters, floor=self.entropy_floor, draw=self._updates_before
        )
        metrics.update(clip_metrics(rollouts, clips, step_ids) | token_metrics(rollouts, self.delimiters))
        if self.entropy_floor is not None:
            metrics["echo/entropy_floor"] = self.entropy_floor
        self._keep_for_dump(batch.keys, rollouts, clips)
        self.dropped.keep_clips(rollouts, clips.weights, first=len(batch))
        fields = TensorDict({WEIGHTS: rollouts.to_nested(clips.weights, len(batch))}, batch_size=len(batch))
        batch = tq.kv_batch_put(keys=batch.keys, partition_id=batch.partition_id, fields=fields)
        metrics["echo/coef"] = self.echo.coef_at(self._updates_before * self._steps_per_batch)
        self.mined_mass = float(clips.weights.double().sum())
        count = len(clips) if self.echo.average_over == "clip" else rollouts.num_groups + self.dropped.num_hopeless
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
        """Around verl's: clips of dropped groups go with the batch; the workers' metrics get EchoRL's names.

        Raises:
            RuntimeError: the weight mass that was mined and the mass that reached the loss differ.
        """
        if not self.echo.mines:
            return super()._update_actor(batch, metrics)
        num = round(self._num_mini_batches(batch))
        sent = self.dropped.join(batch, num_ranks=self._num_ranks, num_mini_batches=num) if self.sparing else batch
        with self.dropped.masked():
            super()._update_actor(sent, metrics)
        self.dropped.clear()
        nll, mass = metrics.pop("actor/echo/nll"), metrics.pop("actor/echo/mass")
        delivered = mass * self._num_mini_batches(batch)
        if abs(delivered - self.mined_mass) > 1e-4 * max(1.0, self.mined_mass):
            raise RuntimeError(
                f"of a weight mass of {self.mined_mass:.6g} that was mined {delivered:.6g} reached EchoRL's loss: "
                "something between mining and loss dropped, changed or bypassed the weights."
            )
        if mass:
            metrics["echo/nll"] = nll / mass
        return batch

    def _keep_for_dump(self, keys: list[str], rollouts: Rollouts, clips: EchoClips) -> None:
        """Note verdict and clip of verl's own rollouts for `trainer.rollout_data_dir`; of several clips the longest."""
        if not self.config.trainer.get("rollout_data_dir"):
            return
        rows = rollouts.rows.tolist()  # those of dropped groups come after `keys`
        for row, success in zip(rows, rollouts.success.tolist(), strict=True):
            if row < len(keys):
                self.dumped[keys[row]] = {"echo_success": success, "echo_clip": "", "echo_clip_tokens": 0}
        for i, end, entropy in zip(clips.rollout.tolist(), clips.end.tolist(), clips.entropy.tolist(), strict=True):
            if rows[i] < len(keys):
                text = self.tokenizer.decode(rollouts.token_ids[i, :end], skip_special_tokens=True)
                known = entropy if math.isfinite(entropy) else None  # whole rollouts may have none; JSON has no -inf
                self.dumped[keys[rows[i]]].update(echo_clip=text, echo_clip_tokens=end, echo_clip_entropy=known)

    def _log_rollout_data(self, batch: KVBatchMeta, timing_raw: dict[str, Any], rollout_data_dir: str) -> None:
        """verl's dump of a step, whose columns `_dump_generations` completes; then the notes are of no more use."""
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
        """verl's, with EchoRL's columns in a dump of training rollouts: empty for padding rows."""
        keys = reward_extra_infos_dict.get("uid", [])
        if any(key in self.dumped for key in keys):
            names = ("echo_success", "echo_clip", "echo_clip_tokens", "echo_clip_entropy")
            columns = {name: [self.dumped.get(key, {}).get(name) for key in keys] for name in names}
            reward_extra_infos_dict = reward_extra_infos_dict | columns
        super()._dump_generations(inputs, outputs, gts, scores, reward_extra_infos_dict, dump_path)

    def _save_checkpoint(self) -> None:
        """Before verl's, whose last act is to name the checkpoint as the latest: what EchoRL itself remembers."""
        folder = Path(self.config.trainer.default_local_dir, f"global_step_{self.global_steps}")
        folder.mkdir(parents=True, exist_ok=True)
        state = {"ledger": self.ledger.state_dict(), "entropy_floor": self.entropy_floor}
        (folder / STATE_FILE).write_text(json.dumps(state), encoding="utf-8")
        super()._save_checkpoint()

    def _load_checkpoint(self) -> None:
        """After verl's. A checkpoint of plain verl has nothing to tell, and EchoRL starts with it."""
        super()._load_checkpoint()
        trainer = self.config.trainer
        folder = Path(trainer.default_local_dir, f"global_step_{self.global_steps}")
        if trainer.resume_mode == "resume_path":
            folder = Path(trainer.resume_from_path)
        if self.global_steps > 0 and os.path.exists(folder / STATE_FILE):
            state = json.loads((folder / STATE_FILE).read_text(encoding="utf-8"))
            self.ledger.load_state_dict(state["ledger"])
            self.entropy_floor = state["entropy_floor"]

    def _shutdown_dump_executor(self) -> None:
        """verl's last act of training: show where the rollouts went."""
        print(self.ledger.table(), flush=True)
        super()._shutdown_dump_executor()


def warn_of_plain_verl(init: Callable[..., None]) -> Callable[..., None]:
    """verl's `__init__`, which first says so where `+echo.*` is given to a trainer that knows nothing of it."""

    @wraps(init)
    def checked(self: PPOTrainer, config: DictConfig) -> None:
        own = config.get("echo")
        if own and (own.get("coef", 1) or own.get("mine_only")) and not isinstance(self, EchoTrainer):
            mode = config.trainer.v1.trainer_mode
            print(f"WARNING: {plain_verl(mode)} +echo.* has no effect here.", flush=True)
        init(self, config)

    return checked


PPOTrainer.__init__ = warn_of_plain_verl(PPOTrainer.__init__)


class DroppedLogProbs(PPOTrainer):
    """The old-log-prob pass of the dropped groups, after verl's own.

    By the order of inheritance it comes below verl's three trainers: `separate_async` puts old weights in place around
    this pass, and does so once for both.
    """

    def _compute_old_log_prob(self, batch: KVBatchMeta, metrics: dict[str, Any]) -> KVBatchMeta:
        """After verl's, the same for the dropped groups that may give a clip."""
        batch = super()._compute_old_log_prob(batch, metrics)
        if self.sparing:
            self.dropped.clear()
            self.dropped = read_dropped(self.replay_buffer, self.settings)
            if len(self.dropped.batch):
                rows = upsample_batch_to_divisible_size(
                    self.dropped.batch, self._num_ranks, self.tokenizer.eos_token_id
                )
                self.dropped.batch = super()._compute_old_log_prob(rows, {})
        return batch


@register_trainer(PREFIX + "sync")
class EchoTrainerSync(EchoTrainer, PPOTrainerSync, DroppedLogProbs):
    """`trainer.v1.trainer_mode=echo_sync`."""

    mode = "sync"


@register_trainer(PREFIX + "colocate_async")
class EchoTrainerColocateAsync(EchoTrainer, PPOTrainerColocateAsync, DroppedLogProbs):
    """`trainer.v1.trainer_mode=echo_colocate_async`."""

    mode = "colocate_async"


@register_trainer(PREFIX + "separate_async")
class EchoTrainerSeparateAsync(EchoTrainer, PPOTrainerSeparateAsync, DroppedLogProbs):
    """`trainer.v1.trainer_mode=echo_separate_async`."""

    mode = "separate_async"

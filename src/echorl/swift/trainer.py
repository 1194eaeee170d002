"""ms-swift's GRPO trainer with EchoRL: each method wraps ms-swift's method of the same name, and none is copied."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from swift.rlhf_trainers import GRPOTrainer
from swift.utils import get_logger
from torch import Tensor
from transformers import TrainerCallback

from echorl.core.config import EchoConfig
from echorl.core.losses import echo_loss
from echorl.core.miner import EchoMiner
from echorl.core.optimizer_window import OptimizerWindow, without_policy_gradient
from echorl.core.receipt import LOST, DeliveryReceipt
from echorl.core.rollouts import Rollouts
from echorl.core.statistics import GroupStatistics, audit_line
from echorl.core.steps import StepDelimiters
from echorl.core.verdicts import check_finite, total_reward, verdicts
from echorl.support.accelerator import AcceleratorCommunication
from echorl.support.files import replacing
from echorl.swift.batch import NUM_POLICY, WEIGHTS, Batch
from echorl.swift.settings import active_settings, check_run

STATE_FILE = "echorl.json"
logger = get_logger()


class EchoTrainer(GRPOTrainer):
    """GRPO with EchoRL, by the settings of `echorl.swift.use_echo`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.echo_settings = active_settings()
        super().__init__(*args, **kwargs)
        check_run(self, self.echo_settings)
        self.echo_columns = self.echo_settings.columns(self)
        tokenizer = self.template.tokenizer
        self.echo_miner = EchoMiner(self.echo, StepDelimiters.from_tokenizer(tokenizer) if self.echo.mines else None)
        self.echo_comm = AcceleratorCommunication(self.accelerator)
        self.echo_statistics = GroupStatistics()
        self.echo_receipt, self.echo_window = DeliveryReceipt(), OptimizerWindow()
        self.echo_count: Tensor | None = None
        self.echo_passes: list[tuple[Tensor, Tensor]] | None = None  # while a generation batch is made
        self.echo_logps: Tensor | None = None  # while a loss is computed
        self.echo_warned = False
        self.add_callback(StatisticsTable(self.echo_statistics))
        if self.accelerator.is_main_process:
            print(self.echo_settings.line(), flush=True)

    @property
    def echo(self) -> EchoConfig:
        return self.echo_settings.echo

    @property
    def _mining(self) -> bool:
        return self.model.training and self.echo.mines

    def _log_echo(self, metrics: dict[str, float]) -> None:
        for name, value in metrics.items():
            self._metrics["train"][name].append(float(value))

    def _prepare_batch_inputs(self, samples: list[Any]) -> list[dict[str, Any]]:
        """Collect the passes that ms-swift makes here, among them that for the old log-probs."""
        self.echo_passes = [] if self._mining else None
        return super()._prepare_batch_inputs(samples)

    def _get_per_token_logps_and_entropies(
        self, model: Any, model_inputs: dict[str, Any], grpo_batch: Any, compute_entropy: bool = False, **kwargs: Any
    ) -> tuple[Tensor, Tensor | None]:
        """Ask the passes of the policy for entropies, too, which need no further forward; keep the loss's log-probs."""
        trains = torch.is_grad_enabled()
        keeps = self.echo_passes is not None and not trains and model is self.model
        logps, entropies = super()._get_per_token_logps_and_entropies(
            model, model_inputs, grpo_batch, compute_entropy=compute_entropy or keeps, **kwargs
        )
        if keeps:
            self.echo_passes.append((logps, entropies))  # type: ignore[union-attr]
        elif trains:
            self.echo_logps = logps
        return logps, entropies

    def _postprocess_batch(self, samples: list[Any], batch_encoded_inputs: list[dict[str, Any]]) -> None:
        """Record the group statistics and mine, after ms-swift's advantages."""
        super()._postprocess_batch(samples, batch_encoded_inputs)
        passes, self.echo_passes = self.echo_passes, None
        if not self.model.training or not self._has_whole_groups:
            return
        batch = Batch(batch_encoded_inputs)
        rollouts = self._read_rollouts(batch)
        lengths = self.echo_comm.gather(batch.mask.sum(1))
        filtered = torch.zeros_like(rollouts.groups.degenerate)
        self._log_echo(rollouts.groups.record(self.echo_statistics, lengths, filtered))
        if passes is not None:
            self._mine(batch, rollouts, batch.entropy(passes))

    @property
    def _has_whole_groups(self) -> bool:
        """True where each prompt has `num_generations` rollouts in a row.

        Raises:
            ValueError: it has not, and EchoRL is on.
        """
        if self.dynamic_num_samples and self.echo.mines:
            raise ValueError(
                "the multi-turn scheduler split a trajectory into several samples, which EchoRL cannot group: "
                "return one sample a request, or set coef=0."
            )
        return not self.dynamic_num_samples and self.template.sequence_parallel_size == 1

    def _read_rollouts(self, batch: Batch) -> Rollouts:
        """Return the rollouts of a generation batch, with their verdicts and groups."""
        rewards, mask, truncated = self._rewards_per_func, batch.mask, batch.truncated
        if self.echo.mines:
            check_finite(rewards, self.reward_func_names)
        success, has_verdict = verdicts(rewards, self.echo_columns or [], self.echo.success_reward)
        total = total_reward(rewards, self.reward_weights)
        first = self.accelerator.process_index * len(mask)
        return Rollouts.build(
            rewards=total,
            success=success,
            has_verdict=has_verdict,
            group_ids=torch.arange(len(success), device=success.device) // self.num_generations,
            # at coef 0 nothing reads the tokens, which --padding_free has not in rows
            token_ids=batch.token_ids if self.echo.mines else torch.zeros_like(mask, dtype=torch.int64),
            in_loss=mask & ~truncated.unsqueeze(1) if self.overlong_filter else mask,
            local=slice(first, first + len(mask)),
            compared=rewards[:, self.reward_weights != 0] if self.scale_rewards == "gdpo" else total,
            kept=self.echo_comm.gather(~truncated) if self.overlong_filter else None,
        )

    def _mine(self, batch: Batch, rollouts: Rollouts, entropy: Tensor) -> None:
        """Let the micro-batches carry the weights of the batch's clips, and expect these in the loss."""
        accumulation = self.args.gradient_accumulation_steps
        draw = self.state.global_step * accumulation + self._step % accumulation  # `_step` begins at 0 after a resume
        mined = self.echo_miner(rollouts, entropy, self.echo_comm, draw=draw)
        self._log_echo(self.echo_miner.metrics(rollouts, entropy, mined, self.echo_comm))
        has_gradient = ~rollouts.degenerate[rollouts.local] & rollouts.in_loss.any(1)
        batch.put(mined.clips.weights, has_gradient)
        self.echo_count = mined.count.clamp(min=1)
        self.echo_receipt.open(mined.clips.weights, len(batch.micro_batches))

    def _compute_loss_and_metrics(
        self, model: Any, model_inputs: dict[str, Any], grpo_batch: Any
    ) -> tuple[Tensor, dict[str, Any]]:
        """Add EchoRL's term to the loss of a micro-batch."""
        loss, metrics = super()._compute_loss_and_metrics(model, model_inputs, grpo_batch)
        logps, self.echo_logps = self.echo_logps, None
        if not self._mining:
            return loss, metrics
        term = self._echo_term(logps, grpo_batch)
        return (loss + term if self.echo.trains else loss), metrics

    def _echo_term(self, logps: Tensor | None, grpo_batch: Any) -> Tensor:
        """Return coef * J_echo with graph; without graph where clips are mined only.

        Raises:
            RuntimeError: the weights were lost on the way.
        """
        carried = vars(grpo_batch)
        if WEIGHTS not in carried or logps is None:
            raise RuntimeError(f"a micro-batch never {LOST}")
        weights = carried[WEIGHTS]
        with nullcontext() if self.echo.trains else torch.no_grad():
            # The mean over the prompts of all processes; the Trainer divides by the accumulation, DDP by the processes.
            share = self.accelerator.num_processes * self.args.steps_per_generation
            nll = echo_loss(logps, weights, num_prompts=self.echo_count / share)
            self.echo_receipt.deliver(weights)
            self.echo_window.add(logps, weights, carried[NUM_POLICY])
            return self.echo.coef_at(self.state.global_step) * nll

    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> Tensor:
        """Log the metrics of an optimiser step once its gradients are complete."""
        loss = super().training_step(model, inputs, num_items_in_batch)
        if self.echo.mines and self.accelerator.sync_gradients:
            self._close_step()
        return loss

    def _close_step(self) -> None:
        """Log the metrics of the optimiser step.

        Raises:
            RuntimeError: no micro-batch came through EchoRL's loss.
        """
        coef = self.echo.coef_at(self.state.global_step)
        has_other_terms = self.beta != 0.0 or self.chord_sft_iterator is not None
        metrics = self.echo_window.close(self.echo_comm, coef, other_terms=has_other_terms)
        self._log_echo(metrics)
        changes_policy = self.echo.trains and "echo/nll" in metrics
        if self.echo_window.without_policy_gradient and changes_policy and not self.echo_warned:
            self.echo_warned = True
            logger.warning(without_policy_gradient("coef"))

    def _save_checkpoint(self, *args: Any, **kwargs: Any) -> None:
        """Save EchoRL's state, which is the same on every process, before ms-swift's files complete the checkpoint."""
        if self.args.should_save:
            folder = Path(self.args.output_dir, f"checkpoint-{self.state.global_step}")
            folder.mkdir(parents=True, exist_ok=True)
            state = {
                "statistics": self.echo_statistics.state_dict(),
                "miner": self.echo_miner.state_dict(),
                "warned": self.echo_warned,
            }
            with replacing(folder / STATE_FILE) as scratch:
                scratch.write_text(json.dumps(state), encoding="utf-8")
        super()._save_checkpoint(*args, **kwargs)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        """Restore EchoRL's state with the optimiser's; a checkpoint of plain ms-swift has none."""
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is None or self.args.resume_only_model or not Path(checkpoint, STATE_FILE).exists():
            return
        state = json.loads(Path(checkpoint, STATE_FILE).read_text(encoding="utf-8"))
        self.echo_statistics.load_state_dict(state["statistics"])
        self.echo_miner.load_state_dict(state["miner"])
        self.echo_warned = state["warned"]


class StatisticsTable(TrainerCallback):
    """Prints the group statistics and the command that reads the log, when training ends, from the main process."""

    def __init__(self, statistics: GroupStatistics) -> None:
        self.statistics = statistics

    def on_train_end(self, args, state, control, **kwargs):  # type: ignore[no-untyped-def]
        if not state.is_world_process_zero or not self.statistics.num_groups:
            return
        print(f"\nWhere the rollouts went:\n{self.statistics.table()}", flush=True)
        if Path(args.output_dir, "completions.jsonl").exists():
            print(audit_line(args.output_dir), flush=True)

"""`EchoGRPOTrainer`: the hooks into TRL's `GRPOTrainer`. Each names what it wraps and why."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR
from trl import GRPOTrainer

from echorl.core.config import EchoConfig
from echorl.core.shared_prompts import SharedPrompts
from echorl.core.statistics import GroupStatistics
from echorl.support.accelerator import AcceleratorCommunication
from echorl.trl import checkpoint
from echorl.trl.arguments import check_arguments, loading
from echorl.trl.batch import Capture, Generated, Plan, Sampled
from echorl.trl.card import FolderInCard, with_settings
from echorl.trl.config import EchoGRPOConfig
from echorl.trl.context import Context, PolicyCalls, RunLog
from echorl.trl.dump import NO_CLIP, add_columns
from echorl.trl.excluded import bonus_over_batch
from echorl.trl.micro_batch import MicroBatch
from echorl.trl.overlong import punishing
from echorl.trl.pipeline import make_callbacks, make_stations, process
from echorl.trl.printed_table import PrintsWithoutClips
from echorl.trl.prompts import check_chat_template, check_images
from echorl.trl.recording import (
    check_share_prompts,
    processing,
    recording,
    recording_top,
    sampling_settings,
    sharing_prompts,
)
from echorl.trl.sampling.round_metrics import RoundMetrics
from echorl.trl.tied_weights import QuietOnTiedWeights
from echorl.trl.verifiers import make_verifiers
from echorl.trl.versions import check_base, check_vllm

check_base(GRPOTrainer)


class EchoGRPOTrainer(FolderInCard, QuietOnTiedWeights, PrintsWithoutClips, GRPOTrainer):
    """TRL's `GRPOTrainer` with J = J_RLVR + lambda J_echo (arXiv 2605.31228).

    Takes the arguments of `GRPOTrainer`, with an `EchoGRPOConfig` as `args`. With `echo_coef=0` it is the base trainer,
    bit for bit, plus the group statistics. Success is the verdict of the reward function(s) named in
    `echo_success_reward_func`. TRL's RLOO and asynchronous trainers, other classes, are not covered.

    Attributes:
        stations: the objects that process a generation batch, and their state.

    Raises:
        ValueError: an argument of the wrong form, or a setting that cannot be combined with EchoRL; the message names
            it and the way out.
        ImportError: `use_vllm` without vLLM, or with a version that TRL does not support.
    """

    args: Any
    model: Any
    _buffered_inputs: Any

    def __init__(
        self,
        model: Any,
        reward_funcs: Any = None,
        args: EchoGRPOConfig | None = None,
        train_dataset: Any = None,
        eval_dataset: Any = None,
        processing_class: Any = None,
        reward_processing_classes: Any = None,
        *rest: Any,
        **kwargs: Any,
    ) -> None:
        if args is not None and not isinstance(args, EchoGRPOConfig):
            raise ValueError(f"args is a {type(args).__name__}: EchoGRPOTrainer needs an EchoGRPOConfig.")
        check_arguments(model, reward_funcs, train_dataset, eval_dataset)
        args = args or EchoGRPOConfig("echo-grpo")
        if args.use_vllm:
            check_vllm()
        self._echo_training = False
        self._echo_capture: Any = None  # a `Capture` while a batch is made
        self._echo_logps: Tensor | None = None
        method, data = args.load_method(), (train_dataset, eval_dataset, processing_class)
        with (
            loading(model, reward_funcs),
            punishing(args, method, reward_funcs, reward_processing_classes) as (functions, classes, punishment),
        ):
            super().__init__(model, functions, args, *data, classes, *rest, **kwargs)
        self._echo_context = self._make_context()
        check_chat_template(self.train_dataset, self.eval_dataset, self._echo_context)
        check_share_prompts(self.model, self._echo_context)
        verifiers = make_verifiers(
            self.reward_funcs,
            self.reward_func_names,
            self.reward_weights,
            method=method,
            args=args,
            punishment=punishment,
            loop=getattr(self, "async_loop", None),  # TRL makes one where a function is asynchronous
        )
        self.stations = make_stations(method, verifiers, self._echo_context)
        for callback in make_callbacks(self.stations, args, micro_step=lambda: self._step):
            self.add_callback(callback)

    # -- The stations' view of this run and of TRL: they read no attribute of the trainer.
    def _make_context(self) -> Context:
        features = {
            "tools": self.tools,
            "rollout_func": self.rollout_func is not None,
            "router_loss": self.aux_loss_enabled,
            "deepspeed": self.is_deepspeed_enabled,
            "fsdp": self.is_fsdp_enabled,
        }
        return Context(
            args=self.args,
            comm=AcceleratorCommunication(self.accelerator),
            processor=self.processing_class,
            chat_template=self.chat_template,
            rows=self.train_dataset,
            features=frozenset(name for name, present in features.items() if present),
            log=RunLog(self._metrics["train"], self._logs, shows_warnings=self.accelerator.is_main_process),
            state=self.state,
        )

    @property
    def context(self) -> Context:
        """The surroundings of the stations at this moment."""
        policy = PolicyCalls(score=self.score_tokens, sample=self._sample_again)
        return replace(self._echo_context, state=self.state, draw=self._step, policy=policy)

    @property
    def echo(self) -> EchoConfig:
        """The run's settings of EchoRL."""
        return self.stations.miner.config

    @property
    def statistics(self) -> GroupStatistics:
        """Groups and tokens by kind so far, printed as a table when training ends."""
        return self.stations.statistics

    # -- training_step: tells training from evaluation (`model.training` does not, under continuous batching) and closes
    # the window when the gradients are complete.
    def training_step(self, *args: Any, **kwargs: Any) -> Tensor:
        self._echo_training = True
        try:
            loss = super().training_step(*args, **kwargs)
        finally:
            self._echo_training = False
        if self.echo.mines and self.accelerator.sync_gradients:
            self.stations.echo.close_step(self.context)
        return loss

    # -- _prepare_inputs: after TRL has shuffled and split a generation batch, micro-batches get the clips beside it.
    def _prepare_inputs(self, generation_batch: Any) -> dict[str, Any]:
        inputs = super()._prepare_inputs(generation_batch)
        if self._echo_training:
            self.stations.hooks.filtered_clips.distribute(self._buffered_inputs)
        return inputs

    # -- _generate_and_score_completions: once a generation batch, before the shuffle, while groups are whole.
    def _generate_and_score_completions(self, inputs: Any) -> dict[str, Any]:
        check_images(inputs)
        if not self._echo_training:
            out = super()._generate_and_score_completions(inputs)
            if self.log_completions and self.echo.mines:
                add_columns([NO_CLIP] * len(inputs), self.context)  # the table's columns are of one length
            return out
        hooks = self.stations.hooks
        out = hooks.collect(inputs, self._sample, self.context)
        if "echo_weights" in out:
            self.stations.echo.receipt.open(hooks.filtered_clips.weights(out), self.args.steps_per_generation)
        return out

    def _sample(self, rows: list[dict[str, Any]], first_row: int = 0) -> Sampled:
        """Generate, score and mine rollouts of these rows."""
        capture = Capture(plan=self.stations.hooks.plan(rows, self.context), first_row=first_row)
        self._echo_capture = capture
        try:
            out = super()._generate_and_score_completions(rows)
        finally:
            self._echo_capture = None
        return process(out, capture, self.stations, self.context)

    # -- _generate: demonstrations, and rollouts that a method samples beside them, replace rollouts before scoring.
    def _generate(self, prompts: list) -> Any:
        generated, capture = list(super()._generate(prompts)), self._echo_capture
        if capture is None:
            return tuple(generated)
        capture.num_extra = capture.plan.replace(prompts, generated)
        return tuple(capture.take_generated(generated))

    def _sample_again(self, prompts: list[Any], plan: Plan, *, temperature: float, top_p: float) -> Generated:
        """Return TRL's `_generate` of other prompts within a batch, one completion each, without its metrics."""
        capture, self._echo_capture = self._echo_capture, Capture(plan=plan)
        metrics = RoundMetrics(self._metrics["train"])
        try:
            with sampling_settings(self, temperature=temperature, top_p=top_p):
                return list(super()._generate(prompts))
        finally:
            metrics.take(len(prompts))
            self._echo_capture = capture

    # -- _generate_single_turn: prefixes go between prompt and completion; entropies are recorded.
    def _generate_single_turn(
        self, prompt_ids: list, images: Any, multimodal_fields: dict, *args: Any, **kwargs: Any
    ) -> Any:
        capture, generate = self._echo_capture, super()._generate_single_turn
        model = self.accelerator.unwrap_model(self.model_wrapped)
        with sharing_prompts(model, self.context, self.accelerator.autocast):
            if capture is None:
                return generate(prompt_ids, images, multimodal_fields, *args, **kwargs)
            config = getattr(self, "generation_config", None)  # vLLM's has another name
            record = recording(model, config, capture, self.context)
            process_last = processing(model, last=capture.plan.processors)
            record_top = recording_top(getattr(self, "vllm_generation", None), capture, self.context)
            records = self.stations.need_entropy and capture.plan.records
            with record if records else nullcontext(), record_top if records else nullcontext(), process_last:
                return capture.plan.sample(generate, prompt_ids, images, multimodal_fields, *args, **kwargs)

    # -- _get_per_token_logps_and_entropies: keep the results of passes that TRL makes anyway.
    def _get_per_token_logps_and_entropies(self, model: Any, *args: Any, **kwargs: Any) -> Any:
        stations, capture = self.stations, self._echo_capture
        if not self._echo_training or not (stations.need_entropy or stations.hooks.needs_logps):
            return self._forward(model, *args, **kwargs)
        if torch.is_grad_enabled():  # the loss
            result = self._forward(model, *args, **kwargs)
            self._echo_logps = result[0]
            return result
        # A separate reference model has no entropies.
        if capture is None or not stations.need_entropy or model is not self.model:
            return self._forward(model, *args, **kwargs)
        result = self._forward(model, *args, **{**kwargs, "compute_entropy": True})
        capture.passes.append(result[:2])
        return result

    def _forward(self, model: Any, ids: Tensor, mask: Tensor, num_tokens: int, *args: Any, **kwargs: Any) -> Any:
        model = SharedPrompts(model, num_tokens) if self.args.share_prompts else model
        return super()._get_per_token_logps_and_entropies(model, ids, mask, num_tokens, *args, **kwargs)

    def score_tokens(self, ids: Tensor, mask: Tensor, num_tokens: int, **images: Any) -> tuple[Tensor, Tensor]:
        """Return (log-probs, entropies), both [rows, num_tokens], of the last `num_tokens` tokens, in one forward.

        `images` is what `image_inputs` gives for the rows.
        """
        return self._forward(self.model, ids, mask, num_tokens, compute_entropy=True, **images)[:2]

    # -- _calculate_rewards: the rewards of each function, gathered; success comes from the verifiers' rewards.
    def _calculate_rewards(self, inputs: Any, prompts: list, completions: list, completion_ids_list: list) -> Tensor:
        stations, capture = self.stations, self._echo_capture
        rewards = super()._calculate_rewards(inputs, prompts, completions, completion_ids_list)
        rewards = stations.verifiers.check(rewards)
        if capture is not None:
            capture.completion_ids, capture.texts = completion_ids_list, (prompts, completions)
            rewards = capture.rewards = stations.hooks.rewards(rewards, capture, self.context)
        return rewards

    # -- _compute_loss: add the terms, from the log-probs that the policy loss has computed.
    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> Tensor:
        has_bonus = self._echo_training and self.entropy_coef != 0.0 and self.stations.hooks.excludes
        scaling = bonus_over_batch(self, self._metrics["train"], inputs, self.context) if has_bonus else nullcontext()
        with scaling:
            loss = super()._compute_loss(model, inputs)
        logps, self._echo_logps = self._echo_logps, None
        if not self._echo_training:
            return loss
        hooks = self.stations.hooks
        micro_batch = MicroBatch(model, inputs, logps, self.current_gradient_accumulation_steps, self.context)
        if hooks.needs_logps:
            loss = loss + hooks.loss(micro_batch)
        if self.echo.mines:
            supervised = hooks.num_supervised_tokens(inputs)
            term = self.stations.echo(micro_batch, self._score_with_graph, supervised)
            loss = loss + term if self.echo.trains else loss
        return loss

    def _score_with_graph(self, model: Any, ids: Tensor, mask: Tensor, num_tokens: int, **images: Any) -> Tensor:
        """Return the log-probs of clips of rollouts that have no place in the micro-batch."""
        return self._forward(model, ids, mask, num_tokens, **images)[0]

    # -- _get_train_sampler, _save_checkpoint, _load_from_checkpoint, _load_optimizer_and_scheduler: a resumed run goes
    # on where it stopped, also in the middle of a generation batch.
    def _get_train_sampler(self, dataset: Any = None) -> Any:
        self._echo_sampler = super()._get_train_sampler(dataset)
        return self._echo_sampler

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        if not self.args.save_only_model:
            folder = Path(self._get_output_dir(trial=trial)) / f"{PREFIX_CHECKPOINT_DIR}-{self.state.global_step}"
            checkpoint.save(folder, self._step, self._buffered_inputs, self.stations, self.context)
        super()._save_checkpoint(model, trial)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        super()._load_from_checkpoint(resume_from_checkpoint, model)
        if not self.is_fsdp_enabled:  # FSDP keeps its names
            checkpoint.load_weights(self.model, resume_from_checkpoint)

    def _load_optimizer_and_scheduler(self, checkpoint_dir: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint_dir)
        if checkpoint_dir is None:
            return
        checkpoint.forward_sampler(getattr(self, "_echo_sampler", None), self.context)
        position = checkpoint.load(Path(checkpoint_dir), self.stations, self.context)
        if position is not None:
            self._step, self._buffered_inputs = position.step, position.buffer

    # -- create_model_card, through `FolderInCard`: the card names EchoRL and its settings.
    def complete(self, card: str) -> str:
        return with_settings(card, self.args)

    # -- log: groups by kind in the whole logging interval, and totals so far, which are not means of its batches.
    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        total = self.statistics
        if self.model.training and total.num_tokens:
            totals = {"echo/rollout_tokens": total.num_tokens, "echo/rollout_groups": total.num_groups}
            logs = {**logs, **self._echo_context.log.take_shares(), **totals}
        super().log(logs, *args, **kwargs)

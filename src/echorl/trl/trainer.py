"""`EchoGRPOTrainer`: the hooks into TRL's `GRPOTrainer`. Each names what it wraps and why."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from accelerate.utils import gather_object
from torch import Tensor
from transformers.utils import logging
from trl import GRPOTrainer

from echorl.core.entropy import EntropyRecorder
from echorl.core.losses import echo_loss
from echorl.core.miner import EchoMiner
from echorl.core.statistics import GroupStatistics
from echorl.core.steps import StepDelimiters
from echorl.trl import checkpoint, mine, rollouts
from echorl.trl.card import FolderInCard
from echorl.trl.communication import AcceleratorCommunication
from echorl.trl.config import EchoGRPOConfig
from echorl.trl.ledger import LedgerCallback, TokenBudget
from echorl.trl.parts import Part, left_out, leftover, make_part, overlong
from echorl.trl.prompts import check_chat_template, check_images
from echorl.trl.sources import GenerationCapture, recording, should_record
from echorl.trl.verdicts import check_finite, resolve_verifiers
from echorl.trl.versions import check_vllm
from echorl.trl.window import DeliveryReceipt, OptimizerWindow
from echorl.trl.without_policy_gradient import SkipCallback, check_skip

logger = logging.get_logger(__name__)

_SIGNATURE = inspect.signature(GRPOTrainer.__init__)


class EchoGRPOTrainer(FolderInCard, GRPOTrainer):
    """TRL's `GRPOTrainer` with J = J_RLVR + lambda J_echo (arXiv 2605.31228).

    Takes the arguments of `GRPOTrainer`, with an `EchoGRPOConfig` as `args`. With `echo_coef=0` it is the base trainer,
    bit for bit, plus the group statistics. Success is the verdict of the reward function(s) named in
    `echo_success_reward_func`. TRL's RLOO and asynchronous trainers are classes of their own and not covered.

    Attributes:
        echo: the run's `EchoConfig`.
        statistics: groups and tokens by kind so far, printed as a table when training ends.

    Raises:
        ValueError: a setting that EchoRL cannot keep; the message names it and the way out.
        ImportError: `use_vllm` without vLLM, or with a version that TRL does not support.
    """

    def __init__(
        self, model: Any, reward_funcs: Any = None, args: EchoGRPOConfig | None = None, *rest: Any, **kwargs: Any
    ):
        if args is not None and not isinstance(args, EchoGRPOConfig):
            raise ValueError(f"args is a {type(args).__name__}: EchoGRPOTrainer needs an EchoGRPOConfig.")
        args = args or EchoGRPOConfig("echo-grpo")
        if args.use_vllm:
            check_vllm()
        self.echo = args.echo_config()
        self.method = args.load_method()
        self.wants_entropy = self.echo.mines or self.method.needs_entropy
        self.part = Part(self)
        self.statistics = GroupStatistics()
        self.receipt = DeliveryReceipt()
        self.window = OptimizerWindow()
        self.window_is_alone = False
        self.last_dump: int | None = None  # the optimiser step of the last dump of rollouts
        self.warned: set[str] = set()
        self._echo_training = False
        self._echo_capture: GenerationCapture | None = None
        self._echo_logps: Tensor | None = None
        given = _SIGNATURE.bind(self, model, reward_funcs, args, *rest, **kwargs).arguments
        others = {name: value for name, value in given.items() if name not in ("self", "model", "reward_funcs", "args")}
        with overlong.punishing(args, self.method, reward_funcs, others) as (functions, others, self.punishment):
            super().__init__(model, functions, args, **others)
        check_chat_template(self)
        left_out.check_left_out(self)
        self._check_settings()
        self.comm = AcceleratorCommunication(self.accelerator)
        self.part = make_part(self)
        self.add_callback(LedgerCallback(self))
        if args.max_rollout_tokens:
            self.add_callback(TokenBudget(self))
        if self.echo.without_policy_gradient == "skip" and self.echo.trains:
            self.add_callback(SkipCallback(self))

    def _check_settings(self) -> None:
        self.miner = EchoMiner(self.echo, None)
        own = [name for column, name in enumerate(self.reward_func_names) if column != self.punishment]
        names = self.args.success_reward_func_names() or own[: len(own) == 1]
        undecided = not names and len(own) > 1
        wanted = self.echo.mines or self.args.max_rollout_tokens or self.method.needs_verdicts
        if undecided and not wanted:
            self.verifiers = None  # nothing here needs a verifier; the ledger stays empty
            return
        self.verifiers = resolve_verifiers(names, list(self.reward_func_names))
        if not self.echo.mines:
            return
        check_skip(self)
        if self.use_vllm and "logprobs" in (self.args.generation_kwargs or {}):
            raise ValueError(
                "generation_kwargs['logprobs'] corrupts the importance ratios under vLLM (TRL would keep the most "
                "likely token's log-prob, not the sampled one's): take it out."
            )
        delimiters = StepDelimiters.from_tokenizer(self._tokenizer).to(self.accelerator.device)
        self.miner = EchoMiner(self.echo, delimiters, mine_demonstrations=self.args.echo_mine_demonstrations)

    # -- training_step: tells training from evaluation (`model.training` does not, under continuous batching) and closes
    # the window when the gradients are complete.
    def training_step(self, *args: Any, **kwargs: Any) -> Tensor:
        self._echo_training = True
        try:
            loss = super().training_step(*args, **kwargs)
        finally:
            self._echo_training = False
        if self.echo.mines and self.accelerator.sync_gradients:
            mine.close_window(self)
        return loss

    # -- _prepare_inputs: once TRL has shuffled and split a generation batch, the part deals what is no row of it.
    def _prepare_inputs(self, generation_batch: Any) -> dict[str, Any]:
        inputs = super()._prepare_inputs(generation_batch)
        if self._echo_training:
            self.part.deal(self._buffered_inputs)
        return inputs

    # -- _generate_and_score_completions: once a generation batch, before the shuffle, while groups are whole.
    def _generate_and_score_completions(self, inputs: Any) -> dict[str, Any]:
        check_images(inputs)
        if not self._echo_training:
            out = super()._generate_and_score_completions(inputs)
            if self.log_completions and self.echo.mines:
                self.log_columns([rollouts.NO_CLIP] * len(inputs))  # the table's columns are of one length
            return out
        out = self.part.collect(inputs, self._sample)
        if "echo_weights" in out:
            self.receipt.open(self.part.echo_weights(out), self.args.steps_per_generation)
        return out

    def _sample(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        """Generate, score and mine rollouts of these rows."""
        self._echo_capture = GenerationCapture()
        try:
            self.part.begin(inputs)
            out = super()._generate_and_score_completions(inputs)
            mine.annotate(self, out, self._echo_capture)
        finally:
            self._echo_capture = None
        return out

    # -- _generate: the method's part puts demonstrations among the rollouts, before they are scored.
    def _generate(self, prompts: list) -> Any:
        generated = super()._generate(prompts)
        return generated if self._echo_capture is None else tuple(self.part.generated(list(generated)))

    # -- _generate_single_turn: the method's part puts hints between prompt and completion; record entropies.
    def _generate_single_turn(self, prompt_ids: list, images: Any, multimodal_fields: dict, *args: Any, **kwargs: Any):
        if self._echo_capture is None:
            return super()._generate_single_turn(prompt_ids, images, multimodal_fields, *args, **kwargs)
        prompts, fields = self.part.extend_prompts(prompt_ids), self.part.extend_fields(multimodal_fields)
        sampled = self._generate_recorded(prompts, images, fields, *args, **kwargs)
        return self.part.extend_completions(*sampled)

    def _generate_recorded(self, *args: Any, **kwargs: Any) -> Any:
        capture = self._echo_capture
        if not self.wants_entropy or not should_record(self):
            return super()._generate_single_turn(*args, **kwargs)
        capture.turns += 1
        capture.recorder = EntropyRecorder(self.temperature)
        with recording(self._generating_model(), capture.recorder):
            return super()._generate_single_turn(*args, **kwargs)

    def _generating_model(self) -> Any:
        model = self.accelerator.unwrap_model(self.model_wrapped)
        return model.get_base_model() if hasattr(model, "peft_config") and hasattr(model, "get_base_model") else model

    # -- _get_per_token_logps_and_entropies: keep what passes that happen anyway return.
    def _get_per_token_logps_and_entropies(self, model: Any, *args: Any, **kwargs: Any) -> Any:
        if not self._echo_training or not (self.wants_entropy or self.part.needs_logps):
            return super()._get_per_token_logps_and_entropies(model, *args, **kwargs)
        if torch.is_grad_enabled():  # the loss
            result = super()._get_per_token_logps_and_entropies(model, *args, **kwargs)
            self._echo_logps = result[0]
            return result
        unused = self._echo_capture is None or not self.wants_entropy
        if unused or model is not self.model:  # a separate reference model has no entropies
            return super()._get_per_token_logps_and_entropies(model, *args, **kwargs)
        result = super()._get_per_token_logps_and_entropies(model, *args, **{**kwargs, "compute_entropy": True})
        self._echo_capture.passes.append(result[:2])
        return result

    def score_tokens(self, ids: Tensor, mask: Tensor, num_tokens: int, **images: Any) -> tuple[Tensor, Tensor]:
        """(log-probs, entropies), both [rows, num_tokens], of the last `num_tokens` tokens; one forward.

        `images` is what `image_inputs` gives for the rows.
        """
        scored = super()._get_per_token_logps_and_entropies(
            self.model, ids, mask, num_tokens, compute_entropy=True, **images
        )
        return scored[0], scored[1]

    # -- _calculate_rewards: every function's own rewards, gathered; success comes from the verifiers' among them.
    def _calculate_rewards(self, inputs: Any, prompts: list, completions: list, completion_ids_list: list) -> Tensor:
        rewards = super()._calculate_rewards(inputs, prompts, completions, completion_ids_list)
        check_finite(rewards, self.reward_func_names)
        if self.punishment is not None:
            rewards = overlong.only_with_others(rewards, self.punishment)
        if self._echo_capture is not None:
            rewards = self.part.rewards(rewards)
            self._echo_capture.rewards = rewards
            self._echo_capture.lengths = [len(ids) for ids in completion_ids_list]
            self._echo_capture.texts = (prompts, completions)
        return rewards

    # -- _compute_loss: add the term, from the log-probs that the policy loss has computed.
    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> Tensor:
        loss = super()._compute_loss(model, inputs)
        logps, self._echo_logps = self._echo_logps, None
        if self._echo_training and self.part.needs_logps:
            loss = loss + self.part.loss(inputs, logps)
        if self._echo_training and self.echo.trains:
            loss = loss + self._echo_term(model, inputs, logps)
        elif self._echo_training and self.echo.mines:
            with torch.no_grad():  # for the receipt and the metrics
                self._echo_term(model, inputs, logps)
        return loss

    def _echo_term(self, model: Any, inputs: dict[str, Any], logps: Tensor | None) -> Tensor:
        if "echo_weights" not in inputs or logps is None:
            raise RuntimeError("echo_weights were lost between generation and loss: EchoRL would silently do nothing.")
        weights = inputs["echo_weights"]
        if leftover.KEY in inputs:
            more = inputs[leftover.KEY]
            logps = torch.cat([logps.flatten(), self._leftover_logps(model, more).flatten()])
            weights = torch.cat([weights.flatten(), more["weights"].flatten()])
        nll = echo_loss(logps, weights, num_prompts=self.share_of(inputs["echo_count"]))
        self.receipt.deliver(weights)
        others = inputs["echo_informative"].sum() + self.part.num_learned(inputs)
        self.window.add((-logps.detach() * weights).sum(), weights.sum(), others)
        return self.echo.coef_at(self.state.global_step) * nll

    def _leftover_logps(self, model: Any, more: dict[str, Any]) -> Tensor:
        """Log-probs, with graph, of clips of rollouts that have no place in the micro-batch."""
        width, scored = more["weights"].shape[1], super()._get_per_token_logps_and_entropies

        def logps(model: Any, ids: Tensor, mask: Tensor, **images: Any) -> Tensor:
            return scored(model, ids, mask, width, **images)[0]

        size = len(more["ids"]) if leftover.sharded(self) else self.args.per_device_train_batch_size
        return leftover.in_chunks(logps, model, more, size)

    def share_of(self, count: Tensor) -> Tensor:
        """What a sum over a micro-batch is divided by, where `count` counts a whole generation batch on all processes.

        As in TRL's own token-level losses: gradients are averaged over processes and summed over micro-batches, and an
        optimiser step sees its share of the generation batch.
        """
        share = self.current_gradient_accumulation_steps / self.args.steps_per_generation
        return count.clamp(min=1.0) / self.accelerator.num_processes * share

    # -- _get_train_sampler, _save_checkpoint, _load_from_checkpoint, _load_optimizer_and_scheduler: a resumed run goes
    # on where it stopped, also in the middle of a generation batch.
    def _get_train_sampler(self, dataset: Any = None) -> Any:
        self.train_sampler = super()._get_train_sampler(dataset)
        return self.train_sampler

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        if not self.args.save_only_model:
            checkpoint.save(self, trial)
        super()._save_checkpoint(model, trial)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        super()._load_from_checkpoint(resume_from_checkpoint, model)
        checkpoint.load_weights(self, resume_from_checkpoint)

    def _load_optimizer_and_scheduler(self, checkpoint_dir: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint_dir)
        if checkpoint_dir is not None:
            checkpoint.load(self, checkpoint_dir)

    # -- log: the tokens spent so far, which are a total and no mean over the logging interval.
    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        if self.model.training and self.statistics.num_tokens:
            logs = {**logs, "echo/rollout_tokens": self.statistics.num_tokens}
        super().log(logs, *args, **kwargs)

    def log_columns(self, rows: list[rollouts.LoggedRow]) -> None:
        """Add EchoRL's columns to TRL's table of completions: a row for each rollout that was just added to it."""
        for name, values in zip(rollouts.LOGGED_COLUMNS, zip(*rows, strict=True), strict=True):
            self._logs["extra"][name].extend(gather_object(list(values)))

    def warn_once(self, key: str, text: str) -> None:
        """Log a warning the first time `key` comes up in this run (resumed parts included)."""
        if key not in self.warned:
            self.warned.add(key)
            if self.accelerator.is_main_process:
                logger.warning(text)

    def add_metric(self, name: str, value: float, *, family: str = "echo") -> None:
        """Log `family/name`, averaged over the logging interval by TRL. `value` must be the same on every process."""
        self._metrics["train"][f"{family}/{name}"].append(value)

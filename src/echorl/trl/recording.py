"""TRL's generators: the recorder of entropies in transformers' `generate`, and other sampling settings for a while."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from accelerate.utils import extract_model_from_parallel, is_peft_model
from transformers import GenerationConfig, LogitsProcessorList

from echorl.core.entropy import EntropyRecorder
from echorl.core.refusals import refuse_if
from echorl.core.shared_prompts import REFUSAL, check_layers, sharing
from echorl.trl.batch import Capture
from echorl.trl.context import Context
from echorl.trl.versions import installed_trl, scores_in_the_head

TOP = 20
"""The most likely tokens whose log-probs are asked for: what vLLM returns by default at most."""


def makes_old_pass(args: Any) -> bool:
    """Return whether TRL computes the old log-probs, and with them all logits, after sampling."""
    off_policy = args.gradient_accumulation_steps % (args.steps_per_generation * args.num_iterations) != 0
    return off_policy or (args.use_vllm and args.vllm_importance_sampling_correction)


@contextmanager
def recording_top(engine: Any, capture: Capture, context: Context) -> Iterator[None]:
    """Record in `capture` the log-probs of the most likely tokens, if vLLM samples and `echo_entropy_from` asks.

    `engine` is TRL's `VLLMGeneration`. TRL takes the first of a token's log-probs for the sampled one's; it gets that
    one alone, picked by its id, as without EchoRL.
    """
    args = context.args
    if args.echo_entropy_from != "top_logprobs" or not args.use_vllm or makes_old_pass(args):
        yield
        return
    generate, asked = engine.generate, engine.logprobs

    def generate_more(*args: Any, **kwargs: Any) -> tuple[Any, ...]:
        """Call `generate`, keep the log-probs of the most likely tokens, and return those of the sampled ones."""
        prompt_ids, completion_ids, logps, token_ids = generate(*args, **kwargs)
        capture.turns += 1
        capture.top_logps = [[values[:TOP] for values in row] for row in logps]
        places = [
            [ids.index(token) for token, ids in zip(*row, strict=True)]
            for row in zip(completion_ids, token_ids, strict=True)
        ]
        logps, token_ids = (
            [[[values[at]] for at, values in zip(*row, strict=True)] for row in zip(places, columns, strict=True)]
            for columns in (logps, token_ids)
        )
        return prompt_ids, completion_ids, logps, token_ids

    engine.logprobs, engine.generate = TOP, generate_more
    try:
        yield
    finally:
        engine.logprobs = asked
        del engine.generate  # the method of its class again


def should_record(config: GenerationConfig | None, context: Context) -> bool:
    """Return whether to record: if one plain `generate` samples the batch and no later pass computes its logits.

    `config` is `generate`'s; None where another engine samples.
    """
    args = context.args
    if makes_old_pass(args) or args.use_vllm or args.use_transformers_continuous_batching or config is None:
        return False
    beams = (config.num_beams or 1) > 1
    assisted = bool(getattr(config, "prompt_lookup_num_tokens", None) or getattr(config, "assistant_early_exit", None))
    return not (context.features & {"tools", "rollout_func"} or beams or assisted)


@contextmanager
def recording(model: Any, config: GenerationConfig | None, capture: Capture, context: Context) -> Iterator[None]:
    """Record in `capture` the entropies of `model.generate`, if `should_record`; the model can be wrapped.

    The recorder comes before every processor that `generate` builds, so that it sees the raw logits.
    """
    if not should_record(config, context):
        yield
        return
    capture.turns += 1
    capture.recorder = EntropyRecorder(context.args.temperature)
    with processing(model, first=[capture.recorder]):
        yield


@contextmanager
def processing(model: Any, *, first: Sequence[Any] = (), last: Sequence[Any] = ()) -> Iterator[None]:
    """Let `model.generate` use these logits processors before and after those that it builds; it can be wrapped."""
    if not (first or last):
        yield
        return
    model = extract_model_from_parallel(model)
    if is_peft_model(model):
        model = model.get_base_model()
    build, previous = model._get_logits_processor, vars(model).get("_get_logits_processor")

    def build_with_more(*args: Any, **kwargs: Any) -> LogitsProcessorList:
        return LogitsProcessorList([*first, *build(*args, **kwargs), *last])

    model._get_logits_processor = build_with_more
    try:
        yield
    finally:
        del model._get_logits_processor
        if previous is not None:
            model._get_logits_processor = previous


def check_share_prompts(model: Any, context: Context) -> None:
    """Refuse `share_prompts` where a mask of our own would not be kept, or was never tried.

    Raises:
        ValueError: with the setting that it cannot be combined with.
    """
    if not context.args.share_prompts:
        return
    text = model.config.get_text_config()
    attention = text._attn_implementation
    refuse_if(
        {
            f"trl {installed_trl()}: pip install 'trl>=1.15', or remove it": not scores_in_the_head(),
            f"attn_implementation={attention!r}: set attn_implementation='sdpa'": attention != "sdpa",
            "a sliding window in attention": bool(getattr(text, "sliding_window", None)),
            "a model that reads images": text is not model.config,
            "the router's loss of a mixture of experts (router_aux_loss_coef)": "router_loss" in context.features,
            "DeepSpeed": "deepspeed" in context.features,
            "FSDP": "fsdp" in context.features,
        },
        REFUSAL,
    )
    check_layers(model)


@contextmanager
def sharing_prompts(model: Any, context: Context, autocast: Callable[[], Any]) -> Iterator[None]:
    """Let `model.generate` compute a prompt once for all of its rollouts, where `share_prompts` is set.

    `autocast` is put around all of it, since each forward by itself would cast the weights anew.
    """
    if not context.args.share_prompts:
        yield
        return
    with sharing(model), autocast():
        yield


@contextmanager
def sampling_settings(grpo: Any, **values: Any) -> Iterator[None]:
    """Sample with other values of settings such as `temperature`; `grpo` holds TRL's settings for its engine."""
    if grpo.use_vllm:
        holder, changes = grpo.vllm_generation, values
    else:
        config = copy.deepcopy(grpo.generation_config)
        config.update(**values)
        # While it samples, TRL writes `generation_kwargs` into the model's own config, from which defaults are taken.
        kwargs = {**grpo.generation_kwargs, **values}
        holder, changes = grpo, {"generation_config": config, "generation_kwargs": kwargs}
    before = {name: getattr(holder, name) for name in changes}
    vars(holder).update(changes)
    try:
        yield
    finally:
        vars(holder).update(before)

"""Logits processors in transformers' `generate`: the recorder of entropies, its conditions, and a method's own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from accelerate.utils import extract_model_from_parallel, is_peft_model
from transformers import GenerationConfig, LogitsProcessorList

from echorl.core.entropy import EntropyRecorder
from echorl.trl.batch import Capture
from echorl.trl.context import Context


def should_record(config: GenerationConfig | None, context: Context) -> bool:
    """Return whether to record: if one plain `generate` samples the batch and no later pass computes its logits.

    `config` is `generate`'s; None where another engine samples.
    """
    args = context.args
    off_policy = args.gradient_accumulation_steps % (args.steps_per_generation * args.num_iterations) != 0
    if off_policy or args.use_vllm or args.use_transformers_continuous_batching or config is None:
        return False
    beams = (config.num_beams or 1) > 1
    assisted = bool(getattr(config, "prompt_lookup_num_tokens", None) or getattr(config, "assistant_early_exit", None))
    return not (context.features & {"tools", "rollout_func"} or beams or assisted)


@contextmanager
def sampling(
    model: Any, config: GenerationConfig | None, capture: Capture, context: Context, *, record: bool
) -> Iterator[None]:
    """Let `model.generate` use the plan's logits processors, and record its entropies in `capture` if asked.

    Entropies are recorded only if `should_record`. The recorder comes before every processor that `generate` builds, so
    that it sees the raw logits; the plan's come after them. The model can be wrapped.
    """
    last, first = capture.plan.processors, list[Any]()
    if record and should_record(config, context):
        capture.turns += 1
        capture.recorder = EntropyRecorder(context.args.temperature)
        first = [capture.recorder]
    if not (first or last):
        yield
        return
    model = extract_model_from_parallel(model)
    if is_peft_model(model):
        model = model.get_base_model()
    build = model._get_logits_processor

    def build_with_more(*args: Any, **kwargs: Any) -> LogitsProcessorList:
        return LogitsProcessorList([*first, *build(*args, **kwargs), *last])

    model._get_logits_processor = build_with_more
    try:
        yield
    finally:
        del model._get_logits_processor

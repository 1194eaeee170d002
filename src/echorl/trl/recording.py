"""The recorder of entropies in transformers' `generate`: its conditions and its place among the processors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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

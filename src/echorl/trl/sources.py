"""Where a generation batch's token entropies come from: one class a source, tried in order, the first that has them.

A further special case is a further class here (or a refusal), never a condition in the trainer.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from transformers import LogitsProcessorList

from echorl.core.entropy import EntropyRecorder
from echorl.trl.images import image_inputs

if TYPE_CHECKING:
    from echorl.trl.trainer import EchoGRPOTrainer


@dataclass
class GenerationCapture:
    """What one generation batch produced on its way, kept for the sources and the ledger (this process's B rollouts).

    Attributes:
        recorder: filled while sampling; None if this batch was not recorded.
        turns: calls of the generator.
        passes: (log-probs, entropies) of the passes without gradient through the policy, in order.
        rewards: float [N, F], every function's rewards over all processes; NaN for None.
        lengths: response tokens of each rollout.
        texts: (prompts, completions) as the reward functions saw them.
    """

    recorder: EntropyRecorder | None = None
    turns: int = 0
    passes: list[tuple[Tensor, Tensor]] = field(default_factory=list)
    rewards: Tensor | None = None
    lengths: list[int] = field(default_factory=list)
    texts: tuple[list, list] = ((), ())  # type: ignore[assignment]


class OldPass:
    """The pass for the old log-probs, which TRL makes for vLLM's correction or for off-policy steps."""

    name = "old_pass"

    def read(self, trainer: EchoGRPOTrainer, out: dict[str, Any], capture: GenerationCapture, rows: Tensor):
        """[B, T] of the pass whose log-probs are the batch's old ones; None where there was no such pass."""
        # With PEFT and beta > 0 the reference pass goes through the same model: only identity tells them apart.
        old = out.get("old_per_token_logps")
        return next((entropy.detach() for logp, entropy in capture.passes if logp is old), None)


class Recorder:
    """The entropies recorded while `generate` sampled."""

    name = "recorder"

    def read(self, trainer: EchoGRPOTrainer, out: dict[str, Any], capture: GenerationCapture, rows: Tensor):
        """float32 [B, T], 0 where nothing was recorded; None where the recorder did not see the rollouts wanted."""
        if capture.recorder is None or capture.turns != 1:
            return None
        recorded, ids = capture.recorder.entropies, out["completion_ids"]
        if recorded.shape[0] != ids.shape[0] or not _covers(recorded, capture, trainer, rows):
            return None
        # A completion may begin with a hint; pad_to_multiple_of can make it wider than what was sampled. Both lie
        # outside the mask.
        place = torch.arange(ids.shape[1], device=ids.device) - trainer.part.offsets(ids.shape[0]).unsqueeze(1)
        there = (place >= 0) & (place < recorded.shape[1])
        entropy = recorded.gather(1, place.clamp(0, recorded.shape[1] - 1)).float().where(there, 0.0)
        # In a demonstration's place stands what was recorded of the rollout that gave way to it.
        return entropy.masked_fill(~trainer.part.sampled(ids.shape[0]).unsqueeze(1), torch.nan)


def _covers(recorded: Tensor, capture: GenerationCapture, trainer: EchoGRPOTrainer, rows: Tensor) -> bool:
    """Whether all tokens of the rollouts that can give a clip were recorded; a demonstration's were not."""
    size = len(capture.lengths)
    written, lengths = trainer.part.sampled(size), trainer.part.spent(capture.lengths)
    longest = max((n for n, own in zip(lengths, written.tolist(), strict=True) if own), default=0)
    return recorded.shape[1] >= longest and not bool((rows & ~written).any())


class ExtraForward:
    """One more forward without gradient, over the rollouts that can give a clip."""

    name = "extra_forward"

    def read(self, trainer: EchoGRPOTrainer, out: dict[str, Any], capture: GenerationCapture, rows: Tensor):
        """[B, T], NaN in the rows not asked for."""
        trainer.warn_once("extra_forward", "nothing else computes logits here: EchoRL makes one extra forward a batch.")
        ids = out["completion_ids"]
        entropy = torch.full(ids.shape, torch.nan, dtype=torch.float32, device=ids.device)
        wanted = rows.nonzero().flatten()
        chunks = [self._forward(trainer, out, chunk) for chunk in _equal_chunks(trainer, wanted)]
        if len(wanted):
            entropy[wanted] = torch.cat(chunks)[: len(wanted)]
        return entropy

    def _forward(self, trainer: EchoGRPOTrainer, out: dict[str, Any], chunk: Tensor) -> Tensor:
        ids = torch.cat([out["prompt_ids"], out["completion_ids"]], 1)[chunk]
        mask = torch.cat([out["prompt_mask"], out["completion_mask"]], 1)[chunk]
        with torch.no_grad():
            scored = trainer.score_tokens(ids, mask, out["completion_ids"].shape[1], **image_inputs(out, chunk))
        return scored[1].float()


def _equal_chunks(trainer: EchoGRPOTrainer, rows: Tensor) -> list[Tensor]:
    """`rows` in chunks of a micro-batch, as many on every process (else FSDP and ZeRO-3 hang), padded with row 0."""
    size = trainer.args.per_device_train_batch_size
    most = int(trainer.accelerator.gather(torch.tensor([len(rows)], device=rows.device)).max())
    padded = torch.nn.functional.pad(rows, (0, -(-most // size) * size - len(rows)))
    return list(padded.split(size)) if most else []


class Surprisal:
    """-log pi of the sampled tokens, as the engine returned it: a noisy estimate of the entropy that costs no forward.

    Its expectation over what the policy samples is the entropy of the distribution that the token was drawn from; among
    successes it is less, where a rare token makes a rollout fail. The largest of many noisy means is a lucky one, so
    the step picked is often not the one that the entropies pick: see benchmarks/README.md.
    """

    name = "surprisal"

    def read(self, trainer: EchoGRPOTrainer, out: dict[str, Any], capture: GenerationCapture, rows: Tensor):
        """[B, T] in nats, NaN where the engine gave no finite log-prob; ValueError where they do not fit the tokens."""
        logp, ids = out.get("sampling_per_token_logps"), out["completion_ids"]
        if logp is None:
            return None
        if logp.shape != ids.shape:
            raise ValueError(
                f"log-probs of shape {tuple(logp.shape)} do not fit completions of shape {tuple(ids.shape)}: "
                "rollout_func must return one log-prob, the sampled token's, for each token of completion_ids."
            )
        if not bool((logp < 0).any()):
            trainer.warn_once("surprisal", "no sampled log-prob of a batch is below 0: its steps cannot be told apart.")
        return torch.where(logp.isfinite(), -logp.float(), torch.nan)


class Unknown:
    """No source: for a batch whose entropies nothing needs."""

    name = "none"

    def read(self, trainer: EchoGRPOTrainer, out: dict[str, Any], capture: GenerationCapture, rows: Tensor):
        """[B, T], all NaN."""
        ids = out["completion_ids"]
        return torch.full(ids.shape, torch.nan, dtype=torch.float32, device=ids.device)


SOURCES = {
    "logits": (OldPass(), Recorder(), ExtraForward()),
    "surprisal": (OldPass(), Recorder(), Surprisal()),
}
"""`echo_entropy_from` -> its sources, in the order in which they are tried."""

FREE = (OldPass(), Recorder(), Unknown())
"""Those for a batch whose entropies nothing needs."""


def read_entropies(
    trainer: EchoGRPOTrainer, out: dict[str, Any], capture: GenerationCapture, rows: Tensor, *, needed: bool = True
) -> tuple[Tensor, str]:
    """Entropies [B, T] and their source's name, the same source on every process.

    `rows` is bool [B], the rollouts that can give a clip; others may be left NaN, and all where none is `needed` and
    none is there anyway. ValueError where only the sampled tokens' log-probs were asked for and the engine returned
    none.
    """
    for source in SOURCES[trainer.args.echo_entropy_from] if needed else FREE:
        entropy = source.read(trainer, out, capture, rows)
        have = torch.tensor([entropy is not None], device=rows.device)
        if bool(trainer.accelerator.gather(have).all()):
            return entropy, source.name
    raise ValueError(
        "echo_entropy_from='surprisal' finds no log-probs of the sampled tokens: sample with vLLM, let rollout_func "
        "return its own as 'logprobs', or set echo_entropy_from='logits', which makes one extra forward."
    )


def should_record(trainer: EchoGRPOTrainer) -> bool:
    """Whether to record this batch: it is sampled by one plain `generate`, and no other pass will have the logits."""
    args, config = trainer.args, getattr(trainer, "generation_config", None)
    off_policy = args.gradient_accumulation_steps % (args.steps_per_generation * trainer.num_iterations) != 0
    if off_policy or trainer.use_vllm or trainer.use_transformers_continuous_batching or config is None:
        return False
    beams = (config.num_beams or 1) > 1
    assisted = bool(getattr(config, "prompt_lookup_num_tokens", None) or getattr(config, "assistant_early_exit", None))
    return not (trainer.tools or trainer.rollout_func or beams or assisted)


@contextmanager
def recording(model: Any, recorder: EntropyRecorder):
    """Put `recorder` before every processor that `model.generate` builds, so that it sees the raw logits."""
    build = model._get_logits_processor

    def build_with_recorder(*args: Any, **kwargs: Any) -> LogitsProcessorList:
        return LogitsProcessorList([recorder, *build(*args, **kwargs)])

    model._get_logits_processor = build_with_recorder
    try:
        yield
    finally:
        del model._get_logits_processor

"""Sources of a generation batch's token entropies: a class for each; the first in order that has them is taken.

A further special case is a further class here (or a refusal), never a condition in the trainer.
"""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor

from echorl.trl.batch import Capture
from echorl.trl.context import Context
from echorl.trl.images import image_inputs


class Source(Protocol):
    """A place where entropies come from; `rows` is bool [B], those that are asked for."""

    name: str

    def read(self, out: dict[str, Any], capture: Capture, rows: Tensor, context: Context) -> Tensor | None: ...


class OldPass:
    """The pass for the old log-probs, which TRL makes for vLLM's correction or for off-policy steps."""

    name = "old_pass"

    def read(self, out: dict[str, Any], capture: Capture, rows: Tensor, context: Context) -> Tensor | None:
        """[B, T] of the pass whose log-probs are the batch's old ones; None where there was no such pass."""
        # With PEFT and beta > 0 the reference pass goes through the same model: only identity tells them apart.
        old = out.get("old_per_token_logps")
        return next((entropy.detach() for logp, entropy in capture.passes if logp is old), None)


class Recorder:
    """The entropies recorded while `generate` sampled."""

    name = "recorder"

    def read(self, out: dict[str, Any], capture: Capture, rows: Tensor, context: Context) -> Tensor | None:
        """float32 [B, T], 0 where nothing was recorded; None where the recorder did not see the rollouts wanted."""
        if capture.recorder is None or capture.turns != 1:
            return None
        recorded, ids = capture.recorder.entropies, out["completion_ids"]
        size = ids.shape[0]
        from_policy = capture.plan.from_policy(size, ids.device)
        if recorded.shape[0] != size or not _covers(recorded, capture.num_sampled, from_policy, rows):
            return None
        # A completion may begin with a hint; pad_to_multiple_of can make it wider than what was sampled. Both lie
        # outside the mask.
        offsets = torch.tensor(capture.plan.prefix_lengths(size), device=ids.device).unsqueeze(1)
        place = torch.arange(ids.shape[1], device=ids.device) - offsets
        is_recorded = (place >= 0) & (place < recorded.shape[1])
        entropy = recorded.gather(1, place.clamp(0, recorded.shape[1] - 1)).float().where(is_recorded, 0.0)
        # In a demonstration's place stands what was recorded of the rollout that gave way to it.
        return entropy.masked_fill(~from_policy.unsqueeze(1), torch.nan)


def _covers(recorded: Tensor, num_sampled: list[int], from_policy: Tensor, rows: Tensor) -> bool:
    """Return whether all tokens of the rollouts that can give a clip were recorded; a demonstration's were not."""
    longest = max((n for n, own in zip(num_sampled, from_policy.tolist(), strict=True) if own), default=0)
    return recorded.shape[1] >= longest and not bool((rows & ~from_policy).any())


class ExtraForward:
    """One more forward without gradient, over the rollouts that can give a clip."""

    name = "extra_forward"

    def read(self, out: dict[str, Any], capture: Capture, rows: Tensor, context: Context) -> Tensor | None:
        """[B, T], NaN in the rows not asked for."""
        context.log.warn_once(
            "extra_forward", "nothing else computes logits here: EchoRL makes one extra forward a batch."
        )
        ids = out["completion_ids"]
        entropy = torch.full(ids.shape, torch.nan, dtype=torch.float32, device=ids.device)
        wanted = rows.nonzero().flatten()
        chunks = [self._forward(out, chunk, context) for chunk in _equal_chunks(wanted, context)]
        if len(wanted):
            entropy[wanted] = torch.cat(chunks)[: len(wanted)]
        return entropy

    def _forward(self, out: dict[str, Any], chunk: Tensor, context: Context) -> Tensor:
        ids = torch.cat([out["prompt_ids"], out["completion_ids"]], 1)[chunk]
        mask = torch.cat([out["prompt_mask"], out["completion_mask"]], 1)[chunk]
        with torch.no_grad():
            scored = context.score(ids, mask, out["completion_ids"].shape[1], **image_inputs(out, chunk))
        return scored[1].float()


def _equal_chunks(rows: Tensor, context: Context) -> list[Tensor]:
    """`rows` in chunks of a micro-batch, as many on every process (else FSDP and ZeRO-3 hang), padded with row 0."""
    size = context.args.per_device_train_batch_size
    most = int(context.comm.gather(torch.tensor([len(rows)], device=rows.device)).max())
    padded = torch.nn.functional.pad(rows, (0, -(-most // size) * size - len(rows)))
    return list(padded.split(size)) if most else []


class Surprisal:
    """-log pi of the sampled tokens, as the engine returned it: a noisy estimate of the entropy that costs no forward.

    Its expectation over what the policy samples is the entropy of the distribution that the token was drawn from; among
    successes it is less, where a rare token makes a rollout fail. The largest of many noisy means is a lucky one, so
    the step picked is often not the one that the entropies pick: see benchmarks/README.md.
    """

    name = "surprisal"

    def read(self, out: dict[str, Any], capture: Capture, rows: Tensor, context: Context) -> Tensor | None:
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
            context.log.warn_once(
                "surprisal", "no sampled log-prob of a batch is below 0: its steps cannot be told apart."
            )
        return torch.where(logp.isfinite(), -logp.float(), torch.nan)


class Unknown:
    """No source: for a batch whose entropies nothing needs."""

    name = "none"

    def read(self, out: dict[str, Any], capture: Capture, rows: Tensor, context: Context) -> Tensor | None:
        """[B, T], all NaN."""
        ids = out["completion_ids"]
        return torch.full(ids.shape, torch.nan, dtype=torch.float32, device=ids.device)


SOURCES: dict[str, tuple[Source, ...]] = {
    "logits": (OldPass(), Recorder(), ExtraForward()),
    "surprisal": (OldPass(), Recorder(), Surprisal()),
}
"""`echo_entropy_from` -> its sources, in the order in which they are tried."""

FREE: tuple[Source, ...] = (OldPass(), Recorder(), Unknown())
"""Sources for a batch whose entropies nothing needs."""


def read_entropies(
    out: dict[str, Any], capture: Capture, rows: Tensor, context: Context, *, needed: bool = True
) -> tuple[Tensor, str]:
    """Entropies [B, T] and their source's name, the same source on every process.

    `rows` is bool [B], the rollouts that can give a clip; others may be left NaN, and all where none is `needed` and
    none is there anyway. ValueError where only the sampled tokens' log-probs were asked for and the engine returned
    none.
    """
    for source in SOURCES[context.args.echo_entropy_from] if needed else FREE:
        entropy = source.read(out, capture, rows, context)
        is_there = context.comm.gather(torch.tensor([entropy is not None], device=rows.device))
        if entropy is not None and bool(is_there.all()):
            return entropy, source.name
    raise ValueError(
        "echo_entropy_from='surprisal' finds no log-probs of the sampled tokens: sample with vLLM, let rollout_func "
        "return its own as 'logprobs', or set echo_entropy_from='logits', which makes one extra forward."
    )

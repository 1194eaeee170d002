"""Sources of a generation batch's token entropies, one class each; the first in order that has them is used.

A further special case is a further class here (or a refusal), never a condition in the trainer.
"""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor

from echorl.core.entropy import top_entropy
from echorl.trl.batch import Capture
from echorl.trl.context import Context
from echorl.trl.images import image_inputs


class Source(Protocol):
    """An origin of entropies; `rows` is bool [B], the rollouts whose entropies are needed."""

    name: str

    def read(self, out: dict[str, Any], capture: Capture, rows: Tensor, context: Context) -> Tensor | None: ...


class OldPass:
    """The pass for the old log-probs, which TRL makes for vLLM's correction or for off-policy steps."""

    name = "old_pass"

    def read(self, out: dict[str, Any], capture: Capture, rows: Tensor, context: Context) -> Tensor | None:
        """Return [B, T] of the pass whose log-probs are the batch's old ones; None where there was no such pass."""
        # With PEFT and beta > 0 the reference pass goes through the same model: only identity tells them apart.
        old = out.get("old_per_token_logps")
        return next((entropy.detach() for logp, entropy in capture.passes if logp is old), None)


class Recorder:
    """The entropies recorded while `generate` sampled."""

    name = "recorder"

    def read(self, out: dict[str, Any], capture: Capture, rows: Tensor, context: Context) -> Tensor | None:
        """Return float32 [B, T], 0 where nothing was recorded; None where a needed rollout was not recorded."""
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
        # In a demonstration's place are the entropies of the rollout that it replaced.
        return entropy.masked_fill(~from_policy.unsqueeze(1), torch.nan)


def _covers(recorded: Tensor, num_sampled: list[int], from_policy: Tensor, rows: Tensor) -> bool:
    """Return whether all tokens of the needed rollouts were recorded; a demonstration's never are."""
    pairs = zip(num_sampled, from_policy.tolist(), strict=True)
    longest = max((length for length, is_rollout in pairs if is_rollout), default=0)
    return recorded.shape[1] >= longest and not bool((rows & ~from_policy).any())


class TopLogprobs:
    """The entropy by the log-probs of the most likely tokens, as the engine returned them: it costs no forward.

    The rest of the distribution is bounded (`top_entropy`), and the middle between the bounds is taken.
    """

    name = "top_logprobs"

    def read(self, out: dict[str, Any], capture: Capture, rows: Tensor, context: Context) -> Tensor | None:
        """Return float32 [B, T], NaN where a log-prob is not known; None unless one call of the engine sampled all."""
        ids, recorded = out["completion_ids"], capture.top_logps
        size = ids.shape[0]
        if recorded is None or capture.turns != 1 or len(recorded) != size:
            return None
        lower, upper = torch.full((2, *ids.shape), torch.nan, dtype=torch.float32, device=ids.device)
        for row, (first, values) in enumerate(zip(capture.plan.prefix_lengths(size), recorded, strict=True)):
            place = slice(first, first + len(values))
            bounds = top_entropy(as_table(values), len(context.tokenizer))
            lower[row, place], upper[row, place] = (bound[: ids.shape[1] - first].to(ids.device) for bound in bounds)
        gap = (upper - lower)[rows] / 2
        sums = context.comm.sum(torch.stack([gap.nansum(), gap.isfinite().sum()]))
        context.log.update({"echo/entropy_bound": float(sums[0] / sums[1].clamp(min=1))})
        from_policy = capture.plan.from_policy(size, ids.device)
        return ((lower + upper) / 2).masked_fill(~from_policy.unsqueeze(1), torch.nan)


def as_table(values: list[list[float | None]]) -> Tensor:
    """Return the log-probs of each token as [T, k], -inf where a token has fewer; None becomes NaN."""
    width = max(map(len, values), default=1)
    rows = [[*(torch.nan if v is None else v for v in row), *[-torch.inf] * (width - len(row))] for row in values]
    return torch.tensor(rows, dtype=torch.float32).reshape(len(rows), width)


class ExtraForward:
    """One more forward without gradient, over the rollouts that can give a clip."""

    name = "extra_forward"

    def read(self, out: dict[str, Any], capture: Capture, rows: Tensor, context: Context) -> Tensor | None:
        """Return [B, T], NaN in the rows that are not needed."""
        context.log.warn_once(
            "extra_forward", "no pass of this run computes logits: EchoRL makes one extra forward for each batch."
        )
        return score_rows(out, rows, context)[1]


def score_rows(out: dict[str, Any], rows: Tensor, context: Context) -> Tensor:
    """Return float32 [2, B, T], log-probs and entropies of these rows (bool [B]), NaN in the others.

    One forward without gradient, in chunks.
    """
    scores = torch.full((2, *out["completion_ids"].shape), torch.nan, device=rows.device)
    needed = rows.nonzero().flatten()
    chunks = [_forward(out, chunk, context) for chunk in _equal_chunks(needed, context)]
    if len(needed):
        scores[:, needed] = torch.cat(chunks, 1)[:, : len(needed)]
    return scores


def sampled_logps(out: dict[str, Any], rows: Tensor, context: Context) -> Tensor:
    """Return the log-probs [B, T] of these rows (bool [B]) under the policy that sampled.

    They are TRL's old ones; where it made no such pass, one more forward, with NaN in the other rows.
    """
    old = out.get("old_per_token_logps")
    return score_rows(out, rows, context)[0] if old is None else old.float()


def _forward(out: dict[str, Any], chunk: Tensor, context: Context) -> Tensor:
    ids = torch.cat([out["prompt_ids"], out["completion_ids"]], 1)[chunk]
    mask = torch.cat([out["prompt_mask"], out["completion_mask"]], 1)[chunk]
    with torch.no_grad():
        scored = context.policy.score(ids, mask, out["completion_ids"].shape[1], **image_inputs(out, chunk))
    return torch.stack([scored[0].float(), scored[1].float()])


def _equal_chunks(rows: Tensor, context: Context) -> list[Tensor]:
    """Return `rows` in chunks of a micro-batch, equally many on every process (else FSDP and ZeRO-3 hang).

    The last ones are padded with row 0.
    """
    size = context.args.per_device_train_batch_size
    most = int(context.comm.gather(torch.tensor([len(rows)], device=rows.device)).max())
    padded = torch.nn.functional.pad(rows, (0, -(-most // size) * size - len(rows)))
    return list(padded.split(size)) if most else []


class Surprisal:
    """-log pi of the sampled tokens, as the engine returned it: a noisy estimate of the entropy that costs no forward.

    Its expectation over the policy's samples is the entropy of the distribution that the token was drawn from; among
    successes it is less, where a rare token makes a rollout fail. The largest of many noisy means is often large by
    chance, so the chosen step often differs from the choice by entropies: see benchmarks/README.md.
    """

    name = "surprisal"

    def read(self, out: dict[str, Any], capture: Capture, rows: Tensor, context: Context) -> Tensor | None:
        """Return [B, T] in nats, NaN where the engine returned no finite log-prob; None where it returned none.

        Raises:
            ValueError: the log-probs do not fit the tokens.
        """
        logp, ids = out.get("sampling_per_token_logps"), out["completion_ids"]
        if logp is None:
            return None
        if logp.shape != ids.shape:
            raise ValueError(
                f"log-probs of shape {tuple(logp.shape)} do not fit completions of shape {tuple(ids.shape)}: "
                "rollout_func must return one log-prob, the sampled token's, for each token of completion_ids."
            )
        if not bool((logp < 0).any()):
            context.log.warn_once("surprisal", "no sampled log-prob of a batch is below 0: its steps cannot be ranked.")
        return torch.where(logp.isfinite(), -logp.float(), torch.nan)


SOURCES: dict[str, tuple[Source, ...]] = {
    "logits": (OldPass(), Recorder(), ExtraForward()),
    "top_logprobs": (OldPass(), Recorder(), TopLogprobs()),
    "surprisal": (OldPass(), Recorder(), Surprisal()),
}
"""`echo_entropy_from` -> its sources, in the order in which they are tried. The first two cost nothing."""


def read_entropies(
    out: dict[str, Any], capture: Capture, rows: Tensor, context: Context, *, needed: bool = True
) -> tuple[Tensor, str]:
    """Return entropies [B, T] and the name of their source, which is the same on every process.

    `rows` is bool [B], the rollouts whose entropies are read; those of other rows may be NaN. Where entropies are not
    `needed`, those that exist are returned, else NaN.

    Raises:
        ValueError: `echo_entropy_from` is not "logits", and the engine returned no log-probs.
    """
    sources = SOURCES[context.args.echo_entropy_from]
    for source in sources if needed else sources[:2]:
        entropy = source.read(out, capture, rows, context)
        everywhere = context.comm.gather(torch.tensor([entropy is not None], device=rows.device)).all()
        if entropy is not None and bool(everywhere):
            return entropy, source.name
    if not needed:
        ids = out["completion_ids"]
        return torch.full(ids.shape, torch.nan, dtype=torch.float32, device=ids.device), "none"
    if context.args.echo_entropy_from == "top_logprobs":
        raise ValueError(
            "echo_entropy_from='top_logprobs' finds no log-probs of the most likely tokens: sample with vLLM, without "
            "tools and without rollout_func, or set echo_entropy_from='logits', which makes one extra forward."
        )
    raise ValueError(
        "echo_entropy_from='surprisal' finds no log-probs of the sampled tokens: sample with vLLM, let rollout_func "
        "return its own as 'logprobs', or set echo_entropy_from='logits', which makes one extra forward."
    )

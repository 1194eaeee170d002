"""Token entropies and log-probabilities: from logits in one pass, recorded while sampling, averaged over steps."""

from __future__ import annotations

import torch
from torch import Tensor

CHUNK_ELEMENTS = 1 << 22  # float32 numbers held at once beside the logits: 16 MB


def logp_and_entropy(logits: Tensor, targets: Tensor, *, temperature: float = 1.0) -> tuple[Tensor, Tensor]:
    """log pi(target) and the entropy H = -sum_v pi(v) log pi(v) of pi = softmax(logits / temperature), in one pass.

    Works in chunks of positions, so that no float32 copy of the logits exists. The log-probabilities have a backward
    pass (chunked too); the entropies are detached.

    Args:
        logits: [..., V], any floating type.
        targets: int [...], the token at each position.
        temperature: positive.

    Returns:
        float32 [...] log-probabilities and float32 [...] entropies in nats; empty where the input is empty.

    Raises:
        ValueError: temperature not positive, or shapes that do not fit.
    """
    if not temperature > 0:
        raise ValueError(f"temperature={temperature!r} is not allowed: it must be positive.")
    if logits.shape[:-1] != targets.shape:
        raise ValueError(f"targets of shape {tuple(targets.shape)} do not fit logits of shape {tuple(logits.shape)}.")
    flat = logits.reshape(-1, logits.shape[-1])
    logp, entropy = _LogpAndEntropy.apply(flat, targets.reshape(-1), temperature)
    return logp.view(targets.shape), entropy.view(targets.shape)


class _LogpAndEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx, logits, targets, temperature):  # type: ignore[no-untyped-def]
        num = targets.numel()
        logp = torch.empty(num, dtype=torch.float32, device=logits.device)
        entropy, log_norm = torch.empty_like(logp), torch.empty_like(logp)
        for rows in _chunks(logits):
            logp[rows], entropy[rows], log_norm[rows] = _score_rows(logits[rows], targets[rows], temperature)
        ctx.save_for_backward(logits, targets, log_norm)
        ctx.temperature = temperature
        ctx.mark_non_differentiable(entropy)
        return logp, entropy

    @staticmethod
    def backward(ctx, grad_logp, _):  # type: ignore[no-untyped-def]
        # d logp / d logits = (onehot(target) - pi) / temperature
        logits, targets, log_norm = ctx.saved_tensors
        grad = torch.empty_like(logits)
        for rows in _chunks(logits):
            scale = (grad_logp[rows] / ctx.temperature).unsqueeze(1)
            part = (logits[rows].float() / ctx.temperature).sub_(log_norm[rows].unsqueeze(1)).exp_().mul_(-scale)
            grad[rows] = part.scatter_add_(1, targets[rows].unsqueeze(1), scale)
        return grad, None, None


def _score_rows(logits: Tensor, targets: Tensor, temperature: float) -> tuple[Tensor, Tensor, Tensor]:
    """float32 logp, entropy and log-normaliser of a chunk of rows."""
    # A forbidden token has logit -inf and probability 0; the clamp turns its 0 * -inf into 0.
    scaled = (logits.float() / temperature).clamp_(min=torch.finfo(torch.float32).min)
    top = scaled.amax(1, keepdim=True)
    scaled.sub_(top)
    chosen = scaled.gather(1, targets.unsqueeze(1)).squeeze(1)
    weights = scaled.exp()
    total = weights.sum(1)
    log_total = total.log()
    entropy = log_total - torch.linalg.vecdot(weights, scaled) / total
    return chosen - log_total, entropy, log_total + top.squeeze(1)


def _chunks(logits: Tensor) -> list[slice]:
    rows = max(1, CHUNK_ELEMENTS // max(1, logits.shape[1]))
    return [slice(start, start + rows) for start in range(0, logits.shape[0], rows)]


def step_entropy(entropy: Tensor, step_ids: Tensor, *, num_steps: int | None = None) -> Tensor:
    """Mean token entropy of each step: H_k = (1/|S_k|) sum_{t in S_k} H_t.

    Args:
        entropy: [B, T] in nats, any floating type. Tokens whose entropy is not finite are left out of the mean.
        step_ids: int64 [B, T] from `segment_steps`; -1 marks tokens of no step.
        num_steps: K; the largest step number plus one if not given.

    Returns:
        float32 [B, K], -inf where a step has no (finite) token; never NaN. K = 0 where there is no step at all.
    """
    if num_steps is None:
        num_steps = int(step_ids.max()) + 1 if step_ids.numel() else 0
    finite = entropy.isfinite()
    sums, counts = _sum_steps(entropy.masked_fill(~finite, 0.0), step_ids.masked_fill(~finite, -1), num_steps)
    return (sums / counts).float().masked_fill(counts == 0, -torch.inf)


def _sum_steps(values: Tensor, step_ids: Tensor, num_steps: int) -> tuple[Tensor, Tensor]:
    """Sums of `values` over the steps, and the steps' token counts, both [B, K]."""
    # float64 (float32 where the device has none): the sum then does not feel the order, which CUDA leaves open.
    wide = torch.float32 if values.device.type == "mps" else torch.float64
    # Bin 0 takes the tokens of no step.
    bins = step_ids + 1
    sums = torch.zeros(values.shape[0], num_steps + 1, dtype=wide, device=values.device)
    sums.scatter_add_(1, bins, values.to(wide))
    return sums[:, 1:], step_lengths(step_ids, num_steps)


def step_lengths(step_ids: Tensor, num_steps: int) -> Tensor:
    """int64 [B, K]: the number of tokens of each step."""
    rows = torch.arange(step_ids.shape[0], device=step_ids.device).unsqueeze(1)
    bins = step_ids + 1 + rows * (num_steps + 1)
    counts = torch.bincount(bins.flatten(), minlength=step_ids.shape[0] * (num_steps + 1))
    return counts.view(step_ids.shape[0], num_steps + 1)[:, 1:]


class EntropyRecorder:
    """A transformers `LogitsProcessor` that keeps the entropy of every sampled position and changes nothing.

    It must see the raw logits, so it has to be first in the list of processors, before penalties, temperature and
    top-k; it divides by `temperature` itself. It uses no random numbers.
    """

    def __init__(self, temperature: float = 1.0) -> None:
        self.temperature = temperature
        self._columns: list[Tensor] = []

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        nowhere = torch.zeros(scores.shape[0], dtype=torch.int64, device=scores.device)
        with torch.no_grad():
            self._columns.append(logp_and_entropy(scores, nowhere, temperature=self.temperature)[1])
        return scores

    @property
    def entropies(self) -> Tensor:
        """float32 [B, steps generated]; columns after a row's end are of no meaning. [0, 0] before any step."""
        return torch.stack(self._columns, 1) if self._columns else torch.zeros(0, 0)

"""Token entropies and log-probabilities: from logits in one pass, recorded while sampling, averaged over steps."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from echorl.core.refusals import check_tensors
from echorl.core.steps import row_blocks

# float32 numbers in a chunk of logits; twice that is held beside the logits. On a CPU 2 MB, which stays in its cache
# (picked by benchmarks/logp_entropy.py); on an accelerator 16 MB, so that launches do not dominate (not measured).
CHUNK_ELEMENTS = 1 << 19
ACCELERATOR_CHUNK_ELEMENTS = 1 << 22


def logp_and_entropy(logits: Tensor, targets: Tensor, *, temperature: float = 1.0) -> tuple[Tensor, Tensor]:
    """log pi(target) and the entropy H = -sum_v pi(v) log pi(v) of pi = softmax(logits / temperature), in one pass.

    Works in chunks of positions, so that no second copy of the logits exists, in float32 or otherwise, not even for
    slices such as `logits[:, :-1]`. The log-probabilities have a backward pass (chunked too, once differentiable); the
    entropies are detached.

    Args:
        logits: [..., V], any floating type.
        targets: int [...], the token that each position's logits predict (for a causal model, `logits[:, :-1]` and
            `token_ids[:, 1:]`). At ids outside the vocabulary (padding of -100) the log-probabilities mean nothing.
        temperature: positive and finite; at least 1.2e-38, float32's smallest normal number.

    Returns:
        float32 [...] log-probabilities and float32 [...] entropies in nats; empty where the input is empty.

    Raises:
        ValueError: a temperature that is not allowed, an argument that is no tensor, or shapes that do not fit.
    """
    check_temperature(temperature)
    check_tensors(logits=logits, targets=targets)
    if logits.shape[:-1] != targets.shape:
        raise ValueError(f"targets of shape {tuple(targets.shape)} do not fit logits of shape {tuple(logits.shape)}.")
    return _LogpAndEntropy.apply(logits, targets.long().clamp(0, logits.shape[-1] - 1), temperature)


def top_entropy(logp: Tensor, vocab_size: int) -> tuple[Tensor, Tensor]:
    """Bounds of the entropy of a distribution whose k most likely tokens are known.

    Each of the other tokens has at most the probability of the least likely known one, and together they have the
    mass that is left. The entropy is least if they are as few as this allows, and largest if all are alike.

    Args:
        logp: float [..., k], the log-probs of the k most likely tokens; -inf for a token that cannot be sampled.
        vocab_size: all tokens, V.

    Returns:
        float32 [...] twice, the lower and the upper bound in nats; NaN where a log-prob is.
    """
    check_tensors(logp=logp)
    p = logp.to(wide_dtype(logp.device)).exp()
    num_unknown, least = vocab_size - logp.shape[-1], p.amin(-1)
    unknown_mass = (1 - p.sum(-1)).clamp(min=0).masked_fill((least == 0) | (num_unknown <= 0), 0.0)
    top_part = torch.special.entr(p).sum(-1)
    lower = top_part - torch.special.xlogy(unknown_mass, torch.minimum(least, unknown_mass))
    upper = top_part + torch.special.entr(unknown_mass) + unknown_mass * math.log(max(1, num_unknown))
    return lower.float(), torch.maximum(lower, upper).float()


def check_temperature(temperature: float) -> None:
    """Raises:
    ValueError: softmax(logits / temperature) means nothing, or float32 can't divide by it.
    """
    if not torch.finfo(torch.float32).tiny <= temperature < float("inf"):
        raise ValueError(f"temperature={temperature!r} is not allowed: it must be positive and finite, such as 1.0.")


class _LogpAndEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx, logits, targets, temperature):  # type: ignore[no-untyped-def]
        logp = torch.empty(targets.shape, dtype=torch.float32, device=logits.device)
        entropy, log_total, top = (torch.empty_like(logp) for _ in range(3))
        for rows, ids, *out in _chunks(logits, targets, logp, entropy, log_total, top):
            for part, values in zip(out, _score_rows(rows, ids, temperature), strict=True):
                part.copy_(values)
        ctx.save_for_backward(logits, targets, log_total, top)
        ctx.temperature = temperature
        ctx.mark_non_differentiable(entropy)
        return logp, entropy

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_logp, _):  # type: ignore[no-untyped-def]
        logits, targets, log_total, top = ctx.saved_tensors
        grad = torch.empty_like(logits)
        for rows, out, *columns in _chunks(logits, grad, targets, log_total, top, grad_logp):
            out.copy_(_grad_rows(rows, *columns, ctx.temperature))
        return grad, None, None


def _score_rows(logits: Tensor, targets: Tensor, temperature: float) -> tuple[Tensor, ...]:
    """float32 logp, entropy, log-normaliser of the shifted logits and maximum of a chunk of rows."""
    top = logits.amax(1).float()
    shifted = _shift(logits, top, temperature)
    chosen = shifted.gather(1, targets.unsqueeze(1)).squeeze(1)
    entropy, log_total = _entropy_of(shifted)
    return chosen - log_total, entropy, log_total, top


def _shift(logits: Tensor, top: Tensor, temperature: float, out: Tensor | None = None) -> Tensor:
    """(logits - their maximum `top`) / temperature, float32 [n, V] (in `out`, or new).

    The maximum goes first: beside a large offset, or divided by a small temperature, float32 keeps few digits.
    """
    shifted = torch.sub(logits.float(), top.unsqueeze(1), out=out)
    return shifted if temperature == 1 else shifted.div_(temperature)


def _entropy_of(shifted: Tensor, out: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Entropy and log of the normaliser of rows of shifted logits, which are overwritten; `out` is for [n, V] more."""
    weights = torch.exp(shifted, out=out)
    log_total = (total := weights.sum(1)).log()
    # A forbidden token has logit -inf and probability 0; the clamp turns its 0 * -inf into 0.
    shifted.clamp_(min=torch.finfo(torch.float32).min)
    return log_total - weights.mul_(shifted).sum(1) / total, log_total


def _grad_rows(
    logits: Tensor, targets: Tensor, log_total: Tensor, top: Tensor, grad: Tensor, temperature: float
) -> Tensor:
    """d logp / d logits = (onehot(target) - pi) / temperature, times the incoming gradient `grad`."""
    pi = _shift(logits, top, temperature).sub_(log_total.unsqueeze(1)).exp_()
    gradient = pi.mul_(-grad.unsqueeze(1)).scatter_add_(1, targets.unsqueeze(1), grad.unsqueeze(1))
    return gradient if temperature == 1 else gradient.div_(temperature)


def _chunks(logits: Tensor, *tensors: Tensor) -> Iterator[list[Tensor]]:
    """Yield views of a few positions each: of `logits` as [n, V], and of `tensors` (of its shape, or without V)."""
    if logits.dim() > 2 and not logits.is_contiguous():  # such as logits[:, :-1]: flattening them would copy
        for parts in zip(logits, *tensors, strict=True):
            yield from _chunks(*parts)
        return
    num_vocab = logits.shape[-1]
    flat = [logits.reshape(-1, num_vocab)]
    flat += [t.reshape(-1, num_vocab) if t.dim() == logits.dim() else t.reshape(-1) for t in tensors]
    size = max(1, (CHUNK_ELEMENTS if logits.device.type == "cpu" else ACCELERATOR_CHUNK_ELEMENTS) // num_vocab)
    for start in range(0, len(flat[0]), size):
        yield [tensor[start : start + size] for tensor in flat]


def step_entropy(entropy: Tensor, step_ids: Tensor, *, num_steps: int | None = None) -> Tensor:
    """Mean token entropy of each step: H_k = mean of H_t over the tokens t of step k.

    Args:
        entropy: [B, T] in nats, any floating type. Tokens whose entropy is not finite do not count in the mean.
        step_ids: int64 [B, T] from `segment_steps`; -1 marks tokens of no step.
        num_steps: K, more than the largest step number; that plus one if not given.

    Returns:
        float32 [B, K], -inf where a step has no (finite) token; never NaN. K = 0 where there is no step at all.

    Raises:
        ValueError: an argument is no tensor, or a step number is below -1 or not below K.
    """
    check_tensors(entropy=entropy, step_ids=step_ids)
    num_steps = _num_steps(step_ids, num_steps)
    means = torch.empty(entropy.shape[0], num_steps, dtype=torch.float32, device=entropy.device)
    for rows in row_blocks(entropy.shape[0], entropy.shape[1], entropy.device):
        means[rows] = _step_means(entropy[rows], step_ids[rows], num_steps)
    return means


def _num_steps(step_ids: Tensor, num_steps: int | None) -> int:
    """K, checked: a number outside [-1, K) would count in a neighbouring row's cells."""
    least, most = (int(value) for value in step_ids.aminmax()) if step_ids.numel() else (-1, -1)
    if least < -1 or (num_steps is not None and most >= num_steps):
        raise ValueError(
            f"step_ids from {least} to {most} with num_steps={num_steps}: they must be -1 (no step) or from 0 to "
            "num_steps - 1."
        )
    return most + 1 if num_steps is None else num_steps


def _step_means(entropy: Tensor, step_ids: Tensor, num_steps: int) -> Tensor:
    bins = _bins(step_ids.masked_fill(~entropy.isfinite(), -1), num_steps)
    counts = _count(bins, num_steps, len(entropy))
    # In float64 the sum does not feel the order, which CUDA leaves open.
    wide = wide_dtype(entropy.device)
    sums = torch.zeros(counts.numel(), dtype=wide, device=entropy.device)
    sums = sums.scatter_add_(0, bins, entropy.to(wide).flatten()).view_as(counts)
    return (sums / counts).float().masked_fill(counts == 0, -torch.inf)[:, 1:]


def wide_dtype(device: torch.device) -> torch.dtype:
    """The type for sums: float64, float32 where the device has none."""
    return torch.float32 if device.type == "mps" else torch.float64


def step_lengths(step_ids: Tensor, num_steps: int) -> Tensor:
    """int64 [B, K]: the number of tokens of each step; errors as `step_entropy`."""
    return _count(_bins(step_ids, _num_steps(step_ids, num_steps)), num_steps, len(step_ids))[:, 1:]


def _bins(step_ids: Tensor, num_steps: int) -> Tensor:
    """int64 [B * T]: each token's cell in a [B, 1 + K] table whose column 0 takes the tokens of no step."""
    rows = torch.arange(step_ids.shape[0], device=step_ids.device).unsqueeze(1)
    return (step_ids + (1 + rows * (num_steps + 1))).flatten()


def _count(bins: Tensor, num_steps: int, num_rows: int) -> Tensor:
    return torch.bincount(bins, minlength=num_rows * (num_steps + 1)).view(num_rows, num_steps + 1)


class EntropyRecorder:
    """A transformers `LogitsProcessor` that keeps the entropy of every sampled position and changes nothing.

    It must see the raw logits, so it has to be first in the list of processors, before penalties, temperature and
    top-k; it divides by `temperature` itself. It uses no random numbers.
    """

    def __init__(self, temperature: float = 1.0) -> None:
        check_temperature(temperature)
        self.temperature = temperature
        self._columns: list[Tensor] = []
        self._scratch: list[Tensor] = []

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        with torch.no_grad():
            self._columns.append(torch.cat([self._entropy(rows) for (rows,) in _chunks(scores)]))
        return scores

    def _entropy(self, rows: Tensor) -> Tensor:
        """Return a chunk's entropies. Intermediates stay in place: on a CPU new ones cost more than the arithmetic."""
        if not self._scratch or len(self._scratch[0]) < len(rows):
            self._scratch = [torch.empty_like(rows, dtype=torch.float32) for _ in range(2)]
        shifted, weights = (tensor[: len(rows)] for tensor in self._scratch)
        return _entropy_of(_shift(rows, rows.amax(1).float(), self.temperature, shifted), weights)[0]

    @property
    def entropies(self) -> Tensor:
        """float32 [B, steps generated]; columns after a row's end have no meaning. [0, 0] before any step."""
        return torch.stack(self._columns, 1) if self._columns else torch.zeros(0, 0)

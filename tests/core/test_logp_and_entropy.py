from __future__ import annotations

import math

import pytest
import torch

from benchmarks.measure import peak_bytes
from echorl import EntropyRecorder, logp_and_entropy
from echorl.core import entropy as module

TOLERANCE = dict(rtol=1e-5, atol=2e-6)


def draw(*shape: int, dtype: torch.dtype = torch.float32, device: str = "cpu") -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(*shape, generator=generator) * 4
    targets = torch.randint(0, shape[-1], shape[:-1], generator=generator)
    return logits.to(device, dtype), targets.to(device)


def in_float64(logits: torch.Tensor, targets: torch.Tensor, temperature: float) -> tuple[torch.Tensor, torch.Tensor]:
    logp = (logits.double() / temperature).log_softmax(-1)
    entropy = torch.special.entr(logp.exp()).sum(-1)
    return logp.gather(-1, targets.unsqueeze(-1)).squeeze(-1).float(), entropy.float()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize("temperature", [0.1, 0.6, 1.0, 1.7])
def test_against_float64(dtype: torch.dtype, temperature: float, device: str) -> None:
    logits, targets = draw(3, 5, 301, dtype=dtype, device=device)
    logp, entropy = logp_and_entropy(logits, targets, temperature=temperature)
    assert logp.dtype == entropy.dtype == torch.float32
    assert logp.shape == entropy.shape == targets.shape
    expected_logp, expected_entropy = in_float64(logits, targets, temperature)
    torch.testing.assert_close(logp, expected_logp, **TOLERANCE)
    torch.testing.assert_close(entropy, expected_entropy, **TOLERANCE)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("temperature", [0.6, 1.0, 1.7])
def test_the_gradient_is_autograds(dtype: torch.dtype, temperature: float, device: str) -> None:
    logits, targets = draw(3, 5, 301, dtype=dtype, device=device)
    weights = torch.linspace(-1, 2, 15, device=device).view(3, 5)
    logits.requires_grad_()
    logp, entropy = logp_and_entropy(logits, targets, temperature=temperature)
    assert not entropy.requires_grad
    found = torch.autograd.grad((logp * weights).sum(), logits)[0]
    plain = logits.detach().double().requires_grad_()
    expected_logp = (plain / temperature).log_softmax(-1).gather(-1, targets.unsqueeze(-1)).squeeze(-1)
    expected = torch.autograd.grad((expected_logp * weights).sum(), plain)[0]
    assert found.dtype == dtype
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-6)


def test_the_gradient_in_bfloat16_is_the_rounded_one() -> None:
    logits, targets = draw(7, 301, dtype=torch.bfloat16)
    low, high = logits.clone().requires_grad_(), logits.float().requires_grad_()
    for leaf in (low, high):
        logp_and_entropy(leaf, targets)[0].sum().backward()
    assert low.grad.dtype == torch.bfloat16
    assert torch.equal(low.grad, high.grad.bfloat16())


def test_a_second_derivative_is_refused() -> None:
    logits, targets = draw(2, 11)
    logp, _ = logp_and_entropy(logits.requires_grad_(), targets)
    (gradient,) = torch.autograd.grad(logp.square().sum(), logits, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


@pytest.mark.parametrize("shape", [(301,), (15, 301), (3, 5, 301), (2, 3, 5, 301)])
@pytest.mark.parametrize("chunk", [1, 301, 2 * 301 + 7, 1 << 22])
def test_chunks_do_not_show(shape: tuple[int, ...], chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    logits, targets = draw(*shape)
    logits.requires_grad_()
    whole = logp_and_entropy(logits, targets)
    gradient = torch.autograd.grad(whole[0].sum(), logits)[0]
    monkeypatch.setattr(module, "CHUNK_ELEMENTS", chunk)
    parts = logp_and_entropy(logits, targets)
    torch.testing.assert_close(parts, whole)
    torch.testing.assert_close(torch.autograd.grad(parts[0].sum(), logits)[0], gradient)


@pytest.mark.parametrize("view", ["shifted", "transposed", "every second", "expanded"])
def test_views_give_what_copies_give(view: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHUNK_ELEMENTS", 700)
    base = draw(4, 6, 300)[0].requires_grad_()
    logits = {
        "shifted": lambda: base[:, :-1],
        "transposed": lambda: base.transpose(0, 1),
        "every second": lambda: base[..., ::2],
        "expanded": lambda: base[:1].expand(5, -1, -1),
    }[view]()
    assert not logits.is_contiguous()
    targets = torch.arange(logits[..., 0].numel()).view(logits.shape[:-1]) % logits.shape[-1]
    weights = torch.linspace(-1, 1, targets.numel()).view(targets.shape)

    def outcome(logits: torch.Tensor) -> tuple[torch.Tensor, ...]:
        logp, entropy = logp_and_entropy(logits, targets)
        return logp, entropy, torch.autograd.grad((logp * weights).sum(), base, retain_graph=True)[0]

    torch.testing.assert_close(outcome(logits), outcome(logits.contiguous()))


def test_forbidden_tokens() -> None:
    logits = torch.tensor([[0.0, -math.inf, 0.0, -math.inf]]).repeat(2, 1).requires_grad_()
    logp, entropy = logp_and_entropy(logits, torch.tensor([0, 1]))
    torch.testing.assert_close(entropy, torch.full((2,), math.log(2)))
    assert logp.tolist() == [pytest.approx(-math.log(2)), -math.inf]
    (gradient,) = torch.autograd.grad(logp[0], logits)
    assert gradient.tolist() == [[0.5, 0.0, -0.5, 0.0], [0.0, 0.0, 0.0, 0.0]]


def test_the_extremes_of_entropy() -> None:
    uniform, sure = torch.zeros(1, 1024), torch.nn.functional.one_hot(torch.tensor([3]), 1024) * 1e4
    nowhere = torch.zeros(1, dtype=torch.int64)
    torch.testing.assert_close(logp_and_entropy(uniform, nowhere)[1], torch.tensor([math.log(1024)]))
    assert logp_and_entropy(sure, nowhere)[1].item() == 0
    large = logp_and_entropy(torch.full((1, 4), 3e38), nowhere)
    assert [value.item() for value in large] == pytest.approx([-math.log(4), math.log(4)])


@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_broken_logits_are_not_hidden(broken: float) -> None:
    logits = torch.tensor([[0.0, broken], [0.0, 0.0]])
    logp, entropy = logp_and_entropy(logits, torch.zeros(2, dtype=torch.int64))
    assert logp.isnan().tolist() == entropy.isnan().tolist() == [True, False]


@pytest.mark.parametrize("shape", [(0, 7), (3, 0, 7), (0, 3, 7)])
def test_nothing_in_nothing_out(shape: tuple[int, ...]) -> None:
    logits = torch.zeros(shape, requires_grad=True)
    logp, entropy = logp_and_entropy(logits, torch.zeros(shape[:-1], dtype=torch.int64))
    assert logp.shape == entropy.shape == shape[:-1]
    logp.sum().backward()
    assert logits.grad.shape == shape


def test_int32_targets() -> None:
    logits, targets = draw(5, 11)
    torch.testing.assert_close(logp_and_entropy(logits, targets.int()), logp_and_entropy(logits, targets))


@pytest.mark.parametrize("offset", [1e5, -1e5, 1e7])
@pytest.mark.parametrize("temperature", [0.6, 1.0])
def test_an_offset_costs_no_digits(offset: float, temperature: float) -> None:
    """The logits are whole numbers, which float32 holds beside the offset: only the function can lose digits."""
    logits = draw(5, 101)[0].round()
    targets = torch.arange(5)
    near, far = logits.clone().requires_grad_(), (logits + offset).requires_grad_()
    found = [logp_and_entropy(leaf, targets, temperature=temperature) for leaf in (near, far)]
    torch.testing.assert_close(found[1], found[0], rtol=0, atol=0)
    gradients = [torch.autograd.grad(logp.sum(), leaf)[0] for (logp, _), leaf in zip(found, (near, far), strict=True)]
    torch.testing.assert_close(gradients[1], gradients[0], rtol=0, atol=0)


@pytest.mark.parametrize("temperature", [1e-5, 1e-30, 2e-38])
def test_a_tiny_temperature_is_the_likeliest_token(temperature: float) -> None:
    logits = torch.tensor([[5.0, 1.0, -2.0], [5.0, 5.0, -2.0]], requires_grad=True)
    logp, entropy = logp_and_entropy(logits, torch.zeros(2, dtype=torch.int64), temperature=temperature)
    torch.testing.assert_close(logp, torch.tensor([0.0, -math.log(2)]))
    torch.testing.assert_close(entropy, torch.tensor([0.0, math.log(2)]))
    assert torch.autograd.grad(logp[0], logits)[0].tolist() == [[0.0] * 3] * 2


@pytest.mark.parametrize("temperature", [0, -1.0, math.nan, math.inf, 1e-300, 1e-39])
def test_the_temperature_must_be_positive(temperature: float) -> None:
    with pytest.raises(ValueError, match=f"temperature={temperature!r}"):
        logp_and_entropy(*draw(2, 3), temperature=temperature)
    with pytest.raises(ValueError, match=f"temperature={temperature!r}"):
        EntropyRecorder(temperature)


def test_shapes_must_fit() -> None:
    with pytest.raises(ValueError, match=r"\(4,\).*\(5, 3\)"):
        logp_and_entropy(torch.zeros(5, 3), torch.zeros(4, dtype=torch.int64))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_no_second_copy_of_the_logits(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    chunk = 1 << 15
    monkeypatch.setattr(module, "CHUNK_ELEMENTS", chunk)
    logits, targets = draw(2, 129, 4096, dtype=dtype)
    logits.requires_grad_()
    allowed = 2 * 4 * chunk + 64 * targets.numel()
    assert allowed < logits.nbytes / 4
    plain = peak_bytes(lambda: logits.detach().float().log_softmax(-1))
    assert plain >= 4 * logits.numel()  # the measure sees what it should
    assert peak_bytes(lambda: logp_and_entropy(logits, targets)) <= allowed
    assert peak_bytes(lambda: logp_and_entropy(logits[:, :-1], targets[:, 1:])) <= allowed
    logp, _ = logp_and_entropy(logits, targets)
    assert peak_bytes(lambda: torch.autograd.grad(logp.sum(), logits)) <= logits.nbytes + allowed

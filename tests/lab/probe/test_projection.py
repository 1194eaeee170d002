"""The projection against whole gradients: of random vectors, and of a small model through the probe's own passes."""

from __future__ import annotations

import pytest
import torch

from echorl.core.losses import echo_loss
from echorl.lab.probe.gradients import Gradients, Pattern
from echorl.lab.probe.projection import CountSketch
from tests.trl import tiny

PROMPT, RESPONSES = [8, 14, 9, 16], [[10, 3, 11, 1], [12, 13, 1], [7, 18, 6, 6, 1]]


def project(sketch, parts):
    out = sketch.empty()
    for index, part in enumerate(parts):
        sketch.add(out, index, part)
    return sketch.finish(out)


@pytest.mark.parametrize("parallel", [0.0, 0.6, 1.0])
def test_inner_products_are_unbiased_within_the_stated_error(parallel):
    width, sizes, repeats = 64, (1000, 64, 7, 130), 500
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(sum(sizes), generator=generator)
    x[::97] *= 30  # most of the length in a few numbers, as in real gradients
    y = parallel * x + (1 - parallel) * torch.randn(sum(sizes), generator=generator)
    errors = []
    for seed in range(repeats):
        sketch = CountSketch(sizes, width, seed=seed)
        errors.append(project(sketch, x.split(sizes)) @ project(sketch, y.split(sizes)) - x @ y)
    errors = torch.stack(errors) / (x.norm() * y.norm())
    stated = (2 / width) ** 0.5
    assert abs(errors.mean()) < 4 * stated / repeats**0.5
    assert errors.square().mean().sqrt() < 1.05 * stated
    if parallel == 1.0:
        assert errors.square().mean().sqrt() > 0.5 * stated  # the bound says something


def test_projection_is_linear_and_takes_any_shape_and_type():
    sketch = CountSketch((12, 5), 4, seed=1)
    x, y = torch.arange(12.0), torch.ones(5)
    whole = project(sketch, (x, y))
    assert torch.equal(whole, project(sketch, (x.view(3, 4), y)))
    assert torch.allclose(whole, project(sketch, (x, 0 * y)) + project(sketch, (0 * x, y)))
    assert torch.equal(whole, project(sketch, (x.bfloat16(), y)))  # whole numbers are exact in both
    assert whole.dtype == torch.float32
    assert not torch.equal(whole, project(CountSketch((12, 5), 4, seed=2), (x, y)))


def test_whole_gradients_equal_those_of_the_loss():
    model = tiny.make_model()
    weights = torch.tensor([[0.5, 0.5, 0, 0, 0], [1, 1, 1, 0, 0], [0.1, 0.2, 0, 0.4, 1]])
    patterns = [Pattern(row, own) for row, own in enumerate(weights)]
    found = Gradients(model, projection=0).read(PROMPT, RESPONSES, patterns, 0.7)
    for row, response in enumerate(RESPONSES):
        logits = model(input_ids=torch.tensor([PROMPT + response])).logits[0, len(PROMPT) - 1 : -1] / 0.7
        logp = logits.log_softmax(-1).gather(1, torch.tensor(response).unsqueeze(1)).squeeze(1)
        loss = echo_loss(logp[None], weights[row : row + 1, : len(response)], num_prompts=1)
        wanted = torch.autograd.grad(-loss, list(model.parameters()))
        assert torch.allclose(found[row], torch.cat([part.flatten() for part in wanted]), atol=1e-5)


def test_projected_gradients_of_a_model_agree_with_whole_ones_within_the_stated_error():
    patterns = [Pattern(row, torch.ones(len(response))) for row, response in enumerate(RESPONSES)]
    whole = Gradients(tiny.make_model(), projection=0).read(PROMPT, RESPONSES, patterns, 1.0)
    norms = whole.norm(dim=1)
    errors = []
    for seed in range(10):
        kept = Gradients(tiny.make_model(), projection=512, seed=seed).read(PROMPT, RESPONSES, patterns, 1.0)
        assert kept.shape == (3, 512)
        errors.append((kept @ kept.T - whole @ whole.T) / (norms.unsqueeze(1) * norms))
    rms = torch.stack(errors).square().mean().sqrt()
    assert 0.1 * (2 / 512) ** 0.5 < rms < 1.3 * (2 / 512) ** 0.5


def test_a_subset_of_parameters_gives_their_part_and_a_half_precision_model_nearly_the_same():
    model = tiny.make_model()
    patterns = [Pattern(0, torch.ones(4))]
    whole = Gradients(tiny.make_model(), projection=0).read(PROMPT, RESPONSES, patterns, 1.0)[0]
    sizes = [(name, parameter.numel()) for name, parameter in model.named_parameters()]
    parts = dict(zip([name for name, _ in sizes], whole.split([size for _, size in sizes]), strict=True))
    own = Gradients(model, parameters=r"layers\.1\..*norm", projection=0).read(PROMPT, RESPONSES, patterns, 1.0)[0]
    wanted = [part for name, part in parts.items() if "layers.1." in name and "norm" in name]
    assert len(wanted) == 2
    assert torch.allclose(own, torch.cat(wanted), atol=1e-6)
    half = Gradients(tiny.make_model().bfloat16(), projection=512).read(PROMPT, RESPONSES, patterns, 1.0)[0]
    full = Gradients(tiny.make_model(), projection=512).read(PROMPT, RESPONSES, patterns, 1.0)[0]
    assert half.dtype == torch.float32
    assert (half - full).norm() < 0.05 * full.norm()


def test_no_gradient_is_left_behind():
    model = tiny.make_model()
    Gradients(model).read(PROMPT, RESPONSES, [Pattern(0, torch.ones(4)), Pattern(0, torch.tensor([1.0, 0, 0, 0]))], 1.0)
    assert all(parameter.grad is None for parameter in model.parameters())

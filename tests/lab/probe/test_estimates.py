"""The estimates on made-up gradients whose means and noise are known."""

from __future__ import annotations

import pytest
import torch

from echorl.lab.probe.estimates import (
    Comparison,
    cosine,
    critical_z,
    estimate,
    rho_of,
    savings,
    signal_per_noise,
    signal_share,
)
from echorl.lab.probe.moments import inner_products, jack_knife, make_sample, pure_noise

F64 = torch.float64


def ask(gradients, batch=32):
    sample = make_sample(*inner_products(lambda: gradients.split(50)))
    pure = pure_noise(gradients[:128].split(7, 2), 1, len(gradients))
    places = dict(pass_at_1=0, length=0, entropy=0, loss=0)
    return Comparison(sample=sample, pure=pure, batch=batch, critical=critical_z(1), **places)


def slow(gradients):
    """mean and noise from pairs of prompts and the textbook covariance."""
    num = len(gradients)
    pairs = torch.einsum("ikd,jld->ijkl", gradients, gradients)
    mean = (pairs.sum((0, 1)) - pairs[range(num), range(num)].sum(0)) / (num * (num - 1))
    centred = gradients - gradients.mean(0)
    return mean, torch.einsum("ikd,ild->kl", centred, centred) / (num - 1)


def test_products_equal_a_loop_over_pairs_with_and_without_a_prompt():
    gradients = torch.randn(9, 3, 5, dtype=F64, generator=torch.Generator().manual_seed(0)) + 0.5
    own, total = inner_products(lambda: gradients.split(4))
    sample = make_sample(own, total)
    for found, wanted in zip((sample.full.mean, sample.full.noise), slow(gradients), strict=True):
        assert torch.allclose(found, wanted)
    for i in range(9):
        mean, noise = slow(torch.cat([gradients[:i], gradients[i + 1 :]]))
        assert torch.allclose(sample.without_one.mean[i], mean)
        assert torch.allclose(sample.without_one.noise[i], noise)


def test_jack_knife_of_a_mean_is_its_standard_error():
    values = torch.tensor([1.0, 4.0, 2.0, 9.0, 5.0], dtype=F64)
    found = jack_knife(values.mean(), (values.sum() - values) / 4)
    assert found.se == pytest.approx(float(values.std() / 5**0.5))
    assert found.z == pytest.approx(found.value / found.se)


def test_signal_share_of_known_gradients():
    """mu of length 1, noise of 20 in 20 directions: a batch of 32 has 1 / (1 + 20/32)."""
    generator = torch.Generator().manual_seed(1)
    mean = torch.zeros(20, dtype=F64)
    mean[0] = 1.0
    gradients = (mean + torch.randn(4000, 20, dtype=F64, generator=generator)).unsqueeze(1)
    found = signal_share(ask(gradients), 0)
    assert found.value == pytest.approx(32 / 52, abs=3 * found.se)
    assert found.se < 0.02


MEANS = torch.tensor([[1.0, 0.0, 0.0], [0.6, 0.8, 0.0], [-0.5, 0.0, 0.0]], dtype=F64)


def draw(num, scale, generator, means=MEANS, width=40):
    """Gradients [num, 3, width] with these means; rules share a third of their noise."""
    noise = torch.randn(num, len(means), width, dtype=F64, generator=generator)
    shared = torch.randn(num, 1, width, dtype=F64, generator=generator)
    wide = torch.nn.functional.pad(means, (0, width - means.shape[1]))
    return scale * wide + noise + 0.7 * shared


def coverage(scale, of, truth, repeats=250, num=80):
    """Share of repeats whose 95 % interval, value +- 1.96 se, holds the truth."""
    generator, hits, count = torch.Generator().manual_seed(2), 0, 0
    for _ in range(repeats):
        found = of(ask(draw(num, scale, generator)))
        if found.value is not None:
            hits, count = hits + (abs(found.value - truth) <= 1.96 * found.se), count + 1
    assert count > 0.95 * repeats
    return hits / count


NOISE = 40 * (1 + 0.49)


@pytest.mark.parametrize("scale", [0.0, 1.0, 4.0])
def test_intervals_of_the_signal_share_cover_it(scale):
    truth = scale**2 / (scale**2 + NOISE / 32)
    found = coverage(scale, lambda comparison: signal_share(comparison, 0), truth)
    assert 0.91 < found < 0.99  # 250 repeats of 0.95 have a standard error of 0.014


def test_intervals_of_the_cosine_cover_it():
    assert 0.91 < coverage(4.0, lambda comparison: cosine(comparison, 1, 0), 0.6) < 0.985


def test_z_of_a_rule_without_a_mean_is_small_as_often_as_it_should():
    generator = torch.Generator().manual_seed(3)
    means = MEANS * torch.tensor([[1.0], [0.0], [0.0]], dtype=F64)
    z = torch.tensor([cosine(ask(draw(80, 4.0, generator, means)), 1, 0).z for _ in range(250)])
    assert 0.02 < (z.abs() > 1.96).double().mean() < 0.09


def test_what_a_mixture_saves_equals_the_best_of_a_grid_of_coefficients():
    gradients = draw(4000, 3.0, torch.Generator().manual_seed(4))
    comparison = ask(gradients)
    direction = torch.nn.functional.pad(MEANS[0], (0, 37))
    for rule, helps in ((1, True), (2, False)):
        worth = []
        for coefficient in torch.arange(0, 3, 0.1, dtype=F64):
            mixed = gradients[:, 0] + coefficient * gradients[:, rule]
            worth.append((mixed.mean(0) @ direction) ** 2 / mixed.var(0).sum())
        best = 1 - worth[0] / max(worth)
        found = savings(comparison, rule)
        assert found["value"] == pytest.approx(float(best), abs=4 * found["se"] + 2e-3)
        assert (found["value"] > 0.05) == helps
        assert (found["z"] > 3) == helps
    along = signal_per_noise(comparison, 1)
    assert along.value == pytest.approx((3 * 0.6) ** 2 / NOISE, abs=4 * along.se)
    assert signal_per_noise(comparison, 2).value < 0


def test_what_a_step_is_worth_at_a_coefficient_follows_from_what_stands_beside_the_loss():
    gradients = draw(4000, 3.0, torch.Generator().manual_seed(4))
    comparison = ask(gradients)
    direction = torch.nn.functional.pad(MEANS[0], (0, 37))

    def worth(batch):
        return (batch.mean(0) @ direction) ** 2 / batch.var(0).sum()

    for rule in (1, 2):
        beside = estimate(comparison, rule)["beside_loss"]
        for c in (0.1, 1.0):
            found = (1 + c * beside["mean"]) ** 2 / (1 + 2 * c * beside["shared"] + c**2 * beside["noise"])
            wanted = worth(gradients[:, 0] + c * gradients[:, rule]) / worth(gradients[:, 0])
            assert found == pytest.approx(float(wanted), rel=0.03)
    assert estimate(ask(gradients[:4] * 0), 1)["beside_loss"] is None


def test_a_saving_that_is_noise_is_no_gain_on_average():
    """A rule without a mean or shared noise: what a plug-in square would claim is taken away."""
    generator = torch.Generator().manual_seed(5)
    found, plugged = [], []
    for _ in range(200):
        gradients = torch.randn(60, 2, 40, dtype=F64, generator=generator)
        gradients[:, 0, 0] += 3
        comparison = ask(gradients)
        row = savings(comparison, 1)
        found.append(row["value"])
        plugged.append(row["se"])
        assert row["high"] >= row["value"]
    found = torch.tensor(found)
    assert found.mean() < 0.01
    assert (found == 0).double().mean() > 0.6


@pytest.mark.parametrize("width", [1, 40])
def test_z_of_pure_noise_is_that_of_noise_in_one_direction_and_in_many(width):
    """In one direction the jack-knife alone fails: where the sample's mean is near 0 it gives next to no error."""
    generator = torch.Generator().manual_seed(10)
    z = [signal_share(ask(torch.randn(60, 1, width, dtype=F64, generator=generator)), 0).z for _ in range(300)]
    z = torch.tensor(z)
    assert z.min() > -3
    assert (z > 1.96).double().mean() < 0.12  # a square in one direction is skewed
    assert width == 1 or 0.6 < z.std() < 1.3


@pytest.mark.parametrize("batch", [32, 512])
def test_z_of_the_signal_share_does_not_depend_on_the_batch(batch):
    gradients = draw(60, 1.0, torch.Generator().manual_seed(11))
    assert signal_share(ask(gradients, batch), 0).z == ask(gradients).along(0, 0).z


def test_a_batch_larger_than_the_sample_may_leave_the_share_unknown():
    generator = torch.Generator().manual_seed(12)
    found = [signal_share(ask(torch.randn(16, 1, 40, dtype=F64, generator=generator), 4096), 0) for _ in range(20)]
    assert {one.value is None for one in found} == {True, False}
    assert all(one.z is not None for one in found)


@pytest.mark.parametrize(("a", "shared", "noise"), [(3.0, 0.8, 1.0), (0.5, 0.3, 1.0), (1.1, 0.8, 1.0), (4.0, 0.9, 2.0)])
def test_the_best_mixture_against_a_grid(a, shared, noise):
    """a_X = v_X = 1: over c >= 0, however large."""
    c = torch.cat([torch.arange(0, 10, 1e-3, dtype=F64), torch.logspace(1, 8, 200, dtype=F64)])
    best = float(((1 + c * a) ** 2 / (1 + 2 * c * shared + c**2 * noise)).max())
    delta = a - shared
    assert 1 + rho_of(delta, delta**2, shared, noise - shared**2) == pytest.approx(best, rel=1e-4)


def test_prompts_to_settle_it():
    generator = torch.Generator().manual_seed(6)
    comparison = ask(draw(100, 3.0, generator))
    row = savings(comparison, 1)
    few = ask(draw(30, 2.0, generator))
    assert row["prompts"] is None  # z is far above the critical one
    assert row["z"] > 1.96
    needed = savings(few, 1)["prompts"]
    assert needed is None or needed > 30


def test_rules_that_are_copies_zero_or_compared_with_noise():
    generator = torch.Generator().manual_seed(7)
    gradients = draw(60, 3.0, generator)
    copies = torch.stack([gradients[:, 0], 2 * gradients[:, 0], 0 * gradients[:, 0]], 1)
    comparison = ask(copies)
    assert savings(comparison, 1)["value"] is None  # nothing but the policy gradient itself
    silent = estimate(comparison, 2)
    assert silent["signal_share"] == {"value": None, "se": None, "z": None}
    assert silent["coef_at"] == {"0.01": None, "0.1": None, "1": None}
    assert silent["cosine"]["pass_at_1"]["value"] is None
    assert estimate(comparison, 1)["coef_at"]["0.1"] == pytest.approx(0.05)
    noise = estimate(ask(draw(20, 0.0, generator)), 1)
    assert noise["saves"]["value"] is noise["signal_per_noise"]["value"] is None


def test_too_few_prompts():
    with pytest.raises(ValueError, match="3 prompts are too few"):
        ask(torch.ones(3, 2, 4))


def bandits(num, group, p, style, generator):
    """Policy gradients and tracked-baseline ones on all-success groups: an arm, and noise of size `style` beside it."""
    right = (torch.rand(num, group, generator=generator, dtype=F64) < p).to(F64)
    noise = torch.randn(num, group, 20, generator=generator, dtype=F64) * (style / 20) ** 0.5
    score = torch.cat([(right - p).unsqueeze(2) * 2**0.5, noise], 2)
    others = (right - right.mean(1, keepdim=True)) * group / (group - 1)
    visits = (torch.rand(num, 8, generator=generator, dtype=F64) < p).to(F64).mean(1, keepdim=True)
    tracked = (1 - visits) * score.mean(1) * right.all(1, keepdim=True)
    return torch.stack([(others.unsqueeze(2) * score).mean(1), tracked], 1)


@pytest.mark.parametrize("p", [0.6, 0.85, 0.95])
def test_a_tracked_baseline_on_all_success_groups_saves_something_and_no_more_than_the_bound(p):
    row = savings(ask(bandits(6000, 4, p, 20.0, torch.Generator().manual_seed(8))), 1)
    assert row["z"] > 3
    assert row["value"] < 1 / 4 + 2 * row["se"]
    assert 0.01 < row["value"] < 0.2


def test_the_bound_needs_scores_that_do_not_depend_on_rewards():
    """A bare bandit's score is its reward: there the bound does not hold, and the probe says so."""
    row = savings(ask(bandits(6000, 4, 0.9, 0.0, torch.Generator().manual_seed(9))), 1)
    assert row["value"] > 0.5

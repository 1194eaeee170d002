"""The probe from end to end on a bandit, whose gradients are known."""

from __future__ import annotations

import math

import pytest
import torch

from echorl.lab.probe.plan import Plan
from echorl.lab.probe.rules import vector_names
from echorl.support.folder import Parts
from tests.lab.probe.bandit import Bandit, make_checkpoint, make_work, row_of, run

G = 4
P = 0.8


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return make_checkpoint(tmp_path_factory.mktemp("bandit"))


@pytest.fixture(scope="module")
def probed(tmp_path_factory, checkpoint):
    """(folder, result, model): 60 prompts of a two-armed bandit with arms of equal length."""
    folder, model = tmp_path_factory.mktemp("out"), Bandit(P)
    return folder, run(folder, checkpoint, model, make_work(60, G), baseline_samples=4), model


def parts(folder):
    found = [torch.load(path, weights_only=True) for path in sorted((folder / "parts").glob("*.pt"))]
    return {name: torch.cat([part[name] for part in found]) for name in found[0]}


def expected(k: int, tracked: float) -> dict[str, float]:
    """Multiples of `Bandit.direction` that the gradients of a prompt with k of G right rollouts are."""
    spread = k * (G - k) / (G * (G - 1))  # of 0/1 values, as (1/G) sum over rollouts of leave-one-out times value
    score = {True: 1 - P, False: -P}
    clip = score[True] / 2 if k else 0.0  # rollouts have two tokens, one step, and 8 is the longest
    std = math.sqrt(k * (G - k) / G / (G - 1)) + 1e-4
    every = k * score[True] + (G - k) * score[False]
    return {
        "pass_at_1": spread,
        "length": 0.0,
        "surprise": -spread * (math.log(P) - math.log(1 - P)),
        "loss": k * (G - k) / G**2 / std,
        "echo": clip,
        "echo_constant": clip / 4,
        "full": clip,
        "random": clip,
        "random_constant": clip / 4,
        "min_entropy": clip,
        "surprisal": clip,
        "sum": every,
        "tracked": ((k - G * tracked) * score[True] + (G - k) * score[True]) / G if k == G else 0.0,
    }


def test_gradients_equal_closed_forms(probed):
    folder, _, model = probed
    found = parts(folder)
    names = vector_names(Plan().rules())
    kinds = set()
    for vectors, success in zip(found["vectors"], found["success"], strict=True):
        k = int(success.sum())
        kinds.add("all" if k == G else "mixed" if k else "none")
        for name, multiple in expected(k, tracked=0.0).items():
            if name != "tracked":
                close = torch.allclose(vectors[names.index(name)], multiple * model.direction, atol=1e-5)
                assert close, f"{name} with {k} of {G} right"
        if k == G:  # (1 - v) (1 - p) with v one of 0, 1/4 ... 1
            multiple = vectors[names.index("tracked")] @ model.direction / 2
            assert float(4 * multiple / (1 - P)) == pytest.approx(round(float(4 * multiple / (1 - P))), abs=1e-4)
    assert kinds >= {"all", "mixed"}


def test_numbers_follow_from_the_closed_forms(probed):
    folder, result, _ = probed
    right = parts(folder)["success"].sum(1).double()
    num, squared = len(right), 2.0  # the direction's squared length
    x = right * (G - right) / (G * (G - 1))
    echo = torch.where(right == G, (1 - P) / 2, 0.0).double()

    def signal(values):
        mean = (values.sum() ** 2 - (values**2).sum()) / (num * (num - 1)) * squared
        return mean, mean / (mean + values.var() * squared / 32)

    assert result["policy_gradient"]["signal_share"]["value"] == pytest.approx(float(signal(x)[1]), rel=1e-4)
    row = row_of(result, "echo", "all_success")
    assert row["signal_share"]["value"] == pytest.approx(float(signal(echo)[1]), rel=1e-4)
    assert row["acts_on"] == pytest.approx(float((right == G).double().mean()))
    cross = (x.sum() * echo.sum() - (x * echo).sum()) / (num * (num - 1)) * squared
    norms = signal(x)[0] * signal(echo)[0]
    assert row["cosine"]["pass_at_1"]["value"] == pytest.approx(float(cross / norms.sqrt()), rel=1e-4)
    # A bandit's entropy falls with p: the gradient of H is -p (1 - p) logit(p), against pass@1's p (1 - p).
    assert result["policy_gradient"]["cosine"]["entropy"]["value"] == pytest.approx(-1.0, abs=0.02)
    loss = right * (G - right) / G**2 / ((right * (G - right) / G / (G - 1)).sqrt() + 1e-4) / 2  # two tokens
    rms = [float((signal(v)[0] + v.var() * squared / 32).sqrt()) for v in (loss, echo)]
    assert row["coef_at"]["0.1"] == pytest.approx(0.1 * rms[0] / rms[1], rel=1e-3)
    both = row_of(result, "echo", "verified")
    every = torch.where(right > 0, (1 - P) / 2, 0.0).double()
    assert both["signal_share"]["value"] == pytest.approx(float(signal(every)[1]), rel=1e-4)
    assert both["acts_on"] == pytest.approx(float((right > 0).double().mean()))


def test_counts_and_sizes(probed):
    folder, result, _ = probed
    right = parts(folder)["success"].sum(1)
    assert result["groups"]["all_success"] == pytest.approx(float((right == G).double().mean()))
    assert sum(result["groups"].values()) == pytest.approx(1)
    assert result["pass_at_1"]["value"] == pytest.approx(float(right.double().mean()) / G)
    assert result["sizes"] == {"prompts": 60, "samples": G, "rollouts": 240, "prompts_per_batch": 32}
    assert (result["bound"], result["length"]["value"], result["cut_off"]) == (1 / G, 2.0, 0.0)
    assert result["entropy"] == pytest.approx(-(P * math.log(P) + (1 - P) * math.log(1 - P)) / 2, abs=0.04)


def test_random_selection_with_constant_norm_has_no_signal_and_1_over_l_has(tmp_path, checkpoint):
    """Both arms are right, b has three tokens more: no rule may have a signal but by what it does to lengths."""
    model = Bandit(0.6, tail=3)
    work = make_work(300, 2, all_right=True)
    result = run(tmp_path / "out", checkpoint, model, work, baseline_samples=0, batch_size=600)
    assert result["groups"]["all_success"] == 1.0
    for rule, groups in (("random_constant", "all_success"), ("null", "all"), ("sum", "all_success")):
        assert abs(row_of(result, rule, groups)["signal_share"]["z"]) < 2
    row = row_of(result, "random", "all_success")
    # E (1/L) grad log pi = p (1 - p) (1/2 - 1/5) direction; its square's share in a batch, and towards brevity.
    mean = 2 * (0.6 * 0.4 * (1 / 2 - 1 / 5)) ** 2
    noise = 2 * (0.6 * (0.4 / 2) ** 2 + 0.4 * (0.6 / 5) ** 2) - mean
    share = row["signal_share"]
    assert share["z"] > 3
    assert share["value"] == pytest.approx(mean / (mean + noise / 32), abs=3 * share["se"])
    assert row["cosine"]["length"]["z"] < -4
    assert row["cosine"]["length"]["value"] == pytest.approx(-1, abs=0.05)
    assert result["verdict"][0].startswith("The policy gradient is 0 on all 300 prompts")


def test_killed_and_called_again_gives_the_undisturbed_result(tmp_path, checkpoint, monkeypatch):
    model, work, plan = Bandit(P), make_work(11, G), dict(batch_size=16, baseline_samples=4)
    whole = run(tmp_path / "whole", checkpoint, model, work, **plan)
    real, calls = Parts.save, []

    def save(self, index, key, value):
        calls.append(index)
        real(self, index, key, value)
        if len(calls) in (3, 5):  # killed between the part and its note
            (self.folder / f"{index:06d}.key.json").unlink()
            raise KeyboardInterrupt

    monkeypatch.setattr(Parts, "save", save)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "out", checkpoint, model, work, **plan)
    assert run(tmp_path / "out", checkpoint, model, work, **plan) == whole
    assert calls == [0, 1, 2, 2, 3, 3, 4, 5]
    assert (tmp_path / "out/probe.json").read_bytes() == (tmp_path / "whole/probe.json").read_bytes()


def test_more_prompts_go_on_from_fewer(tmp_path, checkpoint):
    model, plan = Bandit(P), dict(batch_size=16, baseline_samples=4)
    run(tmp_path / "out", checkpoint, model, make_work(7, G), **plan)
    kept = (tmp_path / "out/parts/000002.pt").stat().st_mtime_ns
    more = run(tmp_path / "out", checkpoint, model, make_work(9, G), **plan)
    assert (tmp_path / "out/parts/000002.pt").stat().st_mtime_ns == kept
    assert more == run(tmp_path / "whole", checkpoint, model, make_work(9, G), **plan)


def test_other_settings_need_another_folder(tmp_path, checkpoint):
    run(tmp_path / "out", checkpoint, Bandit(P), make_work(4, G))
    with pytest.raises(ValueError, match=r"other settings \(temperature 1.0 then, 0.5 now\): give another output_dir"):
        run(tmp_path / "out", checkpoint, Bandit(P), make_work(4, G), temperature=0.5)
    run(tmp_path / "out", checkpoint, Bandit(P), make_work(4, G), prompts_per_batch=8)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.tex").touch()
    with pytest.raises(ValueError, match="did not write"):
        run(tmp_path / "mine", checkpoint, Bandit(P), make_work(4, G))


@pytest.mark.parametrize(
    ("prompts", "samples", "plan", "words"),
    [
        (4, 1, {}, "samples=1 is not allowed"),
        (3, 4, {}, "3 prompts are too few"),
        (4, 4, {"parameters": "nothing"}, "found in no parameter's name; some are table"),
        (4, 4, {"parameters": "("}, "is no regular expression"),
        (4, 4, {"temperature": 0}, "temperature=0 is not allowed"),
        (4, 4, {"loss_type": "ppo"}, "loss_type='ppo' is not allowed"),
    ],
)
def test_what_it_cannot_use(tmp_path, checkpoint, prompts, samples, plan, words):
    with pytest.raises(ValueError, match=words.replace("(", r"\(")):
        run(tmp_path / "out", checkpoint, Bandit(P), make_work(prompts, samples), **plan)

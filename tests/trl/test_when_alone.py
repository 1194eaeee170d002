"""A step of only all-success groups moves the weights by what `when_alone` promises: AdamW and SGD, cold and warm."""

import pytest
import torch

from tests.trl.tiny import all_right, build, make_model, norm, run

COEF, RATE = 1e-3, 1e-2


class MixedThenAllRight:
    """`warm` steps of mixed groups, then all right."""

    __name__ = "verifier"

    def __init__(self, warm):
        self.left = warm

    def __call__(self, completions, **_):
        self.left -= 1
        return [float(i % 2) for i in range(len(completions))] if self.left >= 0 else [1.0] * len(completions)


def update(tmp_path, optim, warm, echo=True, **changes):
    """The weights' change in the last step, which is the only one without policy gradient."""
    from transformers import TrainerCallback

    class Before(TrainerCallback):
        weights = None

        def on_step_begin(self, args, state, control, model=None, **kwargs):
            if state.global_step == warm:
                Before.weights = {n: p.detach().clone() for n, p in model.named_parameters()}

    changes = {"echo_coef": COEF, **changes} if echo else {}
    _, _, _, after = run(
        tmp_path,
        MixedThenAllRight(warm),
        echo=echo,
        optim=optim,
        weight_decay=0.0,
        learning_rate=RATE,
        lr_scheduler_type="constant",
        max_steps=warm + 1,
        callbacks=[Before()],
        **_off_in_warm_up(changes, warm),
    )
    return {n: after[n] - Before.weights[n] for n in after}


def _off_in_warm_up(changes, warm):
    # The echo of the mixed steps is made negligible, so that base and echo enter the last step alike.
    return {**changes, "echo_scope": "degenerate"} if changes else changes


def gap(a, b):
    return norm({n: a[n] - b[n] for n in a})


@pytest.mark.parametrize("warm", [0, 6])
@pytest.mark.parametrize("optim", ["adamw_torch", "sgd"])
def test_skip_is_the_base_trainers_step(tmp_path, optim, warm):
    base = update(tmp_path, optim, warm, echo=False)
    skipped = update(tmp_path, optim, warm, echo_when_alone="skip")
    assert all(torch.equal(base[n], skipped[n]) for n in base)


@pytest.mark.parametrize("warm", [0, 6])
def test_scale_adds_lambda_times_a_full_adaptive_step(tmp_path, warm):
    base = update(tmp_path, "adamw_torch", warm, echo=False)
    scaled = update(tmp_path, "adamw_torch", warm, echo_when_alone="scale")
    full_step = RATE * sum(p.numel() for p in make_model().parameters()) ** 0.5
    assert gap(base, scaled) == pytest.approx(COEF * full_step, rel=2e-2)


def test_allow_lets_cold_adam_make_a_full_step_at_any_lambda(tmp_path):
    full, tiny = (update(tmp_path, "adamw_torch", 0, echo_coef=c, echo_when_alone="allow") for c in (1e-3, 1e-6))
    scaled = update(tmp_path, "adamw_torch", 0, echo_when_alone="scale")
    assert norm(tiny) > 0.2 * norm(full)
    assert norm(full) > 100 * norm(scaled)


def test_warm_adam_keeps_the_coefficient_by_itself(tmp_path):
    base = update(tmp_path, "adamw_torch", 6, echo=False)
    allowed = update(tmp_path, "adamw_torch", 6, echo_when_alone="allow")
    assert 0 < gap(base, allowed) < 0.1 * norm(base)


@pytest.mark.parametrize("warm", [0, 6])
def test_sgd_keeps_the_coefficient_so_scale_is_allow(tmp_path, warm):
    base = update(tmp_path, "sgd", warm, echo=False)
    allowed, scaled, tenth = (
        update(tmp_path, "sgd", warm, echo_when_alone=mode, echo_coef=coef)
        for mode, coef in (("allow", COEF), ("scale", COEF), ("allow", COEF / 10))
    )
    assert all(torch.equal(allowed[n], scaled[n]) for n in allowed)
    assert gap(base, allowed) == pytest.approx(10 * gap(base, tenth), rel=1e-2)


@pytest.mark.parametrize("mode", ["scale", "skip"])
@pytest.mark.parametrize(
    ("changes", "named"),
    [(dict(entropy_coef=0.01), "entropy bonus"), (dict(use_adaptive_entropy=True), "entropy bonus")],
)
def test_modes_that_cannot_be_kept_are_refused(tmp_path, mode, changes, named):
    with pytest.raises(ValueError, match=f"echo_when_alone='{mode}' cannot be kept with an? ?.*{named}"):
        build(tmp_path, echo_when_alone=mode, **changes)


def test_scale_with_a_kl_term_is_refused(tmp_path):
    make_model().save_pretrained(tmp_path / "model")
    with pytest.raises(ValueError, match=r"beta=0\.1"):
        build(tmp_path, model=str(tmp_path / "model"), beta=0.1, echo_when_alone="scale")


def test_refused_under_deepspeed(tmp_path, monkeypatch):
    from echorl.trl.alone import check_when_alone

    trainer = build(tmp_path, echo_when_alone="skip")
    monkeypatch.setattr(type(trainer), "is_deepspeed_enabled", True, raising=False)
    trainer.is_deepspeed_enabled = True
    with pytest.raises(ValueError, match="DeepSpeed"):
        check_when_alone(trainer)


def test_a_step_without_policy_gradient_warns_once_and_is_logged(tmp_path):
    trainer, *_ = run(tmp_path, all_right, max_steps=2)
    assert "alone" in trainer.warned
    assert trainer.state.log_history[0]["echo/alone"] == 1.0


def test_alone_is_a_matter_of_rewards_not_of_advantages(tmp_path):
    """A shaped reward that differs within all-success groups gives a policy gradient: not alone."""

    def length(completion_ids, **_):
        return [len(ids) / 100 for ids in completion_ids]

    trainer, *_ = run(tmp_path, [all_right, length], echo_success_reward_func="all_right", max_steps=1)
    assert trainer.state.log_history[0]["echo/alone"] == 0.0
    assert trainer.state.log_history[0]["echo/groups/all_success"] == 1.0

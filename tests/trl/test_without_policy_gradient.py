"""Steps of only all-success groups under `echo_without_policy_gradient`: AdamW and SGD, cold and warm."""

import pytest
import torch
from transformers import TrainerCallback

from echorl.trl.without_policy_gradient import check_skip
from tests.trl.tiny import all_right, build, make_model, make_tokenizer, norm, run

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
    skipped = update(tmp_path, optim, warm, echo_without_policy_gradient="skip")
    assert all(torch.equal(base[n], skipped[n]) for n in base)


def test_allow_lets_cold_adam_make_a_full_step_at_any_lambda(tmp_path):
    full, tiny = (
        update(tmp_path, "adamw_torch", 0, echo_coef=c, echo_without_policy_gradient="allow") for c in (1e-3, 1e-6)
    )
    assert norm(tiny) > 0.2 * norm(full)


def test_warm_adam_keeps_the_coefficient_by_itself(tmp_path):
    base = update(tmp_path, "adamw_torch", 6, echo=False)
    allowed = update(tmp_path, "adamw_torch", 6, echo_without_policy_gradient="allow")
    assert 0 < gap(base, allowed) < 0.1 * norm(base)


@pytest.mark.parametrize("warm", [0, 6])
def test_sgd_keeps_the_coefficient(tmp_path, warm):
    base = update(tmp_path, "sgd", warm, echo=False)
    allowed, tenth = (update(tmp_path, "sgd", warm, echo_coef=coef) for coef in (COEF, COEF / 10))
    assert gap(base, allowed) == pytest.approx(10 * gap(base, tenth), rel=1e-2)


@pytest.mark.parametrize("changes", [dict(entropy_coef=0.01), dict(use_adaptive_entropy=True)])
def test_skip_with_an_entropy_bonus_is_refused(tmp_path, changes):
    refusal = "echo_without_policy_gradient='skip' cannot be combined with an entropy bonus"
    with pytest.raises(ValueError, match=refusal):
        build(tmp_path, echo_without_policy_gradient="skip", **changes)


def test_skip_with_a_kl_term_is_refused(tmp_path):
    make_model().save_pretrained(tmp_path / "model")
    with pytest.raises(ValueError, match=r"beta=0\.1"):
        build(tmp_path, model=str(tmp_path / "model"), beta=0.1, echo_without_policy_gradient="skip")


@pytest.mark.parametrize("obstacle", ["DeepSpeed", "router"])
def test_refused_where_it_cannot_be_kept(tmp_path, obstacle):
    trainer = build(tmp_path, echo_without_policy_gradient="skip")
    trainer.is_deepspeed_enabled = obstacle == "DeepSpeed"
    trainer.aux_loss_enabled = obstacle == "router"
    with pytest.raises(ValueError, match=obstacle):
        check_skip(trainer._make_context())


def test_rounding_in_a_step_without_a_clip_moves_nothing(tmp_path):
    """All-fail groups of equal rewards: what gradient there is comes from rounding."""

    def wrong(completions, **_):
        return [0.1] * len(completions)

    class Rounding(TrainerCallback):
        def on_pre_optimizer_step(self, args, state, control, model=None, **kwargs):
            for parameter in model.parameters():
                parameter.grad.fill_(1e-9)

    trainer = build(tmp_path, wrong, echo_without_policy_gradient="skip", weight_decay=0.0, max_steps=1)
    trainer.callback_handler.callbacks.insert(0, Rounding())
    before = {name: parameter.detach().clone() for name, parameter in trainer.model.named_parameters()}
    trainer.train()
    assert trainer.state.log_history[0]["echo/without_policy_gradient"] == 1.0
    assert all(torch.equal(before[name], after) for name, after in trainer.model.named_parameters())


def test_a_step_without_policy_gradient_warns_once_and_is_logged(tmp_path, caplog):
    trainer, *_ = run(tmp_path, all_right, max_steps=3)
    assert sum("no policy gradient" in record.getMessage() for record in caplog.records) == 1
    assert trainer.state.log_history[0]["echo/without_policy_gradient"] == 1.0


def test_a_mixed_group_that_the_loss_masks_whole_does_not_count(tmp_path):
    """Two groups all right; two mixed ones masked as truncated: the base has no gradient, so `skip` must skip."""

    def rollouts(prompts, trainer):
        tokenizer = make_tokenizer()
        ids = [[6, 7, 3, 1] if i < 8 else [6, 7, 3, 8] for i in range(len(prompts))]
        return {
            "prompt_ids": [tokenizer(p)["input_ids"] for p in prompts],
            "completion_ids": ids,
            "logprobs": [[0.0] * 4 for _ in prompts],
        }

    def reward(completion_ids, **_):
        return [1.0 if i < 8 else float(i % 2) for i in range(len(completion_ids))]

    changes = dict(rollout_func=rollouts, mask_truncated_completions=True, max_steps=1)
    _, base_grads, _, base = run(tmp_path, reward, echo=False, **changes)
    assert norm(base_grads[0]) == 0.0
    trainer, _, _, weights = run(tmp_path, reward, echo_without_policy_gradient="skip", **changes)
    assert trainer.state.log_history[0]["echo/without_policy_gradient"] == 1.0
    assert all(torch.equal(base[n], weights[n]) for n in base)


def test_a_function_of_weight_0_gives_no_policy_gradient(tmp_path):
    def length(completion_ids, **_):
        return [len(ids) / 100 for ids in completion_ids]

    changes = dict(reward_weights=[1.0, 0.0], multi_objective_aggregation="normalize_then_sum", max_steps=1)
    trainer, *_ = run(tmp_path, [all_right, length], echo_success_reward_func=["all_right"], **changes)
    assert trainer.state.log_history[0]["echo/without_policy_gradient"] == 1.0


def test_alone_is_a_matter_of_rewards_not_of_advantages(tmp_path):
    """A shaped reward that differs within all-success groups gives a policy gradient: not alone."""

    def length(completion_ids, **_):
        return [len(ids) / 100 for ids in completion_ids]

    trainer, *_ = run(tmp_path, [all_right, length], echo_success_reward_func="all_right", max_steps=1)
    assert trainer.state.log_history[0]["echo/without_policy_gradient"] == 0.0
    assert trainer.state.log_history[0]["echo/groups/all_success"] == 1.0

"""Methods in the trainer: reductions to each other, and what a demonstration's part puts into batch and loss."""

from __future__ import annotations

import pytest
import torch
from datasets import Dataset

from echorl.methods import METHODS
from echorl.methods.luffy import NO_CLIP
from tests.trl.by_hand import closest, gradient_of, logps_and_entropies, train_and_keep
from tests.trl.scripted import same
from tests.trl.tiny import build, make_dataset, make_model, make_tokenizer, run, some_right

SOLUTION = "1+1=2\n2+2=4\n3+3=6\n4+4=8\n5"
ALL = sorted(METHODS)


def worked(solutions=(SOLUTION,), size: int = 32) -> Dataset:
    column = [solutions[i % len(solutions)] for i in range(size)]
    return make_dataset(size).add_column("demonstration", column)


def streamed(rows: Dataset):
    """Rows one after the other, that do not tell their columns."""
    return rows.to_iterable_dataset().map(lambda row: row)


def right_if_solution(completions, completion_ids, **_):
    """The demonstration is right, and by chance some of the rollouts."""
    return [float(text == SOLUTION or sum(ids) % 3 == 0) for text, ids in zip(completions, completion_ids, strict=True)]


def values(method, **changes):
    """Options of a run; the KL of UFT would need a reference model on disk."""
    needed = {"uft": {"beta": 0.0}, "failure_prefix": {"prefixes": "demonstration"}}
    options = {**needed.get(method, {}), **changes.pop("method_options", {})}
    own = dict(method=method, method_options=options, dataset=worked(), max_completion_length=32, max_steps=1)
    return {**own, **changes}


def train(tmp_path, method, reward=right_if_solution, **changes):
    return run(tmp_path, reward, **values(method, **changes))


def first_batch(tmp_path, method, reward=right_if_solution, **changes):
    trainer = build(tmp_path, reward, **values(method, **changes))
    (batch, *_), (gradient, *_) = train_and_keep(trainer)
    return trainer, batch, gradient


# -- settings -----------------------------------------------------------------------------------------------------


def test_a_methods_settings_fill_what_was_left_at_the_default(tmp_path):
    args = build(tmp_path, method="gspo").args
    assert (args.importance_sampling_level, args.epsilon, args.loss_type) == ("sequence", 3e-4, "grpo")
    assert build(tmp_path, method="gspo", epsilon=0.1).args.epsilon == 0.1
    assert build(tmp_path).args.loss_type == build(tmp_path, echo=False).args.loss_type


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(method="lufy"), "method='lufy' does not exist; did you mean 'luffy'"),
        (
            dict(method="grpo", method_options={"gamma": 1}),
            "'grpo' has no option 'gamma'.*an option of luffy.*has none",
        ),
        (
            dict(method="luffy", method_options={"gamma": 0}),
            "gamma=0 is not allowed: it must be a finite number above 0",
        ),
        (dict(method_options={"gamma": 1}), "without a method"),
        (dict(method="luffy", method_options="{"), "is not JSON"),
        (dict(method="luffy", method_options="3"), "not a mapping"),
        (dict(method="luffy"), "learns from demonstrations: add a column 'demonstration' or 'target'"),
        (dict(method="luffy", dataset=worked(("", SOLUTION))), "training row 0: demonstration '' is empty"),
        (
            dict(method="luffy", dataset=make_dataset().add_column("target", [3] * 32)),
            "row 0: demonstration 3 is neither",
        ),
        (
            dict(method="luffy", dataset=worked(), loss_type="grpo"),
            "loss_type='grpo' cannot be combined with method='luffy'",
        ),
        (dict(method="rl_sft", dataset=worked(), remove_unused_columns=True), "would take the column 'demonstration'"),
        (dict(method="luffy", dataset=streamed(make_dataset())), r"rows \(there are: prompt, number\)"),
        (
            dict(method="uft", method_options={"low": 0.9, "high": 0.5}),
            "low=0.9 and high=0.5 are not allowed: low must be at most high",
        ),
    ],
)
def test_what_is_refused(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        build(tmp_path, **changes)


# -- reductions ---------------------------------------------------------------------------------------------------


def test_rloo_is_dr_grpos_advantage_times_g_over_g_minus_1(tmp_path):
    batches = [first_batch(tmp_path, method, some_right)[1] for method in ("rloo", "dr_grpo")]
    assert torch.allclose(batches[0]["advantages"], batches[1]["advantages"] * 4 / 3, atol=1e-6)
    assert (batches[0]["advantages"] != 0).any()


def test_luffy_without_demonstrations_is_its_on_policy_part(tmp_path):
    none = make_dataset().add_column("demonstration", [None] * 32)
    own = dict(loss_type="dr_grpo", scale_rewards="none", epsilon=NO_CLIP, epsilon_high=NO_CLIP, entropy_coef=0.001)
    one = train(tmp_path, "luffy", some_right, dataset=none, max_steps=3)
    assert same(one, run(tmp_path, some_right, dataset=none, max_completion_length=32, max_steps=3, **own))


def test_uft_after_its_hints_is_grpo(tmp_path):
    changes = dict(method_options={"hint_steps": 0}, max_steps=3)
    one = train(tmp_path, "uft", some_right, **changes)
    own = dict(method="grpo", entropy_coef=0.001, max_completion_length=32, max_steps=3, dataset=worked())
    assert same(one, run(tmp_path, some_right, **own))


@pytest.mark.parametrize("method", ALL)
def test_coefficient_0_is_without_and_a_vanishing_one_changes_nothing(tmp_path, method):
    """1e-30 goes through all of EchoRL's code, and its term is below what a weight can hold."""
    changes = dict(max_steps=2)
    without, vanishing = (train(tmp_path, method, echo_coef=coef, **changes) for coef in (0.0, 1e-30))
    assert same(without, vanishing)
    assert without[2] == vanishing[2]


@pytest.mark.parametrize("method", ["luffy", "rl_sft", "uft"])
def test_same_gradient_at_every_micro_batch(tmp_path, method):
    changes = dict(echo_coef=1.0, entropy_coef=0.0, loss_type="dapo" if method == "uft" else "dr_grpo")
    gradients = [
        train(tmp_path, method, per_device_train_batch_size=size, gradient_accumulation_steps=16 // size, **changes)[1]
        for size in (16, 4, 1)
    ]
    assert all(closest(gradients[0][0], other[0]) < 1e-5 for other in gradients[1:])


# -- traces -------------------------------------------------------------------------------------------------------


def test_the_last_rollout_of_each_group_is_the_trace(tmp_path):
    trainer, batch, _ = first_batch(tmp_path, "luffy")
    texts = make_tokenizer().batch_decode(batch["completion_ids"], skip_special_tokens=True)
    assert [row for row, text in enumerate(texts) if text == SOLUTION] == [3, 7, 11, 15]
    assert (batch["completion_ids"][3] == 1).sum() == 1  # EOS
    assert batch["trace_mask"].any(1).nonzero().flatten().tolist() == [3, 7, 11, 15]
    logged = trainer.state.log_history[0]
    assert logged["method/trace_used"] == 1.0
    assert logged["method/trace_wrong"] == 0.0


def test_its_reward_counts_in_the_group_and_its_advantage_in_its_own_term_alone(tmp_path):
    _, batch, _ = first_batch(tmp_path, "luffy")
    texts = make_tokenizer().batch_decode(batch["completion_ids"], skip_special_tokens=True)
    ids = [
        row[mask.bool()].tolist() for row, mask in zip(batch["completion_ids"], batch["completion_mask"], strict=True)
    ]
    rewards = torch.tensor(right_if_solution(texts, ids)).view(4, 4)
    expected = rewards - rewards.mean(1, keepdim=True)
    assert torch.allclose(batch["advantages"].view(4, 4)[:, :3], expected[:, :3], atol=1e-6)
    assert (batch["advantages"].view(4, 4)[:, 3] == 0).all()
    assert torch.allclose(batch["trace_advantages"].view(4, 4)[:, 3], expected[:, 3], atol=1e-6)


def test_the_gradient_is_luffys_objective_by_hand(tmp_path):
    _, batch, gradient = first_batch(tmp_path, "luffy", echo_coef=0.0, entropy_coef=0.0)
    model = make_model()
    logp, _ = logps_and_entropies(model, batch)
    own = batch["completion_mask"] * (1 - batch["trace_mask"])
    pi = logp.exp()
    on_policy = -(batch["advantages"].unsqueeze(1) * pi / pi.detach() * own).sum()
    off_policy = -(batch["trace_advantages"].unsqueeze(1) * pi / (pi + 0.1) * batch["trace_mask"]).sum()
    assert closest(gradient_of(model, (on_policy + off_policy) / (16 * 32)), gradient) < 1e-5


def test_rl_with_sft_adds_the_mean_nll_of_the_traces_which_are_no_members_of_their_groups(tmp_path):
    _, batch, gradient = first_batch(tmp_path, "rl_sft", echo_coef=0.0)
    model = make_model()
    logp, _ = logps_and_entropies(model, batch)
    own = batch["completion_mask"] * (1 - batch["trace_mask"])
    policy = -(batch["advantages"].unsqueeze(1) * (logp - logp.detach()).exp() * own).sum() / (16 * 32)
    nll = -(logp * batch["trace_mask"]).sum() / batch["trace_mask"].sum()
    assert closest(gradient_of(model, policy + nll), gradient) < 1e-5
    assert torch.allclose(batch["advantages"].view(4, 4)[:, :3].sum(1), torch.zeros(4), atol=1e-6)


@pytest.mark.parametrize(
    ("solution", "outcome"), [("1+1=3\n7", "wrong"), ("1" * 40, "too_long"), (None, "missing"), (SOLUTION, "used")]
)
def test_traces_that_cannot_be_used_are_counted_and_their_groups_train_on_rollouts(tmp_path, solution, outcome):
    def only_the_solution(completions, **_):
        return [float(text == SOLUTION) for text in completions]

    data = worked((solution,)) if solution else make_dataset().add_column("demonstration", [None] * 32)
    trainer, batch, _ = first_batch(tmp_path, "luffy", only_the_solution, dataset=data)
    assert trainer.state.log_history[0][f"method/trace_{outcome}"] == 1.0
    assert bool(batch["trace_mask"].any()) == (outcome == "used")


def test_echo_never_mines_the_trace(tmp_path):
    def only_the_solution(completions, **_):
        return [float(text == SOLUTION) for text in completions]

    _, batch, _ = first_batch(tmp_path, "luffy", only_the_solution)
    assert not batch["echo_weights"].any()
    assert batch["trace_mask"].any(1).nonzero().flatten().tolist() == [3, 7, 11, 15]


def test_the_tokens_spent_are_those_that_the_policy_sampled(tmp_path):
    lengths = []

    def keep(completion_ids, **_):
        lengths.append(sum(len(ids) for ids in completion_ids))
        return [1.0] * len(completion_ids)

    plain, *_ = train(tmp_path, "dr_grpo", keep)
    traced, *_ = train(tmp_path, "luffy", keep)
    assert traced.statistics.num_tokens == plain.statistics.num_tokens == lengths[0]


# -- hints --------------------------------------------------------------------------------------------------------


def hinted(tmp_path, **changes):
    options = {"low": 0.5, "high": 0.5, **changes.pop("method_options", {})}
    return first_batch(tmp_path, "uft", method_options=options, **changes)


def test_hints_are_whole_steps_of_the_solution_the_same_for_a_group_and_masked(tmp_path):
    _, batch, _ = hinted(tmp_path)
    tokenizer, lines = make_tokenizer(), SOLUTION.splitlines(keepends=True)
    allowed = {"".join(lines[:kept]) for kept in range(6)}
    hints = []
    for row in range(16):
        length = int(batch["hint_mask"][row].sum())
        hints.append(tokenizer.decode(batch["completion_ids"][row][:length]) if length else "")
        assert batch["tool_mask"][row][:length].sum() == 0
        assert batch["tool_mask"][row][length] == 1
    assert set(hints) <= allowed
    assert len(set(hints)) > 1
    assert all(len(set(hints[i : i + 4])) == 1 for i in range(0, 16, 4))


def test_the_continuation_follows_the_hint(tmp_path):
    """What the recorder saw while sampling is what a forward over prompt, hint and continuation gives."""
    trainer, batch, _ = hinted(tmp_path, echo_select="max_entropy")
    _, entropy = logps_and_entropies(make_model(), batch)
    own = batch["tool_mask"].bool() & batch["completion_mask"].bool()
    mean = float(entropy[own].mean())
    assert trainer.state.log_history[0]["echo/token_entropy"] == pytest.approx(mean, rel=1e-5)
    assert trainer.state.log_history[0]["echo/entropy_source/recorder"] == 1.0


def test_clips_do_not_count_the_hint(tmp_path):
    _, batch, _ = hinted(tmp_path)
    assert batch["echo_weights"].any()
    assert (batch["echo_weights"] * batch["hint_mask"]).sum() == 0


def test_the_gradient_is_grpo_on_the_continuation_and_nll_on_the_hint_by_hand(tmp_path):
    _, batch, gradient = hinted(tmp_path, echo_coef=0.0, entropy_coef=0.0, method_options={"hint_weight": 0.5})
    model = make_model()
    logp, _ = logps_and_entropies(model, batch)
    own = batch["completion_mask"] * batch["tool_mask"]
    per_rollout = ((logp - logp.detach()).exp() * batch["advantages"].unsqueeze(1) * own).sum(1) / own.sum(1)
    nll = -(logp * batch["hint_mask"]).sum() / batch["hint_mask"].sum()
    assert closest(gradient_of(model, -per_rollout.mean() + 0.5 * nll), gradient) < 1e-5


def test_evaluation_has_no_hint(tmp_path):
    seen = []

    def keep(completions, **_):
        seen.append(list(completions))
        return [0.0] * len(completions)

    trainer = build(tmp_path, keep, eval_dataset=worked(size=8), **values("uft"))
    trainer.evaluate()
    assert not any(text.startswith(SOLUTION[:6]) for text in seen[0])


def test_hint_tokens_are_not_spent(tmp_path):
    trainer, batch, _ = hinted(tmp_path)
    own = batch["completion_mask"] * batch["tool_mask"]
    assert trainer.statistics.num_tokens == int(own.sum())

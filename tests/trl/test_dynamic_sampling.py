"""DAPO in the trainer: what is kept, dropped, echoed and drawn, on scripted groups; and the soft overlong punishment.

A script is one string a round, one letter a group: `m` mixed, `+` all right, `-` all wrong, `?` no verdict.
"""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch
from transformers import TrainerCallback

from echorl.trl import dynamic_sampling
from echorl.trl import rows as rows_module
from echorl.trl.dynamic_sampling import groups_to_draw
from echorl.trl.leftover import KEY, make_leftovers
from echorl.trl.rows import even_out
from echorl.trl.stream import PromptStream
from tests.trl.distributed import DYNAMIC, dynamic
from tests.trl.test_distributed import assert_same, launch
from tests.trl.test_gradient import closest, keep_batch, logps_and_entropies
from tests.trl.tiny import Gradients, all_right, build, make_dataset, make_model, norm, run, some_right

GIVEN = {"m": (1.0, 0.0, 1.0, 0.0), "+": (1.0,) * 4, "-": (0.0,) * 4, "?": (None,) * 4}
LOSSES = ("grpo", "bnpo", "dr_grpo", "dapo", "cispo", "luspo", "sapo", "vespo")


class Script:
    """Rewards groups of four as written, and keeps what it was asked about."""

    __name__ = "verifier"

    def __init__(self, *rounds: str, then: str = "m"):
        self.rounds, self.then = list(rounds), then
        self.numbers, self.tokens, self.played = [], 0, ""

    def __call__(self, completion_ids, number, **_):
        letters = self.rounds.pop(0) if self.rounds else self.then * (len(number) // 4)
        assert len(letters) == len(number) // 4
        self.numbers.append(number[::4])
        self.tokens += sum(len(ids) for ids in completion_ids)
        self.played += letters
        return [reward for letter in letters for reward in GIVEN[letter]]


def by_number(number, **_):
    """The kind depends on the prompt alone, two of five are mixed."""
    return [GIVEN["m+m-+"[n % 5]][i % 4] for i, n in enumerate(number)]


def options(**own):
    return {"overlong_buffer": 0, **own}


def dapo(**changes):
    own = options(**changes.pop("method_options", {}))
    return dict(method="dapo", method_options=own, max_steps=1, **changes)


def first_batch(tmp_path, reward, **changes):
    """One step; the trainer, each round's batch as it was sampled, the whole batch, and the gradient."""
    gradients = Gradients()
    trainer = build(tmp_path, reward, callbacks=[gradients], **dapo(**changes))
    kept, rounds, sample = keep_batch(trainer), [], trainer._sample

    def keep_round(inputs):
        out = sample(inputs)
        rounds.append({k: v.clone() for k, v in out.items()})
        return out

    trainer._sample = keep_round
    trainer.train()
    return SimpleNamespace(
        trainer=trainer, rounds=rounds, batch=kept[0], gradient=gradients.steps[0], log=trainer.state.log_history[0]
    )


def counts(log):
    return tuple(int(log[f"method/{name}"]) for name in ("rounds", "num_sampled_prompts", "dropped", "filled"))


def tokens_of(batch, rows=slice(None)):
    pairs = zip(batch["completion_ids"][rows], batch["completion_mask"][rows], strict=True)
    return [ids[mask.bool()].tolist() for ids, mask in pairs]


def rows_named(rounds, letters):
    """The token ids of the rollouts of groups with these letters."""
    found, first = {letter: [] for letter in "m+-?"}, 0
    for batch in rounds:
        for group in range(len(batch["completion_ids"]) // 4):
            found[letters[first]] += tokens_of(batch, slice(4 * group, 4 * group + 4))
            first += 1
    return found


# -- what is kept, dropped and drawn --------------------------------------------------------------------------------


def test_the_batch_holds_the_accepted_groups_of_all_rounds_and_no_other(tmp_path):
    script = Script("m++-", "-m+", "mm")
    found = first_batch(tmp_path, script)
    assert counts(found.log) == (3, 9, 5, 0)
    assert sorted(tokens_of(found.batch)) == sorted(rows_named(found.rounds, "m++--m+mm")["m"])
    assert found.batch["tool_mask"].all()
    assert (found.batch["advantages"] != 0).all()
    assert found.batch["num_items_in_batch"] == found.batch["completion_mask"].sum()


def test_further_rounds_draw_as_many_prompts_as_are_missing_from_a_stream_of_their_own(tmp_path):
    script = Script("m++-", "-m+", "mm")
    first_batch(tmp_path, script)
    stream = PromptStream(32, seed=1)
    assert script.numbers[1:] == [stream.draw(3), stream.draw(2)]
    plain = Script("mmmm")
    run(tmp_path, plain, max_steps=1)
    assert script.numbers[0] == plain.numbers[0]


def test_at_the_cap_dropped_groups_fill_the_batch_outside_the_loss(tmp_path):
    script = Script("m+-?", "-+m")
    found = first_batch(tmp_path, script, method_options={"max_rounds": 2})
    assert counts(found.log) == (2, 7, 5, 2)
    own = found.batch["tool_mask"].any(1)
    assert own.tolist() == [True] * 8 + [False] * 8
    assert (found.batch["advantages"][8:] == 0).all()
    assert not found.batch["echo_informative"][8:].any()
    assert sorted(tokens_of(found.batch, slice(8))) == sorted(rows_named(found.rounds, "m+-?-+m")["m"])
    assert found.batch["num_items_in_batch"] == found.batch["completion_mask"][:8].sum()


@pytest.mark.parametrize("loss_type", LOSSES)
@pytest.mark.parametrize("letter", ["+", "-"])
def test_groups_that_never_differ_neither_crash_nor_move_the_policy(tmp_path, letter, loss_type):
    script = Script(then=letter)
    found = first_batch(tmp_path, script, loss_type=loss_type, echo_coef=0.0, method_options={"max_rounds": 3})
    assert counts(found.log) == (3, 12, 12, 4)
    assert all((g == 0).all() for g in found.gradient.values())
    assert found.log["loss"] == 0.0


@pytest.mark.parametrize("loss_type", LOSSES)
def test_groups_that_never_differ_still_give_their_clips(tmp_path, loss_type):
    found = first_batch(
        tmp_path, Script(then="+"), loss_type=loss_type, echo_coef=0.5, method_options={"max_rounds": 3}
    )
    assert found.batch["echo_count"] == 12
    assert found.batch["echo_weights"].sum() == pytest.approx(12)  # they fill the places, and cost no extra forward
    assert found.log["echo/alone"] == 1.0
    assert closest(by_hand(found, coef=0.5, num_prompts=12), found.gradient) < 1e-5


def test_with_one_round_nothing_is_drawn(tmp_path):
    found = first_batch(tmp_path, Script("m+m-"), method_options={"max_rounds": 1})
    assert counts(found.log) == (1, 4, 2, 2)
    assert found.trainer.part.stream.drawn == 0


def test_a_group_is_accepted_by_its_verdicts_whatever_its_rewards(tmp_path):
    """All right but of different length: dropped. Mixed though the other function evens it out: kept."""

    def evens_out(number, **_):
        return [1.0 - reward for reward in GIVEN["m"]] * (len(number) // 4)

    found = first_batch(tmp_path, [Script("++++", "mmmm"), evens_out], echo_success_reward_func=["verifier"])
    assert counts(found.log) == (2, 8, 4, 0)
    assert found.trainer.ledger.groups["uniform_reward"] == 4
    assert found.trainer.ledger.degenerate["all_success"] == 0


# -- the gradient -----------------------------------------------------------------------------------------------------


def by_hand(found, letters="", coef=0.0, num_prompts=1, mean="tokens"):
    """-(1/tokens) sum of A rho over the accepted rows, plus coef times the clips of every round over all prompts."""
    model, loss, first = make_model(), 0.0, 0
    policy, size = 0.0, 0
    for batch in found.rounds:
        logp, _ = logps_and_entropies(model, batch)
        if coef:
            loss = loss - coef * (logp * batch["echo_weights"]).sum() / num_prompts
        groups = len(logp) // 4
        mask = batch["completion_mask"].clone()
        kept = torch.tensor([letter == "m" for letter in letters[first : first + groups]]).repeat_interleave(4)
        first += groups
        if not kept.any():
            continue
        per_token = -(logp - logp.detach()).exp() * batch["advantages"].unsqueeze(1) * mask
        per_row = per_token.sum(1) if mean == "tokens" else per_token.sum(1) / mask.sum(1)
        policy = policy + per_row[kept].sum()
        size += int(mask[kept].sum()) if mean == "tokens" else int(kept.sum())
    (loss + policy / max(1, size)).backward()
    return {n: p.grad for n, p in model.named_parameters()}


@pytest.mark.parametrize(("rounds", "cap"), [(("m++-", "-m+", "mm"), 10), (("m++-", "-m+"), 2), (("m++-", "+++"), 2)])
@pytest.mark.parametrize("coef", [0.0, 0.5])
def test_the_gradient_is_dapos_on_accepted_groups_and_the_echos_on_all_by_hand(tmp_path, rounds, cap, coef):
    found = first_batch(tmp_path, Script(*rounds), echo_coef=coef, method_options={"max_rounds": cap})
    letters = "".join(rounds)
    expected = by_hand(found, letters, coef, num_prompts=len(letters))
    assert closest(expected, found.gradient) < 1e-5


def test_losses_that_are_means_over_rows_leave_filled_places_out(tmp_path):
    found = first_batch(
        tmp_path, Script("m++-", "-m+"), loss_type="grpo", method_options={"max_rounds": 2}, echo_coef=0
    )
    assert closest(by_hand(found, "m++--m+", mean="rows"), found.gradient) < 1e-5


def test_a_clip_that_gets_lost_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(dynamic_sampling, "make_leftovers", lambda rows, clips, count, number: [None] * number)
    with pytest.raises(RuntimeError, match="of a weight mass of 7 that was mined the batch holds only 4"):
        first_batch(tmp_path, Script("m++-", "-m+", "mm"), echo_coef=0.5)


def test_the_mean_over_clips_counts_those_of_all_rounds(tmp_path):
    script = Script("m++-", "-m+", "mm")
    found = first_batch(tmp_path, script, echo_average_over="clip", echo_coef=0.5)
    assert found.batch["echo_count"] == sum(letter in "m+" for letter in script.played)
    assert closest(by_hand(found, script.played, 0.5, num_prompts=7), found.gradient) < 1e-5


@pytest.mark.parametrize("loss_type", ["dapo", "grpo"])
@pytest.mark.parametrize("cap", [2, 10])
def test_same_gradient_at_every_micro_batch(tmp_path, loss_type, cap):
    gradients = [
        run(
            tmp_path,
            Script("m++-", "+m+", then="m"),
            **dapo(
                echo_coef=1.0,
                loss_type=loss_type,
                method_options={"max_rounds": cap},
                per_device_train_batch_size=size,
                gradient_accumulation_steps=16 // size,
            ),
        )[1][0]
        for size in (16, 4, 2, 1)
    ]
    assert all(closest(gradients[0], other) < 1e-5 for other in gradients[1:])


def test_clips_beside_the_batch_are_spread_over_its_micro_batches_and_cut_at_their_ends(tmp_path):
    shares = []

    class Keep(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            shares.extend(batch.get(KEY) for batch in trainer._buffered_inputs)

    script = Script("m+++", "+++", "m++", "mm")
    changes = dapo(per_device_train_batch_size=2, gradient_accumulation_steps=8, callbacks=[Keep()], echo_coef=0.1)
    trainer = build(tmp_path, script, **changes)
    trainer.train()
    own = [share for share in shares if share is not None]
    assert [int((share["weights"].sum(1) > 0).sum()) for share in own] == [1] * 8
    for share in own:
        assert share["ids"].shape == share["mask"].shape
        assert (share["weights"] != 0).any(0)[-1]  # the last column is the end of the longest clip
        assert share["weights"].sum(1).tolist() == pytest.approx([1.0])


# -- nothing else changes ---------------------------------------------------------------------------------------------


def same(one, other):
    return all(torch.equal(one[3][name], other[3][name]) for name in one[3])


@pytest.mark.parametrize("loss_type", ["dapo", "grpo"])
def test_a_vanishing_coefficient_changes_nothing(tmp_path, loss_type):
    changes = {**dapo(loss_type=loss_type, method_options={"max_rounds": 3}, entropy_coef=0.01), "max_steps": 3}
    without, vanishing = (run(tmp_path, by_number, echo_coef=coef, **changes) for coef in (0.0, 1e-30))
    assert same(without, vanishing)
    assert without[2] == vanishing[2]
    assert vanishing[0].ledger.dropped["groups"] > 3


def test_coefficient_0_makes_no_forward_of_its_own(tmp_path, monkeypatch):
    trainer = build(tmp_path, by_number, echo_coef=0.0, **dapo())
    monkeypatch.setattr(trainer, "_leftover_logps", lambda *_: pytest.fail("a forward"))
    trainer.train()


def test_groups_that_all_differ_are_plain_token_mean_grpo(tmp_path):
    own = dict(loss_type="dapo", epsilon=0.2, epsilon_high=0.28, max_steps=3, echo_coef=0.1)
    assert same(run(tmp_path, Script(), **{**dapo(echo_coef=0.1), "max_steps": 3}), run(tmp_path, Script(), **own))


def test_without_dynamic_sampling_and_with_equal_clips_it_is_grpo(tmp_path):
    plain = {"dynamic_sampling": False, "epsilon_high": 0.2, "loss_type": "grpo"}
    one = run(tmp_path, some_right, **{**dapo(method_options=plain), "max_steps": 3})
    assert same(one, run(tmp_path, some_right, method="grpo", max_steps=3))
    assert one[0].ledger.dropped["groups"] == 0
    assert "method/rounds" not in one[0].state.log_history[0]


@pytest.mark.parametrize("changes", [dict(num_iterations=2), dict(num_iterations=2, pad_to_multiple_of=8)])
def test_old_log_probs_travel_with_their_rows(tmp_path, changes):
    found = first_batch(tmp_path, by_number, **changes)
    logp, _ = logps_and_entropies(make_model(), found.batch)
    mask = found.batch["completion_mask"].bool()
    assert counts(found.log)[0] > 1
    assert torch.allclose(found.batch["old_per_token_logps"][mask], logp[mask], atol=1e-5)


def test_a_reference_model_goes_along(tmp_path):
    make_model().save_pretrained(tmp_path / "model")
    changes = dapo(model=str(tmp_path / "model"), beta=0.1, echo_coef=0.1, method_options={"max_rounds": 2})
    trainer, _, losses, weights = run(tmp_path, by_number, **{**changes, "max_steps": 3})
    assert all(math.isfinite(loss) for loss in losses)
    assert all(w.isfinite().all() for w in weights.values())
    assert trainer.ledger.dropped["groups"] > 0


# -- ledger, metrics, budget ------------------------------------------------------------------------------------------


def test_the_ledger_counts_all_rounds_and_shows_what_was_dropped(tmp_path):
    script = Script("m++-", "-m+", "mm")
    found = first_batch(tmp_path, script, echo_coef=0.0)
    ledger = found.trainer.ledger
    assert (ledger.groups["mixed"], ledger.groups["all_success"], ledger.groups["all_fail"]) == (4, 3, 2)
    assert ledger.num_tokens == script.tokens
    dropped = rows_named(found.rounds, "m++--m+mm")
    assert ledger.dropped == {"groups": 5, "tokens": sum(len(ids) for key in "+-" for ids in dropped[key])}
    assert "dropped by dynamic sampling" in ledger.table()
    assert ledger.table().splitlines()[-1].split()[2] == "5"


def test_the_token_budget_counts_what_was_dropped(tmp_path):
    script = Script(then="+")
    changes = {**dapo(echo_coef=0.0, method_options={"max_rounds": 3}), "max_steps": 9}
    trainer, *_ = run(tmp_path, script, max_rollout_tokens=1, **changes)
    assert trainer.state.global_step == 1
    assert trainer.ledger.num_tokens == script.tokens


def test_metrics_weigh_each_prompt_alike(tmp_path):
    """The mean reward of 4 groups of 0.5, 1, 1, 0, then 3 of 1, then 3 of 0.5."""
    found = first_batch(tmp_path, Script("m++-", "+++", "mmm"))
    assert found.log["reward"] == pytest.approx((0.5 + 1 + 1 + 0 + 3 + 1.5) / 10)
    assert found.log["echo/groups/mixed"] == pytest.approx(0.4)
    assert found.log["echo/clips/all_success"] == 5
    assert found.log["num_tokens"] == sum(len(ids) for batch in found.rounds for ids in tokens_of(batch)) + sum(
        int(batch["prompt_mask"].sum()) for batch in found.rounds
    )


# -- resuming ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("changes", [dict(), dict(num_iterations=2), dict(num_iterations=2, steps_per_generation=4)])
@pytest.mark.parametrize("stop", [1, 3])
def test_resumed_equals_undisturbed_bit_for_bit(tmp_path, changes, stop):
    own = {**dapo(echo_coef=0.1, save_strategy="steps", save_steps=1, **changes), "max_steps": 5}
    whole, _, _, weights = run(tmp_path, by_number, **own)
    resumed = build(tmp_path, by_number, **own)
    resumed.train(resume_from_checkpoint=str(tmp_path / f"checkpoint-{stop}"))
    assert all(torch.equal(weights[n], p) for n, p in resumed.model.named_parameters())
    assert resumed.part.stream.drawn == whole.part.stream.drawn > 0
    assert resumed.ledger == whole.ledger


def test_a_checkpoint_from_before_there_was_a_filter_can_be_resumed(tmp_path):
    run(tmp_path, some_right, max_steps=1, save_strategy="steps", save_steps=1)
    path = tmp_path / "checkpoint-1" / "echorl_state_0.pt"
    state = torch.load(path)
    del state["part"], state["ledger"]["dropped"]
    torch.save(state, path)
    trainer = build(tmp_path, by_number, **{**dapo(), "max_steps": 2})
    trainer.train(resume_from_checkpoint=str(path.parent))
    assert trainer.state.global_step == 2


# -- soft overlong punishment -----------------------------------------------------------------------------------------


def punished(tmp_path, reward=all_right, buffer=16, **changes):
    own = {"overlong_buffer": buffer, "dynamic_sampling": False}
    return first_batch(tmp_path, reward, method_options=own, **changes)


def test_the_punishment_shapes_the_reward_and_not_the_verdict(tmp_path):
    found = punished(tmp_path)
    assert found.trainer.ledger.groups["all_success"] == 4
    assert found.trainer.ledger.degenerate["all_success"] < 4
    lengths = torch.tensor([float(len(ids)) for ids in tokens_of(found.batch)]).view(4, 4)
    rewards = 1 - lengths / 16
    expected = (rewards - rewards.mean(1, keepdim=True)) / (rewards.std(1, keepdim=True) + 1e-4)
    assert torch.allclose(found.batch["advantages"].view(4, 4), expected, atol=1e-5)


def test_all_right_groups_are_dropped_although_their_lengths_differ(tmp_path):
    script = Script("m++-", "-m+", "mm")
    found = first_batch(tmp_path, script, method_options={"overlong_buffer": 16})
    assert counts(found.log) == (3, 9, 5, 0)


def test_the_default_buffer_is_a_fifth_and_none_where_that_is_nothing(tmp_path):
    names = [
        build(tmp_path, **{**dapo(max_completion_length=length), "method_options": {}}).reward_func_names
        for length in (16, 4)
    ]
    assert names == [["some_right", "soft_overlong_punishment_reward"], ["some_right"]]


def test_the_weights_of_the_user_stay_the_users(tmp_path):
    changes = dapo(reward_weights=[2.0], method_options={"overlong_buffer": 4})
    trainer = build(tmp_path, **changes)
    assert trainer.reward_weights.tolist() == [2.0, 1.0]
    assert trainer.args.reward_weights == [2.0]
    assert trainer.verifiers == [0]


def test_a_rollout_without_any_verdict_is_not_rewarded_for_its_length(tmp_path):
    found = punished(tmp_path, Script("m?m?"))
    assert (found.batch["advantages"].view(4, 4)[[1, 3]] == 0).all()
    assert found.trainer.ledger.groups["unscored"] == 2


# -- what is refused --------------------------------------------------------------------------------------------------


def test_refusals(tmp_path):
    from trl.rewards import get_soft_overlong_punishment

    own = [some_right, get_soft_overlong_punishment(16, 4)]
    with pytest.raises(ValueError, match="there already, and method='dapo' adds it: take it out"):
        build(tmp_path, own, **dapo(method_options={"overlong_buffer": 4}))
    with pytest.raises(ValueError, match=r"max_rounds=2.5 is not allowed: it must be a whole number"):
        build(tmp_path, **dapo(method_options={"max_rounds": 2.5}))
    with pytest.raises(ValueError, match=r"overlong_buffer=17 is not allowed: it must be at most .*=16"):
        build(tmp_path, **dapo(method_options={"overlong_buffer": 17}))
    for changes, message in (
        (dict(dataset=make_dataset().to_iterable_dataset()), "without random access"),
        (dict(dataset=make_dataset().add_column("image", [None] * 32)), "images"),
        (dict(scale_rewards="batch"), "scale_rewards='batch'"),
        (dict(multi_objective_aggregation="normalize_then_sum"), "normalise each round"),
    ):
        with pytest.raises(ValueError, match=rf"dynamic sampling does not go with .*{message}"):
            build(tmp_path, **dapo(**changes))


# -- the pieces -------------------------------------------------------------------------------------------------------


def test_groups_drawn_can_be_dealt_evenly_and_are_never_too_many():
    for missing in range(20):
        for generations in (2, 4, 6, 8):
            for processes in (1, 2, 3, 4, 8, 16):
                drawn = groups_to_draw(missing, generations, processes)
                assert 0 <= drawn <= missing
                assert drawn * generations % processes == 0
                assert missing - drawn < processes


def test_the_stream_has_every_row_once_an_epoch_in_an_order_of_its_own():
    stream = PromptStream(50, seed=3)
    epochs = [stream.draw(20) + stream.draw(30) for _ in range(3)]
    assert all(sorted(epoch) == list(range(50)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]
    again = PromptStream(50, seed=3)
    again.drawn = 70
    assert again.draw(30) == epochs[1][20:]
    assert PromptStream(50, seed=4).draw(50) != epochs[0]
    assert epochs[0] != torch.randperm(50, generator=torch.Generator().manual_seed(3)).tolist()


def test_accepted_rows_beyond_a_process_places_go_to_those_that_miss_some(monkeypatch):
    counts, size = [7, 2, 0, 6], 4
    numbers = torch.arange(15).split(counts)
    blocks = [
        {
            "completion_ids": (own + 3).unsqueeze(1).expand(-1, 2 + process),
            "completion_mask": torch.ones(len(own), 2 + process, dtype=torch.int64),
            "advantages": own.float(),
        }
        for process, own in enumerate(numbers)
    ]
    spare = [{key: value[size:] for key, value in block.items()} for block in blocks]
    monkeypatch.setattr(rows_module, "gather_object", lambda _: spare)
    found = [even_out(block, counts, size, process, 0) for process, block in enumerate(blocks)]
    assert [len(rows["advantages"]) for rows in found] == [4, 4, 3, 4]
    assert sorted(torch.cat([rows["advantages"] for rows in found]).tolist()) == list(range(15))
    assert found[1]["completion_ids"].tolist()[:2] == [[10, 10, 10, 0, 0], [11, 11, 11, 0, 0]]
    assert (found[1]["completion_mask"].sum(1) == torch.tensor([3, 3, 2, 2])).all()


@pytest.mark.parametrize(("own", "count", "number"), [(3, 5, 2), (0, 2, 4), (5, 5, 5), (0, 0, 3)])
def test_every_process_makes_the_same_short_forwards_whatever_clips_it_has(own, count, number):
    weights = torch.zeros(6, 7)
    for row in range(own):
        weights[row, : row + 2] = 1 / (row + 2)
    ids = torch.arange(42).view(6, 7)
    rows = {"prompt_ids": ids[:, :2], "prompt_mask": ids[:, :2], "completion_ids": ids, "completion_mask": ids}
    shares = make_leftovers({**rows, "echo_weights": weights}, torch.arange(own), count, number)
    sizes = [len(share["ids"]) if share else 0 for share in shares]
    assert sum(sizes) == count
    assert max(sizes) - min(sizes) <= 1
    found = [mass for share in shares if share for mass in share["weights"].sum(1).tolist()]
    assert found == pytest.approx([1.0] * own + [0.0] * (count - own))


# -- several processes ------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_one_and_two_processes_keep_drop_echo_and_draw_the_same(tmp_path):
    single = dynamic(tmp_path / "single", 1)
    for case in DYNAMIC:
        assert_same(single[case, 24, 1], single[case, 6, 4])
        assert norm(single[case, 24, 1][0]) > 0
    for per_process in launch(tmp_path, 2, "dynamic"):
        for (case, _size, _accumulation), found in per_process.items():
            assert_same(single[case, 24, 1], found)
    assert single["rounds", 24, 1][1]["method/rounds"] > 1
    assert single["cap", 24, 1][1]["method/filled"] > 0


@pytest.mark.slow
def test_two_processes_resume(tmp_path):
    for weights in launch(tmp_path, 2, "dynamic_resume"):
        for step in (1, 2):
            assert all(torch.equal(weights["whole"][n], weights[step][n]) for n in weights[step])

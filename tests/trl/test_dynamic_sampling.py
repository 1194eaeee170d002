"""Dynamic sampling on scripted groups: what is kept, dropped, echoed and drawn, and the gradient by hand."""

from __future__ import annotations

import pytest
import torch
from transformers import TrainerCallback

from echorl.trl.sampling import filtered_clips, rounds
from echorl.trl.sampling.filtered_clips import FILTERED
from echorl.trl.sampling.stream import PromptStream
from tests.trl.by_hand import closest, gradient_of, logps_and_entropies
from tests.trl.distributed import DYNAMIC, MEMORIES, RIVALS, dynamic
from tests.trl.scripted import GIVEN, Script, counts, dapo, first_batch, rows_named, tokens_of
from tests.trl.test_distributed import assert_same, launch
from tests.trl.tiny import build, make_model, norm, run

LOSSES = ("grpo", "dr_grpo", "dapo", "cispo", "luspo", "sapo", "vespo")


# -- what is kept, dropped and drawn ----------------------------------------------------------------------------------


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
    assert not found.batch["echo_has_gradient"][8:].any()
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
    assert found.log["echo/without_policy_gradient"] == 1.0
    assert closest(by_hand(found, coef=0.5, num_prompts=12), found.gradient) < 1e-5


def test_with_one_round_nothing_is_drawn(tmp_path):
    found = first_batch(tmp_path, Script("m+m-"), method_options={"max_rounds": 1})
    assert counts(found.log) == (1, 4, 2, 2)
    assert found.trainer.stations.hooks.stream.drawn == 0


def test_a_group_is_accepted_by_its_verdicts_whatever_its_rewards(tmp_path):
    """All right but of different length: dropped. Mixed though the other function evens it out: kept."""

    def evens_out(number, **_):
        return [1.0 - reward for reward in GIVEN["m"]] * (len(number) // 4)

    found = first_batch(tmp_path, [Script("++++", "mmmm"), evens_out], echo_success_reward_func=["verifier"])
    assert counts(found.log) == (2, 8, 4, 0)
    assert found.trainer.statistics.groups["uniform_reward"] == 4
    assert found.trainer.statistics.degenerate["all_success"] == 0


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
    return gradient_of(model, loss + policy / max(1, size))


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
    monkeypatch.setattr(rounds, "make_shares", lambda rows, clips, count, number: [None] * number)
    with pytest.raises(RuntimeError, match="a weight mass of 7 was mined, but 4 reached the batch of several rounds"):
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
            shares.extend(batch.get(FILTERED) for batch in trainer._buffered_inputs)

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


def test_more_clips_beside_the_batch_than_a_micro_batch_has_rows_run_in_chunks(tmp_path, monkeypatch):
    sizes, split = [], filtered_clips.checkpoint

    def counted(forward, model, ids, mask, width, **kwargs):
        sizes.append(len(ids))
        return split(forward, model, ids, mask, width, **kwargs)

    monkeypatch.setattr(filtered_clips, "checkpoint", counted)
    script = Script("m+++", "+++", "+++", then="m")
    changes = dict(echo_clip_per="rollout", echo_coef=0.5)
    found = first_batch(tmp_path, script, per_device_train_batch_size=2, gradient_accumulation_steps=8, **changes)
    assert sizes
    assert max(sizes) == 2
    expected = by_hand(found, script.played, 0.5, num_prompts=len(script.played))
    assert closest(expected, found.gradient) < 1e-5


# -- several processes ------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_one_and_two_processes_keep_drop_echo_and_draw_the_same(tmp_path):
    single = dynamic(tmp_path / "single", 1)
    assert all(norm(single[case, 24, 1][0]) > 0 for case in (*DYNAMIC, *RIVALS, *MEMORIES))
    for case in (*DYNAMIC, *RIVALS):
        assert_same(single[case, 24, 1], single[case, 6, 4])
    for per_process in launch(tmp_path, 2, "dynamic"):
        for (case, _size, _accumulation), found in per_process.items():
            assert_same(single[case, 24, 1], found)
    assert single["rounds", 24, 1][1]["method/rounds"] > 1
    assert single["cap", 24, 1][1]["method/filled"] > 0
    acted = {
        "rates": "tracked",
        "skips": "skipped",
        "temperatures": "hotter",
        "failures": "prefixed",
        "replays": "replayed",
        "mistakes": "mistakes",
        "judgements": "judgements_read",
    }
    assert all(single[case, 24, 1][1][f"method/{name}"] > 0 for case, name in acted.items())


@pytest.mark.slow
def test_two_processes_resume(tmp_path):
    for weights in launch(tmp_path, 2, "dynamic_resume"):
        for step in (1, 2):
            assert all(torch.equal(weights["whole"][n], weights[step][n]) for n in weights[step])

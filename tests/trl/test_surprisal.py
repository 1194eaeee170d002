"""`echo_entropy_from="surprisal"`: the sampled tokens' -log pi, only if asked for and only where no logits exist."""

import pytest
import torch

from echorl import mine_echo_clips, segment_steps
from tests.trl.by_hand import train_and_keep
from tests.trl.test_base_identity import CountForwards
from tests.trl.test_sources import entropies_of
from tests.trl.tiny import all_right, build, first, make_tokenizer, run

ASKED = dict(echo_entropy_from="surprisal", echo_coef=0.1, max_steps=1)
BEAMS = dict(generation_kwargs={"num_beams": 2})
TEXT = "1+2\n3=4\n5\n"
WIDTH = len(TEXT) + 1  # and EOS
LOGPS = (-torch.rand(16, WIDTH, generator=torch.Generator().manual_seed(0))).tolist()


def rollouts(logprobs, **extra):
    """A `rollout_func` whose 16 completions are three steps and EOS, with these log-probs."""
    tokenizer = make_tokenizer()

    def sample(prompts, trainer):
        return {
            "prompt_ids": [tokenizer(prompt)["input_ids"] for prompt in prompts],
            "completion_ids": [[*tokenizer(TEXT)["input_ids"], 1] for _ in prompts],
            "logprobs": logprobs,
            **extra,
        }

    return sample


def weights_of(tmp_path, logprobs, **extra):
    trainer = build(tmp_path, all_right, rollout_func=rollouts(logprobs, **extra), **ASKED)
    (batch, *_), _ = train_and_keep(trainer)
    return batch["echo_weights"], trainer


def test_the_engines_log_probs_are_taken_as_they_are(tmp_path, monkeypatch):
    trainer = build(tmp_path, all_right, rollout_func=rollouts(LOGPS), temperature=0.7, **ASKED)
    entropy, source, _, batch = entropies_of(trainer, monkeypatch)
    steps = segment_steps(batch["completion_ids"], batch["completion_mask"], trainer.stations.miner.delimiters)
    clips = mine_echo_clips(-torch.tensor(LOGPS), steps, torch.ones(16, dtype=torch.bool), torch.arange(16) // 4)
    assert source == "surprisal"
    assert torch.equal(entropy, -torch.tensor(LOGPS))
    assert torch.equal(batch["echo_weights"], clips.weights)
    assert first(trainer, "entropy_source/surprisal") == 1.0
    assert first(trainer, "token_entropy") == pytest.approx(-torch.tensor(LOGPS).mean().item(), abs=1e-6)


def test_no_forward_more_than_the_base_trainers(tmp_path, caplog):
    base, echo = CountForwards(), CountForwards()
    run(tmp_path, all_right, echo=False, callbacks=[base], rollout_func=rollouts(LOGPS), max_steps=1)
    run(tmp_path, all_right, callbacks=[echo], rollout_func=rollouts(LOGPS), **ASKED)
    assert echo.calls == base.calls > 0
    assert not any("extra forward" in record.getMessage() for record in caplog.records)


@pytest.mark.parametrize(
    ("changes", "source"),
    [
        (dict(), "recorder"),
        (dict(num_iterations=2), "old_pass"),
        (dict(num_iterations=2, rollout_func=rollouts(LOGPS)), "old_pass"),
    ],
)
def test_logits_that_exist_anyway_come_first(tmp_path, changes, source):
    trainer, *_ = run(tmp_path, all_right, **ASKED, **changes)
    assert first(trainer, f"entropy_source/{source}") == 1.0


def test_it_is_never_taken_unasked(tmp_path):
    trainer, *_ = run(tmp_path, all_right, rollout_func=rollouts(LOGPS), max_steps=1)
    assert first(trainer, "entropy_source/extra_forward") == 1.0


@pytest.mark.parametrize("changes", [BEAMS, dict(rollout_func=rollouts(None))], ids=["beams", "rollout_func"])
def test_no_log_probs_is_an_error_that_names_the_way_out(tmp_path, changes):
    with pytest.raises(ValueError, match=r"'surprisal' finds no log-probs .* set echo_entropy_from='logits'"):
        run(tmp_path, all_right, **ASKED, **changes)


def test_log_probs_of_another_shape_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"shape \(16, 3\) do not fit completions of shape \(16, 11\)"):
        run(tmp_path, all_right, rollout_func=rollouts([row[:3] for row in LOGPS]), **ASKED)


@pytest.mark.parametrize("value", [None, float("nan"), -float("inf")], ids=str)
def test_a_log_prob_that_is_not_finite_does_not_count(tmp_path, value):
    """The second step stands out by one token alone; where that has no log-prob, the third does."""
    row = [-0.1] * WIDTH
    row[5], row[8] = -9.0, -1.0
    known, _ = weights_of(tmp_path, [row] * 16)
    unknown, _ = weights_of(tmp_path, [[*row[:5], value, *row[6:]]] * 16)
    assert (known[0] > 0).tolist() == [True] * 8 + [False] * 3
    assert (unknown[0] > 0).all()
    assert unknown.isfinite().all()


def test_steps_without_any_log_prob_end_no_clip(tmp_path):
    weights, trainer = weights_of(tmp_path, [[None] * WIDTH] * 16)
    assert not weights.any()
    assert first(trainer, "clips/all_success") == 0.0
    assert "surprisal" in trainer.context.log.warned


def test_log_probs_that_nobody_filled_in_give_one_warning(tmp_path, caplog):
    run(tmp_path, all_right, rollout_func=rollouts([[0.0] * WIDTH] * 16), **{**ASKED, "max_steps": 3})
    assert sum("no sampled log-prob" in record.getMessage() for record in caplog.records) == 1


def test_a_tools_tokens_have_no_surprisal(tmp_path):
    logps = [[-0.1] * 4 + [-50.0] * 4 + [-0.1] * 3] * 16
    weights, _ = weights_of(tmp_path, logps, env_mask=[[1] * 4 + [0] * 4 + [1] * 3] * 16)
    assert (weights[0] > 0).tolist() == [True] * 4 + [False] * 7


def test_images_need_no_forward(tmp_path):
    from echorl.trl.batch import Capture
    from echorl.trl.sources import Surprisal

    logp = torch.tensor([[-0.5, -0.2]])
    out = {"pixel_values": torch.zeros(1), "completion_ids": torch.zeros(1, 2), "sampling_per_token_logps": logp}
    found = Surprisal().read(out, Capture(), torch.ones(1, dtype=torch.bool), build(tmp_path).context)
    assert torch.equal(found, -logp)


def test_coef_0_asks_for_nothing_and_equals_the_base_trainer_bit_for_bit(tmp_path):
    _, _, base_losses, base = run(tmp_path, echo=False, **BEAMS)
    _, _, losses, weights = run(tmp_path, echo_coef=0.0, echo_entropy_from="surprisal", **BEAMS)
    assert losses == base_losses
    assert all(torch.equal(base[name], weights[name]) for name in base)

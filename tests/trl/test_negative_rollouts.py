"""Mistakes in groups that are all right: what is sampled, replaced, trained on, and counted."""

from __future__ import annotations

from types import SimpleNamespace

import pyarrow.parquet as pq
import pytest
import torch
from datasets import Dataset

from echorl.trl.batch import COMPLETION_IDS
from echorl.trl.recording import sampling_settings
from echorl.trl.sampling.requests import share_of
from tests.trl.by_hand import closest, gradient_of, logps_and_entropies, train_and_keep
from tests.trl.scripted import GIVEN, same, tokens_of
from tests.trl.tiny import (
    all_right,
    build,
    make_dataset,
    make_model,
    make_tokenizer,
    needs_trl,
    run,
    some_right,
)


class Script:
    """Rewards a batch's four groups as written, and two attempts at each group that is all right (`x`: wrong)."""

    __name__ = "verifier"

    def __init__(self, groups: str, attempts: str):
        self.groups, self.attempts = groups, attempts
        self.made: list[list[int]] = []

    def __call__(self, completion_ids, **_):
        if len(completion_ids) != 16:
            self.made = [list(ids) for ids in completion_ids]
            return [float(letter != "x") for letter in self.attempts]
        wrong = [ids for ids, letter in zip(self.made, self.attempts, strict=False) if letter == "x"]
        rewards = [reward for group in self.groups for reward in GIVEN[group]]
        return [0.0 if list(ids) in wrong else reward for ids, reward in zip(completion_ids, rewards, strict=True)]


def first_batch(tmp_path, reward, **changes):
    """One step; the trainer, the batch before its shuffle, the gradient, and the calls for attempts."""
    own = dict(method="negative_rollouts", echo_coef=0.0, max_steps=1)
    trainer = build(tmp_path, reward, **{**own, **changes})
    calls, again = [], trainer._sample_again

    def keep_call(prompts, plan, **settings):
        calls.append(
            SimpleNamespace(prompts=prompts, plan=plan, settings=settings, made=again(prompts, plan, **settings))
        )
        return calls[-1].made

    trainer._sample_again = keep_call
    (batch,), (gradient,) = train_and_keep(trainer)
    log = trainer.state.log_history[0]
    return SimpleNamespace(trainer=trainer, batch=batch, gradient=gradient, calls=calls, log=log)


def test_wrong_attempts_replace_the_last_rollouts_of_groups_that_are_all_right(tmp_path):
    """Groups 0, 2 and 3 are all right, with two, one and no wrong attempts."""
    script = Script("+m++", "xx.x..")
    result = first_batch(tmp_path, script)
    plain = first_batch(tmp_path, Script("+m++", ""), method="grpo").batch
    expected = tokens_of(plain)
    expected[2:4], expected[11] = script.made[:2], script.made[3]
    assert tokens_of(result.batch) == expected
    assert all(torch.equal(result.batch[key], plain[key]) for key in ("prompt_ids", "prompt_mask"))
    half, quarter = 0.5 / (1 / 3) ** 0.5, 0.25 / 0.5  # (r - mean) / std, over the changed group
    advantages = [half, half, -half, -half, half, -half, half, -half, *[quarter] * 3, -3 * quarter, 0, 0, 0, 0]
    assert result.batch["advantages"].tolist() == pytest.approx(advantages, rel=1e-3)
    assert {name: result.log[f"method/{name}"] for name in ("all_success_groups", "mistakes", "attempts_wrong")} == {
        "all_success_groups": 0.75,
        "mistakes": 3.0,
        "attempts_wrong": 0.5,
    }


@pytest.mark.parametrize("share_prompts", [False, pytest.param(True, marks=needs_trl("1.15"))])
def test_attempts_are_sampled_from_prompt_and_request_as_the_options_say(tmp_path, share_prompts):
    """Next to temperature 0 each attempt is the greedy continuation of prompt and request."""
    options = {"mistake_suffix": "wrong:", "mistake_temperature": 1e-4, "mistake_top_p": 0.9}
    result = first_batch(tmp_path, Script("+-+-", "xxxx"), method_options=options, share_prompts=share_prompts)
    (call,), model, tokenizer = result.calls, make_model().eval(), make_tokenizer()
    assert call.settings == {"temperature": 1e-4, "top_p": 0.9}
    for prompt, ids in zip(call.prompts, call.made[COMPLETION_IDS], strict=True):
        place = tokenizer(prompt + "wrong:", return_tensors="pt")["input_ids"]
        greedy = model.generate(place, do_sample=False, max_new_tokens=16)[0, place.shape[1] :].tolist()
        assert ids == greedy[: len(ids)]
        assert len(ids) == 16 or ids[-1] == 1
    assert result.trainer.generation_config.temperature == 1.0


def test_attempts_continue_the_last_rollouts_from_a_share_of_their_tokens(tmp_path):
    """As above. These are too long for a rollout, so that they are counted and not used."""
    options = {"mistake_suffix": "no:", "mistake_temperature": 1e-4, "mistake_prefix": 0.5}
    result = first_batch(tmp_path, Script("++--", "xxxx"), method_options=options)
    plain = first_batch(tmp_path, Script("++--", ""), method="grpo")
    sources = [tokens_of(plain.batch)[row] for row in (2, 3, 6, 7)]
    prefixes = [ids[: (len(ids) - 1) // 2] for ids in sources]
    (call,), model, tokenizer = result.calls, make_model().eval(), make_tokenizer()
    made = call.made[COMPLETION_IDS]
    for prompt, prefix, ids in zip(call.prompts, prefixes, made, strict=True):
        place = torch.tensor([[*tokenizer(prompt)["input_ids"], *prefix, *tokenizer("no:")["input_ids"]]])
        greedy = model.generate(place, do_sample=False, max_new_tokens=16)[0, place.shape[1] :].tolist()
        assert ids[: len(prefix)] == prefix
        assert ids[len(prefix) :] == greedy[: len(ids) - len(prefix)]
    assert all(len(ids) > 16 for ids in made)
    assert tokens_of(result.batch) == tokens_of(plain.batch)
    extra = sum(map(len, made)) - sum(map(len, prefixes))
    assert result.trainer.statistics.num_tokens == plain.trainer.statistics.num_tokens + extra


def test_continuations_that_are_short_enough_replace_rollouts(tmp_path):
    options = {"num_mistakes": 3, "mistake_prefix": 0.2}
    result = first_batch(tmp_path, Script("++++", "x" * 12), method_options=options)
    made, rows = result.calls[0].made[COMPLETION_IDS], tokens_of(result.batch)
    used = [ids for ids in made if ids in rows]
    assert used == [ids for ids in made if len(ids) <= 16]
    assert len(made) > len(used) == result.log["method/mistakes"] > 0


def test_the_gradient_is_that_of_the_mistakes_after_the_prompt_alone(tmp_path):
    result = first_batch(tmp_path, Script("+m+-", "xx.x"), learning_rate=0.0)
    model = make_model()
    logp, _ = logps_and_entropies(model, result.batch)
    mask = result.batch["completion_mask"]
    per_token = (logp - logp.detach()).exp() * result.batch["advantages"].unsqueeze(1) * mask
    assert closest(gradient_of(model, -(per_token.sum(1) / mask.sum(1)).mean()), result.gradient) < 1e-5


def test_old_log_probs_are_those_after_the_prompt_alone(tmp_path):
    batch = first_batch(tmp_path, Script("++++", "x" * 8), num_iterations=2).batch
    logp, _ = logps_and_entropies(make_model(), batch)
    mask = batch["completion_mask"].bool()
    assert torch.allclose(batch["old_per_token_logps"][mask], logp[mask], atol=1e-5)


def test_statistics_count_what_was_sampled_and_clips_are_successes(tmp_path):
    script = Script("+m++", "xx.x..")
    result = first_batch(tmp_path, script, echo_coef=0.1, echo_rollouts_every=1)
    plain = first_batch(tmp_path / "plain", Script("+m++", ""), method="grpo").trainer.statistics
    statistics, attempts = result.trainer.statistics, sum(map(len, script.made))
    assert statistics.groups == plain.groups
    assert (plain.degenerate["all_success"], statistics.degenerate["all_success"]) == (3, 1)
    assert statistics.tokens["mixed"] == plain.tokens["mixed"]
    assert statistics.num_tokens == plain.num_tokens + attempts
    assert result.log["echo/rollout_tokens"] == statistics.num_tokens
    assert result.log["echo/entropy_source/recorder"] == 1.0  # no forward more
    mistakes = [2, 3, 11]
    assert not result.batch["echo_weights"][mistakes].any()
    assert result.log["echo/clips/all_success"] == 3
    rows = pq.read_table(next((tmp_path / "rollouts").glob("*.parquet"))).to_pylist()
    assert [i for i, row in enumerate(rows) if not row["written_by_policy"]] == mistakes
    assert not any(rows[place]["success"] for place in mistakes)


@pytest.mark.parametrize(
    ("reward", "changes"),
    [
        (some_right, dict(method_options={"num_mistakes": 0}, max_steps=3)),
        (lambda completion_ids, **_: [float(i % 4 > 0) for i in range(len(completion_ids))], dict(max_steps=3)),
    ],
    ids=["no attempts", "no group all right"],
)
def test_where_nothing_is_replaced_it_is_grpo_bit_for_bit(tmp_path, reward, changes):
    changes = dict(echo_coef=0.1, **changes)
    one = run(tmp_path, reward, method="negative_rollouts", **changes)
    changes.pop("method_options", None)
    other = run(tmp_path, reward, method="grpo", **changes)
    assert same(one, other)


def test_where_no_attempt_is_wrong_the_batch_is_that_of_grpo(tmp_path):
    one, other = (first_batch(tmp_path, all_right, echo_coef=0.1, method=m) for m in ("negative_rollouts", "grpo"))
    assert len(one.calls) == 1
    assert one.batch.keys() == other.batch.keys()
    assert all(torch.equal(one.batch[key], other.batch[key]) for key in one.batch)
    assert closest(one.gradient, other.gradient) < 1e-6  # TRL's shuffle comes after the attempts


def test_same_gradient_at_every_micro_batch(tmp_path):
    splits = [(16, 1), (8, 2), (2, 8)]
    gradients = [
        first_batch(
            tmp_path,
            Script("+m+-", "xx.x"),
            echo_coef=1.0,
            per_device_train_batch_size=size,
            gradient_accumulation_steps=accumulation,
        ).gradient
        for size, accumulation in splits
    ]
    assert all(closest(gradients[0], other) < 1e-5 for other in gradients[1:])


def test_resumed_equals_undisturbed_bit_for_bit(tmp_path):
    changes = dict(method="negative_rollouts", echo_coef=0.1, num_iterations=2, max_steps=4, save_strategy="steps")
    changes |= dict(save_steps=1, method_options={"mistake_suffix": ""})

    def reward(completion_ids, **_):
        return [float(sum(ids) % 9 > 0) for ids in completion_ids]

    whole, *_, weights = run(tmp_path, reward, **changes)
    assert any(entry.get("method/mistakes") for entry in whole.state.log_history)
    for step in (1, 2):  # within a generation batch, and between two
        resumed = build(tmp_path, reward, **changes)
        resumed.train(resume_from_checkpoint=str(tmp_path / f"checkpoint-{step}"))
        assert all(torch.equal(weights[name], p) for name, p in resumed.model.named_parameters())
        assert resumed.statistics.num_tokens == whole.statistics.num_tokens


def test_a_chats_mistake_is_read_by_the_reward_functions_as_its_rollouts_are(tmp_path):
    tokenizer, seen = make_tokenizer(), []
    tokenizer.chat_template = "{% for m in messages %}{{ m.content }}\n{% endfor %}"
    prompts = [[{"role": "user", "content": prompt}] for prompt in make_dataset(16)["prompt"]]
    script = Script("+m++", "xx.x..")

    def reward(completions, **columns):
        seen.extend(completions)
        return script(**columns)

    rows = Dataset.from_dict({"prompt": prompts})
    result = first_batch(tmp_path, reward, dataset=rows, processing_class=tokenizer, log_completions=True)
    assert all(set(message) == {"role", "content"} for (message,) in seen)
    texts = [tokenizer.decode(ids, skip_special_tokens=True) for ids in tokens_of(result.batch)]
    assert [message["content"] for (message,) in seen[-16:]] == texts


@pytest.mark.parametrize("use_vllm", [False, True])
def test_sampling_settings_are_set_back(use_vllm):
    engine = SimpleNamespace(temperature=1.0, top_p=1.0)
    config = make_model().generation_config
    trainer = SimpleNamespace(
        use_vllm=use_vllm, vllm_generation=engine, generation_config=config, generation_kwargs={"temperature": 1.0}
    )
    with sampling_settings(trainer, temperature=1.2, top_p=0.95):
        place = engine if use_vllm else trainer.generation_config
        assert (place.temperature, place.top_p) == (1.2, 0.95)
        assert use_vllm or trainer.generation_kwargs == {"temperature": 1.2, "top_p": 0.95}
    assert (engine.temperature, engine.top_p) == (1.0, 1.0)
    assert trainer.generation_config is config
    assert trainer.generation_kwargs == {"temperature": 1.0}


def test_the_same_number_of_tasks_on_every_process():
    tasks = [share_of([1, 2, 3, 4, 5], SimpleNamespace(rank=rank, num_ranks=3)) for rank in range(3)]
    assert tasks == [[1, 2], [3, 4], [5, 1]]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(rollout_func=lambda prompts, trainer: {}), "'negative_rollouts' cannot be combined with a rollout_func"),
        (dict(method_options={"num_mistakes": 4}), "num_mistakes=4 would replace every rollout of a group"),
    ],
)
def test_what_is_refused(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        build(tmp_path, method="negative_rollouts", **changes)

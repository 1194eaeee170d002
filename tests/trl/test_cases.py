"""The special cases of TRL that DESIGN lists: handled, refused with one sentence, or warned about once."""

from dataclasses import replace

import pytest
import torch
from transformers import PreTrainedTokenizerFast

from echorl import mine_echo_clips, segment_steps
from tests.trl.by_hand import keep_batches, train_and_keep
from tests.trl.test_sources import entropies_of
from tests.trl.tiny import all_right, build, first, make_dataset, make_tokenizer, run, some_right


def warnings_with(text, caplog):
    return sum(text in record.getMessage() for record in caplog.records if record.levelname == "WARNING")


# -- verdicts


def half_none(completions, **_):
    return [None if i % 8 < 4 else 1.0 for i in range(len(completions))]


def always_none(completions, **_):
    return [None] * len(completions)


def bonus(completion_ids, **_):
    return [0.1 * (len(ids) % 2) for ids in completion_ids]


def test_success_is_the_named_verifiers_not_the_sum(tmp_path):
    """The bonus makes the sum 1.1 or 1.0 and the rewards differ; all groups are all-success all the same."""
    trainer, *_ = run(tmp_path, [all_right, bonus], echo_success_reward_func="all_right", max_steps=1)
    assert first(trainer, "groups/all_success") == 1.0
    assert first(trainer, "clips/all_success") == 4.0


def test_none_is_no_success_and_leaves_the_rows_out_of_the_count(tmp_path):
    trainer, *_ = run(tmp_path, [half_none, bonus], echo_success_reward_func=["half_none"], max_steps=1)
    assert first(trainer, "groups/all_success") == 0.5
    assert first(trainer, "groups/unscored") == 0.5
    assert first(trainer, "clips/all_success") == 2.0


def test_several_verifiers_one_a_task(tmp_path):
    def other_half(completions, **_):
        return [0.0 if i % 8 < 4 else None for i in range(len(completions))]

    names = "half_none, other_half"
    trainer, *_ = run(tmp_path, [half_none, other_half], echo_success_reward_func=names, max_steps=1)
    assert (first(trainer, "groups/all_success"), first(trainer, "groups/all_fail")) == (0.5, 0.5)


def test_none_from_every_function_for_every_row_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="always_none returned None for every rollout"):
        run(tmp_path, always_none, max_steps=1)


def test_a_named_verifier_that_is_silent_for_batches_warns_once(tmp_path, caplog):
    trainer, *_ = run(tmp_path, [always_none, all_right], echo_success_reward_func="always_none", max_steps=3)
    assert warnings_with("returned None for a whole batch", caplog) == 1
    assert first(trainer, "clips/all_success") == 0


def up_to_a_half(completion_ids, **_):
    return [(sum(ids) % 3) / 4 for ids in completion_ids]


@pytest.mark.parametrize(("changes", "times"), [({}, 1), ({"echo_success_reward": 0.5}, 0), ({"echo_coef": 0.0}, 0)])
def test_a_success_that_no_reward_reaches_is_warned_of_once(tmp_path, caplog, changes, times):
    run(tmp_path, up_to_a_half, max_steps=4, **changes)
    assert warnings_with("the largest reward was 0.5, and echo_success_reward is 1.", caplog) == times


class SilentFrom:
    """Right for `batches` batches, then None."""

    __name__ = "verifier"

    def __init__(self, batches):
        self.left = batches

    def __call__(self, completions, **_):
        self.left -= 1
        return [1.0 if self.left >= 0 else None] * len(completions)


def test_one_silent_batch_does_not_end_a_run_that_had_verdicts(tmp_path, caplog):
    trainer, *_ = run(tmp_path, SilentFrom(1), max_steps=3)
    assert trainer.state.global_step == 3
    assert warnings_with("returned None for a whole batch", caplog) == 1


def test_coef_0_is_the_base_trainer_in_a_silent_batch_too(tmp_path):
    *_, base = run(tmp_path, SilentFrom(1), echo=False, max_steps=2)
    *_, weights = run(tmp_path, SilentFrom(1), echo_coef=0.0, max_steps=2)
    assert all(torch.equal(base[n], weights[n]) for n in base)


def test_eight_rewards_of_nine_tenths_are_one_reward(tmp_path):
    def nine_tenths(completions, **_):
        return [0.9 if i % 2 else 0.9 + 1e-8 for i in range(len(completions))]

    trainer, *_ = run(tmp_path, nine_tenths, echo_success_reward=0.9, max_steps=1)
    assert first(trainer, "frac_degenerate") == 1.0


@pytest.mark.parametrize(
    ("reward", "changes", "message"),
    [
        ([all_right, bonus], {}, "which of the reward functions all_right, bonus verifies"),
        ([all_right, bonus], {"echo_success_reward_func": "nobody"}, "'nobody' does not exist; there are: all_right"),
        (
            [all_right, all_right],
            {"echo_success_reward_func": "all_right"},
            "two reward functions are named 'all_right'",
        ),
    ],
)
def test_unclear_verifiers_are_refused(tmp_path, reward, changes, message):
    with pytest.raises(ValueError, match=message):
        build(tmp_path, reward, **changes)


# -- masks


def test_rows_masked_as_truncated_give_no_clip(tmp_path):
    trainer = build(tmp_path, all_right, mask_truncated_completions=True, max_steps=1, max_completion_length=6)
    (batch,), _ = train_and_keep(trainer)
    masked = ~batch["completion_mask"].any(1)
    assert 0 < int(masked.sum()) < 16
    assert (batch["echo_weights"][masked] == 0).all()
    assert batch["echo_weights"].sum() > 0


def test_groups_that_are_masked_whole_are_in_the_ledger_as_truncated(tmp_path):
    model_never_stops = dict(generation_kwargs={"suppress_tokens": [0, 1]})
    trainer, *_ = run(tmp_path, all_right, mask_truncated_completions=True, max_steps=1, **model_never_stops)
    assert trainer.statistics.groups["truncated"] == 4
    assert trainer.statistics.tokens["truncated"] == 16 * 16


def tool_rollouts(prompts, trainer):
    """Completions of three tokens, two of a tool's output, three tokens and EOS."""
    tokenizer = make_tokenizer()
    one = tokenizer("12+", add_special_tokens=False)["input_ids"]
    ids = [*one, *tokenizer("=?", add_special_tokens=False)["input_ids"], *one[::-1], 1]
    return {
        "prompt_ids": [tokenizer(p)["input_ids"] for p in prompts],
        "completion_ids": [list(ids) for _ in prompts],
        "logprobs": [[0.0] * len(ids) for _ in prompts],
        "env_mask": [[1, 1, 1, 0, 0, 1, 1, 1, 1] for _ in prompts],
    }


def test_a_tools_output_ends_a_step_and_is_never_in_a_clip(tmp_path):
    trainer = build(tmp_path, all_right, rollout_func=tool_rollouts, max_steps=1)
    (batch,), _ = train_and_keep(trainer)
    weights = batch["echo_weights"]
    assert (weights[:, 3:5] == 0).all()
    lengths = [(row > 0).sum().item() for row in weights if row.any()]
    assert set(lengths) <= {3, 7}  # the policy's own tokens up to the gap, or all seven
    assert all(row.sum().item() == pytest.approx(1.0) for row in weights if row.any())
    assert first(trainer, "entropy_source/extra_forward") == 1.0


def test_rows_whose_sequence_ratio_is_zero_give_no_clip(tmp_path, monkeypatch):
    """TRL's sequence-level correction under vLLM sets a row's ratio to 0; here the ratio is put in by hand."""
    from echorl.trl import trainer as module

    trainer = build(tmp_path, all_right, max_steps=1)
    process = module.process

    def with_ratio(out, capture, *rest):
        ratio = torch.tensor([[0.0]] * 8 + [[1.0]] * 8)
        return replace(process({**out, "importance_sampling_ratio": ratio}, capture, *rest), batch=out)

    monkeypatch.setattr(module, "process", with_ratio)
    seen = []
    metrics = trainer.stations.miner.metrics
    monkeypatch.setattr(
        trainer.stations.miner,
        "metrics",
        lambda rollouts, entropy, mined, comm: seen.append(mined.clips) or metrics(rollouts, entropy, mined, comm),
    )
    with pytest.raises(RuntimeError, match="lost"):  # the batch itself was not annotated
        trainer.train()
    assert seen[0].rollout.min() >= 8
    assert len(seen[0]) == 2


# -- the delivery receipt


class LosesWeights:
    def _prepare_inputs(self, batch):
        inputs = super()._prepare_inputs(batch)
        inputs.pop("echo_weights", None)
        return inputs


class HalvesWeights:
    def _prepare_inputs(self, batch):
        inputs = super()._prepare_inputs(batch)
        return {**inputs, "echo_weights": inputs["echo_weights"] * 0.5}


@pytest.mark.parametrize(("fault", "message"), [(LosesWeights, "lost"), (HalvesWeights, "4 was mined, but 2 reached")])
def test_weights_that_do_not_reach_the_loss_raise(tmp_path, fault, message):
    from echorl.trl import EchoGRPOTrainer

    broken = type("Broken", (fault, EchoGRPOTrainer), {})
    with pytest.raises(RuntimeError, match=message):
        build(tmp_path, all_right, cls=broken).train()


def test_receipt_holds_over_reuse_of_generations(tmp_path):
    trainer, *_ = run(tmp_path, all_right, num_iterations=2, steps_per_generation=4, max_steps=8, echo_coef=0.1)
    assert trainer.stations.echo.receipt.num_left == 4


# -- evaluation, tokenizers, options


def test_evaluation_between_steps_leaves_the_miner_alone(tmp_path):
    """The evaluation uses up random numbers, so what is compared is the first batch and what is logged."""
    evaluation = dict(eval_strategy="steps", eval_steps=1, per_device_eval_batch_size=4, num_generations_eval=2)
    batches = []
    for changes in ({}, {**evaluation, "eval_dataset": make_dataset(4)}):
        trainer = build(tmp_path, echo_coef=0.1, max_steps=2, **changes)
        batches.append(keep_batches(trainer))
        trainer.train()
    assert torch.equal(batches[0][0]["echo_weights"], batches[1][0]["echo_weights"])
    training = [b for b in batches[1] if "echo_weights" in b]
    assert (len(batches[1]), len(training)) == (2 + 2 * 2, 2)
    logs = [entry for entry in trainer.state.log_history if "eval_reward" in entry]
    assert len(logs) == 2
    assert not any("echo/" in key for entry in logs for key in entry)
    assert sum(trainer.statistics.groups.values()) == 2 * 4


def test_a_tokenizer_without_newlines_is_refused(tmp_path):
    tokenizer = make_tokenizer()
    bare = PreTrainedTokenizerFast(tokenizer_object=_without_newlines(tokenizer), pad_token="<pad>", eos_token="<eos>")
    from echorl.trl import EchoGRPOTrainer
    from tests.trl.tiny import make_model, settings

    with pytest.raises(ValueError, match="no token that contains a newline"):
        EchoGRPOTrainer(make_model(), [all_right], settings(tmp_path), make_dataset(), processing_class=bare)


def _without_newlines(tokenizer):
    from tokenizers import Tokenizer, models

    vocabulary = [t for t in tokenizer.get_vocab() if "\n" not in t]
    return Tokenizer(models.WordLevel({t: i for i, t in enumerate(vocabulary)}, unk_token="<unk>"))


def test_a_plain_grpo_config_is_refused(tmp_path):
    from echorl.trl import EchoGRPOTrainer
    from tests.trl.tiny import make_model, settings

    with pytest.raises(ValueError, match="needs an EchoGRPOConfig"):
        EchoGRPOTrainer(make_model(), [all_right], settings(tmp_path, echo=False), make_dataset())


def test_vllm_logprobs_are_refused(tmp_path):
    from echorl.trl.pipeline import make_stations

    trainer = build(tmp_path, all_right, generation_kwargs={})
    trainer.args.use_vllm, trainer.args.generation_kwargs = True, {"logprobs": 5}
    with pytest.raises(ValueError, match="corrupts the importance ratios"):
        make_stations(trainer.stations.hooks.method, trainer.stations.verifiers, trainer.context)


@pytest.mark.parametrize(
    "options",
    [
        dict(echo_scope="degenerate"),
        dict(echo_select="random", echo_seed=3),
        dict(echo_select="full"),
        dict(echo_select="min_entropy"),
        dict(echo_clip_per="rollout", echo_average_over="clip"),
        dict(echo_length_norm="constant"),
        dict(echo_top_k=2, echo_min_step_tokens=2),
        dict(echo_entropy_quantile=0.5),
        dict(echo_max_step_entropy=2.0),
    ],
    ids=lambda options: "-".join(f"{k.removeprefix('echo_')}={v}" for k, v in options.items()),
)
def test_every_option_reaches_the_miner(tmp_path, monkeypatch, options):
    """The trainer's weights are those of the pure function with the same settings."""
    trainer = build(tmp_path, some_right, max_steps=1, **options)
    entropy, _, _, batch = entropies_of(trainer, monkeypatch)
    steps = segment_steps(batch["completion_ids"], batch["completion_mask"], trainer.stations.miner.delimiters)
    pairs = zip(batch["completion_ids"], batch["completion_mask"], strict=True)
    success = torch.tensor(some_right([ids[mask.bool()].tolist() for ids, mask in pairs])) == 1.0
    threshold = trainer.stations.miner.threshold
    clips = mine_echo_clips(entropy, steps, success, torch.arange(16) // 4, trainer.echo, threshold=threshold)
    assert torch.equal(clips.weights, batch["echo_weights"])
    assert float(batch["echo_count"]) == (len(clips) if trainer.echo.average_over == "clip" else 4)


def test_warm_up_scales_lambda(tmp_path):
    trainer, *_ = run(tmp_path, all_right, echo_coef=1.0, echo_warmup_steps=4, max_steps=3)
    assert [e["echo/coef"] for e in trainer.state.log_history if "echo/coef" in e] == [0.25, 0.5, 0.75]


def test_the_running_quantile_moves_slowly(tmp_path):
    trainer, *_ = run(tmp_path, all_right, echo_entropy_quantile=0.9, max_steps=3)
    floors = [e["echo/entropy_threshold"] for e in trainer.state.log_history if "echo/entropy_threshold" in e]
    fresh = [run(tmp_path, all_right, echo_entropy_quantile=0.9, max_steps=1)[0].stations.miner.threshold]
    assert floors[0] == fresh[0]
    assert trainer.stations.miner.threshold == floors[-1]
    assert 0 < abs(floors[1] - floors[0]) < 0.1


def test_rollouts_are_dumped_with_their_clips(tmp_path):
    import pyarrow.parquet as pq

    run(tmp_path, all_right, echo_rollouts_every=2, max_steps=3)
    files = sorted((tmp_path / "rollouts").glob("*.parquet"))
    assert [f.name for f in files] == ["step-000001-process-0.parquet", "step-000003-process-0.parquet"]
    rows = pq.read_table(files[0]).to_pylist()
    assert {row["step"] for row in rows} == {1}
    assert {row["reward"] for row in rows} == {1.0}
    assert len(rows) == 16
    assert sum(row["clip_end"] > 0 for row in rows) == 4
    clip = next(row for row in rows if row["clip_end"])
    assert len(clip["tokens"]) == len(clip["entropy"]) == len(clip["step_ids"])
    assert clip["step_ids"][clip["clip_end"] - 1] == clip["clip_step"]


def test_no_dump_is_lost_when_batches_and_steps_differ(tmp_path):
    """Every third step, with a generation batch only every fourth: the next batch is dumped instead."""
    run(tmp_path, all_right, echo_rollouts_every=3, max_steps=9, num_iterations=2, steps_per_generation=4)
    assert len(list((tmp_path / "rollouts").glob("*.parquet"))) == 3


def test_the_ledger_is_printed_when_the_run_ends(tmp_path, capsys):
    run(tmp_path, all_right, max_steps=1)
    assert "all_success           4  100.0%                   4" in capsys.readouterr().out


# -- metrics


def test_blank_rollouts_count_in_the_blank_share(tmp_path):
    def blank(prompts, trainer):
        tokenizer = make_tokenizer()
        ids = [[3, 3, 3, 1] if i % 4 else [6, 7, 3, 1] for i in range(len(prompts))]
        return {
            "prompt_ids": [tokenizer(p)["input_ids"] for p in prompts],
            "completion_ids": ids,
            "logprobs": [[0.0] * 4 for _ in prompts],
        }

    trainer, *_ = run(tmp_path, all_right, rollout_func=blank, max_steps=1)
    assert first(trainer, "blank_share") == pytest.approx((3 * 4 + 2) / 16)


def test_a_tools_output_is_not_in_the_ledgers_tokens(tmp_path):
    trainer, *_ = run(tmp_path, all_right, rollout_func=tool_rollouts, max_steps=1)
    assert sum(trainer.statistics.tokens.values()) == 16 * 7

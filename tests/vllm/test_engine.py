"""EchoRL on rollouts that a real vLLM engine samples: what it reads, adds, refuses and leaves alone."""

from __future__ import annotations

import pytest
import torch
from peft import LoraConfig
from transformers import AutoModelForCausalLM, TrainerCallback

from echorl import EchoConfig, mine_echo_clips, segment_steps
from tests.trl.by_hand import closest, gradient_of, logps_and_entropies, train_and_keep
from tests.trl.test_base_identity import CountForwards
from tests.trl.test_negative_rollouts import Script as Mistakes
from tests.trl.test_sources import entropies_of
from tests.trl.tiny import all_right, build, first, make_dataset, run

OFF = dict(vllm_importance_sampling_correction=False)
ENGINE_ERROR = 0.1  # of a log-prob: the engine computes in bfloat16, the trainer in float32


def load(vllm):
    return AutoModelForCausalLM.from_pretrained(vllm["model"])


@pytest.mark.parametrize("changes", [{}, OFF, {"num_iterations": 2}], ids=["corrected", "uncorrected", "reused"])
def test_coef_0_equals_the_base_trainer_bit_for_bit(tmp_path, vllm, changes):
    changes = {**vllm, **changes, "max_steps": 4}
    start = load(vllm).state_dict()
    _, _, base_losses, base = run(tmp_path, echo=False, **changes)
    _, _, losses, weights = run(tmp_path, echo_coef=0.0, **changes)
    assert losses == base_losses
    assert all(torch.equal(base[name], weights[name]) for name in base)
    assert any(not torch.equal(base[name], start[name]) for name in base)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"num_iterations": 2},
        {"steps_per_generation": 4},
        {"gradient_accumulation_steps": 4, "steps_per_generation": 2},
        {"temperature": 0.7, "top_k": 5, "top_p": 0.9},
    ],
)
def test_the_correction_gives_the_entropies_without_a_further_forward(tmp_path, vllm, changes):
    base, echo = CountForwards(), CountForwards()
    changes = {**vllm, **changes, "max_steps": 4}
    run(tmp_path, echo=False, callbacks=[base], **changes)
    trainer, *_ = run(tmp_path, echo_coef=0.1, callbacks=[echo], **changes)
    assert echo.calls == base.calls > 0
    assert first(trainer, "entropy_source/old_pass") == 1.0


class NoGradRows(TrainerCallback):
    """How many rows each forward without gradient has."""

    def __init__(self):
        self.rows = []

    def on_train_begin(self, args, state, control, model=None, **kwargs):
        model.model.register_forward_hook(self.count)

    def count(self, module, inputs, output):
        if not torch.is_grad_enabled():
            self.rows.append(len(output.last_hidden_state))


def first_prompt_right(number, **_):
    return [float(n % 4 == 0) for n in number]


def test_without_the_correction_one_forward_over_possible_clips_and_one_warning(tmp_path, vllm, caplog):
    """Two prompts a step, in dataset order: of numbers 0 to 7, those of 0 and 4 are right."""
    changes = {**vllm, **OFF, "per_device_train_batch_size": 4, "gradient_accumulation_steps": 4, "max_steps": 2}
    changes.update(shuffle_dataset=False, dataset=make_dataset(8))
    base, echo = NoGradRows(), NoGradRows()
    run(tmp_path, first_prompt_right, echo=False, callbacks=[base], **changes)
    trainer, *_ = run(tmp_path, first_prompt_right, echo_coef=0.1, callbacks=[echo], **changes)
    assert base.rows == []
    assert echo.rows == [4, 4]  # one group of four, out of 16 rollouts, in each of two batches
    assert first(trainer, "entropy_source/extra_forward") == first(trainer, "clips/all_success") == 1.0
    assert sum("extra forward" in record.getMessage() for record in caplog.records) == 1


SAMPLING = [{}, {"temperature": 0.7}, {"temperature": 1.3, "top_k": 6}, {"temperature": 0.7, "top_p": 0.8}]


@pytest.mark.parametrize("correction", [{}, OFF], ids=["corrected", "uncorrected"])
@pytest.mark.parametrize("sampling", SAMPLING, ids=str)
def test_entropies_are_those_of_the_raw_logits_at_temperature(tmp_path, vllm, monkeypatch, sampling, correction):
    changes = {**vllm, **sampling, **correction, "max_steps": 1}
    entropy, source, _, batch = entropies_of(build(tmp_path, all_right, **changes), monkeypatch)
    temperature = sampling.get("temperature", 1.0)
    logp, expected = logps_and_entropies(load(vllm), batch, temperature)
    mask = batch["completion_mask"].bool()
    assert source == ("extra_forward" if correction else "old_pass")
    assert torch.allclose(entropy[mask], expected[mask], atol=1e-5)
    if "top_k" not in sampling and "top_p" not in sampling and not correction:
        assert (batch["sampling_per_token_logps"] - logp)[mask].abs().max() < ENGINE_ERROR


@pytest.mark.parametrize(("changes", "most"), [({"top_k": 3}, 3), ({"top_p": 0.2}, 6)], ids=str)
def test_truncated_sampling_reaches_the_engine(tmp_path, vllm, changes, most):
    """The tiny model's distribution over 20 tokens is nearly even: 0.2 of it is held by 4 or 5 of them."""
    (batch, *_), _ = train_and_keep(build(tmp_path, all_right, **vllm, **changes, max_steps=1))
    ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], 1)
    mask = torch.cat([batch["prompt_mask"], batch["completion_mask"]], 1)
    width = batch["completion_ids"].shape[1]
    with torch.no_grad():
        logits = load(vllm)(input_ids=ids, attention_mask=mask).logits[:, -width - 1 : -1]
    chosen = logits.gather(-1, batch["completion_ids"].unsqueeze(-1))
    rank = (logits > chosen + 0.05).sum(-1)[batch["completion_mask"].bool()]  # 0.05: near ties in bfloat16
    assert 1 <= rank.max() < most


@pytest.mark.parametrize("correction", [{}, OFF], ids=["corrected", "uncorrected"])
def test_all_groups_right_base_gradient_zero_echo_gradient_by_hand(tmp_path, vllm, correction):
    changes = {**vllm, **correction, "max_steps": 1}
    _, base, _, _ = run(tmp_path, all_right, echo=False, **changes)
    assert all((gradient == 0).all() for gradient in base[0].values())

    trainer = build(tmp_path, all_right, echo_coef=0.5, **changes)
    (batch, *_), (gradient, *_) = train_and_keep(trainer)
    model = load(vllm)
    logp, entropy = logps_and_entropies(model, batch)
    steps = segment_steps(batch["completion_ids"], batch["completion_mask"], trainer.stations.miner.delimiters)
    right = torch.ones(16, dtype=torch.bool)
    clips = mine_echo_clips(entropy.detach(), steps, right, torch.arange(16) // 4, EchoConfig())
    assert len(clips) == 4
    assert torch.equal(clips.weights, batch["echo_weights"])
    assert closest(gradient_of(model, -0.5 * (logp * clips.weights).sum() / 4), gradient) < 1e-5


class Snapshots(TrainerCallback):
    """The weights after every step."""

    def __init__(self):
        self.weights = []

    def on_step_end(self, args, state, control, model=None, **kwargs):
        self.weights.append({name: tensor.clone() for name, tensor in model.state_dict().items()})


def test_after_an_update_the_engine_samples_from_the_new_weights(tmp_path, vllm):
    after = Snapshots()
    trainer = build(tmp_path, all_right, echo_coef=1.0, learning_rate=0.03, callbacks=[after], **vllm)
    kept, _ = train_and_keep(trainer)
    old, new = load(vllm), load(vllm)
    new.load_state_dict(after.weights[0])
    mask = kept[1]["completion_mask"].bool()
    sampled = kept[1]["sampling_per_token_logps"][mask]
    from_new, from_old = ((logps_and_entropies(model, kept[1])[0][mask] - sampled).abs() for model in (new, old))
    assert from_new.max() < ENGINE_ERROR
    assert from_old.mean() > 5 * ENGINE_ERROR


@pytest.mark.parametrize("changes", [{}, OFF, {"num_iterations": 2}], ids=["corrected", "uncorrected", "reused"])
def test_resumed_equals_undisturbed_bit_for_bit(tmp_path, vllm, changes):
    changes = {**vllm, **changes, "echo_coef": 0.1, "max_steps": 4, "save_strategy": "steps", "save_steps": 1}
    whole, _, _, weights = run(tmp_path, **changes)
    resumed = build(tmp_path, **changes)
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-1"))
    again = dict(resumed.model.named_parameters())
    assert all(torch.equal(weights[name], again[name]) for name in weights)
    assert resumed.statistics.groups == whole.statistics.groups


def test_logprobs_in_generation_kwargs_are_refused(tmp_path, vllm):
    with pytest.raises(ValueError, match="take it out"):
        build(tmp_path, all_right, **vllm, generation_kwargs={"logprobs": 5})


def test_a_row_that_the_sequence_correction_drops_gives_no_clip(tmp_path, vllm):
    """The bound is at 1, so that bfloat16 alone puts about half of the rows outside."""
    bound = dict(vllm_importance_sampling_mode="sequence_mask", vllm_importance_sampling_clip_max=1.0)
    (batch, *_), _ = train_and_keep(build(tmp_path, all_right, **vllm, **bound, max_steps=1))
    dropped = batch["importance_sampling_ratio"].flatten() == 0
    clipped = batch["echo_weights"].any(1)
    assert 0 < dropped.sum() < 16
    assert clipped.any()
    assert not (clipped & dropped).any()


def test_lora_is_merged_into_the_engine_and_read_with_the_adapter(tmp_path, vllm, monkeypatch):
    lora = LoraConfig(r=4, target_modules=["q_proj", "v_proj", "down_proj"], init_lora_weights=False)
    trainer = build(tmp_path, all_right, **vllm, peft_config=lora, max_steps=1, beta=0.1)
    policy = {name: tensor.clone() for name, tensor in trainer.model.state_dict().items()}
    entropy, source, _, batch = entropies_of(trainer, monkeypatch)
    trainer.model.load_state_dict(policy)
    with torch.no_grad():
        logp, expected = logps_and_entropies(trainer.model, batch)
    mask = batch["completion_mask"].bool()
    assert source == "old_pass"
    assert torch.allclose(entropy[mask], expected[mask], atol=1e-4)
    assert (batch["sampling_per_token_logps"] - logp)[mask].abs().max() < ENGINE_ERROR


def test_evaluation_during_training_gives_no_clips(tmp_path, vllm):
    changes = dict(eval_strategy="steps", eval_steps=1, eval_dataset=make_dataset(4), per_device_eval_batch_size=8)
    trainer, *_ = run(tmp_path, all_right, **vllm, **changes)
    evaluated = [entry for entry in trainer.state.log_history if "eval_loss" in entry]
    assert len(evaluated) == 2
    assert not any("echo/" in key for entry in evaluated for key in entry)
    assert sum(trainer.statistics.groups.values()) == 8


def test_mistakes_on_request_are_sampled_hotter_or_colder_and_have_no_correction(tmp_path, vllm):
    """Next to temperature 0 and without a request: the most likely tokens, up to the engine's bfloat16."""
    options = {"mistake_suffix": "", "mistake_temperature": 1e-3}
    script = Mistakes("+m++", "x..xx.")
    changes = dict(method="negative_rollouts", method_options=options, echo_coef=0.1, max_steps=1)
    trainer = build(tmp_path, script, **vllm, **changes)
    (batch, *_), _ = train_and_keep(trainer)
    mistakes = [3, 11, 15]
    mask = batch["completion_mask"].bool()
    assert [row for row in range(16) if batch["completion_ids"][row][mask[row]].tolist() in script.made] == mistakes
    logp, _ = logps_and_entropies(load(vllm), batch)
    assert torch.allclose(batch["old_per_token_logps"][mask], logp[mask], atol=1e-4)
    ratio = batch["importance_sampling_ratio"].expand_as(mask)
    assert (ratio[mistakes] == 1.0).all()
    assert (ratio[[0, 1, 2]] != 1.0).any()
    assert first(trainer, "entropy_source/old_pass") == 1.0
    cold, _ = logps_and_entropies(load(vllm), batch, 0.01)
    assert (cold[mistakes][mask[mistakes]] > -ENGINE_ERROR / 0.01).all()
    assert cold[mistakes][mask[mistakes]].mean() > -1
    assert trainer.vllm_generation.temperature == 1.0

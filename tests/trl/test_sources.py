"""Every entropy source gives the policy's entropies at the sampling temperature, and the right one is taken."""

import pytest
import torch
from peft import LoraConfig

from tests.trl.by_hand import logps_and_entropies, train_and_keep
from tests.trl.tiny import all_right, build, make_model, some_right

SAMPLING = dict(temperature=0.7, top_k=6, repetition_penalty=1.3, max_steps=1, echo_coef=0.1)


def entropies_of(trainer, monkeypatch):
    """Train, keeping the entropies, their source and the batch that the miner saw."""
    from echorl.trl import pipeline

    seen = []
    read = pipeline.read_entropies

    def spy(out, capture, rows, context, **needed):
        entropy, source = read(out, capture, rows, context, **needed)
        seen.append((entropy.clone(), source, rows))
        return entropy, source

    monkeypatch.setattr(pipeline, "read_entropies", spy)
    (batch, *_), _ = train_and_keep(trainer)
    return *seen[0], batch


@pytest.mark.parametrize(
    ("changes", "source"),
    [
        (dict(), "recorder"),
        (dict(num_iterations=2), "old_pass"),
        (dict(generation_kwargs={"num_beams": 2}), "extra_forward"),
    ],
)
def test_entropies_are_those_of_the_raw_logits_at_temperature(tmp_path, monkeypatch, changes, source):
    trainer = build(tmp_path, all_right, **SAMPLING, **changes)
    entropy, name, _, batch = entropies_of(trainer, monkeypatch)
    _, expected = logps_and_entropies(make_model(), batch, temperature=0.7)
    mask = batch["completion_mask"].bool()
    assert name == source
    assert torch.allclose(entropy[mask], expected[mask], atol=1e-5)


def test_all_sources_choose_the_same_clips(tmp_path, monkeypatch):
    """The same sampled batch, its entropies once recorded and once from the pass for old log-probs."""
    results = []
    for changes in (dict(), dict(num_iterations=2)):
        trainer = build(tmp_path, all_right, **SAMPLING, **changes)
        results.append(entropies_of(trainer, monkeypatch)[3])
    assert torch.equal(results[0]["completion_ids"], results[1]["completion_ids"])
    assert torch.equal(results[0]["echo_weights"], results[1]["echo_weights"])


def test_extra_forward_runs_over_possible_clips_only(tmp_path, monkeypatch):
    trainer = build(tmp_path, some_right, max_steps=1, generation_kwargs={"num_beams": 2})
    rows_forwarded = []
    score = trainer.score_tokens
    monkeypatch.setattr(
        trainer, "score_tokens", lambda ids, *a, **k: rows_forwarded.append(len(ids)) or score(ids, *a, **k)
    )
    entropy, _, rows, batch = entropies_of(trainer, monkeypatch)
    success = torch.tensor([r == 1.0 for r in some_right([i[m.bool()].tolist() for i, m in _pairs(batch)])])
    assert torch.equal(rows, success)
    assert sum(rows_forwarded) <= int(success.sum()) + trainer.args.per_device_train_batch_size - 1
    assert entropy[~rows].isnan().sum() >= 1 or bool(rows.all())


def _pairs(batch):
    return zip(batch["completion_ids"], batch["completion_mask"], strict=True)


@pytest.mark.parametrize(
    ("changes", "source"),
    [
        (dict(), "none"),
        (dict(generation_kwargs=None), "recorder"),
        (dict(echo_entropy_quantile=0.5), "extra_forward"),
        (dict(echo_rollouts_every=1), "extra_forward"),
    ],
)
def test_whole_successes_need_no_forward_for_entropies_that_nothing_shows(tmp_path, monkeypatch, changes, source):
    own = {"generation_kwargs": {"num_beams": 2}, **changes}
    trainer = build(tmp_path, all_right, method="positive_nll", max_steps=1, **own)
    forwards, score = [], trainer.score_tokens
    monkeypatch.setattr(trainer, "score_tokens", lambda *a, **k: forwards.append(1) or score(*a, **k))
    entropy, name, _, batch = entropies_of(trainer, monkeypatch)
    assert name == source
    assert bool(forwards) == (source == "extra_forward")
    log, mask = trainer.state.log_history[0], batch["completion_mask"].bool()
    known = source != "none"
    assert bool(entropy[mask].isfinite().all()) == known
    assert ("echo/token_entropy" in log, "echo/clip_entropy/all_success" in log) == (known, known)
    if "echo_entropy_quantile" not in changes:  # every token of every success, 1/L each
        assert log["echo/clips/all_success"] == 16
        assert torch.allclose(batch["echo_weights"], mask / mask.sum(1, keepdim=True))


def test_extra_forward_warns_once(tmp_path, caplog):
    build(tmp_path, all_right, max_steps=3, generation_kwargs={"num_beams": 2}).train()
    assert sum("extra forward" in record.getMessage() for record in caplog.records) == 1


@pytest.mark.parametrize(("beta", "changes"), [(0.0, {}), (0.1, {}), (0.1, {"num_iterations": 2})])
def test_lora_entropies_are_the_policys_not_the_references(tmp_path, monkeypatch, beta, changes):
    """With beta > 0 the reference pass runs through the same model, with the adapter off, after the old pass."""
    lora = LoraConfig(r=4, target_modules=["q_proj", "v_proj", "down_proj"], init_lora_weights=False)
    trainer = build(tmp_path, all_right, peft_config=lora, beta=beta, max_steps=1, **changes)
    with torch.no_grad():
        for name, parameter in trainer.model.named_parameters():
            if "lora_" in name:
                parameter.mul_(20)  # far from the reference
    policy = {k: v.clone() for k, v in trainer.model.state_dict().items()}
    entropy, _, _, batch = entropies_of(trainer, monkeypatch)
    trainer.model.load_state_dict(policy)
    mask = batch["completion_mask"].bool()
    with torch.no_grad():
        _, expected = logps_and_entropies(trainer.model, batch)
        with trainer.model.disable_adapter():
            _, reference = logps_and_entropies(trainer.model, batch)
    assert torch.allclose(entropy[mask], expected[mask], atol=1e-4)
    assert not torch.allclose(entropy[mask], reference[mask], atol=1e-2)


def test_separate_reference_model_is_not_asked_for_entropies(tmp_path):
    make_model().save_pretrained(tmp_path / "model")
    trainer = build(
        tmp_path, all_right, model=str(tmp_path / "model"), beta=0.1, num_iterations=2, max_steps=2, echo_coef=0.1
    )
    trainer.train()
    assert trainer.state.log_history[0]["echo/entropy_source/old_pass"] == 1.0


def test_recorder_leaves_a_wider_padding_at_zero(tmp_path, monkeypatch):
    trainer = build(tmp_path, all_right, max_steps=1, pad_to_multiple_of=32)
    entropy, name, _, batch = entropies_of(trainer, monkeypatch)
    assert name == "recorder"
    assert entropy.shape == batch["completion_ids"].shape
    assert entropy.shape[1] == 32


def test_the_recorder_is_taken_off_the_model_again(tmp_path):
    trainer = build(tmp_path, all_right, max_steps=1)
    trainer.train()
    assert "_get_logits_processor" not in vars(trainer.model)


@pytest.mark.slow
def test_continuous_batching_needs_the_extra_forward(tmp_path, monkeypatch):
    trainer = build(
        tmp_path,
        all_right,
        max_steps=1,
        use_transformers_continuous_batching=True,
        transformers_continuous_batching_config={"max_memory_percent": 0.02},  # else nearly all that the machine has
    )
    entropy, name, _, batch = entropies_of(trainer, monkeypatch)
    _, expected = logps_and_entropies(make_model(), batch)
    mask = batch["completion_mask"].bool()
    assert name == "extra_forward"
    assert torch.allclose(entropy[mask], expected[mask], atol=1e-5)


def test_bf16_recorder_and_old_pass_agree_to_its_precision(tmp_path, monkeypatch):
    found = []
    for changes in (dict(), dict(num_iterations=2)):
        trainer = build(tmp_path, all_right, max_steps=1, bf16=True, **changes)
        found.append(entropies_of(trainer, monkeypatch))
    (recorded, _, _, batch), (scored, _, _, again) = found
    assert torch.equal(batch["completion_ids"], again["completion_ids"])
    mask = batch["completion_mask"].bool()
    assert (recorded - scored)[mask].abs().max() < 6e-3

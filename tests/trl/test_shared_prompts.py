"""`share_prompts` computes fewer tokens and trains as without it."""

from __future__ import annotations

import pytest
import torch
from peft import LoraConfig
from transformers import Lfm2Config, Lfm2ForCausalLM, Qwen2Model

from tests.trl.tiny import Gradients, build, make_model, needs_trl

pytestmark = needs_trl("1.15")

RUNS = {
    "GRPO": {"echo_coef": 0.0},
    "EchoRL": {"echo_coef": 0.1},
    "a reference model and old log-probs": {"echo_coef": 0.1, "beta": 0.1, "num_iterations": 2, "max_steps": 4},
    "micro-batches that cut groups": {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 8},
    "truncated rollouts excluded": {"mask_truncated_completions": True},
    "a further forward for clips": {"method": "dapo", "max_steps": 3, "echo_coef": 0.1},
    "an adapter": {"peft_config": LoraConfig(r=4, target_modules=["q_proj"], init_lora_weights=False), "beta": 0.1},
    "mistakes": {"method": "negative_rollouts", "max_steps": 3, "echo_coef": 0.1},
    "hints": {"method": "failure_prefix", "method_options": {"online": True}, "max_steps": 4, "echo_coef": 0.1},
}


class Counted:
    """Counts the tokens that a model's backbone computes."""

    def __init__(self, model):
        self.tokens = 0
        backbone = next(m for m in model.modules() if isinstance(m, Qwen2Model))
        backbone.register_forward_pre_hook(self.count, with_kwargs=True)

    def count(self, module, args, kwargs):
        self.tokens += kwargs["input_ids"].numel()


@pytest.mark.parametrize("name", RUNS)
def test_training_is_the_same_with_fewer_tokens(tmp_path, name):
    make_model().save_pretrained(tmp_path / "model")  # a reference model is loaded from a folder
    results = []
    for shared in (False, True):
        gradients = Gradients()
        settings = {"share_prompts": shared, **RUNS[name]}
        torch.manual_seed(0)  # for the weights of the adapter
        trainer = build(tmp_path / "run", model=str(tmp_path / "model"), callbacks=[gradients], **settings)
        counted = Counted(trainer.model)
        trainer.train()
        losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
        results.append((gradients.steps, losses, counted.tokens))
    (gradients, losses, tokens), (shared_gradients, shared_losses, shared_tokens) = results
    assert shared_losses == pytest.approx(losses, abs=1e-5)
    torch.testing.assert_close(shared_gradients, gradients, rtol=1e-3, atol=1e-5)
    assert sum(float(g.abs().sum()) for step in gradients for g in step.values()) > 0
    assert shared_tokens < tokens


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"model_init_kwargs": {"attn_implementation": "eager"}}, "attn_implementation='eager'"),
        (
            {"model_init_kwargs": {"use_sliding_window": True, "sliding_window": 8, "max_window_layers": 0}},
            "a sliding window",
        ),
    ],
)
def test_what_it_cannot_be_combined_with_is_refused(tmp_path, settings, message):
    make_model().save_pretrained(tmp_path / "model")
    with pytest.raises(ValueError, match=f"share_prompts=True cannot be combined with {message}"):
        build(tmp_path / "run", model=str(tmp_path / "model"), share_prompts=True, **settings)


def test_a_hybrid_model_is_refused(tmp_path):
    sizes = {"num_hidden_layers": 2, "hidden_size": 32, "num_attention_heads": 2, "num_key_value_heads": 2}
    config = Lfm2Config(vocab_size=make_model().config.vocab_size, full_attn_idxs=[1], **sizes)
    Lfm2ForCausalLM(config).save_pretrained(tmp_path / "model")
    with pytest.raises(ValueError, match="share_prompts=True cannot be combined with the conv layers of lfm2"):
        build(tmp_path / "run", model=str(tmp_path / "model"), share_prompts=True)

"""The private methods of TRL and transformers that the hooks rely on, and the version check."""

import inspect
import warnings

import pytest
from transformers import GenerationMixin, Trainer
from trl import GRPOTrainer

from echorl.trl.versions import blaming_vllm, check_trl_version, check_vllm


@pytest.mark.parametrize(
    ("owner", "name", "parameters"),
    [
        (GRPOTrainer, "training_step", ["model", "inputs", "num_items_in_batch"]),
        (GRPOTrainer, "_prepare_inputs", ["generation_batch"]),
        (GRPOTrainer, "_generate_and_score_completions", ["inputs"]),
        (GRPOTrainer, "_generate_single_turn", ["prompt_ids", "images", "multimodal_fields", "num_generations"]),
        (GRPOTrainer, "_calculate_rewards", ["inputs", "prompts", "completions", "completion_ids_list"]),
        (
            GRPOTrainer,
            "_get_per_token_logps_and_entropies",
            ["model", "input_ids", "attention_mask", "logits_to_keep", "batch_size", "compute_entropy"],
        ),
        (GRPOTrainer, "_compute_loss", ["model", "inputs"]),
        (GRPOTrainer, "_get_train_sampler", ["dataset"]),
        (GRPOTrainer, "_load_optimizer_and_scheduler", ["checkpoint"]),
        (Trainer, "_save_checkpoint", ["model", "trial"]),
        (Trainer, "_load_from_checkpoint", ["resume_from_checkpoint", "model"]),
        (Trainer, "_get_output_dir", ["trial"]),
        (GenerationMixin, "_get_logits_processor", ["generation_config"]),
    ],
)
def test_private_method_is_there_with_its_parameters(owner, name, parameters):
    found = list(inspect.signature(getattr(owner, name)).parameters)[1:]
    assert found[: len(parameters)] == parameters


def test_private_attributes_are_set(tmp_path):
    from tests.trl.tiny import build

    trainer = build(tmp_path)
    for name in ("_step", "_buffered_inputs", "_metrics", "_tokenizer", "reward_func_names", "reward_weights"):
        assert hasattr(trainer, name), name


def test_too_old_is_refused():
    with pytest.raises(ImportError, match=r"trl 1\.15\.2 is too old .* 1\.16 or newer"):
        check_trl_version("1.15.2")


def test_untested_newer_warns():
    with pytest.warns(UserWarning, match=r"trl 1\.17\.0 is newer and untested"):
        check_trl_version("1.17.0")


@pytest.mark.parametrize("version", ["1.16.0", "1.16.3"])
def test_tested_is_silent(version):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_trl_version(version)


@pytest.mark.parametrize("version", ["0.21.0", "0.31.1", "0.40.0"])
def test_a_vllm_outside_trls_range_is_refused(pretend_vllm, version):
    pretend_vllm(version)
    with pytest.raises(ImportError, match=rf"use_vllm=True, but .* from 0\.\S+ to 0\..*version {version}.*: install"):
        check_vllm()


@pytest.mark.parametrize("version", ["0.22.0", "0.31.0+cpu"])
def test_a_vllm_within_trls_range_is_silent(pretend_vllm, version):
    pretend_vllm(version)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_vllm()


def test_without_vllm_use_vllm_is_refused_before_the_model_is_loaded(pretend_vllm, tmp_path):
    from tests.trl.tiny import build

    pretend_vllm(None)
    with pytest.raises(ImportError, match=r"use_vllm=True, but vLLM is not installed: pip install 'echorl\[vllm\]'"):
        build(tmp_path, model="no/model", use_vllm=True)


def test_an_import_that_fails_is_blamed_on_vllm_only_if_its_version_is_wrong(pretend_vllm):
    pretend_vllm("0.10.0")
    refused = r"trl cannot be imported: .*version 0\.10\.0.*; .* or uninstall vLLM"
    with pytest.raises(ImportError, match=refused), blaming_vllm():
        raise RuntimeError("Failed to import trl.trainer.grpo_trainer")
    pretend_vllm("0.31.0")
    with pytest.raises(RuntimeError, match="grpo_trainer"), blaming_vllm():
        raise RuntimeError("Failed to import trl.trainer.grpo_trainer")

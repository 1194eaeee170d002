"""The private names of TRL and transformers that the hooks use, read from the code; and the version check."""

import ast
import inspect
import re
import warnings
from pathlib import Path

import pytest
from packaging.version import Version
from transformers import GenerationMixin, Trainer
from trl import GRPOTrainer

import echorl.trl
from echorl.support.installed import install_command
from echorl.trl import EchoGRPOTrainer
from echorl.trl.versions import (
    blaming_vllm,
    check_base,
    check_vllm,
    installed_trl,
    scores_in_the_head,
)

PACKAGE = Path(echorl.trl.__file__).parent
HOOKS = ("printed_table.py", "trainer.py", "recording.py", "tied_weights.py", "versions.py")
"""The files that may touch private names of TRL and transformers."""

METHODS = {
    "_prepare_inputs": (GRPOTrainer, ["generation_batch"]),
    "_generate_and_score_completions": (GRPOTrainer, ["inputs"]),
    "_generate": (GRPOTrainer, ["prompts"]),
    "_generate_single_turn": (GRPOTrainer, ["prompt_ids", "images", "multimodal_fields", "num_generations"]),
    "_calculate_rewards": (GRPOTrainer, ["inputs", "prompts", "completions", "completion_ids_list"]),
    "_get_per_token_logps_and_entropies": (
        GRPOTrainer,
        ["model", "input_ids", "attention_mask", "logits_to_keep", "batch_size", "compute_entropy"],
    ),
    "_compute_loss": (GRPOTrainer, ["model", "inputs"]),
    "_get_train_sampler": (GRPOTrainer, ["dataset"]),
    "_load_optimizer_and_scheduler": (GRPOTrainer, ["checkpoint"]),
    "_save_checkpoint": (Trainer, ["model", "trial"]),
    "_load_from_checkpoint": (Trainer, ["resume_from_checkpoint", "model"]),
    "_issue_warnings_after_load": (Trainer, ["load_result"]),
    "_get_output_dir": (Trainer, ["trial"]),
    "_get_logits_processor": (GenerationMixin, ["generation_config"]),
}
ATTRIBUTES = {
    "_step": lambda step: step == 0,
    "_buffered_inputs": lambda inputs: inputs is None,
    "_metrics": lambda metrics: metrics["train"]["a new name"] == [],
    "_logs": lambda logs: len(logs["advantages"]) == 0 and len(logs["extra"]["a new column"]) == 0,
}
"""Attribute of a new trainer -> whether it is what the hooks take it for."""
CONFIGURATION = {"_attn_implementation": lambda name: name == "sdpa"}
"""The same of the model's configuration."""


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    from tests.trl.tiny import build

    return build(tmp_path_factory.mktemp("base"), echo=False)


def is_private(name):
    return name.startswith("_") and not name.endswith("__") and name != "_"


def private_names():
    """(file, name) of every private name that `echorl.trl` reads, calls, assigns or defines on an object or a class."""
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [node.attr] if isinstance(node, ast.Attribute) else []
            if isinstance(node, ast.ClassDef):
                names = [each.name for each in node.body if isinstance(each, ast.FunctionDef)]
            elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in ("trl", "transformers"):
                names = [alias.name for alias in node.names]
            yield from ((path.relative_to(PACKAGE).as_posix(), name) for name in names if is_private(name))


def own_names():
    """Private names that `echorl.trl` itself defines in a class, or assigns to `self`."""
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                yield from (each.name for each in node.body if isinstance(each, ast.FunctionDef))
            elif (
                isinstance(node, ast.Attribute)
                and isinstance(node.ctx, ast.Store)
                and ast.unparse(node.value) == "self"
            ):
                yield node.attr


def foreign_names(base):
    """(file, name) of the private names of TRL and transformers in `echorl.trl`."""
    own = set(own_names())
    return {(file, name) for file, name in private_names() if name not in own or hasattr(base, name)}


def test_every_private_name_of_trl_and_transformers_is_checked_here_and_no_other(base):
    assert {name for _, name in foreign_names(base)} == METHODS.keys() | ATTRIBUTES.keys() | CONFIGURATION.keys()


def test_only_the_hooks_touch_private_names(base):
    assert {file for file, _ in foreign_names(base)} <= set(HOOKS)


def test_stations_do_not_know_the_trainer():
    for path in sorted(PACKAGE.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        modules = [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
        names = [node.id for node in ast.walk(tree) if isinstance(node, ast.Name)]
        names += [node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)]
        assert "echorl.trl.trainer" not in modules or path == PACKAGE / "__init__.py", path
        assert "trainer" not in names, path


@pytest.mark.parametrize("name", METHODS)
def test_private_method_is_there_with_its_parameters(name):
    owner, parameters = METHODS[name]
    if name == "_get_per_token_logps_and_entropies" and not scores_in_the_head():
        name = "_full_logits_logps"  # to which it passes all of its arguments
    found = list(inspect.signature(getattr(owner, name)).parameters)[1:]
    assert found[: len(parameters)] == parameters


def test_the_constructor_passes_positions_on_as_trl_has_them():
    named = [name for name in inspect.signature(EchoGRPOTrainer.__init__).parameters if name not in ("rest", "kwargs")]
    assert list(inspect.signature(GRPOTrainer.__init__).parameters)[: len(named)] == named


def test_training_step_has_its_parameters():
    found = list(inspect.signature(GRPOTrainer.training_step).parameters)[1:]
    assert found == ["model", "inputs", "num_items_in_batch"]


@pytest.mark.parametrize("name", ATTRIBUTES)
def test_private_attribute_is_what_the_hooks_take_it_for(base, name):
    assert ATTRIBUTES[name](getattr(base, name))


@pytest.mark.parametrize("name", CONFIGURATION)
def test_private_attribute_of_the_configuration_is_what_the_hooks_take_it_for(base, name):
    assert CONFIGURATION[name](getattr(base.model.config, name))


def test_trls_trainer_as_unsloth_replaces_it_is_refused():
    """unsloth binds `trl.GRPOTrainer` to a class of these names, a copy of TRL's with another loss."""
    check_base(GRPOTrainer)
    rewritten = type("_UnslothGRPOTrainer", (Trainer,), {})
    with pytest.raises(ImportError, match=r"unsloth has replaced .* UnslothGRPOTrainer, .* before `import unsloth`"):
        check_base(type("UnslothGRPOTrainer", (rewritten,), {}))


VLLM = {(1, 14): ("0.20.0", "0.30.0"), (1, 15): ("0.21.0", "0.31.0"), (1, 16): ("0.22.0", "0.31.0")}
"""Version of TRL -> the oldest and the newest vLLM that it supports."""
OLDEST_VLLM, NEWEST_VLLM = VLLM[Version(installed_trl()).release[:2]]


def minor(version, change):
    """Version `0.22.0` with a higher or lower minor number."""
    major, number, _ = Version(version).release
    return f"{major}.{number + change}.0"


@pytest.mark.parametrize("version", [minor(OLDEST_VLLM, -1), f"{NEWEST_VLLM[:-1]}1", minor(NEWEST_VLLM, 9)])
def test_a_vllm_outside_trls_range_is_refused(pretend_vllm, version):
    pretend_vllm(version)
    with pytest.raises(ImportError, match=rf"use_vllm=True, but .* from 0\.\S+ to 0\..*version {version}.*: install"):
        check_vllm()


@pytest.mark.parametrize("version", [OLDEST_VLLM, f"{NEWEST_VLLM}+cpu"])
def test_a_vllm_within_trls_range_is_silent(pretend_vllm, version):
    pretend_vllm(version)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_vllm()


def test_without_vllm_use_vllm_is_refused_before_the_model_is_loaded(pretend_vllm, tmp_path):
    from tests.trl.tiny import build

    pretend_vllm(None)
    refused = re.escape(f"use_vllm=True, but vLLM is not installed: {install_command('vllm')}")
    with pytest.raises(ImportError, match=refused):
        build(tmp_path, model="no/model", use_vllm=True)


def test_an_import_that_fails_is_blamed_on_vllm_only_if_its_version_is_wrong(pretend_vllm):
    pretend_vllm("0.10.0")
    refused = r"trl cannot be imported: .*version 0\.10\.0.*; .* or uninstall vLLM"
    with pytest.raises(ImportError, match=refused), blaming_vllm():
        raise RuntimeError("Failed to import trl.trainer.grpo_trainer")
    pretend_vllm(NEWEST_VLLM)
    with pytest.raises(RuntimeError, match="grpo_trainer"), blaming_vllm():
        raise RuntimeError("Failed to import trl.trainer.grpo_trainer")

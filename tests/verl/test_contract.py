"""The names of verl that the plug-in uses, read from the code, with their parameters; and the version check.

`make test-verl` runs it with the supported verl. With a newer one it says within seconds which hook has changed.
"""

from __future__ import annotations

import ast
import inspect
import re
import warnings
from importlib import import_module
from pathlib import Path

import pytest

pytest.importorskip("verl", reason="verl is not installed: run `make test-verl`")

import echorl.verl
from echorl.verl.versions import check_verl_version

PACKAGE = Path(echorl.verl.__file__).parent
TRAINER = "verl.trainer.ppo.v1.trainer_base.PPOTrainer"
BUFFER = "verl.trainer.ppo.v1.replay_buffer.ReplayBuffer"
QUEUE, TENSORDICTS, WORKER = "transfer_queue", "verl.utils.tensordict_utils", "verl.workers.engine_workers"
CALLED = {
    f"{QUEUE}.kv_batch_get": ["keys", "partition_id", "select_fields"],
    f"{QUEUE}.kv_batch_put": ["keys", "partition_id", "fields", "tags"],
    f"{QUEUE}.kv_clear": ["keys", "partition_id"],
    f"{QUEUE}.KVBatchMeta": ["keys", "tags", "partition_id", "fields", "extra_info"],
    f"{TENSORDICTS}.get": ["tensordict", "key", "default"],
    f"{TENSORDICTS}.assign_non_tensor": ["tensor_dict", "kwargs"],
    f"{TENSORDICTS}.list_of_dict_to_tensordict": ["list_of_dicts"],
    "verl.utils.metric.Metric": ["aggregation", "value"],
    "verl.utils.metric.AggregationType": None,
    "verl.utils.config.omega_conf_to_dataclass": ["config"],
    "verl.utils.import_utils.is_trl_available": [],
    "verl.trainer.main_ppo.main": ["config"],
    "verl.trainer.distillation.is_distillation_enabled": ["config"],
    "verl.trainer.ppo.utils.need_critic": ["config"],
    "verl.trainer.ppo.padding_utils.upsample_batch_to_divisible_size": ["batch", "batch_multiple", "eos_token_id"],
    "verl.workers.utils.losses.ppo_loss": ["config", "model_output", "data", "dp_group"],
    "verl.workers.utils.padding.no_padding_2_padding": ["tensor", "data"],
    "verl.trainer.ppo.v1.replay_buffer._accumulate_eviction_metrics": ["acc", "new", "stale_count"],
    "verl.trainer.ppo.v1.replay_buffer.ReplayBufferAsync": None,
    "verl.trainer.ppo.v1.trainer_base.register_trainer": ["name"],
    "verl.trainer.ppo.v1.trainer_sync.PPOTrainerSync": ["config"],
    "verl.trainer.ppo.v1.trainer_colocate_async.PPOTrainerColocateAsync": ["config"],
    "verl.trainer.ppo.v1.trainer_separate_async.PPOTrainerSeparateAsync": ["config"],
    TRAINER: ["config"],
    BUFFER: None,
}
"""Imported name -> its first parameters; None where nothing is called."""
WRAPPED = {
    TRAINER: {
        "_build_replay_buffer": [],
        "_setup": [],
        "_compute_advantage": ["batch", "metrics"],
        "_compute_old_log_prob": ["batch", "metrics"],
        "_update_actor": ["batch", "metrics"],
        "_log_rollout_data": ["batch", "timing_raw", "rollout_data_dir"],
        "_dump_generations": ["inputs", "outputs", "gts", "scores", "reward_extra_infos_dict", "dump_path"],
        "_save_checkpoint": [],
        "_load_checkpoint": [],
        "_shutdown_dump_executor": [],
    },
    BUFFER: {
        "_evict_terminal_groups": ["global_steps", "partition_id", "eviction_reasons"],
        "sample": ["global_steps", "partition_id", "batch_size"],
    },
}
"""Class -> the methods that the plug-in extends, with all of their parameters."""
USED = {
    TRAINER: {
        "actor_rollout_wg",
        "config",
        "global_steps",
        "local_trigger_step",
        "parameter_sync_step",
        "replay_buffer",
        "tokenizer",
    },
    BUFFER: {
        "_dapo_classification_cache",
        "_materialize_batch",
        "_sampleable_terminal_keys",
        "_select_prompt_uids",
        "_sync_metadata_from_transfer_queue",
        "_terminal_eviction_reasons",
        "_wait_for_next_poll",
        "partitions",
        "pending_keys",
        "refill_fn",
        "running_keys",
    },
}
"""Class -> the other members that the plug-in reads or calls."""
FILES = {TRAINER: "trainers.py", BUFFER: "dynamic_sampling.py"}


def trees():
    return {path.name: ast.parse(path.read_text(encoding="utf-8")) for path in PACKAGE.glob("*.py")}


def look_up(path):
    module, _, name = path.rpartition(".")
    try:
        return getattr(import_module(module), name)
    except ModuleNotFoundError:
        return getattr(look_up(module), name)


def parameters(function):
    """Names of a function's parameters without `self`; those of a class's constructor."""
    return [name for name in inspect.signature(inspect.unwrap(function)).parameters if name != "self"]


def imported_names():
    """Dotted names that the plug-in takes from verl and TransferQueue; of a module, those that it calls in it."""
    for tree in trees().values():
        modules = {"tq": QUEUE}
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in ("verl", QUEUE):
                for alias in node.names:
                    dotted = f"{node.module}.{alias.name}"
                    if dotted in (TENSORDICTS, "verl.trainer.main_ppo"):
                        modules[alias.asname or alias.name] = dotted
                    else:
                        yield dotted
            elif isinstance(node, ast.AnnAssign) and ast.unparse(node).split("(")[0].endswith(" = import_module"):
                modules[node.target.id] = node.value.args[0].value
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in modules:
                yield f"{modules[node.value.id]}.{node.attr}"


def members(path):
    """(wrapped, used): methods called on `super()`, and members of `self` that the plug-in's classes don't define."""
    classes = [node for node in trees()[FILES[path]].body if isinstance(node, ast.ClassDef)]
    wrapped, used, defined = set(), set(), set()
    for node in [each for cls in classes for each in ast.walk(cls)]:
        if isinstance(node, ast.FunctionDef):
            defined.add(node.name)
        elif isinstance(node, ast.AnnAssign):
            defined.add(ast.unparse(node.target).removeprefix("self."))
        elif isinstance(node, ast.Attribute) and ast.unparse(node.value) == "super()":
            wrapped.add(node.attr)
        elif isinstance(node, ast.Attribute) and ast.unparse(node.value) == "self":
            (defined if isinstance(node.ctx, ast.Store) else used).add(node.attr)
    return wrapped - {"__init__"}, used - defined


def test_every_imported_name_is_checked_here_and_no_other():
    assert set(imported_names()) == CALLED.keys()


@pytest.mark.parametrize("path", WRAPPED)
def test_every_member_of_verls_classes_is_checked_here_and_no_other(path):
    assert members(path) == (WRAPPED[path].keys(), USED[path])


@pytest.mark.parametrize("path", CALLED)
def test_name_is_there_with_its_parameters(path):
    expected, found = CALLED[path], look_up(path)
    assert expected is None or parameters(found)[: len(expected)] == expected


@pytest.mark.parametrize(("path", "name"), [(path, name) for path, methods in WRAPPED.items() for name in methods])
def test_extended_method_has_its_parameters(path, name):
    assert parameters(getattr(look_up(path), name)) == WRAPPED[path][name]


@pytest.mark.parametrize(("path", "name"), [(path, name) for path, names in USED.items() for name in sorted(names)])
def test_member_is_a_method_or_assigned(path, name):
    owner = look_up(path)
    sources = inspect.getsource(inspect.getmodule(owner))
    assert hasattr(owner, name) or re.search(rf"self\.{name}\b[^=\n]* = ", sources)


def test_the_asynchronous_buffer_extends_the_synchronous_one():
    assert issubclass(look_up("verl.trainer.ppo.v1.replay_buffer.ReplayBufferAsync"), look_up(BUFFER))


def test_the_workers_take_a_loss():
    assert parameters(look_up(f"{WORKER}.ActorRolloutRefWorker").set_loss_fn) == ["loss_fn"]
    assert parameters(look_up(f"{WORKER}.ActorRolloutRefWorker").update_actor) == ["data"]


def test_verl_loads_the_plug_ins_of_the_group_verl_plugins():
    assert '"verl.plugins"' in inspect.getsource(import_module("verl"))


def test_the_installed_version_is_supported():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_verl_version()

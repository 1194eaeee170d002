"""recipes/verl: every composition through verl's own configuration and checks; no misspelt override gets past Hydra."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path

import pytest

pytest.importorskip("verl", reason="verl is not installed: run `make test-verl`")

from omegaconf import OmegaConf
from verl.trainer.ppo.utils import need_critic, need_reference_policy
from verl.utils.config import omega_conf_to_dataclass, validate_config

from echorl.verl.settings import check_launch, read_settings
from tests.verl.batches import compose_config

ROOT = Path(__file__).resolve().parents[2]
RECIPES = ROOT / "recipes" / "verl"
MODELS = {
    "qwen2.5-1.5b": "Qwen/Qwen2.5-1.5B",
    "qwen2.5-7b": "Qwen/Qwen2.5-7B",
    "qwen2.5-math-7b": "Elliott/Qwen2.5-Math-7B-16k-think",
    "llama-3.1-8b": "meta-llama/Llama-3.1-8B",
    "qwen2.5-vl-7b": "Qwen/Qwen2.5-VL-7B-Instruct",
}


def overrides(*arguments: str, **env: str) -> list[str]:
    given = dict(DATA="/data", RUNS="/runs", DRY_RUN="1") | env
    command = ["bash", str(RECIPES / "run.sh"), *arguments]
    done = subprocess.run(command, env=os.environ | given, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def fake_python(folder: Path) -> Path:
    """Make an interpreter that writes what it was asked to run last into a file; return the file."""
    python, written = folder / "python", folder / "asked"
    python.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {shlex.quote(str(written))}\n')
    python.chmod(0o755)
    return written


def test_there_are_no_other_files():
    assert {path.stem for path in (RECIPES / "models").iterdir()} == set(MODELS)
    assert {path.stem for path in (RECIPES / "methods").iterdir()} == {"grpo", "dapo"}


@pytest.mark.parametrize("echo", [(), ("echorl",)], ids=["plain", "echorl"])
@pytest.mark.parametrize("method", ["grpo", "dapo"])
@pytest.mark.parametrize("model", MODELS)
def test_every_composition_is_one_that_verl_and_echorl_take(model, method, echo):
    config = compose_config(*overrides(model, method, *echo, NNODES="4"))
    check_launch(config)
    validate_config(config, use_reference_policy=need_reference_policy(config), use_critic=need_critic(config))
    omega_conf_to_dataclass(config.algorithm)
    settings = read_settings(config)
    assert settings.echo.coef == (0.001 if echo else 0.0)
    assert settings.success_key == ("acc" if method == "dapo" else None)
    assert config.actor_rollout_ref.model.path == MODELS[model]
    assert config.trainer.nnodes == 4
    assert config.trainer.default_local_dir == f"/runs/{model}-{method}-{'echorl' if echo else 'plain'}"
    task = "geometry3k" if model == "qwen2.5-vl-7b" else "openr1_math"
    assert config.data.train_files == f"/data/{task}/train.parquet"
    assert config.data.val_files == f"/data/{task}/validation.parquet"


@pytest.mark.parametrize("method", ["grpo", "dapo"])
def test_the_settings_are_the_paper_s(method):
    config = compose_config(*overrides("qwen2.5-7b", method))
    actor, rollout = config.actor_rollout_ref.actor, config.actor_rollout_ref.rollout
    assert (config.data.train_batch_size, rollout.n, actor.ppo_mini_batch_size) == (128, 8, 64)
    assert (rollout.temperature, rollout.response_length, actor.optim.lr) == (1.0, 8192, 1e-6)
    assert (actor.use_kl_loss, config.algorithm.use_kl_in_reward) == (False, False)
    if method == "grpo":
        assert (actor.loss_agg_mode, actor.loss_scale_factor, actor.entropy_coeff) == (
            "seq-mean-token-sum-norm",
            8192,
            0.001,
        )
        assert not config.algorithm.norm_adv_by_std_in_grpo
    else:
        assert (actor.clip_ratio_low, actor.clip_ratio_high, actor.loss_agg_mode) == (0.2, 0.28, "token-mean")
        assert config.algorithm.filter_groups.enable
        assert OmegaConf.select(config, "reward.reward_kwargs.overlong_buffer_cfg.len") == 8192 // 5


def test_overrides_given_at_the_end_win():
    config = compose_config(*overrides("qwen2.5-7b", "grpo", "echorl", "trainer.save_freq=7", "echo.coef=0.01"))
    assert config.trainer.save_freq == 7
    assert read_settings(config).echo.coef == 0.01


def test_the_example_is_a_launch_line_that_verl_and_echorl_take(tmp_path):
    asked = fake_python(tmp_path)
    env = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}", "DATA": "/data"}
    subprocess.run(["bash", ROOT / "examples" / "verl.sh", "trainer.save_freq=7"], env=env, check=True)
    _, launcher, *given = asked.read_text().splitlines()
    assert launcher == "echorl.verl"
    config = compose_config(*given)
    check_launch(config)
    validate_config(config, use_reference_policy=need_reference_policy(config), use_critic=need_critic(config))
    assert read_settings(config).echo.coef == 0.001
    assert (config.trainer.total_training_steps, config.trainer.save_freq) == (2, 7)


def test_llama_s_template_writes_the_text_of_the_trl_recipe():
    from jinja2 import Environment

    from recipes.paper.rows import openr1_text

    template = compose_config(*overrides("llama-3.1-8b", "grpo")).actor_rollout_ref.model.custom_chat_template
    messages = [{"role": "system", "content": "Think."}, {"role": "user", "content": "What is $1+1$?"}]
    found = Environment().from_string(template).render(messages=messages, bos_token="<b>", add_generation_prompt=True)
    assert found == "<b>" + openr1_text({"prompt": messages, "reward_model": {"ground_truth": "2"}})["prompt"]


def test_an_unknown_model_is_refused_with_those_that_there_are():
    done = subprocess.run(["bash", str(RECIPES / "run.sh"), "gpt-2", "grpo"], capture_output=True, text=True)
    assert done.returncode == 2
    assert all(model in done.stderr for model in MODELS)


def test_it_starts_echorl_s_launcher(tmp_path):
    written = fake_python(tmp_path)
    overrides("qwen2.5-7b", "grpo", "echorl", DRY_RUN="", PYTHON=str(tmp_path / "python"))
    asked = written.read_text().splitlines()
    assert asked[:2] == ["-m", "echorl.verl"]
    assert asked[2:] == overrides("qwen2.5-7b", "grpo", "echorl")

"""Batches as verl's driver sees them, made by hand: jagged fields, tags, verl's whole configuration."""

from __future__ import annotations

import torch
from hydra import compose, initialize_config_module
from verl.utils import tensordict_utils as tu

from echorl import EchoConfig, StepDelimiters
from echorl.verl.batch import read_batch
from echorl.verl.settings import EchoSettings

NEWLINE, VOCAB = 9, 50
DELIMITERS = StepDelimiters.from_ids([NEWLINE], VOCAB)


def jagged(rows):
    return torch.nested.as_nested_tensor(list(rows), layout=torch.jagged)


def make_batch(*, num_prompts=3, num_generations=4, seed=0, padding=0):
    """verl's fields and tags: rollouts of 5 to 20 tokens in shuffled order, with padding rows of one EOS at the end."""
    generator = torch.Generator().manual_seed(seed)
    num = num_prompts * num_generations
    lengths = torch.randint(5, 21, (num,), generator=generator).tolist() + [1] * padding
    ids = [torch.randint(1, VOCAB, (n,), generator=generator) for n in lengths]
    ids = [torch.where(torch.rand(len(row), generator=generator) < 0.2, NEWLINE, row) for row in ids]
    entropy = [torch.rand(n, generator=generator) * 3 for n in lengths]
    mask = [torch.ones(n, dtype=torch.int64) for n in lengths[:num]] + [torch.zeros(1, dtype=torch.int64)] * padding
    rewards = [torch.zeros(n) for n in lengths]
    order = torch.randperm(num, generator=generator).tolist()
    groups = [i // num_generations for i in order] + [num_prompts] * padding
    for row, group in zip(rewards[:num], groups, strict=False):
        row[-1] = 1.0 if group == 0 else float(torch.rand((), generator=generator) < 0.5)  # the first group: all right
    fields = dict(responses=ids, response_mask=mask, entropy=entropy, rm_scores=rewards)
    infos = [{"reward_extra_info": {"acc": float(row.sum()), "format": 1.0}} for row in rewards]
    data = tu.get_tensordict(
        {name: jagged(rows) for name, rows in fields.items()}
        | {"uid": [f"prompt-{g}" for g in groups], "extra_fields": infos}
    )
    tags = [{"is_padding": True} if i >= num else {} for i in range(num + padding)]
    return data, tags


def read(data, tags, *, success_key=None, **settings):
    return read_batch(data, tags, EchoSettings(EchoConfig(**settings), success_key))


def make_config(*overrides):
    """verl's own default configuration with EchoRL's trainer, and `overrides`."""
    needed = ["trainer.v1.trainer_mode=echo_sync", "algorithm.adv_estimator=grpo", "actor_rollout_ref.rollout.n=8"]
    return compose_config(*needed, *overrides)


def compose_config(*overrides):
    """What `python -m echorl.verl` composes from these overrides."""
    with initialize_config_module("verl.trainer.config", version_base=None):
        return compose("ppo_trainer", overrides=list(overrides))

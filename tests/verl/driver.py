"""verl's driver without Ray: its real trainer with EchoRL, TransferQueue in memory, workers of a one-table model."""

from __future__ import annotations

from types import SimpleNamespace

import torch
from tensordict import TensorDict
from verl.utils import tensordict_utils as tu
from verl.utils.metric import Metric

from echorl.verl.trainers import EchoTrainerSync
from tests.verl.batches import DELIMITERS, NEWLINE, VOCAB, jagged, make_config

RANKS, GENERATIONS, PROMPTS, MINI = 2, 4, 4, 2
EOS = 1
OVERRIDES = (
    f"data.train_batch_size={PROMPTS}",
    f"actor_rollout_ref.rollout.n={GENERATIONS}",
    f"actor_rollout_ref.actor.ppo_mini_batch_size={MINI}",
    "actor_rollout_ref.actor.strategy=fsdp2",
    "actor_rollout_ref.actor.use_dynamic_bsz=True",
    "actor_rollout_ref.rollout.name=vllm",
    "actor_rollout_ref.rollout.calculate_log_probs=False",
    "+echo.coef=0.5",
)


class Workers:
    """The actor's workers: log p(token) = log_softmax(table)[token], an entropy that depends on the token alone."""

    def __init__(self, store) -> None:
        self.store = store
        self.table = torch.randn(VOCAB, generator=torch.Generator().manual_seed(0)).requires_grad_()
        self.entropies = torch.rand(VOCAB, generator=torch.Generator().manual_seed(1)) * 3
        self._dispatch_info = {"actor": list(range(RANKS))}
        self.forwards = 0
        self.calls: list[str] = []  # of old-log-prob passes, and what separate_async does around them
        self.updates: list[SimpleNamespace] = []

    def set_loss_fn(self, loss) -> None:
        self.loss = loss

    def logp(self, ids):
        """At each position that of the next token, as verl's model output has it."""
        return self.table.log_softmax(-1)[ids.roll(-1)]

    def save_model_to_cpu(self, number) -> None:
        self.calls.append(f"save {number}")

    def restore_model_from_cpu(self, number) -> None:
        self.calls.append(f"restore {number}")

    def clear_cpu_model(self, number) -> None:
        self.calls.append(f"clear {number}")

    def compute_ref_log_prob(self, batch):
        """The policy is its own reference."""
        return self.compute_log_prob(batch)

    def compute_log_prob(self, batch):
        self.calls.append("forward")
        assert len(batch) % RANKS == 0
        self.forwards += len(batch)
        ids = list(self.store.kv_batch_get(batch.keys, "train", ["input_ids"])["input_ids"].unbind())
        fields = {"log_probs": jagged(self.logp(row).detach() for row in ids)}
        if batch.extra_info["calculate_entropy"]:
            fields["entropy"] = jagged(self.entropies[row.roll(-1)] for row in ids)
        return self.store.kv_batch_put(batch.keys, "train", TensorDict(fields, batch_size=len(batch)))

    def update_actor(self, batch):
        info = batch.extra_info
        size, parts = info["mini_batch_size"] // RANKS, len(batch) // RANKS
        assert len(batch) % info["mini_batch_size"] == 0
        found = {"loss": [], "mfu": 0.0, "echo/nll": [], "echo/mass": []}
        for first in range(0, parts, size):
            pieces = [batch.keys[rank * parts + first :][:size] for rank in range(RANKS)]
            update = self.one_update(pieces, batch.fields, info)
            self.updates.append(update)
            found["loss"].append(float(update.loss))
            for name in ("echo/nll", "echo/mass"):
                found[name].append(update.metrics.get(name, 0.0))
        return {"metrics": found}

    def one_update(self, pieces, fields, info):
        """A mini-batch over all ranks: loss, its gradient, and the rows that each rank had."""
        datas = [self.store.kv_batch_get(keys, "train", fields) for keys in pieces]
        tokens = sum(int(data["loss_mask"].values().sum()) for data in datas)
        total, metrics = 0.0, {}
        for data in datas:
            tu.assign_non_tensor(data, dp_size=RANKS, batch_num_tokens=tokens, **info)
            ids = data["input_ids"].unbind()
            self.forwards += len(ids)
            loss, each = self.loss(model_output={"log_probs": jagged(map(self.logp, ids))}, data=data, dp_group=None)
            total = total + loss / RANKS
            for name, value in each.items():
                if isinstance(value, Metric):
                    metrics[name] = metrics.get(name, 0.0) + value.aggregate() / RANKS
        grad = torch.autograd.grad(total, self.table)[0]
        return SimpleNamespace(loss=total.detach(), grad=grad, metrics=metrics, pieces=pieces, datas=datas, info=info)


class Groups:
    """Stands for the agent loops: prompt by prompt the rewards of its rollouts, whose tokens are drawn here."""

    def __init__(self, store, rewards) -> None:
        self.store, self.rewards = store, list(rewards)
        self.generator = torch.Generator().manual_seed(0)
        self.count = 0

    def draw(self, number: int) -> int:
        for _ in range(number):
            self.put(f"p{self.count}", self.rewards[self.count])
            self.count += 1
        return number

    def put(self, uid, rewards) -> None:
        prompt = torch.randint(3, VOCAB, (3,), generator=self.generator)
        for session, reward in enumerate(rewards):
            fields, tag = self.rollout(uid, prompt, reward)
            self.store.kv_batch_put([f"{uid}_{session}_0"], "train", tu.list_of_dict_to_tensordict([fields]), [tag])
        self.store.kv_put(uid, "train", tag={"is_prompt": True, "status": "finished", "global_steps": 1})

    def rollout(self, uid, prompt, reward):
        length = int(torch.randint(6, 16, (), generator=self.generator))
        response = torch.randint(3, VOCAB, (length,), generator=self.generator)
        response[int(torch.randint(2, 5, (), generator=self.generator))] = NEWLINE
        scores, ones = torch.zeros(length), torch.ones(length, dtype=torch.int64)
        scores[-1] = reward
        ids = torch.cat([prompt, response])
        fields = dict(uid=uid, prompts=prompt, responses=response, input_ids=ids, rm_scores=scores, num_turns=2)
        fields |= dict(position_ids=torch.arange(len(ids)), response_mask=ones, loss_mask=ones.clone())
        fields |= dict(extra_fields={"reward_extra_info": {"acc": float(reward >= 1)}}, multi_modal_inputs={})
        return fields, dict(prompt_len=3, response_len=length, seq_len=3 + length, min_global_steps=1)


def make_trainer(store, rewards, *overrides, cls=EchoTrainerSync):
    """A trainer whose prompts have these rewards, its workers, and the drawer of prompts."""
    config = make_config(*OVERRIDES, *overrides)
    trainer = cls(config)
    workers, groups = Workers(store), Groups(store, rewards)
    trainer.actor_rollout_wg, trainer.miner.delimiters = workers, DELIMITERS
    trainer.ref_policy_wg, trainer.ref_in_actor = workers, False
    trainer.tokenizer = SimpleNamespace(eos_token_id=EOS, decode=lambda ids, **kwargs: "")
    trainer.global_steps = 1
    trainer.replay_buffer.refill_fn, trainer.replay_buffer.poll_interval = groups.draw, 0
    if trainer.echo.coef > 0:
        trainer.equip_workers()
    else:
        workers.set_loss_fn(trainer.policy_loss())
    return trainer, workers, groups


def one_step(trainer, groups, metrics, *, prompts=PROMPTS):
    """verl's `_step_once` from sampling to the update; returns its batch."""
    groups.draw(prompts)
    batch, sampled = trainer.replay_buffer.sample(trainer.global_steps, "train", prompts)
    metrics.update(sampled)
    batch.extra_info["temperature"] = 1.0
    batch = trainer._balance_batch(batch, metrics)
    batch = trainer._compute_old_log_prob(batch, metrics)
    if trainer.use_reference_policy:
        batch = trainer._compute_ref_log_prob(batch, metrics)
    batch = trainer._compute_advantage(batch, metrics)
    return trainer._update_actor(batch, metrics)

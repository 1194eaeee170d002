"""In place of an engine: rollouts by transformers' `generate`, from the first weights, the same in every run.

One prompt of so many as ECHORL_TEST_STANDIN says has one success, the others succeed in all rollouts.
"""

from __future__ import annotations

import os

import torch
import transfer_queue as tq
from transformers import AutoModelForCausalLM, AutoTokenizer
from verl.trainer.ppo.v1 import PPOTrainerSync
from verl.utils.tensordict_utils import list_of_dict_to_tensordict
from verl.workers.rollout.replica import RolloutReplica, RolloutReplicaRegistry

EOS = 1
PERIOD = int(os.environ["ECHORL_TEST_STANDIN"])

PPOTrainerSync._enable_hybrid_replicas = False
PPOTrainerSync.on_init_end = PPOTrainerSync.on_step_end = lambda self: None  # no engine to send weights to
RolloutReplicaRegistry.register("vllm", lambda: RolloutReplica)


class AgentLoopManager:
    @classmethod
    def create(cls, config, llm_client=None, teacher_client=None, reward_loop_worker_handles=None):
        self = cls()
        self.num_generations = config.actor_rollout_ref.rollout.n
        self.model = AutoModelForCausalLM.from_pretrained(config.actor_rollout_ref.model.path)
        self.tokenizer = AutoTokenizer.from_pretrained(config.actor_rollout_ref.model.path)
        self.count = 0
        return self

    def generate_sequences(self, batch):
        step = batch["global_steps"]
        torch.manual_seed(step)
        for uid, messages in zip(list(batch["uid"]), list(batch["raw_prompt"]), strict=True):
            prompt = self.tokenizer.apply_chat_template(list(messages), add_generation_prompt=True, return_dict=True)
            self.put_group(uid, torch.tensor(prompt["input_ids"]), self.count, step)
            self.count += 1

    def put_group(self, uid, prompt, number, step):
        with torch.no_grad():
            found = self.model.generate(
                prompt.expand(self.num_generations, -1),
                do_sample=True,
                max_new_tokens=24,
                pad_token_id=0,
                eos_token_id=EOS,
            )
        fields, tags = [], []
        for session, row in enumerate(found):
            response = row[len(prompt) :]
            ends = (response == EOS).nonzero()
            response = response[: int(ends[0]) + 1] if len(ends) else response
            fields.append(rollout(uid, prompt, response, success=number % PERIOD != 1 or session == 0))
            sizes = dict(prompt_len=len(prompt), response_len=len(response), seq_len=len(prompt) + len(response))
            steps = dict(global_steps=step, min_global_steps=step, max_global_steps=step)
            tags.append(dict(status="success", **sizes, **steps))
        keys = [f"{uid}_{session}_0" for session in range(len(fields))]
        tq.kv_batch_put(keys=keys, fields=list_of_dict_to_tensordict(fields), tags=tags, partition_id="train")
        tq.kv_put(key=uid, partition_id="train", tag={"status": "finished"})


def rollout(uid, prompt, response, *, success):
    rewards = torch.zeros(len(response))
    rewards[-1] = float(success)
    ids = torch.cat([prompt, response])
    ones = torch.ones(len(response), dtype=torch.long)
    return dict(
        uid=uid,
        prompts=prompt,
        responses=response,
        input_ids=ids,
        position_ids=torch.arange(len(ids)),
        response_mask=ones,
        loss_mask=ones,
        rm_scores=rewards,
        num_turns=2,
        multi_modal_inputs={},
        data_source="toy",
        extra_fields={"reward_extra_info": {"acc": float(success)}},
    )

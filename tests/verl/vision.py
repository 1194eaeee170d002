"""verl's training worker on a tiny Qwen2.5-VL with images: EchoRL's term against the same by hand, row by row.

    torchrun --nproc-per-node 1 -m tests.verl.vision FOLDER

Writes the model into FOLDER; prints "ok" at the end.
"""

from __future__ import annotations

import sys
from functools import partial

import torch
import verl  # noqa: F401
from tensordict import NonTensorStack, TensorDict
from verl.utils import tensordict_utils as tu
from verl.utils.distributed import initialize_global_process_group
from verl.workers.utils.losses import ppo_loss
from verl.workers.utils.padding import response_from_nested

from echorl.verl.filtered import cut
from echorl.verl.loss import EchoLoss
from tests.trl import tiny_vision
from tests.verl.batches import jagged
from tests.verl.engine import COEF, GROUP, check, make_worker

NUM = 4
LENGTHS = (7, 4, 9, 5)


class Rows:
    """4 rollouts of one prompt a picture size; prompts with one to three pictures, clips in two rollouts."""

    def __init__(self, model) -> None:
        processor = tiny_vision.make_processor()
        generator = torch.Generator().manual_seed(0)
        self.inputs, self.prompts, self.positions = [], [], []
        self.responses = [torch.randint(6, 18, (n,), generator=generator) for n in LENGTHS]
        for i, response in enumerate(self.responses):
            pictures = tiny_vision.make_pictures(i)
            parts = [{"type": "image"}] * len(pictures) + [{"type": "text", "text": "1+2=?"}]
            text = processor.apply_chat_template([{"role": "user", "content": parts}])
            made = dict(processor(text=[text], images=pictures, return_tensors="pt"))
            prompt = made.pop("input_ids")[0]
            made.pop("attention_mask")
            kinds = torch.cat([made.pop("mm_token_type_ids")[0], torch.zeros_like(response)])
            ids = torch.cat([prompt, response])
            place, _ = model.model.get_rope_index(ids[None], kinds[None], image_grid_thw=made["image_grid_thw"])
            self.positions.append(torch.cat([torch.arange(len(ids))[None], place[:, 0]]))
            self.inputs.append(made)
            self.prompts.append(prompt)
        self.advantages = [0.5, -1.0, 0.25, 0.75]
        self.weights = [torch.zeros(n) for n in LENGTHS]
        self.weights[1][:3], self.weights[2][:4] = 1 / 3, 1 / 4

    def fields(self) -> TensorDict:
        both = list(zip(self.prompts, self.responses, strict=True))
        ones = jagged(torch.ones(n, dtype=torch.long) for n in LENGTHS)
        fields = dict(prompts=jagged(self.prompts), responses=jagged(self.responses), response_mask=ones)
        fields |= dict(input_ids=jagged(map(torch.cat, both)), position_ids=jagged(self.positions))
        fields |= dict(loss_mask=ones.clone(), multi_modal_inputs=NonTensorStack(*self.inputs))
        data = TensorDict(fields, batch_size=NUM)
        tu.maybe_fix_3d_position_ids(data)
        return data


def by_hand(model, rows: Rows) -> tuple[float, float, list[torch.Tensor]]:
    """The loss, its gradient's norm, and each row's log-probs."""
    total, logps = 0.0, []
    for i, (prompt, response) in enumerate(zip(rows.prompts, rows.responses, strict=True)):
        ids = torch.cat([prompt, response]).unsqueeze(0)
        logits = model(input_ids=ids, position_ids=rows.positions[i].unsqueeze(1), **rows.inputs[i]).logits
        logp = logits[0, len(prompt) - 1 : -1].float().log_softmax(-1).gather(1, response.unsqueeze(1)).squeeze(1)
        total = total - (rows.advantages[i] * (logp - logp.detach()).exp()).sum() / sum(LENGTHS)
        total = total - COEF * (rows.weights[i] * logp).sum() / (NUM / GROUP)
        logps.append(logp.detach())
    total.backward()
    grads = [p.grad.norm() for p in model.parameters() if p.grad is not None]
    return float(total), float(torch.stack(grads).norm()), logps


def clips_alone(rows: Rows, logps: list[torch.Tensor]) -> TensorDict:
    """The two clips as dynamic sampling sends those of dropped groups: rows cut at their ends, with empty masks."""
    found = []
    for i in (1, 2):
        prompt, response = rows.prompts[i], rows.responses[i]
        ones = torch.ones(len(response), dtype=torch.long)
        row = dict(prompts=prompt, responses=response, input_ids=torch.cat([prompt, response]))
        row |= dict(position_ids=rows.positions[i], response_mask=ones, loss_mask=ones.clone())
        row |= dict(old_log_probs=logps[i], advantages=torch.ones(len(response)), multi_modal_inputs=rows.inputs[i])
        weights = rows.weights[i]
        found.append(cut(row, weights[: int(weights.count_nonzero())]))
    data = tu.list_of_dict_to_tensordict(found)
    tu.maybe_fix_3d_position_ids(data)
    return data


def update(worker, data: TensorDict) -> dict:
    sizes = dict(global_batch_size=NUM, mini_batch_size=len(data), epochs=1, seed=1)
    tu.assign_non_tensor(data, calculate_entropy=False, temperature=1.0, dataloader_kwargs={"shuffle": False}, **sizes)
    tu.assign_non_tensor(data, echo_coef=COEF, echo_count=NUM / GROUP)
    return tu.get(worker.train_mini_batch(data), "metrics")


def train(worker, rows: Rows) -> tuple[dict, torch.Tensor]:
    data = rows.fields()
    tu.assign_non_tensor(data, calculate_entropy=True, compute_loss=False, temperature=1.0)
    out = worker.infer_batch(data)
    data = rows.fields()
    data["old_log_probs"] = response_from_nested(out["log_probs"], data["response_mask"])
    pairs = zip(rows.advantages, LENGTHS, strict=True)
    data["advantages"] = jagged(torch.full((n,), a) for a, n in pairs)
    data["echo_weights"] = jagged(rows.weights)
    logps = data["old_log_probs"]
    return update(worker, data), logps


def main() -> None:
    initialize_global_process_group()
    folder, model = sys.argv[1], tiny_vision.make_model()
    model.save_pretrained(folder)
    tiny_vision.make_processor().tokenizer.save_pretrained(folder)
    rows = Rows(model)
    loss, norm, logps = by_hand(model, rows)  # before verl changes the class
    for dynamic, micro in ((False, 1), (False, 2), (True, 2)):
        worker, config = make_worker(folder, dynamic=dynamic, micro=micro, packed=False)
        worker.set_loss_fn(EchoLoss(partial(ppo_loss, config=config)))
        metrics, found = train(worker, rows)
        for row, wanted in zip(found.unbind(), logps, strict=True):
            torch.testing.assert_close(row, wanted, atol=1e-5, rtol=1e-4)
        check("loss", metrics["loss"][0], loss)
        check("gradient", metrics["grad_norm"][0], norm)
        check("mass", metrics["echo/mass"][0], 2.0)
        alone = sum(-COEF * (w * logp).sum() / (NUM / GROUP) for w, logp in zip(rows.weights, logps, strict=True))
        check("clips alone", update(worker, clips_alone(rows, logps))["loss"][0], float(alone))
    print("ok", flush=True)
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main()

"""verl's training worker with EchoRL's loss against the same loss by hand; run by torchrun on 1 and 2 ranks.

    torchrun --nproc-per-node N -m tests.verl.engine MODEL_FOLDER

The learning rate is 0, so that every mini-batch is at the same weights. Prints one line a layout, and "ok" at the end.
"""

from __future__ import annotations

import sys
from functools import partial

import torch
import verl  # noqa: F401
from tensordict import TensorDict
from transformers import AutoModelForCausalLM
from verl.trainer.config import CheckpointConfig
from verl.utils import tensordict_utils as tu
from verl.utils.distributed import initialize_global_process_group
from verl.workers.config import (
    FSDPActorConfig,
    FSDPEngineConfig,
    FSDPOptimizerConfig,
    HFModelConfig,
    TrainingWorkerConfig,
)
from verl.workers.engine_workers import TrainingWorker
from verl.workers.utils.losses import ppo_loss
from verl.workers.utils.padding import response_from_nested

from echorl.verl.loss import EchoLoss
from tests.verl.batches import jagged

NUM, GROUP, COEF = 8, 4, 0.5
TOLERANCE = 1e-5
LAYOUTS = [
    dict(dynamic=False, micro=1, packed=False),
    dict(dynamic=False, micro=2, packed=True),
    dict(dynamic=True, micro=2, packed=True),
]


class Rows:
    """8 rollouts of 2 prompts with clips in two of them; every rank makes all of them and trains on its part."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(0)
        draw = partial(torch.randint, 3, 90, generator=generator)
        lengths = torch.randint(4, 20, (NUM,), generator=generator).tolist()
        prompts = [draw((5,)), draw((9,))]
        self.prompts = [prompts[i // GROUP] for i in range(NUM)]
        self.responses = [draw((n,)) for n in lengths]
        self.advantages = [float(torch.randn((), generator=generator)) for _ in range(NUM)]
        self.weights = [torch.zeros(n) for n in lengths]
        self.weights[1][:3], self.weights[6][:4] = 1 / 3, 1 / 4

    def fields(self, part: slice) -> TensorDict:
        pairs = list(zip(self.prompts[part], self.responses[part], strict=True))
        ones = jagged(torch.ones(len(r), dtype=torch.long) for _, r in pairs)
        fields = dict(prompts=jagged(p for p, _ in pairs), responses=jagged(r for _, r in pairs))
        fields["input_ids"] = jagged(torch.cat(pair) for pair in pairs)
        fields["position_ids"] = jagged(torch.arange(len(p) + len(r)) for p, r in pairs)
        return TensorDict({**fields, "response_mask": ones, "loss_mask": ones.clone()}, batch_size=len(pairs))


def by_hand(model, rows: Rows, chosen: list[int], coef: float) -> tuple[float, float]:
    """The loss and its gradient's norm of one mini-batch, row by row: token mean of -A * ratio, plus coef * NLL."""
    tokens = sum(len(rows.responses[i]) for i in chosen)
    total = 0.0
    for i in chosen:
        prompt, response = rows.prompts[i], rows.responses[i]
        logits = model(torch.cat([prompt, response]).unsqueeze(0)).logits[0, len(prompt) - 1 : -1]
        logp = logits.float().log_softmax(-1).gather(1, response.unsqueeze(1)).squeeze(1)
        policy = -(rows.advantages[i] * (logp - logp.detach()).exp()).sum() / tokens
        total = total + policy - coef * (rows.weights[i] * logp).sum() / (len(chosen) / GROUP)
    model.zero_grad()
    total.backward()
    return float(total), float(torch.stack([p.grad.norm() for p in model.parameters()]).norm())


def make_worker(folder: str, *, dynamic: bool, micro: int, packed: bool) -> tuple[TrainingWorker, FSDPActorConfig]:
    settings = dict(strategy="fsdp2", use_torch_compile=False, mixed_precision={"param_dtype": "fp32"})
    settings |= dict(
        param_offload=False, optimizer_offload=False, use_dynamic_bsz=dynamic, micro_batch_size_per_gpu=micro
    )
    engine = FSDPEngineConfig(
        max_token_len_per_gpu=64, infer_max_token_len_per_gpu=64, infer_micro_batch_size_per_gpu=micro, **settings
    )
    sdpa = {"attn_implementation": "sdpa"}
    worker = TrainingWorker(
        TrainingWorkerConfig(
            model_type="language_model",
            model_config=HFModelConfig(
                path=folder, use_remove_padding=packed, override_config=sdpa, enable_gradient_checkpointing=False
            ),
            engine_config=engine,
            optimizer_config=FSDPOptimizerConfig(lr=0.0, lr_warmup_steps=0, total_training_steps=10, clip_grad=1e9),
            checkpoint_config=CheckpointConfig(),
        )
    )
    worker.reset()
    return worker, FSDPActorConfig(
        strategy="fsdp2", rollout_n=GROUP, ppo_mini_batch_size=2, ppo_micro_batch_size_per_gpu=micro, fsdp_config=engine
    )


def train(worker, rows: Rows, part: slice, *, mini: int, epochs: int = 1) -> dict:
    """Old log-probs by verl's own pass, then its update over mini-batches of `mini` rollouts; the metrics."""
    data = rows.fields(part)
    tu.assign_non_tensor(data, calculate_entropy=True, compute_loss=False, temperature=1.0)
    out = worker.infer_batch(data)
    data = rows.fields(part)
    data["old_log_probs"] = response_from_nested(out["log_probs"], data["response_mask"])
    pairs = zip(rows.advantages[part], rows.responses[part], strict=True)
    data["advantages"] = jagged(a * torch.ones(len(r)) for a, r in pairs)
    data["echo_weights"] = jagged(rows.weights[part])
    sizes = dict(
        global_batch_size=mini, mini_batch_size=mini, epochs=epochs, seed=1, dataloader_kwargs={"shuffle": False}
    )
    tu.assign_non_tensor(
        data, calculate_entropy=False, temperature=1.0, echo_coef=COEF, echo_count=mini / GROUP, **sizes
    )
    return tu.get(worker.train_mini_batch(data), "metrics")


def check(name: str, found: float, wanted: float) -> None:
    assert abs(found - wanted) <= TOLERANCE * max(1.0, abs(wanted)), f"{name}: {found} is not {wanted}"


def check_layout(folder: str, model, rows: Rows, layout: dict) -> None:
    """With and without EchoRL, in one mini-batch; then two mini-batches over two epochs."""
    rank, world = torch.distributed.get_rank(), torch.distributed.get_world_size()
    part = slice(rank * NUM // world, (rank + 1) * NUM // world)
    worker, config = make_worker(folder, **layout)
    forwards, counts = [], []
    worker.engine.module.register_forward_pre_hook(lambda *_: forwards.append(1))
    for coef, loss in ((0.0, partial(ppo_loss, config=config)), (COEF, EchoLoss(partial(ppo_loss, config=config)))):
        worker.set_loss_fn(loss)
        forwards.clear()
        metrics = train(worker, rows, part, mini=NUM)
        counts.append(len(forwards))
        wanted, norm = by_hand(model, rows, list(range(NUM)), coef)
        if rank == 0:
            check(f"loss at {coef}", metrics["loss"][0], wanted)
            check(f"gradient at {coef}", metrics["grad_norm"][0], norm)
    assert counts[0] == counts[1] > 0, f"forwards without and with EchoRL: {counts}"
    metrics = train(worker, rows, part, mini=NUM // 2, epochs=2)
    if rank == 0:
        local = NUM // 2 // world
        minis = [[r * NUM // world + k * local + i for r in range(world) for i in range(local)] for k in (0, 1)]
        for found, chosen in zip(metrics["grad_norm"], minis * 2, strict=True):
            check("gradient of a mini-batch", found, by_hand(model, rows, chosen, COEF)[1])
        check("mass", 2 * torch.tensor(metrics["echo/mass"]).mean(), 2.0)
        print(world, layout, "equal", flush=True)


def main() -> None:
    initialize_global_process_group()
    model = AutoModelForCausalLM.from_pretrained(sys.argv[1], attn_implementation="sdpa")
    rows = Rows()
    for layout in LAYOUTS:
        check_layout(sys.argv[1], model, rows, layout)
    if torch.distributed.get_rank() == 0:
        print("ok", flush=True)
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main()

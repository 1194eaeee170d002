"""What a policy of the quickstart can do, and which gradient the prompts that it has solved still give."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from echorl.core.entropy import logp_and_entropy
from echorl.core.losses import echo_loss
from echorl.core.mining import mine_echo_clips
from echorl.core.steps import StepDelimiters, segment_steps
from echorl.lab.evaluate import Completions, behaviour, judge, sample
from echorl.lab.quickstart.study import ARMS, SPLITS, Study
from echorl.tasks import load_task
from echorl.tasks.quickstart import MAX_NEW_TOKENS, TASK


def score(model: Any, tokenizer: Any, study: Study) -> dict[str, Any]:
    """Verdicts and behaviour on both held-out splits, and `solved_gradients` on prompts of the validation split."""
    result: dict[str, Any] = {}
    for split in SPLITS:
        size, group = study.test_prompts, study.samples_per_prompt
        rolled = roll_out(model, tokenizer, split, num_prompts=size, group_size=group, seed=study.seed)
        _, completions, verdicts = rolled
        result[split] = {"verdicts": [list(map(int, item)) for item in verdicts], **behaviour(completions, tokenizer)}
    size, group = study.test_prompts // 4, study.group_size
    rolled = roll_out(model, tokenizer, "validation", num_prompts=size, group_size=group, seed=study.seed)
    return {**result, "solved": solved_gradients(model, tokenizer, *rolled)}


def roll_out(
    model: Any, tokenizer: Any, split: str, *, num_prompts: int, group_size: int, seed: int
) -> tuple[list[str], Completions, list[list[bool]]]:
    """(prompts, completions, verdicts) on the first `num_prompts` of a split, which are the same for every seed."""
    task = load_task(**TASK)
    rows = task.dataset(split, size=num_prompts)
    prompts = rows["prompt"][:]
    completions = sample(model, tokenizer, prompts, group_size=group_size, max_new_tokens=MAX_NEW_TOKENS, seed=seed)
    return prompts, completions, judge(task.verifier, completions, {"instance": rows["instance"][:]})


def solved_gradients(
    model: Any, tokenizer: Any, prompts: list[str], completions: Completions, verdicts: list[list[bool]]
) -> dict[str, float]:
    """Norms of GRPO's gradient and of EchoRL's term on a batch of the all-success groups alone.

    Returns:
        {"prompts": sampled, "groups": of them all-success, "policy": norm, "echo": norm}; norms 0 without a group.
    """
    solved = [i for i, item in enumerate(verdicts) if all(item)]
    counts = {"prompts": len(prompts), "groups": len(solved)}
    if not solved:
        return {**counts, "policy": 0.0, "echo": 0.0}
    size = completions.group_size
    rows = [i * size + j for i in solved for j in range(size)]
    ids, mask, logp = _forward(model, tokenizer, [prompts[row // size] for row in rows], completions, rows)
    rewards = torch.tensor([[float(passed) for passed in verdicts[i]] for i in solved])
    policy = grpo_loss(logp, mask, rewards)
    entropy = _pad([completions.entropies[row] for row in rows], 0.0)
    steps = segment_steps(ids, mask, StepDelimiters.from_tokenizer(tokenizer))
    groups = torch.arange(len(solved)).repeat_interleave(size)
    clips = mine_echo_clips(entropy, steps, torch.ones(len(rows), dtype=torch.bool), groups)
    echo = ARMS["echorl"] * echo_loss(logp, clips.weights, num_prompts=len(solved))
    return {**counts, "policy": _gradient_norm(model, policy), "echo": _gradient_norm(model, echo)}


def grpo_loss(logp: Tensor, mask: Tensor, rewards: Tensor) -> Tensor:
    """GRPO's loss at ratio 1: logp and mask [B, T], rewards [groups, group size], B rollouts in the groups' order."""
    advantages = (rewards - rewards.mean(1, keepdim=True)) / (rewards.std(1, keepdim=True) + 1e-4)
    ratio = (logp - logp.detach()).exp()
    per_rollout = (ratio * advantages.reshape(-1, 1) * mask).sum(1) / mask.sum(1).clamp(min=1)
    return -per_rollout.mean()


def _forward(
    model: Any, tokenizer: Any, prompts: list[str], completions: Completions, rows: list[int]
) -> tuple[Tensor, Tensor, Tensor]:
    """Completion ids, mask and log-probabilities, all [B, T], with gradient."""
    encoded = tokenizer(prompts, return_tensors="pt", padding=True, return_token_type_ids=False)
    answers = [completions.token_ids[row] for row in rows]
    ids = _pad(answers, tokenizer.pad_token_id)
    mask = _pad([[1] * len(answer) for answer in answers], 0)
    attention = torch.cat([encoded["attention_mask"], mask], 1)
    positions = (attention.cumsum(1) - 1).clamp(min=0)
    whole = torch.cat([encoded["input_ids"], ids], 1)
    logits = model(input_ids=whole, attention_mask=attention, position_ids=positions).logits
    return ids, mask, logp_and_entropy(logits[:, -ids.shape[1] - 1 : -1], ids)[0]


def _pad(rows: list[list[Any]], fill: float) -> Tensor:
    width = max(map(len, rows))
    return torch.tensor([row + [fill] * (width - len(row)) for row in rows])


def _gradient_norm(model: Any, loss: Tensor) -> float:
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    gradients = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
    return float(sum(g.double().square().sum() for g in gradients if g is not None) ** 0.5)

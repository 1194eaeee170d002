"""GRPO + EchoRL in plain PyTorch: the pure functions of echorl in a training loop of one's own, without TRL.

    python examples/own_loop.py

It trains the small policy that comes with echorl on sums. A forward without gradient gives the entropies of a batch,
from which come the EchoClips; the micro-batches give both losses, and a receipt holds that every clip reached them. One
sees a line an update (the share of right answers, the groups by kind, the clips and their negative log-likelihood) and
at the end an EchoClip. Ten seconds on an idle CPU.
"""

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl_cpu import make_rows, right_sum

from echorl import EchoConfig, StepDelimiters, echo_loss, logp_and_entropy, mine_echo_clips, segment_steps
from echorl.core.losses import check_delivered
from echorl.models import path

torch.set_num_threads(1)  # faster for a policy this small
PROMPTS, ROLLOUTS, UPDATES = 4, 8, 6  # prompts an update, rollouts a prompt
MICRO_BATCH = 16  # rollouts
TEMPERATURE, MAX_NEW_TOKENS, LEARNING_RATE = 1.0, 80, 1e-4
ECHO = EchoConfig(coef=0.001)


def sample(model, tokenizer, prompts):
    """Return tokens [B, P + T], their mask, and P: `ROLLOUTS` rollouts of each prompt, side by side."""
    inputs = tokenizer([prompt for prompt in prompts for _ in range(ROLLOUTS)], return_tensors="pt", padding=True)
    inputs = {name: inputs[name] for name in ("input_ids", "attention_mask")}
    with torch.no_grad():
        tokens = model.generate(
            **inputs, do_sample=True, temperature=TEMPERATURE, top_k=0, top_p=1.0, max_new_tokens=MAX_NEW_TOKENS
        )
    width = inputs["input_ids"].shape[1]
    ended = (tokens[:, width:] == tokenizer.eos_token_id).cumsum(1)
    is_response = (ended - (tokens[:, width:] == tokenizer.eos_token_id).long()) == 0  # the first end token included
    return tokens, torch.cat([inputs["attention_mask"].bool(), is_response], 1), width


def score(model, tokens, mask, width):
    """Return log-probs [B, T] of the responses, with graph, and their token entropies [B, T], in one forward."""
    positions = (mask.long().cumsum(1) - 1).clamp(min=0)
    logits = model(input_ids=tokens, attention_mask=mask.long(), position_ids=positions).logits
    return logp_and_entropy(logits[:, width - 1 : -1], tokens[:, width:], temperature=TEMPERATURE)


def group_advantages(rewards):
    """Return GRPO's A = (r - mean) / std within a group: 0, and so no gradient, where all rewards are equal."""
    groups = rewards.view(-1, ROLLOUTS)
    return ((groups - groups.mean(1, keepdim=True)) / (groups.std(1, keepdim=True) + 1e-4)).flatten()


def grpo_loss(logp, mask, advantages):
    """Return GRPO's loss at the policy that sampled: the mean over rollouts of the mean over their tokens."""
    ratio = torch.exp(logp - logp.detach())  # 1, with the gradient of logp
    per_token = -ratio * advantages[:, None] * mask
    return (per_token.sum(1) / mask.sum(1)).mean()


def update(model, tokenizer, delimiters, optimizer, rows):
    """Make one update of the policy; return what the loop prints, the clips, and the responses."""
    tokens, mask, width = sample(model, tokenizer, rows["prompt"])
    response, in_response = tokens[:, width:], mask[:, width:]
    texts = tokenizer.batch_decode(response.masked_fill(~in_response, tokenizer.pad_token_id), skip_special_tokens=True)
    answers = [answer for answer in rows["answer"] for _ in range(ROLLOUTS)]
    rewards = torch.tensor(right_sum(texts, answers))
    success = rewards >= ECHO.success_reward

    with torch.no_grad():
        _, entropy = score(model, tokens, mask, width)
    steps = segment_steps(response, in_response, delimiters)
    prompt_ids = torch.arange(len(rewards)) // ROLLOUTS
    clips = mine_echo_clips(entropy, steps, success, prompt_ids, ECHO)  # while the rollouts of a prompt are together
    advantages = group_advantages(rewards)

    optimizer.zero_grad()
    nll = delivered = 0.0
    for batch in torch.randperm(len(rewards)).split(MICRO_BATCH):
        logp, _ = score(model, tokens[batch], mask[batch], width)
        policy = grpo_loss(logp, in_response[batch], advantages[batch]) * len(batch) / len(rewards)
        weights = clips.weights[batch]
        echo = echo_loss(logp, weights, num_prompts=len(rows))  # the weighted negative log-likelihood of the clips
        (policy + ECHO.coef * echo).backward()
        nll, delivered = nll + echo.item(), delivered + weights.sum().item()
    check_delivered(clips.weights.sum().item(), delivered)  # the receipt: an error if a clip was lost on the way
    optimizer.step()

    right = success.view(-1, ROLLOUTS).float().mean(1)
    shown = {
        "right": right.mean().item(),
        "all-success groups": int((right == 1).sum()),
        "mixed": int(((right > 0) & (right < 1)).sum()),
        "all-fail": int((right == 0).sum()),
        "clips": len(clips),
        "the clips' NLL a token": nll,
    }
    return shown, clips, response


def main():
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_pretrained(path("quickstart"))
    tokenizer = AutoTokenizer.from_pretrained(path("quickstart"), padding_side="left")
    delimiters = StepDelimiters.from_tokenizer(tokenizer)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE)
    data = make_rows(PROMPTS * UPDATES)
    for number in range(UPDATES):
        rows = data.select(range(number * PROMPTS, (number + 1) * PROMPTS))
        shown, clips, response = update(model, tokenizer, delimiters, optimizer, rows)
        print(f"update {number + 1}: " + ", ".join(f"{name} {value:.3g}" for name, value in shown.items()))
    if len(clips):
        row, end = int(clips.rollout[0]), int(clips.end[0])
        print(f"\nan EchoClip, whose last step has {float(clips.entropy[0]):.2f} nats a token:")
        print(tokenizer.decode(response[row, :end]))


if __name__ == "__main__":
    main()

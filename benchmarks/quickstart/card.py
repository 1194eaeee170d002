"""Measures of the quickstart policy, for its model card.

    python -m benchmarks.quickstart.card [--policy FOLDER] [--prompts 256] [--threads 1]

Prints a JSON object for each split: pass@1 with its interval, groups by kind, success by way, tokens, entropies and
seconds.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerFast

from echorl.models import POLICY
from echorl.tasks import load_task
from echorl.tasks.quickstart import MAX_NEW_TOKENS, TASK
from echorl.tasks.solutions import read_terms

SPLITS = ("validation", "test", "harder")
BATCH_PROMPTS = 16


@dataclass(frozen=True, kw_only=True)
class Rollouts:
    """Sampled completions; `group_size` in a row belong to a prompt."""

    texts: list[str]
    tokens: list[list[str]]
    """The pieces of each completion, EOS included."""
    entropies: list[list[float]]
    """Nats, one a token."""
    seconds: float


def sample(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    prompts: Sequence[str],
    *,
    group_size: int,
) -> Rollouts:
    """Rollouts at temperature 1, with the entropies of the distributions from which they were drawn."""
    texts: list[str] = []
    tokens: list[list[str]] = []
    entropies: list[list[float]] = []
    seconds = 0.0
    for start in range(0, len(prompts), BATCH_PROMPTS):
        batch = [prompt for prompt in prompts[start : start + BATCH_PROMPTS] for _ in range(group_size)]
        inputs = tokenizer(batch, return_tensors="pt", padding=True, return_token_type_ids=False)
        clock = time.monotonic()
        output = model.generate(
            **inputs, max_new_tokens=MAX_NEW_TOKENS, return_dict_in_generate=True, output_logits=True
        )
        seconds += time.monotonic() - clock
        rows = output.sequences[:, inputs["input_ids"].shape[1] :]
        entropy = torch.special.entr(torch.stack(output.logits, dim=1).float().softmax(dim=-1)).sum(dim=-1)
        for ids, values in zip(rows.tolist(), entropy.tolist(), strict=True):
            end = ids.index(tokenizer.eos_token_id) + 1 if tokenizer.eos_token_id in ids else len(ids)
            texts.append(str(tokenizer.decode(ids[:end], skip_special_tokens=True)))
            tokens.append([tokenizer.convert_ids_to_tokens(token) for token in ids[:end]])
            entropies.append(values[:end])
    return Rollouts(texts=texts, tokens=tokens, entropies=entropies, seconds=seconds)


def mean_and_margin(values: Sequence[float]) -> tuple[float, float]:
    """The mean and half of its 95 % interval; margin 0 for fewer than two values."""
    spread = statistics.stdev(values) if len(values) > 1 else 0.0
    return statistics.fmean(values), 1.96 * spread / len(values) ** 0.5


def way_taken(question: str, solution: str) -> str:
    """Name of the way of a chain_sum solution, by its first line; "other" if it is none of `WAYS`.

    The first of `WAYS` counts where several have the same first line (two terms, round numbers).
    """
    numbers = read_terms(question)
    line = solution.split("\n", 1)[0].split("=")[0]
    if not re.fullmatch(r"-?\d+([+-]\d+)*", line):
        return "other"
    terms = [int(number) for number in re.findall(r"[+-]?\d+", line)]
    if terms == numbers[:2]:
        return "in_order"
    if len(terms) == 2 and Counter(terms) <= Counter(numbers):
        return "reordered"
    if terms == [int(number / 10) * 10 for number in numbers]:
        return "split"
    return "at_once" if terms == numbers else "other"


def token_kinds(tokens: Sequence[str]) -> list[str]:
    """Kind of each token: "choice", "copy", "result" or "answer".

    The first token is a choice. On the left of each `=`, a sign, the `=` itself (go on or stop) and the digit after a
    sign (the next term) are choices, and all other digits are copies. The answer is the last line, from `#### ` on.
    """
    kinds: list[str] = []
    side, line_start, after_sign = "left", True, False
    for index, token in enumerate(tokens):
        side = "answer" if token == "#### " else side
        sign = token in "+-=" and not line_start
        kinds.append(side if side != "left" else "choice" if index == 0 or sign or after_sign else "copy")
        if side != "answer":
            side = "result" if token == "=" else "left" if token == "\n" else side
        line_start, after_sign = token == "\n", sign
    return kinds


def group_kinds(rewards: Sequence[float], group_size: int) -> dict[str, float]:
    """Shares of the groups that are all-success, mixed and all-fail."""
    sums = [sum(rewards[i : i + group_size]) for i in range(0, len(rewards), group_size)]
    shares = {"all_success": sums.count(group_size) / len(sums), "all_fail": sums.count(0) / len(sums)}
    return {**shares, "mixed": 1 - sum(shares.values())}


def means_by(keys: Sequence[str], values: Sequence[float]) -> dict[str, dict[str, float]]:
    """Mean and number of the values of each key, the most frequent key first."""
    groups: dict[str, list[float]] = defaultdict(list)
    for key, value in zip(keys, values, strict=True):
        groups[key].append(value)
    order = sorted(groups, key=lambda key: -len(groups[key]))
    return {key: {"mean": round(statistics.fmean(groups[key]), 3), "n": len(groups[key])} for key in order}


def measure(policy: Path, split: str, *, num_prompts: int, group_size: int = 8, seed: int = 0) -> dict[str, Any]:
    """The table of one split, ready for JSON."""
    model = AutoModelForCausalLM.from_pretrained(policy)
    tokenizer = AutoTokenizer.from_pretrained(policy)
    task = load_task(**TASK)
    rows = task.dataset(split, size=num_prompts, seed=seed)
    torch.manual_seed(seed)
    rollouts = sample(model, tokenizer, rows["prompt"][:], group_size=group_size)
    questions = [question for question in rows["question"] for _ in range(group_size)]
    instances = [instance for instance in rows["instance"] for _ in range(group_size)]
    rewards = [reward or 0.0 for reward in task.verifier(completions=rollouts.texts, instance=instances)]
    by_prompt = [statistics.fmean(rewards[i : i + group_size]) for i in range(0, len(rewards), group_size)]
    mean, margin = mean_and_margin(by_prompt)
    ways = [way_taken(question, text) for question, text in zip(questions, rollouts.texts, strict=True)]
    kinds = [kind for tokens in rollouts.tokens for kind in token_kinds(tokens)]
    return {
        "split": split,
        "prompts": num_prompts,
        "group_size": group_size,
        "pass@1": round(mean, 3),
        "margin_95": round(margin, 3),
        "groups": {kind: round(share, 3) for kind, share in group_kinds(rewards, group_size).items()},
        "success_by_way": means_by(ways, rewards),
        "entropy_by_token": means_by(kinds, [value for values in rollouts.entropies for value in values]),
        "tokens_per_rollout": round(statistics.fmean(map(len, rollouts.tokens)), 1),
        "seconds_per_128_rollouts": round(rollouts.seconds * 128 / len(rewards), 2),
    }


def main() -> None:
    """Print the measures of each split."""
    parser = argparse.ArgumentParser(description="Measure the quickstart policy on its held-out splits.")
    parser.add_argument("--policy", type=Path, default=POLICY)
    parser.add_argument("--prompts", type=int, default=256)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    for split in SPLITS:
        print(json.dumps(measure(options.policy, split, num_prompts=options.prompts)), flush=True)


if __name__ == "__main__":
    main()

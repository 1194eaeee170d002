"""Comparison of the clips that surprisal and entropy select from the same rollouts.

    python -m benchmarks.surprisal [--questions FILE] [--solutions FILE] [--prompts 24] [--tokens 192] [--threads 1]

`echo_entropy_from="surprisal"` ranks steps by the mean of -log pi of their tokens, whose expectation is the entropy.
Both rankings are computed from the same logits at temperature 1, on up to three kinds of rollouts, 8 a prompt:

quickstart   the shipped policy on its held-out sums, 8 times as many prompts. V is the set of accepted rollouts.
questions    with --questions (JSONL with `question`, such as GSM8K): SmolLM2-135M-Instruct's own rollouts of up to
             --tokens tokens. V is the set of all rollouts, since it solves too few.
solutions    with --solutions (JSONL with `question`, `solution`, `correct`, 8 lines a question): texts of another
             model, scored by SmolLM2. V is the set of correct texts. Their tokens were not drawn from SmolLM2, so a
             token is drawn from its distribution at each position, for the surprisal alone.

The rollouts of a prompt in V are split into disjoint sets of 1, 2, 4 and 8. Each set gives one clip, and a larger set
has more steps to choose from. Chance is the result of a random choice among all steps that may end a clip.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from torch import Tensor

from benchmarks.results import write_csv
from echorl import EchoConfig, StepDelimiters, logp_and_entropy, mine_echo_clips, segment_steps, step_entropy
from echorl.core.entropy import step_lengths
from echorl.lab.evaluate.sampling import judge, sample
from echorl.models import POLICY
from echorl.models.loading import load_policy
from echorl.models.smollm2 import fetch
from echorl.tasks import load_task
from echorl.tasks.quickstart import MAX_NEW_TOKENS, TASK

GROUP_SIZE, SET_SIZES, MIN_STEP_TOKENS = 8, (1, 2, 4, 8), (1, 8)
INSTRUCTION = "\n\nReason step by step, one step a line."


@dataclass
class Rollouts:
    """Scored rollouts in V: tokens, step ids, entropies and surprisals in nats [B, T]; prompt numbers, int64 [B]."""

    token_ids: Tensor
    step_ids: Tensor
    entropy: Tensor
    surprisal: Tensor
    prompt: Tensor

    def in_sets(self, size: int) -> tuple[Rollouts, Tensor]:
        """Rollouts in disjoint sets of `size` of one prompt, and each row's set; remaining rollouts are excluded."""
        chunks = [
            chunk
            for prompt in self.prompt.unique()
            for chunk in (self.prompt == prompt).nonzero().flatten().split(size)
            if len(chunk) == size
        ]
        rows = torch.cat(chunks)
        return Rollouts(*(column[rows] for column in vars(self).values())), torch.arange(len(rows)) // size


@torch.no_grad()
def score(model: Any, prompt: list[int], completion: list[int], *, draw: bool) -> tuple[Tensor, Tensor]:
    """Entropies and surprisals [T] of a completion; with `draw` the surprisals are of tokens drawn at its positions."""
    num_logits = len(completion) + 1
    logits = (
        model(input_ids=torch.tensor([prompt + completion]), logits_to_keep=num_logits)
        .logits[0, -num_logits:-1]
        .float()
    )
    tokens = logits.softmax(-1).multinomial(1).squeeze(1) if draw else torch.tensor(completion)
    logp, entropy = logp_and_entropy(logits, tokens)
    return entropy, -logp


def assemble(
    policy: tuple[Any, Any], prompts: Sequence[str], completions: list[list[int]], in_v: list[bool], *, draw: bool
) -> Rollouts:
    """Scored rollouts of the completions in V; `GROUP_SIZE` completions in a row belong to a prompt."""
    model, tokenizer = policy
    torch.manual_seed(0)
    prompt_ids = tokenizer(list(prompts))["input_ids"]
    rows = [i for i, is_in_v in enumerate(in_v) if is_in_v]
    scored = [score(model, prompt_ids[i // GROUP_SIZE], completions[i], draw=draw) for i in rows]
    ids, mask = (pad([make(completions[i]) for i in rows]) for make in (torch.tensor, lambda c: torch.ones(len(c))))
    return Rollouts(
        token_ids=ids,
        step_ids=segment_steps(ids, mask, StepDelimiters.from_tokenizer(tokenizer)),
        entropy=pad([entropy for entropy, _ in scored]),
        surprisal=pad([surprisal for _, surprisal in scored]),
        prompt=torch.tensor(rows) // GROUP_SIZE,
    )


def pad(rows: list[Tensor]) -> Tensor:
    """Rows of different lengths as one tensor, with zeros at their ends."""
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)


def of_quickstart(num_prompts: int) -> Rollouts:
    """Return rollouts of the shipped policy that its verifier accepts."""
    policy, task = load_policy(POLICY), load_task(**TASK)
    rows = task.dataset("test", size=num_prompts)
    prompts = rows["prompt"][:]
    done = sample(*policy, prompts, group_size=GROUP_SIZE, max_new_tokens=MAX_NEW_TOKENS)
    success = judge(task.verifier, done, {"instance": rows["instance"][:]})
    return assemble(policy, prompts, done.token_ids, [each for group in success for each in group], draw=False)


def of_questions(policy: tuple[Any, Any], path: Path, num_prompts: int, num_tokens: int) -> Rollouts:
    """Rollouts of a policy on the questions in a file."""
    prompts = [in_chat(policy[1], row["question"]) for row in read(path, num_prompts)]
    done = sample(*policy, prompts, group_size=GROUP_SIZE, max_new_tokens=num_tokens, batch_size=64)
    return assemble(policy, prompts, done.token_ids, [True] * len(done.token_ids), draw=False)


def of_solutions(policy: tuple[Any, Any], path: Path, num_prompts: int) -> Rollouts:
    """Correct solutions in a file, scored by a policy."""
    rows = read(path, num_prompts * GROUP_SIZE)
    prompts = [in_chat(policy[1], row["question"]) for row in rows[::GROUP_SIZE]]
    completions = [policy[1](row["solution"])["input_ids"] for row in rows]
    return assemble(policy, prompts, completions, [row["correct"] for row in rows], draw=True)


def in_chat(tokenizer: Any, question: str) -> str:
    """The prompt of a question in the chat template."""
    message = [{"role": "user", "content": question + INSTRUCTION}]
    return tokenizer.apply_chat_template(message, tokenize=False, add_generation_prompt=True)


def read(path: Path, size: int) -> list[dict[str, Any]]:
    """The first `size` rows of a file."""
    with path.open(encoding="utf-8") as file:
        return [json.loads(line) for _, line in zip(range(size), file, strict=False)]


@dataclass(frozen=True)
class Step:
    """A step that may end a clip. Equal texts count as the same clip, since a policy of low entropy repeats itself."""

    clip: tuple[int, ...]  # the tokens up to the step's last
    rollout: tuple[int, ...]
    entropy: float
    surprisal: float
    length: int

    def describe(self, name: str) -> dict[str, float]:
        """Measures of the step, with `name` in their keys."""
        return {
            f"entropy_{name}": self.entropy,
            f"surprisal_{name}": self.surprisal,
            f"length_{name}": self.length,
            f"clip_share_{name}": len(self.clip) / len(self.rollout),
        }


def allowed_steps(rollouts: Rollouts, min_tokens: int) -> list[dict[int, Step]]:
    """Step number -> step, for the steps of each rollout that may end a clip."""
    entropy, surprisal = (step_entropy(x, rollouts.step_ids) for x in (rollouts.entropy, rollouts.surprisal))
    length, table = step_lengths(rollouts.step_ids, entropy.shape[1]).tolist(), []
    for row, (ids, steps) in enumerate(zip(rollouts.token_ids.tolist(), rollouts.step_ids, strict=True)):
        ends = [int((steps >= 0).logical_and(steps <= k).sum()) for k in range(int(steps.max()) + 1)]
        table.append(
            {
                k: Step(
                    tuple(ids[:end]), tuple(ids[: ends[-1]]), *(float(x[row, k]) for x in (entropy, surprisal)), size
                )
                for k, (end, size) in enumerate(zip(ends, length[row], strict=False))
                if size >= min_tokens
            }
        )
    return table


def comparisons(rollouts: Rollouts, size: int, min_tokens: int) -> Iterator[dict[str, float]]:
    """Comparison for each set of `size` rollouts with at least two possible clips."""
    rollouts, sets = rollouts.in_sets(size)
    table = allowed_steps(rollouts, min_tokens)
    by_entropy, by_surprisal = (
        picks(x, rollouts.step_ids, sets, min_tokens) for x in (rollouts.entropy, rollouts.surprisal)
    )
    for number, (row, step_number) in by_entropy.items():
        steps = [step for rollout in table[number * size : (number + 1) * size] for step in rollout.values()]
        if len({step.clip for step in steps}) > 1:
            surprisal_row, surprisal_step = by_surprisal[number]
            yield compare(steps, table[row][step_number], table[surprisal_row][surprisal_step])


def compare(steps: list[Step], by_entropy: Step, by_surprisal: Step) -> dict[str, float]:
    """Comparison of the steps that entropy and surprisal select among `steps`."""
    below = [step.entropy < by_surprisal.entropy for step in steps if step.clip != by_surprisal.clip]
    return {
        "steps": len(steps),
        "same_clip": by_entropy.clip == by_surprisal.clip,
        "same_clip_chance": mean(step.clip == by_entropy.clip for step in steps),
        "same_rollout": by_entropy.rollout == by_surprisal.rollout,
        "same_rollout_chance": mean(step.rollout == by_entropy.rollout for step in steps),
        "steps_below": mean(below),
        "entropy_all": mean(step.entropy for step in steps),
        "length_all": mean(step.length for step in steps),
        **by_entropy.describe("by_entropy"),
        **by_surprisal.describe("by_surprisal"),
    }


def picks(values: Tensor, step_ids: Tensor, sets: Tensor, min_tokens: int) -> dict[int, tuple[int, int]]:
    """Set -> (rollout, step) of its clip."""
    success = torch.ones(len(sets), dtype=torch.bool)
    clips = mine_echo_clips(values, step_ids, success, sets, EchoConfig(min_step_tokens=min_tokens))
    columns = (clips.group, clips.rollout, clips.step)
    return {number: (row, step) for number, row, step in zip(*(c.tolist() for c in columns), strict=True)}


def summarise(name: str, rollouts: Rollouts) -> Iterator[dict[str, object]]:
    """Rows with the means over sets, for each size of a set and each minimal step length."""
    in_steps = rollouts.step_ids >= 0
    totals = {"policy": name, "rollouts": len(in_steps), "tokens": int(in_steps.sum())}
    for key in ("entropy", "surprisal"):
        totals[f"mean_{key}"] = round(float(getattr(rollouts, key)[in_steps].mean()), 4)
    for min_tokens in MIN_STEP_TOKENS:
        for size in SET_SIZES:
            sets = list(comparisons(rollouts, size, min_tokens))
            means = {key: mean(float(comparison[key]) for comparison in sets) for key in sets[0]}
            error = math.sqrt(means["same_clip"] * (1 - means["same_clip"]) / len(sets))
            row = {**totals, "min_step_tokens": min_tokens, "rollouts_in_v": size, "sets": len(sets)}
            yield row | {key: round(mean, 4) for key, mean in means.items()} | {"same_clip_error": round(error, 4)}


def main() -> None:
    """Run the comparison and write `results/surprisal.csv`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("questions", "solutions"):
        parser.add_argument(f"--{name}", type=Path)
    for name, default in (("prompts", 24), ("tokens", 192), ("threads", 1)):
        parser.add_argument(f"--{name}", type=int, default=default)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    rows = list(summarise("quickstart", of_quickstart(8 * args.prompts)))
    if args.questions or args.solutions:
        policy = load_policy(fetch())
        if args.questions:
            rows += summarise("questions", of_questions(policy, args.questions, args.prompts, args.tokens))
        if args.solutions:
            rows += summarise("solutions", of_solutions(policy, args.solutions, args.prompts))
    for row in rows:
        print(row, flush=True)
    print(write_csv("surprisal", rows, sources="src/echorl/core"))


if __name__ == "__main__":
    main()

"""Training of the quickstart policy: a small Llama, on worked solutions of the quickstart's task.

    python -m benchmarks.quickstart.policy --output FOLDER

The first phase has short sums, on which the policy learns to add. The second phase has the task's mixture of ways, with
some of the harder sums. The same machine, versions and number of threads give the same bytes. It takes about 20 minutes
on one core.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from echorl.tasks import load_task
from echorl.tasks.quickstart import TASK
from echorl.tasks.solutions import chain_sum_solution

IGNORED = -100
"""Label of tokens without a loss: prompt and padding."""

SPECIAL = ("<pad>", "<eos>", "<unk>")
WHOLE = ("State the final answer to the following arithmetic problem: ", "#### ", " + ", " - ", " =")
CHARACTERS = ("\n", *map(chr, range(32, 127)))

Example = tuple[list[int], list[int]]


@dataclass(frozen=True, kw_only=True)
class Phase:
    """One phase of the training: `steps` batches of `batch_size` questions, drawn from several kinds of sums."""

    steps: int
    batch_size: int
    configs: tuple[tuple[float, dict[str, Any]], ...]
    """Pairs of a share and changes to the task's config."""


PHASES = (
    Phase(
        steps=1500,
        batch_size=128,
        configs=((0.6, {"max_terms": 2, "min_digits": 1}), (0.4, {"max_terms": 2, "allow_negation": True})),
    ),
    Phase(steps=4500, batch_size=64, configs=((0.85, {}), (0.15, TASK["harder"]))),
)
PEAK_LEARNING_RATE = 3e-3
LAST_LEARNING_RATE = 1e-4
WARM_UP_STEPS = 100
POOL = 32
"""Number of batches that are sorted by length together, which reduces padding."""


def make_tokenizer() -> PreTrainedTokenizerFast:
    """A word-level tokenizer over `SPECIAL`, `WHOLE` and `CHARACTERS`; everything else becomes `<unk>`.

    It has one token a character, and one for each text of `WHOLE`.
    """
    pieces = [*SPECIAL, *WHOLE, *CHARACTERS]
    tokenizer = Tokenizer(models.WordLevel({piece: i for i, piece in enumerate(pieces)}, unk_token="<unk>"))
    pattern = "|".join([*(piece.replace("+", r"\+") for piece in WHOLE), r"\n", "."])
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(pattern), behavior="isolated")
    tokenizer.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        eos_token="<eos>",
        unk_token="<unk>",
        padding_side="left",
        model_max_length=256,
        clean_up_tokenization_spaces=False,
    )


def make_model(tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """An untrained Llama of 0.87 million parameters."""
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=128,
            intermediate_size=384,
            num_hidden_layers=4,
            num_attention_heads=4,
            num_key_value_heads=4,
            max_position_embeddings=256,
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def draw_questions(phase: Phase, *, seed: int) -> list[str]:
    """The phase's training questions in random order, about steps x batch_size of them."""
    questions: list[str] = []
    for share, changes in phase.configs:
        task = load_task(**{**TASK, "config": {**TASK["config"], **changes}})
        size = math.ceil(share * phase.steps * phase.batch_size)
        questions += task.dataset("train", size=size, seed=seed)["question"][:]
    random.Random(seed).shuffle(questions)
    return questions[: phase.steps * phase.batch_size]


def make_batches(phase: Phase, tokenizer: PreTrainedTokenizerFast, *, seed: int) -> Iterator[list[Example]]:
    """Batches of (prompt ids, solution ids); each question has one solution, by a random way."""
    rng = random.Random(seed)
    questions = draw_questions(phase, seed=seed)
    size = phase.batch_size
    for start in range(0, len(questions), POOL * size):
        pool = [make_example(question, tokenizer, rng) for question in questions[start : start + POOL * size]]
        pool.sort(key=lambda example: len(example[0]) + len(example[1]))
        batches = [pool[i : i + size] for i in range(0, len(pool), size)]
        rng.shuffle(batches)
        yield from batches


def make_example(question: str, tokenizer: PreTrainedTokenizerFast, rng: random.Random) -> Example:
    """Prompt ids and solution ids of a question."""
    prompt = tokenizer.encode(TASK["template"].replace("{question}", question))
    return prompt, [*tokenizer.encode(chain_sum_solution(question, rng)), tokenizer.eos_token_id]


def collate(examples: list[Example], *, pad_token_id: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids and labels, both [B,T] int64, padded on the right; the loss counts solution tokens only."""
    length = max(len(prompt) + len(solution) for prompt, solution in examples)
    ids = torch.full((len(examples), length), pad_token_id)
    labels = torch.full((len(examples), length), IGNORED)
    for row, (prompt, solution) in enumerate(examples):
        end = len(prompt) + len(solution)
        ids[row, :end] = torch.tensor(prompt + solution)
        labels[row, len(prompt) : end] = torch.tensor(solution)
    return ids, labels


def learning_rate(step: int, num_steps: int) -> float:
    """Linear warm-up, then a cosine from the peak to the last rate."""
    cosine = 0.5 * (1 + math.cos(math.pi * step / num_steps))
    rate = LAST_LEARNING_RATE + (PEAK_LEARNING_RATE - LAST_LEARNING_RATE) * cosine
    return rate * min(1.0, (step + 1) / WARM_UP_STEPS)


def train(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, *, phases: tuple[Phase, ...], seed: int) -> None:
    """Supervised training in place; prints the mean loss and the minutes every 100 steps."""
    optimizer = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.98), weight_decay=0.01)
    num_steps = sum(phase.steps for phase in phases)
    batches = (batch for i, phase in enumerate(phases) for batch in make_batches(phase, tokenizer, seed=seed + i))
    start, losses = time.monotonic(), []
    for step, batch in enumerate(batches):
        ids, labels = collate(batch, pad_token_id=tokenizer.pad_token_id)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, num_steps)
        loss = model(input_ids=ids, labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
        if (step + 1) % 100 == 0:
            minutes = (time.monotonic() - start) / 60
            print(
                f"step {step + 1} of {num_steps}: loss {sum(losses) / len(losses):.4f}, {minutes:.1f} min", flush=True
            )
            losses.clear()


def save(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Weights in float32, config, tokenizer, and a generation config that samples the policy as it is."""
    model.generation_config.update(do_sample=True, temperature=1.0, top_k=0, top_p=1.0)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    path = folder / "tokenizer_config.json"
    config = {**json.loads(path.read_text()), "tokenizer_class": "PreTrainedTokenizerFast"}  # 4.x knows no newer name
    path.write_text(json.dumps(config, indent=2) + "\n")


def warm_start(output: Path, *, seed: int = 0, phases: tuple[Phase, ...] = PHASES) -> None:
    """Train the policy from scratch and save it in `output`."""
    torch.manual_seed(seed)
    tokenizer = make_tokenizer()
    model = make_model(tokenizer)
    train(model, tokenizer, phases=phases, seed=seed)
    save(model, tokenizer, output)


def main() -> None:
    """Train the policy and save it."""
    parser = argparse.ArgumentParser(
        description="Make the quickstart policy: about 20 minutes on one CPU core, 12 on two."
    )
    parser.add_argument("--output", type=Path, required=True, help="folder for the policy and its tokenizer")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--threads", type=int, default=1, help="CPU threads; the shipped policy had 1, another number gives other bytes"
    )
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    warm_start(options.output, seed=options.seed)


if __name__ == "__main__":
    main()

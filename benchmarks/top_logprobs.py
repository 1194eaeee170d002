"""Comparison of the clips that the entropies by vLLM's most likely tokens and the exact entropies select.

    .venv-vllm/bin/python -m benchmarks.top_logprobs [--prompts 12] [--tokens 64]

SmolLM2-135M-Instruct answers word problems, 8 rollouts each, at temperature 1 on a real vLLM engine, which returns the
log-probs of the 20 most likely tokens. The exact entropies are those of the same model's logits in transformers, in
float32; the engine computes in the model's own type, bfloat16. All rollouts are in V, since it solves too few. They are
split into disjoint sets of 1, 4 and 8; each set gives one clip.
"""

from __future__ import annotations

import argparse
import math
from typing import Any

import torch
from torch import Tensor

from benchmarks.results import write_csv
from benchmarks.surprisal import GROUP_SIZE, picks
from echorl import StepDelimiters, logp_and_entropy, segment_steps
from echorl.core.entropy import top_entropy
from echorl.models.loading import load_policy
from echorl.models.smollm2 import fetch
from echorl.tasks import load_task
from echorl.trl.recording import TOP
from echorl.trl.sources import as_table

KEPT = (5, 10, TOP)


def sample(prompts: list[list[int]], tokens: int) -> list[tuple[list[int], list[int], Tensor]]:
    """(prompt, response, log-probs [T, TOP] of its most likely tokens) of each rollout."""
    from trl.generation.vllm_generation import extract_logprobs
    from vllm import LLM, SamplingParams

    engine = LLM(str(fetch()), max_model_len=512, logprobs_mode="processed_logprobs", enforce_eager=True, seed=0)
    settings = SamplingParams(n=GROUP_SIZE, temperature=1.0, max_tokens=tokens, logprobs=TOP)
    outputs = engine.generate([{"prompt_token_ids": ids} for ids in prompts], settings)
    logps, _ = extract_logprobs(outputs)
    responses = [(output.prompt_token_ids, list(each.token_ids)) for output in outputs for each in output.outputs]
    return [(*ids, as_table([row[:TOP] for row in rows])) for ids, rows in zip(responses, logps, strict=True)]


def score(model: Any, prompt: list[int], response: list[int]) -> tuple[Tensor, Tensor]:
    """Log-probs and entropies [T] of a response."""
    ids = torch.tensor([[*prompt, *response]])
    with torch.no_grad():
        logits = model(input_ids=ids, logits_to_keep=len(response) + 1).logits[0, :-1]
    return logp_and_entropy(logits, ids[0, len(prompt) :])


def pad(rows: list[Tensor], fill: float = 0) -> Tensor:
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=fill)


def main() -> None:
    """Run the comparison and write `results/top_logprobs.csv`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("prompts", 12), ("tokens", 64)):
        parser.add_argument(f"--{name}", type=int, default=default)
    args = parser.parse_args()
    torch.set_num_threads(1)
    model, tokenizer = load_policy(fetch())
    rows = load_task("word_problems").dataset("train", size=args.prompts)
    texts = [tokenizer.apply_chat_template(row["prompt"], tokenize=False, add_generation_prompt=True) for row in rows]
    prompts = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
    rollouts = sample(prompts, args.tokens)
    scored = [score(model.float(), *ids) for *ids, _ in rollouts]
    token_ids, exact = pad([torch.tensor(ids) for _, ids, _ in rollouts]), pad([entropy for _, entropy in scored])
    mask = pad([torch.ones(len(ids), dtype=torch.bool) for _, ids, _ in rollouts])
    steps = segment_steps(token_ids, mask, StepDelimiters.from_tokenizer(tokenizer))
    sources: dict[str, tuple[Tensor, Tensor]] = {"surprisal": (pad([-logp for logp, _ in scored]), exact * 0)}
    for k in KEPT:
        bounds = [top_entropy(table[:, :k], model.config.vocab_size) for *_, table in rollouts]
        lower, upper = (pad([bound[at] for bound in bounds]) for at in (0, 1))
        sources[f"top {k}"] = ((lower + upper) / 2, (upper - lower) / 2)
    results = []
    for name, (entropy, bound) in sources.items():
        for size in (1, 4, GROUP_SIZE):
            sets = torch.arange(len(rollouts)) // size
            expected, chosen = (picks(values, steps, sets, 1) for values in (exact, entropy))
            share = sum(chosen[number] == place for number, place in expected.items()) / len(expected)
            error = math.sqrt(share * (1 - share) / len(expected))
            row = {"source": name, "rollouts_in_v": size, "sets": len(expected), "same_clip": round(share, 4)}
            row |= {"same_clip_error": round(error, 4), "mean_entropy": round(float(exact[mask].mean()), 4)}
            row |= {"bound": round(float(bound[mask].mean()), 4)}
            results.append(row | {"error": round(float((entropy - exact)[mask].abs().mean()), 4)})
            print(results[-1], flush=True)
    print(write_csv("top_logprobs", results, sources="src/echorl/core"))


if __name__ == "__main__":
    main()

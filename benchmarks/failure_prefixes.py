"""Beginnings for `failure_prefix`: rare failures, cut so that the policy goes on to a success at a chosen rate.

    python -m benchmarks.failure_prefixes --config recipes/cpu/rivals/chain_sum/base.yaml --output prefixes.jsonl
    echorl train --config ... --method failure_prefix --method_options '{"prefixes": "prefixes.jsonl"}'

The recipe names the policy, the task, its training rows and the sampling. A prompt is saturated if at least 3/4 of its
rollouts are right. Its first failure is cut after each eighth of its tokens, and the cut from which the share of right
continuations is nearest to the target is kept. Prompts without a failure have no line.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from echorl.lab.evaluate.sampling import Completions, judge, sample


@dataclass(frozen=True, kw_only=True)
class Aim:
    """Attributes:
    target: the share of right continuations that is aimed at.
    saturated: the least share of right rollouts.
    rollouts, continuations: sampled for each prompt, and for each cut of a failure.
    parts: a failure is cut after 1 to parts - 1 of so many parts.
    """

    target: float = 0.5
    saturated: float = 0.75
    rollouts: int = 16
    continuations: int = 8
    parts: int = 8


def rare_failures(completions: Completions, verdicts: list[list[bool]], saturated: float) -> dict[int, list[int]]:
    """Return prompt number -> tokens of its first failure, of prompts that are saturated and have one."""
    size, failures = completions.group_size, {}
    for prompt, own in enumerate(verdicts):
        if saturated * size <= sum(own) < size:
            failures[prompt] = completions.token_ids[prompt * size + own.index(False)][:-1]
    return failures


def nearest(rates: Sequence[float], target: float) -> int:
    """Return the place of the rate nearest to the target, the first of several.

    >>> nearest([0.9, 0.625, 0.375, 0.0], 0.5)
    1
    """
    return min(range(len(rates)), key=lambda place: abs(rates[place] - target))


def make_prefixes(
    policy: tuple[Any, Any], rows: Any, verifier: Any, aim: Aim, sampling: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Return an object for each prompt with a beginning: `prompt`, `failure_prefix`, `rate` of right continuations.

    `policy` is (model, tokenizer), `sampling` are options of `sample`.

    Raises:
        ValueError: a prompt is not plain text, which a beginning could follow.
    """
    prompts = rows["prompt"][:]
    if not all(isinstance(prompt, str) for prompt in prompts):
        raise ValueError("the prompts are chat messages: beginnings are made for prompts of plain text (chat: false).")
    columns = {name: rows[name][:] for name in rows.column_names if name != "prompt"}
    rollouts = sample(*policy, prompts, group_size=aim.rollouts, entropies=False, **sampling)
    failures = rare_failures(rollouts, judge(verifier, rollouts, columns), aim.saturated)
    prefixes = []
    for prompt, tokens in failures.items():
        texts = [policy[1].decode(tokens[: part * len(tokens) // aim.parts]) for part in range(1, aim.parts)]
        own = {name: [values[prompt]] * len(texts) for name, values in columns.items()}
        rates = success_rates(policy, prompts[prompt], texts, own, verifier, aim, sampling)
        place = nearest(rates, aim.target)
        prefixes.append({"prompt": prompts[prompt], "failure_prefix": texts[place], "rate": rates[place]})
    return prefixes


def success_rates(
    policy: tuple[Any, Any],
    prompt: str,
    texts: list[str],
    columns: Mapping[str, list],
    verifier: Any,
    aim: Aim,
    sampling: Mapping[str, Any],
) -> list[float]:
    """Return the share of right continuations of prompt + text; the verifier sees text and continuation."""
    prompts, size = [prompt + text for text in texts], aim.continuations
    continued = sample(*policy, prompts, group_size=size, entropies=False, **sampling)
    beginnings = [text for text in texts for _ in range(size)]
    whole = [beginning + text for beginning, text in zip(beginnings, continued.texts, strict=True)]
    return [sum(verdicts) / size for verdicts in judge(verifier, replace(continued, texts=whole), columns)]


def main() -> None:
    """Write the beginnings of a recipe's training rows."""
    from echorl.models import find_model
    from echorl.models.loading import load_policy
    from echorl.train.data import make_dataset, make_task
    from echorl.train.parsing import parse
    from echorl.train.recipe import read_recipes
    from echorl.train.run import TRAIN

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", nargs="+", required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--target", type=float, default=Aim.target)
    args = parser.parse_args()
    settings = parse(TRAIN, read_recipes(args.config), [])
    task, training = make_task(settings.data), settings.training
    if task is None:
        parser.error(f"{' '.join(args.config)} names no task, whose verifier is needed: set task")
    policy = load_policy(find_model(str(settings.model.model_name_or_path))[0])
    rows = make_dataset(settings.data, task, "train")
    sampling = {"max_new_tokens": training.max_completion_length, "temperature": training.temperature}
    sampling["seed"] = training.seed
    prefixes = make_prefixes(policy, rows, task.verifier, Aim(target=args.target), sampling)
    args.output.write_text("".join(json.dumps(prefix) + "\n" for prefix in prefixes), encoding="utf-8")
    print(f"{len(prefixes)} of {len(rows)} prompts have a beginning: {args.output}")


if __name__ == "__main__":
    main()

"""Completions of a policy, sampled with plain transformers in batches, and a verifier's verdicts on them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from echorl.core.entropy import EntropyRecorder

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True)
class Completions:
    """Sampled completions, `group_size` in a row a prompt, N in all.

    Attributes:
        texts: without special tokens.
        token_ids: up to and including the first token that ends a sequence.
        entropies: nats, one a token, of the distribution at the sampling temperature.
        group_size: completions a prompt.
    """

    texts: list[str]
    token_ids: list[list[int]]
    entropies: list[list[float]]
    group_size: int


def sample(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str | list[dict[str, str]]],
    *,
    group_size: int,
    max_new_tokens: int,
    temperature: float = 1.0,
    batch_size: int = 512,
    seed: int = 0,
    chat_template_kwargs: Mapping[str, Any] | None = None,
) -> Completions:
    """`group_size` completions of each prompt from the policy's whole distribution (no top-k, no top-p).

    Prompts are strings, or chat messages that the tokenizer's template renders with `chat_template_kwargs`. The same
    seed, batch size and number of threads give the same completions; the caller's random state is left as it was. The
    tokenizer must pad on the left. No prompts: empty lists.
    """
    render = partial(_render, tokenizer, **(chat_template_kwargs or {}))
    rows = [text for text in map(render, prompts) for _ in range(group_size)]
    result = Completions([], [], [], group_size)
    training = model.training
    model.eval()
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(seed)
        for start in range(0, len(rows), batch_size):
            batch = _generate(model, tokenizer, rows[start : start + batch_size], max_new_tokens, temperature)
            for ids, entropies in batch:
                result.token_ids.append(ids)
                result.entropies.append(entropies)
    model.train(training)
    result.texts.extend(tokenizer.batch_decode(result.token_ids, skip_special_tokens=True))
    return result


def ends_of(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """The ids that end a completion, as in TRL's trainers: the generation config's, and the tokenizer's."""
    own = model.generation_config.eos_token_id
    own = [] if own is None else [own] if isinstance(own, int) else list(own)
    return own if tokenizer.eos_token_id in own else [tokenizer.eos_token_id, *own]


def _render(tokenizer: Any, prompt: str | list[dict[str, str]], **options: Any) -> tuple[str, bool]:
    """(text, whether the tokenizer adds its special tokens): a chat template writes them itself."""
    if isinstance(prompt, str):
        return prompt, True
    return tokenizer.apply_chat_template(prompt, tokenize=False, add_generation_prompt=True, **options), False


def _generate(
    model: Any, tokenizer: Any, prompts: Sequence[tuple[str, bool]], max_new_tokens: int, temperature: float
) -> Iterator[tuple[list[int], list[float]]]:
    """(token ids, entropies) of one completion a prompt."""
    texts, special = [text for text, _ in prompts], all(adds for _, adds in prompts)
    inputs = tokenizer(
        texts, return_tensors="pt", padding=True, return_token_type_ids=False, add_special_tokens=special
    )
    recorder, ends = EntropyRecorder(temperature), ends_of(model, tokenizer)
    output = model.generate(
        **inputs.to(model.device),
        max_new_tokens=max_new_tokens,
        do_sample=True,
        temperature=temperature,
        top_k=0,
        top_p=1.0,
        logits_processor=[recorder],
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=ends,
    )
    rows = output[:, inputs["input_ids"].shape[1] :].tolist()
    for ids, entropies in zip(rows, recorder.entropies.tolist(), strict=True):
        end = next((place for place, token in enumerate(ids, 1) if token in ends), len(ids))
        yield ids[:end], entropies[:end]


def judge(verifier: Any, completions: Completions, columns: Mapping[str, Sequence[Any]]) -> list[list[bool]]:
    """The verifier's verdicts, one list a prompt: true for a reward of at least 1; None counts as a failure.

    `columns` are the data set's, one entry a prompt; they go to the verifier as TRL would pass them.
    """
    size = completions.group_size
    repeated = {name: [value for value in values for _ in range(size)] for name, values in columns.items()}
    rewards = verifier(completions=completions.texts, **repeated)
    passed = [reward is not None and reward >= 1.0 for reward in rewards]
    return [passed[start : start + size] for start in range(0, len(passed), size)]

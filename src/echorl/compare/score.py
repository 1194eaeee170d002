"""What a finished run's policy can do on a split of its task, and how it behaves."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from echorl.evaluate import Completions, behaviour, judge, sample

if TYPE_CHECKING:
    from datasets import Dataset


def load_policy(folder: Path, *, device: str = "cpu") -> tuple[Any, Any]:
    """(model, tokenizer) of a Hugging Face folder; an adapter is merged into its model."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    if (folder / "adapter_config.json").exists():
        from peft import AutoPeftModelForCausalLM

        model = AutoPeftModelForCausalLM.from_pretrained(folder).merge_and_unload()
    else:
        model = AutoModelForCausalLM.from_pretrained(folder)
    return model.to(device), AutoTokenizer.from_pretrained(folder, padding_side="left")


def score_split(
    policy: tuple[Any, Any], rows: Dataset, verifier: Any, *, samples: int, temperature: float, max_new_tokens: int
) -> dict[str, Any]:
    """Verdicts, a list a prompt, and `behaviour`; the samples depend on the policy and the rows alone."""
    model, tokenizer = policy
    completions = sample(
        model,
        tokenizer,
        rows["prompt"][:],
        group_size=samples,
        max_new_tokens=max_new_tokens,
        temperature=temperature,
        batch_size=128,
    )
    columns = {name: rows[name][:] for name in rows.column_names if name != "prompt"}
    verdicts = judge(verifier, completions, columns)
    return {
        "verdicts": [list(map(int, item)) for item in verdicts],
        "truncated": _truncated(completions, max_new_tokens, tokenizer.eos_token_id),
        **behaviour(completions, tokenizer),
    }


def _truncated(completions: Completions, max_new_tokens: int, eos: int) -> float:
    """The share of completions that reached the limit without an end."""
    cut = [len(ids) >= max_new_tokens and ids[-1] != eos for ids in completions.token_ids]
    return sum(cut) / len(cut)

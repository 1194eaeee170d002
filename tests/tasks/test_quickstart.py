import subprocess
import sys

import pytest
import torch

from echorl.models import POLICY
from echorl.tasks import load_task
from echorl.tasks.quickstart import MAX_NEW_TOKENS, TASK

FILES = ["README.md", "config.json", "generation_config.json", "model.safetensors", "tokenizer.json"]


@pytest.fixture(scope="module")
def task():
    return load_task(**TASK)


@pytest.fixture(scope="module")
def policy():
    from transformers import AutoModelForCausalLM, AutoTokenizer

    return AutoModelForCausalLM.from_pretrained(POLICY), AutoTokenizer.from_pretrained(POLICY)


def test_importing_the_quickstart_is_cheap() -> None:
    heavy = "{'transformers', 'trl', 'datasets', 'reasoning_gym', 'math_verify', 'pebble'}"
    code = f"import sys, echorl.lab.quickstart, echorl.tasks; print(sorted({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_the_files_are_there_and_small() -> None:
    assert all((POLICY / name).is_file() for name in FILES)
    assert sum(path.stat().st_size for path in POLICY.iterdir()) < 6 * 2**20


def test_plain_transformers_loads_it(policy) -> None:
    model, tokenizer = policy
    assert model.num_parameters() < 1_400_000
    assert model.dtype == torch.float32
    assert tokenizer.padding_side == "left"
    assert (tokenizer.pad_token, tokenizer.eos_token) == ("<pad>", "<eos>")
    assert (model.config.pad_token_id, model.config.eos_token_id) == (tokenizer.pad_token_id, tokenizer.eos_token_id)
    assert len(tokenizer) == model.config.vocab_size


def test_the_tokenizer_keeps_every_text_of_the_task(policy, task) -> None:
    tokenizer = policy[1]
    rows = task.dataset("harder", size=100)
    for text in [*rows["prompt"], *rows["demonstration"]]:
        ids = tokenizer(text)["input_ids"]
        assert tokenizer.decode(ids) == text
        assert tokenizer.unk_token_id not in ids
    assert max(len(tokenizer(text)["input_ids"]) for text in rows["demonstration"]) < MAX_NEW_TOKENS
    assert "\n" in tokenizer.get_vocab()


@pytest.mark.parametrize(("split", "low", "high"), [("validation", 0.4, 0.75), ("harder", 0.1, 0.4)])
def test_pass_at_1(policy, task, split: str, low: float, high: float) -> None:
    from echorl.lab.evaluate.metrics import pass_at_1
    from echorl.lab.evaluate.sampling import judge, sample

    rows = task.dataset(split, size=48)
    completions = sample(*policy, rows["prompt"][:], group_size=8, max_new_tokens=MAX_NEW_TOKENS)
    success = judge(task.verifier, completions, {"instance": rows["instance"][:]})
    assert low < pass_at_1(success).value < high
    assert all(len(a) == len(b) for a, b in zip(completions.token_ids, completions.entropies, strict=True))

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from echorl.quickstart import MAX_NEW_TOKENS, POLICY, TASK
from echorl.tasks import load_task

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
    code = f"import sys, echorl.quickstart, echorl.tasks; print(sorted({heavy} & set(sys.modules)))"
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
    from echorl.quickstart.measure import sample

    rows = task.dataset(split, size=48, seed=1)
    torch.manual_seed(0)
    rollouts = sample(*policy, rows["prompt"][:], group_size=8)
    instances = [instance for instance in rows["instance"] for _ in range(8)]
    rewards = task.verifier(completions=rollouts.texts, instance=instances)
    assert low < sum(rewards) / len(rewards) < high
    assert all(len(a) == len(b) for a, b in zip(rollouts.tokens, rollouts.entropies, strict=True))


def test_the_warm_start_is_deterministic(tmp_path: Path) -> None:
    from echorl.quickstart.warm_start import Phase, warm_start

    phases = (Phase(steps=2, batch_size=4, configs=((1.0, {}),)), Phase(steps=1, batch_size=4, configs=((1.0, {}),)))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    for name in "ab":
        warm_start(tmp_path / name, phases=phases)
    torch.set_num_threads(threads)
    for path in sorted((tmp_path / "a").iterdir()):
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


def test_token_kinds() -> None:
    from echorl.quickstart.measure import token_kinds

    assert token_kinds([*"57+8=65", "\n", *"-5+8=3", "\n", "#### ", "3", "<eos>"]) == [
        *("choice", "copy", "choice", "choice", "choice", "result", "result", "result"),
        *("copy", "copy", "choice", "choice", "choice", "result", "result"),
        *("answer", "answer", "answer"),
    ]


def test_seeds_of_a_folder_without_results_is_one_sentence(tmp_path: Path, monkeypatch, capsys) -> None:
    from echorl.quickstart.seeds import main

    monkeypatch.setattr(sys, "argv", ["seeds", str(tmp_path)])
    with pytest.raises(SystemExit, match="2"):
        main()
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"echorl: error: {tmp_path} holds no results.json: run echorl quickstart")

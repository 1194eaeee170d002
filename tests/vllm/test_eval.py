"""`echorl eval` with a real vLLM engine on this CPU."""

from __future__ import annotations

import json
from copy import copy

import pytest
import torch

from echorl.cli import main
from echorl.lab.evaluate.benchmarks import Item
from echorl.lab.evaluate.checkpoint import Checkpoint
from echorl.lab.evaluate.engines import Transformers, Vllm
from echorl.lab.evaluate.plan import Chunk, Request
from echorl.lab.options import Sampling
from tests.lab.evaluate.test_engines import TEMPLATE, save


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save(tmp_path_factory.mktemp("tiny"), TEMPLATE, hidden=64)  # vLLM's CPU attention needs heads of 32 or more


@pytest.fixture(scope="module")
def engine(folder, engines):
    return Vllm(Checkpoint("tiny", str(folder)), Sampling(), 64)


def requests(size: int = 12) -> tuple[Request, ...]:
    def item(i):
        return Item(id=str(i), prompt=[{"role": "user", "content": f"{i}+1"}], reference_answer=str(i + 1))

    return tuple(Request(item(i), 0, 100 + i) for i in range(size))


def test_a_sample_does_not_depend_on_its_batch(engine):
    together = engine.generate(Chunk(0, 0, requests()), 12)
    apart = [engine.generate(Chunk(i, 0, (request,)), 12)[0] for i, request in enumerate(requests())]
    assert together == apart
    assert len({response.text for response in together}) > 6


def test_another_seed_is_another_sample(engine):
    first = requests(8)
    second = tuple(Request(request.item, 1, request.seed + 1000) for request in first)
    texts = [[response.text for response in engine.generate(Chunk(0, 0, own), 12)] for own in (first, second)]
    assert texts[0] != texts[1]


def test_lengths_and_ends(engine):
    responses = engine.generate(Chunk(0, 0, requests(64)), 12)
    assert {response.truncated for response in responses} == {True, False}
    for response in responses:
        assert response.tokens == 12 if response.truncated else 1 <= response.tokens <= 12
        assert "<eos>" not in response.text


def test_both_backends_see_the_same_prompt(folder, engine):
    """The likeliest tokens are the same, chat template included."""
    checkpoint, greedy = Checkpoint("tiny", str(folder)), Sampling(temperature=0.0)
    plain, vllm = Transformers(checkpoint, greedy, "cpu"), copy(engine)
    vllm.sampling = greedy
    first, second = (backend.generate(Chunk(0, 0, requests()), 8) for backend in (plain, vllm))
    assert first == second
    assert len({response.text for response in first}) > 6


def test_an_adapter(tmp_path, folder):
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    config = LoraConfig(r=8, init_lora_weights=False, target_modules=["q_proj", "o_proj", "down_proj"])
    get_peft_model(AutoModelForCausalLM.from_pretrained(folder), config).save_pretrained(tmp_path)
    Checkpoint("tiny", str(folder)).processing_class.save_pretrained(tmp_path)
    checkpoint, greedy = Checkpoint("tiny", str(tmp_path)), Sampling(temperature=0.0)
    chunk = Chunk(0, 0, requests())
    merged = Transformers(checkpoint, greedy, "cpu").generate(chunk, 6)
    beside = Vllm(checkpoint, greedy, 64).generate(chunk, 6)
    plain = Transformers(Checkpoint("tiny", str(folder)), greedy, "cpu").generate(chunk, 6)
    assert beside == merged != plain


def test_the_command(tmp_path, folder, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ["--model", str(folder), "--benchmarks", "word_problems", "--backend", "vllm", "--limit", "8"]
    assert main(["eval", *words, "--samples", "2", "--max_new_tokens", "8", "--output_dir", "out"]) == 0
    found = json.loads((tmp_path / "out/results.json").read_text())
    assert found["settings"]["backend"] == "vllm"
    assert found["benchmarks"]["word_problems"]["items"] == 8
    assert 1 <= found["benchmarks"]["word_problems"]["mean_tokens"] <= 8

"""The real benchmarks' files through a whole evaluation, with a tiny random model and the real Qwen2 tokenizer."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from transformers import PreTrainedTokenizerFast

from echorl.cli import main
from echorl.lab.evaluate.checkpoint import Checkpoint
from echorl.lab.evaluate.engines import Transformers
from echorl.lab.evaluate.run import evaluate, prepare, settings_of
from echorl.lab.evaluate.store import Store, read_samples
from echorl.lab.options import Sampling
from tests.tiny import random_model
from tests.trl import tiny_vision

NAMES = ("aime24", "aime25", "amc", "math500", "minerva", "olympiadbench", "arc_challenge", "mmlu_pro", "gsm8k")
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@pytest.fixture(scope="module")
def model(tmp_path_factory, shared_data) -> Path:
    folder = tmp_path_factory.mktemp("model")
    file = shared_data / "tokenizers/qwen2/tokenizer.json"
    special = dict(pad_token="<|endoftext|>", eos_token="<|im_end|>")
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(file), chat_template=TEMPLATE, **special)
    tokenizer.save_pretrained(folder)
    model = random_model(
        hidden=16,
        vocab_size=len(tokenizer),
        num_hidden_layers=1,
        max_position_embeddings=4096,
        tie_word_embeddings=True,
        pad_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
    )
    model.save_pretrained(folder)
    return folder


@pytest.mark.slow
def test_twenty_items_of_each(tmp_path, model, shared_data, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for names, data in ((NAMES[:-1], shared_data / "benchmarks"), (NAMES[-1:], shared_data / "gsm8k")):
        words = ["--benchmarks", *names, "--data", str(data), "--output_dir", str(tmp_path / "out")]
        sizes = ["--limit", "20", "--samples", "2", "--max_new_tokens", "2", "--batch_size", "40", "--device", "cpu"]
        assert main(["eval", "--model", str(model), *words, *sizes]) == 0
    results = json.loads((tmp_path / "out/results.json").read_text())
    assert tuple(results["benchmarks"]) == NAMES
    assert len(results["averages"]["in"]["benchmarks"]) == 6
    assert results["averages"]["out"]["benchmarks"] == ["arc_challenge", "mmlu_pro"]
    for name, summary in results["benchmarks"].items():
        rows, _ = read_samples(tmp_path / f"out/samples/{name}.parquet")
        assert len(rows) == 40
        assert summary["items"] == 20
        assert summary["mean_tokens"] <= 2
        assert all(row["reference_answer"] for row in rows)


def test_geometry_with_its_diagrams(tmp_path, shared_data):
    """A tiny Qwen2.5-VL and its processor, which are handed over, since loading the processor needs torchvision."""
    processor, model = tiny_vision.make_processor(), tiny_vision.make_model()
    checkpoint, sampling = Checkpoint("tiny", "no-folder"), Sampling(limit=20, max_new_tokens=6, batch_size=10)
    checkpoint.__dict__.update(processing_class=processor, config=model.config.get_text_config())
    works = prepare(["geometry3k"], checkpoint, sampling, str(shared_data / "benchmarks/geometry3k_test.zip"))
    engine = Transformers.__new__(Transformers)
    engine.checkpoint, engine.sampling, engine.model, engine.processing_class = checkpoint, sampling, model, processor
    common = settings_of(checkpoint, sampling, "transformers", "cpu")
    summary = evaluate(Store(tmp_path), "tiny", works, common, lambda: engine)["benchmarks"]["geometry3k"]
    assert summary["items"] == 20
    assert all(item.images for item in works[0].items)
    rows, _ = read_samples(tmp_path / "samples/geometry3k.parquet")
    assert all(set(json.loads(row["reference_answer"])) >= {"letter", "value"} for row in rows)

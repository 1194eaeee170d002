"""The transformers backend on tiny models: prompts, ends, adapters, and chunks that don't depend on each other."""

from __future__ import annotations

import pytest
import torch
from transformers import LlamaForCausalLM

from echorl.lab.evaluate.benchmarks import Item, load_benchmark
from echorl.lab.evaluate.checkpoint import Checkpoint
from echorl.lab.evaluate.engines import Transformers, Vllm, check_vllm, start
from echorl.lab.evaluate.plan import Chunk, Request, Work
from echorl.lab.options import Sampling
from echorl.models.loading import load_policy
from tests.tiny import make_tokenizer, random_model

TEMPLATE = "{% for m in messages %}{{ m['content'] }}{% endfor %}{% if add_generation_prompt %}={% endif %}"


def make_model(hidden: int = 32) -> LlamaForCausalLM:
    """A Llama: for the tests' Qwen2 transformers would load its own kind of tokenizer from the folder."""
    sizes = dict(intermediate_size=64, num_key_value_heads=2, max_position_embeddings=1024)
    return random_model(LlamaForCausalLM, hidden=hidden, initializer_range=0.2, **sizes)


def save(folder, template=None, **changes):
    make_model(**changes).save_pretrained(folder)
    tokenizer = make_tokenizer()
    tokenizer.chat_template = template
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save(tmp_path_factory.mktemp("model"))


def item(text: str = "1+1=?\n") -> Item:
    return Item(id=text, prompt=[{"role": "user", "content": text}], reference_answer="2")


def chunk(index=0, seed=0, size=4) -> Chunk:
    return Chunk(index, seed, tuple(Request(item(f"{i}+1=?\n"), 0, i) for i in range(size)))


def engine(folder, **changes) -> Transformers:
    return Transformers(Checkpoint("tiny", str(folder)), Sampling(**changes), "cpu")


def test_a_chunk_depends_on_itself_alone(folder):
    first, second = engine(folder), engine(folder)
    first.generate(chunk(seed=1), 8)
    torch.manual_seed(5)
    assert first.generate(chunk(seed=2), 8) == second.generate(chunk(seed=2), 8) != second.generate(chunk(seed=3), 8)


def test_lengths_and_ends(folder):
    responses = engine(folder, temperature=2.0).generate(chunk(size=64), 12)
    assert {response.truncated for response in responses} == {True, False}
    for response in responses:
        assert response.tokens == 12 if response.truncated else 1 <= response.tokens <= 12
        assert "<eos>" not in response.text


def test_temperature_0_takes_the_likeliest_token(folder):
    same = Chunk(0, 0, tuple(Request(item(), i, i) for i in range(3)))
    greedy = engine(folder, temperature=0.0)
    (text,) = {response.text for seed in (0, 1) for response in greedy.generate(Chunk(0, seed, same.requests), 6)}
    model, tokenizer = make_model(), make_tokenizer()
    ids = tokenizer.encode("1+1=?\n")
    for _ in range(6):
        ids.append(int(model(torch.tensor([ids])).logits[0, -1].argmax()))
        if ids[-1] == 1:
            break
    assert text == tokenizer.decode(ids[len(tokenizer.encode("1+1=?\n")) :], skip_special_tokens=True)


def test_top_p_leaves_the_likeliest(folder):
    greedy, narrow = (
        engine(folder, **options).generate(chunk(), 6) for options in ({"temperature": 0.0}, {"top_p": 1e-6})
    )
    assert greedy == narrow


def test_the_models_own_generation_settings_are_off(tmp_path, folder):
    save(tmp_path)
    model = make_model()
    model.generation_config.update(do_sample=True, top_k=1, repetition_penalty=5.0)
    model.save_pretrained(tmp_path)
    assert engine(tmp_path).generate(chunk(), 8) == engine(folder).generate(chunk(), 8)


def test_an_adapter_is_loaded_with_its_model(tmp_path, folder):
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_pretrained(folder)
    adapted = get_peft_model(model, LoraConfig(r=2, init_lora_weights=False, target_modules="all-linear"))
    adapted.save_pretrained(tmp_path)
    make_tokenizer().save_pretrained(tmp_path)
    checkpoint = Checkpoint("tiny", str(tmp_path))
    assert checkpoint.base == str(folder)
    assert checkpoint.context == 1024
    assert Checkpoint("tiny", str(folder)).fingerprint() in checkpoint.fingerprint()
    adapted.merge_and_unload().save_pretrained(tmp_path / "whole")
    make_tokenizer().save_pretrained(tmp_path / "whole")
    first, second, plain = (engine(each).generate(chunk(), 8) for each in (tmp_path, tmp_path / "whole", folder))
    assert first == second != plain


def test_the_chat_template_writes_the_prompt(tmp_path):
    checkpoint = Checkpoint("tiny", str(save(tmp_path, TEMPLATE)))
    assert make_tokenizer().decode(checkpoint.token_ids([item("1+1")])[0]) == "1+1="
    assert checkpoint.prompt(item("1+1")) == item("1+1").prompt


def test_thinking_that_the_template_opened_begins_the_response(tmp_path, folder):
    """Else a box inside thinking that was cut off would count as an answer."""
    thinks = save(tmp_path, TEMPLATE + "<think>\n")
    responses = engine(thinks).generate(chunk(), 4)
    assert all(response.text.startswith("<think>") and response.tokens <= 4 for response in responses)
    assert not any(response.text.startswith("<think>") for response in engine(folder).generate(chunk(), 4))
    tags = "Write <think> and </think>"  # as a system message may
    assert Checkpoint("tiny", str(folder)).opening(item(tags)) == ""


def test_without_a_template_the_texts_are_joined(folder):
    checkpoint = Checkpoint("tiny", str(folder))
    messages = [{"role": "system", "content": "a"}, {"role": "user", "content": "1+1"}]
    both = Item(id="x", prompt=messages, reference_answer="2")
    assert checkpoint.prompt(both) == "a\n\n1+1"
    assert make_tokenizer().decode(checkpoint.token_ids([both])[0]) == "a\n\n1+1"


def test_images_need_a_template(folder):
    with pytest.raises(ValueError, match="has no chat template"):
        Checkpoint("tiny", str(folder)).prompt(Item(id="x", prompt=[], reference_answer="A", images=("image",)))


def test_a_tokenizer_without_a_padding_token(tmp_path, folder):
    save(tmp_path)
    tokenizer = make_tokenizer()
    tokenizer.pad_token = None
    tokenizer.save_pretrained(tmp_path)
    texts, expected = ([r.text for r in engine(each).generate(chunk(), 8)] for each in (tmp_path, folder))
    assert texts == expected
    assert load_policy(tmp_path)[1].pad_token == tokenizer.eos_token  # so `echorl compare` and others pad, too


def test_vllm_that_is_not_installed(monkeypatch, folder):
    monkeypatch.setattr("echorl.lab.evaluate.engines.find_spec", lambda name: None)
    for call in (check_vllm, lambda: Vllm(Checkpoint("tiny", str(folder)), Sampling(), 64)):
        with pytest.raises(ValueError, match="needs vLLM, which is not installed"):
            call()


def test_vllm_is_refused_images_before_anything_is_sampled(folder):
    with_image = Item(id="x", prompt=[{"role": "user", "content": "?"}], reference_answer="A", images=("image",))
    parts = [(load_benchmark("math500"), item()), (load_benchmark("geometry3k"), with_image)]
    works = [Work(benchmark=b, items=[i], samples=1, max_new_tokens=4, longest=4) for b, i in parts]
    with pytest.raises(ValueError, match="geometry3k has images, which vLLM does not read here: choose 'transformers'"):
        start("vllm", Checkpoint("tiny", str(folder)), Sampling(), works, "cpu")

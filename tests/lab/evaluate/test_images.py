"""Sampling with images, and loading policies that read them or don't; Qwen2.5-VL's class, tiny."""

from __future__ import annotations

import pytest
import torch
from datasets import Dataset
from peft import LoraConfig, get_peft_model
from PIL import Image
from transformers import AutoProcessor

from echorl.lab.compare.score import Policy
from echorl.lab.evaluate.sampling import ends_of, images_of, sample
from echorl.models.loading import load_policy, tokenizer_of
from tests.trl import tiny, tiny_vision

PICTURES = [tiny_vision.make_pictures(row) for row in (0, 2, 1)]
OPTIONS = dict(group_size=2, max_new_tokens=6, batch_size=4)


def with_parts(text: str, num_images: int):
    """As a benchmark's items are: places for the images, then the text."""
    return [{"role": "user", "content": [*[{"type": "image"}] * num_images, {"type": "text", "text": text}]}]


PROMPTS = [with_parts(f"{i}+1=?", len(images)) for i, images in enumerate(PICTURES)]


@pytest.fixture(scope="module")
def policy():
    return tiny_vision.make_model(), tiny_vision.make_processor()


@pytest.fixture(scope="module")
def completions(policy):
    return sample(*policy, PROMPTS, images=PICTURES, **OPTIONS)


def test_entropies_are_those_of_a_forward_with_the_prompts_own_images(policy, completions):
    """One prompt at a time, so that neither padding nor the images of changed can matter."""
    model, processor = policy
    for row, ids in enumerate(completions.token_ids):
        text = processor.apply_chat_template(PROMPTS[row // 2], tokenize=False, add_generation_prompt=True)
        inputs = processor(text=[text], images=PICTURES[row // 2], return_tensors="pt")
        length = inputs["input_ids"].shape[1]
        inputs["input_ids"] = torch.cat([inputs["input_ids"], torch.tensor([ids])], 1)
        inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
        inputs["mm_token_type_ids"] = torch.nn.functional.pad(inputs["mm_token_type_ids"], (0, len(ids)))
        with torch.no_grad():
            probs = model(**inputs).logits[0, length - 1 : -1].softmax(-1)
        expected = torch.special.entr(probs).sum(-1)
        torch.testing.assert_close(torch.tensor(completions.entropies[row]), expected, atol=1e-5, rtol=1e-4)


def test_the_images_matter(policy, completions):
    changed = [list(reversed(images)) if len(images) > 1 else [Image.new("RGB", (28, 28))] for images in PICTURES]
    assert sample(*policy, PROMPTS, images=changed, **OPTIONS).entropies != completions.entropies


def test_images_come_before_a_text_that_has_no_places_for_them(policy, completions):
    plain = [[{"role": "user", "content": f"{i}+1=?"}] for i in range(3)]
    sampled = sample(*policy, plain, images=PICTURES, **OPTIONS)
    assert (sampled.token_ids, sampled.entropies) == (completions.token_ids, completions.entropies)


def test_a_prompt_without_images_among_others(policy, completions):
    prompts, images = [PROMPTS[0], with_parts("2=?", 0)], [PICTURES[0], None]
    alone = sample(*policy, prompts[1:], images=images[1:], group_size=1, max_new_tokens=6)
    both = sample(*policy, prompts, images=images, group_size=1, max_new_tokens=6)
    assert both.entropies[0][0] == pytest.approx(completions.entropies[0][0], rel=1e-5)
    assert both.entropies[1][0] == pytest.approx(alone.entropies[0][0], rel=1e-5)


def test_text_alone_is_sampled_as_with_the_tokenizer(policy):
    model, processor = policy
    prompts = ["1+1=?\n", "12345=?\n"]
    with_processor = sample(model, processor, prompts, **OPTIONS)
    assert with_processor == sample(model, processor.tokenizer, prompts, **OPTIONS)
    assert ends_of(model, processor) == ends_of(model, processor.tokenizer)


def test_no_image_token_is_sampled(policy):
    model, processor = policy
    sampled = sample(model, processor, PROMPTS, images=PICTURES, group_size=32, max_new_tokens=6)
    assert not any(model.config.image_token_id in ids for ids in sampled.token_ids)


@pytest.mark.parametrize(
    ("prompt", "images", "message"),
    [
        ("1+1=?", PICTURES[0], "a prompt of plain text has images: give chat messages"),
        (with_parts("1+1=?", 2), PICTURES[0], "a prompt has 1 images and 2 places for images"),
        (with_parts("1+1=?", 1), None, "a prompt has 0 images and 1 places for images"),
    ],
)
def test_images_and_their_places_must_agree(policy, prompt, images, message):
    with pytest.raises(ValueError, match=message):
        sample(*policy, [prompt], images=[images], **OPTIONS)


def test_a_model_of_text_takes_no_images():
    with pytest.raises(ValueError, match="the policy has no processor for them"):
        sample(tiny.make_model(), tiny.make_tokenizer(), [PROMPTS[0]], images=[PICTURES[0]], **OPTIONS)


def test_images_of_rows():
    rows = tiny_vision.make_rows(2, PICTURES[1:], number=[1, 2])
    assert [len(images) for images in images_of(rows)] == [len(images) for images in PICTURES[1:]]
    single = rows.map(lambda row: {"image": row["images"][0]}, remove_columns="images")
    assert [images[0].size for images in images_of(single)] == [images[0].size for images in PICTURES[1:]]
    assert images_of(Dataset.from_dict({"prompt": ["1"]})) is None


# -- loading ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("vision")
    tiny_vision.make_model().save_pretrained(folder)
    tiny_vision.save_processor(folder)
    return folder


def same_weights(first, second):
    pairs = zip(first.named_parameters(), second.named_parameters(), strict=True)
    return all(a == b and torch.equal(p, q) for (a, p), (b, q) in pairs)


def test_a_text_model_comes_with_its_tokenizer(tmp_path):
    tiny.make_model().save_pretrained(tmp_path)
    tiny.make_tokenizer().save_pretrained(tmp_path)
    model, tokenizer = load_policy(tmp_path)
    assert same_weights(model, tiny.make_model())
    assert tokenizer_of(tokenizer) is tokenizer
    assert tokenizer.padding_side == "left"


@tiny_vision.needs_torchvision
def test_a_model_that_reads_images_comes_with_its_processor(folder, completions):
    model, processor = load_policy(str(folder))
    assert same_weights(model, tiny_vision.make_model())
    assert tokenizer_of(processor).padding_side == "left"
    sampled = sample(model, processor, PROMPTS, images=PICTURES, **OPTIONS)
    assert sampled.token_ids == completions.token_ids


def test_without_torchvision_it_is_named(folder, monkeypatch):
    def refuse(*_, **__):
        raise ImportError("Qwen2VLVideoProcessor requires the Torchvision library")

    monkeypatch.setattr(AutoProcessor, "from_pretrained", refuse)
    monkeypatch.setattr("transformers.utils.is_torchvision_available", lambda: False)
    with pytest.raises(ValueError, match=r"the processor of .* needs torchvision: pip install .*\[images\]'\."):
        load_policy(folder)


def test_an_adapter_is_merged_into_its_model(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(AutoProcessor, "from_pretrained", lambda *a, **k: tiny_vision.make_processor())
    base = tiny_vision.make_model()
    base.name_or_path = base.config._name_or_path = str(folder)
    torch.manual_seed(0)
    adapted = get_peft_model(base, LoraConfig(target_modules=["q_proj"], init_lora_weights=False))
    adapted.save_pretrained(tmp_path)
    model, _ = load_policy(tmp_path)
    assert same_weights(model, adapted.merge_and_unload())
    assert not same_weights(model, tiny_vision.make_model())


def test_a_comparisons_policy_is_scored_on_rows_with_images(folder, monkeypatch):
    monkeypatch.setattr(AutoProcessor, "from_pretrained", lambda *a, **k: tiny_vision.make_processor())
    policy = Policy.load(folder, max_new_tokens=6)
    rows = tiny_vision.make_varied_rows(3)
    seen = []

    def verifier(completions, number, **_):
        seen.extend(number)
        return [1.0] * len(completions)

    scores = policy.score(rows, verifier, samples=2, temperature=1.0)
    images = [tiny_vision.make_pictures(row) for row in range(3)]
    expected = sample(policy.model, policy.tokenizer, rows["prompt"][:], images=images, group_size=2, max_new_tokens=6)
    assert seen == [0, 0, 1, 1, 2, 2]
    assert (scores["right"], scores["samples"]) == ([2, 2, 2], 2)
    assert scores["length"] == sum(map(len, expected.token_ids)) / 6

"""A tiny Qwen2.5-VL with a processor made on the spot, and rows with images.

The processor is the real one for text and images, its images prepared by PIL. It has no part for videos: that needs
torchvision, as does `AutoProcessor.from_pretrained` for this model. `save_processor` writes the whole real one, and
tests that load it are skipped where torchvision is missing.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from datasets import Dataset, Features, Image, Value
from PIL import Image as Pictures
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration, Qwen2_5_VLProcessor
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil
from transformers.utils import is_torchvision_available

from tests.trl.tiny import make_tokenizer

SPECIAL = ["<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>"]
TEMPLATE = """{% for message in messages %}{% for part in message.content %}{% if part.type == 'image' %}\
<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ part.text }}{% endif %}{% endfor %}
{% endfor %}"""


PIXELS = dict(min_pixels=28 * 28, max_pixels=56 * 56)

needs_torchvision = pytest.mark.skipif(
    not is_torchvision_available(), reason="torchvision is not installed: loading Qwen2.5-VL's processor needs it"
)


class ImageProcessor(Qwen2_5_VLProcessor):
    """Without videos."""

    def __init__(self, image_processor=None, tokenizer=None, chat_template=None, **kwargs):
        self.image_token, self.video_token = SPECIAL[:2]
        self.image_token_id, self.video_token_id = tokenizer.convert_tokens_to_ids(SPECIAL[:2])
        super(Qwen2_5_VLProcessor, self).__init__(image_processor, tokenizer, chat_template=chat_template)


def make_processor() -> ImageProcessor:
    tokenizer = make_tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": SPECIAL})
    return ImageProcessor(Qwen2VLImageProcessorPil(**PIXELS), tokenizer, chat_template=TEMPLATE)


def save_processor(folder: Path) -> None:
    """Into the model's folder, the whole one where torchvision is there; else its part for videos is missing."""
    processor = make_processor()
    if is_torchvision_available():
        from transformers import Qwen2VLVideoProcessor

        parts = (processor.image_processor, processor.tokenizer, Qwen2VLVideoProcessor())
        processor = Qwen2_5_VLProcessor(*parts, chat_template=TEMPLATE)
    processor.save_pretrained(folder)
    path = folder / "processor_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "processor_class": "Qwen2_5_VLProcessor"}))


def make_model(seed: int = 0) -> Qwen2_5_VLForConditionalGeneration:
    tokenizer = make_processor().tokenizer
    names = ("image_token_id", "video_token_id", "vision_start_token_id", "vision_end_token_id")
    ids = dict(zip(names, tokenizer.convert_tokens_to_ids(SPECIAL), strict=True))
    size = dict(hidden_size=32, intermediate_size=64, initializer_range=0.5)  # so that positions matter
    text = dict(
        vocab_size=len(tokenizer),
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        rope_parameters=dict(rope_type="default", rope_theta=10_000.0, mrope_section=[2, 3, 3]),
        pad_token_id=0,
        eos_token_id=1,
        bos_token_id=None,
    )
    vision = dict(depth=2, num_heads=2, out_hidden_size=32, fullatt_block_indexes=[1])
    torch.manual_seed(seed)
    config = Qwen2_5_VLConfig(text_config={**size, **text}, vision_config={**size, **vision}, **ids)
    model = Qwen2_5_VLForConditionalGeneration(config)
    model.generation_config.eos_token_id, model.generation_config.pad_token_id = 1, 0
    return model


def make_pictures(row: int) -> list[Pictures.Image]:
    """One to three pictures of other sizes and colours than those of the neighbouring rows."""
    sizes = [(56, 56), (28, 84), (84, 28), (28, 28)]
    return [Pictures.new("RGB", sizes[(row + i) % 4], (40 * row % 256, 90 * i, 200)) for i in range(1 + row % 3)]


def make_varied_rows(size: int = 32) -> Dataset:
    """Chat prompts, `number`, and one to three images a row."""
    prompts = [[{"role": "user", "content": f"{i % 10}+{(i * 7) % 10}=?"}] for i in range(size)]
    return make_rows(size, [make_pictures(i) for i in range(size)], prompt=prompts, number=list(range(size)))


def make_rows(size: int = 16, pictures: list[list[Pictures.Image]] | None = None, **columns) -> Dataset:
    """`images`, a red one unless told, and a column for each keyword: values, or one value for all rows."""
    pictures = pictures or [[Pictures.new("RGB", (56, 56), (200, 10, 10))]] * size
    rows = [{name: v[i] if isinstance(v, list) else v for name, v in columns.items()} for i in range(size)]
    messages = [{"role": Value("string"), "content": Value("string")}]
    kinds = {str: Value("string"), int: Value("int64"), list: messages}
    features = Features({"images": [Image()], **{name: kinds[type(rows[0][name])] for name in columns}})
    both = zip(pictures, rows, strict=True)
    return Dataset.from_list([{"images": own, **row} for own, row in both], features=features)

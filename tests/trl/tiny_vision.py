"""A tiny Qwen2.5-VL with a processor made on the spot, and rows with an image.

The processor is the real one for text and images. It has no part for videos: that needs torchvision, as does
`AutoProcessor.from_pretrained` for this model, so that loading a processor from a folder is not tested.
"""

from __future__ import annotations

import torch
from datasets import Dataset, Features, Image, Value
from PIL import Image as Pictures
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration, Qwen2_5_VLProcessor
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from tests.trl.tiny import make_tokenizer

SPECIAL = ["<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>"]
TEMPLATE = """{% for message in messages %}{% for part in message.content %}{% if part.type == 'image' %}\
<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ part.text }}{% endif %}{% endfor %}
{% endfor %}"""


class ImageProcessor(Qwen2_5_VLProcessor):
    """Without videos."""

    def __init__(self, image_processor=None, tokenizer=None, chat_template=None, **kwargs):
        self.image_token, self.video_token = SPECIAL[:2]
        self.image_token_id, self.video_token_id = tokenizer.convert_tokens_to_ids(SPECIAL[:2])
        super(Qwen2_5_VLProcessor, self).__init__(image_processor, tokenizer, chat_template=chat_template)


def make_processor() -> ImageProcessor:
    tokenizer = make_tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": SPECIAL})
    pictures = Qwen2VLImageProcessorPil(min_pixels=28 * 28, max_pixels=56 * 56)
    return ImageProcessor(pictures, tokenizer, chat_template=TEMPLATE)


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


def make_rows(size: int = 16, **columns) -> Dataset:
    """`images`, and a column for each keyword: values, or one value for all rows."""
    picture = Pictures.new("RGB", (56, 56), (200, 10, 10))
    rows = [{name: v[i] if isinstance(v, list) else v for name, v in columns.items()} for i in range(size)]
    kinds = {name: Value("string") if isinstance(rows[0][name], str) else _messages() for name in columns}
    features = Features({"images": [Image()], **kinds})
    return Dataset.from_list([{"images": [picture], **row} for row in rows], features=features)


def _messages() -> list:
    return [{"role": Value("string"), "content": Value("string")}]

"""A checkpoint's model, and what turns its prompts into tokens; Hugging Face folders with or without images."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def load_policy(folder: str | Path, device: str = "cpu") -> tuple[Any, Any]:
    """(model, processing class): of a model that reads images its processor, else its tokenizer.

    `folder` is a Hugging Face folder, or a model's name on the hub; an adapter is merged into its model. The tokenizer
    pads on the left, as `sample` needs it.

    Raises:
        ValueError: the model reads images and the package for that is missing; the message names it.
        OSError: transformers finds no such model.
    """
    adapter = (Path(folder) / "adapter_config.json").exists()
    if _reads_images(_base_of(folder) if adapter else folder):
        return _load_image_model(folder, adapter).to(device), load_processor(folder)
    from transformers import AutoModelForCausalLM, AutoTokenizer

    if adapter:
        from peft import AutoPeftModelForCausalLM

        model = AutoPeftModelForCausalLM.from_pretrained(folder).merge_and_unload()
    else:
        model = AutoModelForCausalLM.from_pretrained(folder)
    return model.to(device), AutoTokenizer.from_pretrained(folder, padding_side="left")


def load_processor(folder: str | Path) -> Any:
    """The processor of a model that reads images.

    Raises:
        ValueError: torchvision is missing, which most of these processors need.
    """
    from transformers import AutoProcessor
    from transformers.utils import is_torchvision_available

    try:
        return AutoProcessor.from_pretrained(folder, padding_side="left")
    except (ImportError, ValueError) as error:
        if is_torchvision_available():
            raise
        raise ValueError(f"the processor of {folder} needs torchvision: pip install torchvision.") from error


def tokenizer_of(processing_class: Any) -> Any:
    """The tokenizer of a processor, or the tokenizer itself."""
    from transformers import ProcessorMixin

    return processing_class.tokenizer if isinstance(processing_class, ProcessorMixin) else processing_class


def _base_of(adapter: str | Path) -> str:
    from peft import PeftConfig

    return PeftConfig.from_pretrained(adapter).base_model_name_or_path


def _reads_images(folder: str | Path) -> bool:
    from transformers import AutoConfig
    from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING

    return type(AutoConfig.from_pretrained(folder)) in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING


def _load_image_model(folder: str | Path, adapter: bool) -> Any:
    from transformers import AutoModelForImageTextToText

    if not adapter:
        return AutoModelForImageTextToText.from_pretrained(folder)
    from peft import PeftModel

    base = AutoModelForImageTextToText.from_pretrained(_base_of(folder))
    return PeftModel.from_pretrained(base, folder).merge_and_unload()

"""Loading of a checkpoint's model and of its tokenizer or processor, from Hugging Face folders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from echorl.support.installed import install_command


def load_policy(folder: str | Path, device: str = "cpu") -> tuple[Any, Any]:
    """The model and its processing class: the processor of a model that reads images, else the tokenizer.

    `folder` is a Hugging Face folder, or a model's name on the hub. An adapter is merged into its model. The tokenizer
    pads on the left, as generation needs it.

    Raises:
        ValueError: the model reads images and the package for that is missing; the message names it.
        OSError: transformers finds no such model.
    """
    return load_model(folder, device), load_processing_class(folder)


def load_model(folder: str | Path, device: str = "cpu") -> Any:
    """The model without its tokenizer; folder and errors as for `load_policy`."""
    base = base_of(folder)
    load = _load_image_model if reads_images(base or folder) else _load_model
    return load(folder, base).to(device)


def load_processing_class(folder: str | Path) -> Any:
    """The processor of a model that reads images, else the tokenizer, with a token to pad; errors as `load_policy`."""
    from transformers import AutoTokenizer

    if reads_images(base_of(folder) or folder):
        processing_class = load_processor(folder)
    else:
        processing_class = AutoTokenizer.from_pretrained(folder, padding_side="left")
    tokenizer = tokenizer_of(processing_class)
    if tokenizer.pad_token is None:  # such as Llama 3's; tokens after a completion's end are not read
        tokenizer.pad_token = tokenizer.eos_token
    return processing_class


def load_processor(folder: str | Path) -> Any:
    """The processor of a model that reads images.

    Raises:
        ValueError: torchvision is missing, which most of these processors need.
    """
    from transformers import AutoProcessor
    from transformers.utils import is_torchvision_available

    try:
        return AutoProcessor.from_pretrained(folder, padding_side="left")
    except (ImportError, OSError, ValueError) as error:  # the missing package has various errors in transformers
        if is_torchvision_available():
            raise
        raise ValueError(f"the processor of {folder} needs torchvision: {install_command('images')}.") from error


def tokenizer_of(processing_class: Any) -> Any:
    """The tokenizer of a processor, or the tokenizer itself."""
    from transformers import ProcessorMixin

    return processing_class.tokenizer if isinstance(processing_class, ProcessorMixin) else processing_class


def base_of(folder: str | Path) -> str | None:
    """Name of the model to which the adapter in this folder belongs; None if the folder holds a whole model."""
    if not (Path(folder) / "adapter_config.json").exists():
        return None
    from peft import PeftConfig

    return PeftConfig.from_pretrained(str(folder)).base_model_name_or_path


def reads_images(folder: str | Path) -> bool:
    """Return whether the model takes images and text."""
    from transformers import AutoConfig

    return is_image_config(AutoConfig.from_pretrained(folder))


def is_image_config(config: Any) -> bool:
    """Return whether the transformers configuration is that of a model that takes images and text."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING

    return type(config) in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING


def _load_model(folder: str | Path, base: str | None) -> Any:
    from transformers import AutoModelForCausalLM

    if base is None:
        return AutoModelForCausalLM.from_pretrained(folder)
    from peft import AutoPeftModelForCausalLM

    return AutoPeftModelForCausalLM.from_pretrained(folder).merge_and_unload()


def _load_image_model(folder: str | Path, base: str | None) -> Any:
    from transformers import AutoModelForImageTextToText

    if base is None:
        return AutoModelForImageTextToText.from_pretrained(folder)
    from peft import PeftModel

    return PeftModel.from_pretrained(AutoModelForImageTextToText.from_pretrained(base), folder).merge_and_unload()

"""What a recipe needs of TRL's own command line, so that nothing outside this folder imports trl."""

from trl import ModelConfig, TrlParser, get_peft_config, get_quantization_config

__all__ = ["ModelConfig", "TrlParser", "get_peft_config", "get_quantization_config"]

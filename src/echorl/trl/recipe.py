"""What recipes need of TRL besides its GRPO trainer, so that nothing outside this folder imports trl."""

from trl import ModelConfig, SFTConfig, SFTTrainer, TrlParser, get_peft_config, get_quantization_config

__all__ = ["ModelConfig", "SFTConfig", "SFTTrainer", "TrlParser", "get_peft_config", "get_quantization_config"]

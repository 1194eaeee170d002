"""Names of TRL that recipes need besides its GRPO trainer, so that nothing outside this folder imports trl."""

from echorl.trl.versions import blaming_vllm, check_trl_version

check_trl_version()

with blaming_vllm():
    import trl
    from trl import ModelConfig, SFTConfig, TrlParser, get_peft_config, get_quantization_config

    from echorl.trl.card import FolderInCard
    from echorl.trl.tied_weights import QuietOnTiedWeights

__all__ = ["ModelConfig", "SFTConfig", "SFTTrainer", "TrlParser", "get_peft_config", "get_quantization_config"]


class SFTTrainer(FolderInCard, QuietOnTiedWeights, trl.SFTTrainer):
    """TRL's `SFTTrainer` with cards that name a base model in a folder, and no warning on tied weights."""

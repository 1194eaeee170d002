"""EchoRL in TRL: `EchoGRPOConfig` and `EchoGRPOTrainer`, to be used as TRL's `GRPOConfig` and `GRPOTrainer`."""

from echorl.trl.versions import blaming_vllm, check_trl_version

check_trl_version()

with blaming_vllm():
    from echorl.trl.config import EchoGRPOConfig
    from echorl.trl.trainer import EchoGRPOTrainer

__all__ = ["EchoGRPOConfig", "EchoGRPOTrainer"]

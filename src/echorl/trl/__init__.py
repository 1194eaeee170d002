"""EchoRL in TRL: `EchoGRPOConfig` and `EchoGRPOTrainer`, to be used as TRL's `GRPOConfig` and `GRPOTrainer`."""

from echorl.trl.versions import check_trl_version

check_trl_version()

from echorl.trl.config import EchoGRPOConfig  # noqa: E402
from echorl.trl.trainer import EchoGRPOTrainer  # noqa: E402

__all__ = ["EchoGRPOConfig", "EchoGRPOTrainer"]

"""The trainer that axolotl builds; in a file of its own, since axolotl imports its trainers late."""

from axolotl.core.trainers.grpo.trainer import AxolotlGRPOTrainer

from echorl.trl import EchoGRPOTrainer


class AxolotlEchoTrainer(EchoGRPOTrainer, AxolotlGRPOTrainer):
    """`EchoGRPOTrainer` with axolotl's optimisers, schedulers and parallelism."""

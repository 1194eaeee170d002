"""A method of one's own in one file: a rule for advantages, used by its name FILE:CLASS.

    python examples/my_method.py

Groups whose rollouts all succeed get a small advantage, which GRPO gives none. The script trains the small policy that
comes with echorl with this rule and prints what it did; `echorl train`, `probe` and `compare` take the same name as
--method (docs/guides/own-method.md). Ten seconds on an idle CPU.
"""

from dataclasses import dataclass

import torch

from echorl.methods import Method, option


@dataclass(frozen=True, kw_only=True)
class SolvedBonus(Method):
    settings = {"loss_type": "grpo"}

    bonus: float = option(0.1, "Advantage of a rollout in an all-success group.", ge=0)

    def advantages(self, advantages, rollouts):
        return torch.where(rollouts.all_success, self.bonus, advantages)


def main():
    from trl_cpu import make_rows, print_less, right_sum

    from echorl.models import path
    from echorl.trl import EchoGRPOConfig, EchoGRPOTrainer

    torch.set_num_threads(1)  # faster for a policy this small
    args = EchoGRPOConfig(
        "runs/my-method",
        method=f"{__file__}:SolvedBonus",
        method_options={"bonus": 0.2},
        echo_coef=0.0,  # the rule alone; above 0 EchoRL is added to it
        num_generations=8,
        per_device_train_batch_size=32,
        max_completion_length=80,
        max_steps=3,
        learning_rate=1e-4,
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        use_cpu=True,
        bf16=False,
    )
    trainer = EchoGRPOTrainer(path("quickstart"), right_sum, args, train_dataset=make_rows())
    print_less(trainer)
    trainer.train()
    print(f"{trainer.statistics.groups['all_success']} all-success groups had an advantage of {args.method_options}.")


if __name__ == "__main__":
    main()

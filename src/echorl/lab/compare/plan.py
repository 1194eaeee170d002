"""Plan of a comparison: arms, learning rates, seeds, budget and tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from echorl.core.options import option
from echorl.lab.compare.plan_checks import check_plan, tests_by_name

TRAINING = "training"
"""The table of the runs' costs, beside those of the tests."""


@dataclass(frozen=True)
class Run:
    """One training: an arm at a learning rate with a seed. `rate` None: the recipe's."""

    arm: str
    rate: float | None
    seed: int

    @property
    def name(self) -> str:
        """The run's name, which is also its folder below the comparison's."""
        return f"{self.arm}/{f'rate-{self.rate:g}' if self.rate else 'rate-of-recipe'}/seed-{self.seed}"


Validation = Mapping[Run, float | None]
"""Run of the grid -> its pass@1 on the validation split; None: it diverged, which is worse than any score."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Arms that differ in their options alone, each run with every seed for the same rollout tokens or steps.

    Every arm tries all `learning_rates` with the `grid_seeds` and keeps the rate with the best pass@1 on the task's
    validation split; with `grid_arm`, only that arm tries them, for all. Every arm then runs at the chosen rate with
    `seeds`, which had no part in the choice, and its policies are scored on the tests. An arm with `max_steps: 0` is
    not trained: the tests score the model that the runs begin from.

    Attributes:
        recipe: YAML of `echorl train` that all runs share, or several laid over each other.
        arms: name -> the options that make the arm.
        learning_rates: rates that are tried; empty for the recipe's rate, untuned.
        grid_seeds: seeds that `seeds` does not have, since a rate is kept for runs that looked good.
        grid_arm: the only arm that tries the rates, or None.
        references: arm -> the arm that it is compared with; by default the first arm.
        tests: name -> `split` (by default the name) and the task's options that differ; or a list of splits, which
            becomes such a mapping. The splits "train" and "validation" are not allowed.
        averages: name -> tests that are taken together, with equal weights.
        validation: `prompts` and `samples` of the validation split, where they differ from the tests'.
        pass_at: the k of pass@k; empty for 1 and `samples`.
        notes: the study's text beside its numbers (`echorl.lab.compare.notes`).

    Raises:
        ValueError: a value is not allowed; the message names it and what is.
    """

    recipe: tuple[str, ...]
    arms: Mapping[str, Mapping[str, Any]]
    output_dir: str = field(metadata={"help": "Folder of the runs and results."})
    rollout_tokens: int | None = option(
        None, "Response tokens of a run, which ends with the generation batch that reaches them.", ge=1
    )
    steps: int | None = option(None, "Optimiser steps of a run, instead of `rollout_tokens`.", ge=1)
    seeds: tuple[int, ...] = (0, 1, 2)
    learning_rates: tuple[float, ...] = ()
    grid_seeds: tuple[int, ...] = (1000,)
    grid_arm: str | None = None
    references: Mapping[str, str] = field(default_factory=dict)
    tests: Mapping[str, Mapping[str, Any]] | Sequence[str] = ("test",)
    averages: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    prompts: int = option(128, "Prompts of each test.", ge=1)
    samples: int = option(8, "Completions of each prompt.", ge=1)
    validation: Mapping[str, int] = field(default_factory=dict)
    pass_at: tuple[int, ...] = ()
    greedy: bool = option(False, "Score each prompt's likeliest completion in the tests, too.")
    temperature: float = option(1.0, "Temperature of the tests' samples.", gt=0)
    batch_size: int = option(128, "Completions that the tests sample at a time, on which the samples depend.", ge=1)
    share_prompts: bool = option(False, "Whether the tests compute a prompt once for all of its samples.")
    bf16: bool = option(False, "Whether the tests compute under bf16 autocast, as TRL's `bf16` does in training.")
    parallel: int = option(1, "Runs at a time, each a process.", ge=1)
    threads: int = option(1, "CPU threads of each process.", ge=1)
    notes: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "tests", tests_by_name(self.tests))
        check_plan(self)

    @classmethod
    def from_lists(cls, values: Mapping[str, Any]) -> Comparison:
        """Return the comparison of these options, in which lists stand for tuples."""
        options: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in values.items()
        }
        return cls(**options)

    def split_of(self, test: str) -> str:
        """Return the task's split of a test, or of "validation"."""
        return str(self._options_of(test).get("split", test))

    def task_options_of(self, test: str) -> dict[str, Any]:
        """Return the task's options that differ from the recipe's."""
        return {name: value for name, value in self._options_of(test).items() if name != "split"}

    def _options_of(self, test: str) -> Mapping[str, Any]:
        assert isinstance(self.tests, Mapping)  # since `__post_init__`
        return self.tests.get(test, {})

    def size_of(self, test: str) -> dict[str, Any]:
        """`prompts`, `samples`, `temperature`, `greedy` of a test or of "validation", and what else is set."""
        size = {"prompts": self.prompts, "samples": self.samples, "temperature": self.temperature, "greedy": False}
        for name in ("batch_size", "share_prompts", "bf16"):  # a later default changes no key of stored scores
            if getattr(self, name) != getattr(Comparison, name):
                size[name] = getattr(self, name)
        return {**size, **(self.validation if test == "validation" else {"greedy": self.greedy})}

    @property
    def budget(self) -> tuple[str, int]:
        """The option by which a run ends, "rollout_tokens" or "steps", and its value."""
        if self.steps is not None:
            return "steps", self.steps
        assert self.rollout_tokens is not None, "checked at the beginning"
        return "rollout_tokens", self.rollout_tokens

    def is_trained(self, arm: str) -> bool:
        """Return whether an arm is trained; `max_steps: 0` makes it the model that the runs begin from."""
        return self.arms[arm].get("max_steps") != 0

    @property
    def ks(self) -> list[int]:
        """The k of pass@k, ascending."""
        return sorted(set(self.pass_at or (1, self.samples)))

    def reference_of(self, arm: str) -> str | None:
        """Return the arm that this one is compared with; None for the first, unless `references` has it."""
        first = next(iter(self.arms))
        return self.references.get(arm, first if arm != first else None)

    def grid(self) -> list[Run]:
        """Return the runs that choose the learning rates; none for fewer than two rates."""
        if len(self.learning_rates) < 2:
            return []
        return [
            Run(arm, rate, seed) for seed in self.grid_seeds for rate in self.learning_rates for arm in self.grid_arms
        ]

    @property
    def grid_arms(self) -> list[str]:
        """The arms that try the rates."""
        return [self.grid_arm] if self.grid_arm else [arm for arm in self.arms if self.is_trained(arm)]

    def chosen(self, validation: Validation) -> dict[str, float | None]:
        """Arm -> its rate: the best mean over the grid's seeds of pass@1 on validation; of equal ones the lowest.

        Raises:
            ValueError: an arm diverged at every rate.
        """
        rates: dict[str, float | None] = dict.fromkeys(self.arms)
        for arm in filter(self.is_trained, self.arms):
            if len(self.learning_rates) > 1:
                rates[arm] = self._best(self.grid_arm or arm, validation)
            elif self.learning_rates:
                rates[arm] = self.learning_rates[0]
        return rates

    def _best(self, arm: str, validation: Validation) -> float:
        means = {rate: self.grid_mean(arm, rate, validation) for rate in sorted(self.learning_rates)}
        finite = {rate: mean for rate, mean in means.items() if mean is not None}
        if not finite:
            raise ValueError(f"arm {arm!r} diverged at every learning rate of the grid: put lower ones into it.")
        return max(finite, key=finite.__getitem__)

    def grid_mean(self, arm: str, rate: float, validation: Validation) -> float | None:
        """Return the mean over the grid's seeds; None where one of them diverged."""
        values = [validation[Run(arm, rate, seed)] for seed in self.grid_seeds]
        scores = [value for value in values if value is not None]
        return sum(scores) / len(scores) if len(scores) == len(values) else None

    def edges(self, rates: Mapping[str, float | None]) -> dict[str, str]:
        """Arm that tried the rates -> "lowest" or "highest", where its rate is at that end of the grid."""
        if len(self.learning_rates) < 2:
            return {}
        ends = {min(self.learning_rates): "lowest", max(self.learning_rates): "highest"}
        return {arm: ends[rate] for arm in self.grid_arms if (rate := rates[arm]) in ends and rate is not None}

    def final(self, rates: Mapping[str, float | None]) -> list[Run]:
        """Return the runs that are compared: every arm at its rate with every seed."""
        return [Run(arm, rates[arm], seed) for seed in self.seeds for arm in self.arms]

"""Plan of a comparison: arms, learning rates, seeds, budget and tests."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from echorl.lab.compare.notes import check_notes

OWNED = ("seed", "learning_rate", "max_rollout_tokens", "max_steps", "output_dir", "resume_from_checkpoint")
"""Options of a run that the comparison sets itself."""

RESULTS = ("results.json", "results.md")
"""The comparison's tables, beside the arms' folders."""
LONGEST_NAME = 200
"""In bytes; file systems take 255, of which endings need some."""

TRAINING = "training"
"""The table of what the runs took, beside those of the tests."""
CHOOSING = ("train", "validation")
"""Splits that train and that choose the learning rates: no test."""


@dataclass(frozen=True)
class Run:
    """One training: an arm at a learning rate with a seed. `rate` None: the recipe's."""

    arm: str
    rate: float | None
    seed: int

    @property
    def name(self) -> str:
        """Also its folder, below the comparison's."""
        return f"{self.arm}/{f'rate-{self.rate:g}' if self.rate else 'rate-of-recipe'}/seed-{self.seed}"


Validation = Mapping[Run, float | None]
"""Run of the grid -> its pass@1 on the validation split; None: it diverged, which is worse than any score."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Arms that differ in their options alone, each run with every seed for the same rollout tokens or steps.

    Every arm tries all `learning_rates` with the `grid_seeds` and keeps the rate with the best pass@1 on the task's
    validation split; with `grid_arm`, only that arm tries them, for all. Every arm then runs at the chosen rate with
    `seeds`, of which none has had a say in the choice, and the tests decide. An arm with `max_steps: 0` is not trained:
    the tests score the model that the runs begin from.

    Raises:
        ValueError: a value is not allowed; the message names it and what is.
    """

    recipe: tuple[str, ...]
    """YAML of `echorl train` that all runs share, or several laid over each other; relative to the study's file."""
    arms: Mapping[str, Mapping[str, Any]]
    """Name -> the options that make the arm."""
    output_dir: str
    rollout_tokens: int | None = None
    """Response tokens that a run may sample; it ends with the generation batch that reaches them."""
    steps: int | None = None
    """Optimiser steps of a run, instead of `rollout_tokens`."""
    seeds: tuple[int, ...] = (0, 1, 2)
    learning_rates: tuple[float, ...] = ()
    """Empty: the recipe's rate, untuned."""
    grid_seeds: tuple[int, ...] = (1000,)
    """None of `seeds`: the tests' runs would otherwise hold those that looked best on the grid."""
    grid_arm: str | None = None
    references: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Arm -> the arm that it is compared with; the others are with the first arm."""
    tests: Mapping[str, Mapping[str, Any]] | Sequence[str] = ("test",)
    """Name -> `split` (else the name), none of those that train and choose, and the task's options that differ; or
    splits alone, which become a mapping."""
    averages: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    """Name -> tests that are taken together, with equal weights."""
    prompts: int = 128
    """Prompts of each test."""
    samples: int = 8
    """Completions of each prompt."""
    validation: Mapping[str, int] = dataclasses.field(default_factory=dict)
    """`prompts` and `samples` of the validation split, where they differ from the tests'."""
    pass_at: tuple[int, ...] = ()
    """The k of pass@k; empty: 1 and `samples`."""
    greedy: bool = False
    """Whether the tests also score each prompt's likeliest completion."""
    temperature: float = 1.0
    batch_size: int = 128
    """Completions that the tests sample at a time; another number gives other samples."""
    parallel: int = 1
    """Runs at a time, each a process."""
    threads: int = 1
    """CPU threads of each."""
    notes: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """What the study says in words beside its numbers; see `echorl.lab.compare.notes`."""

    def __post_init__(self) -> None:
        self._check_sizes()
        if not _is_positive(self.temperature):
            raise ValueError(f"temperature={self.temperature!r} is not allowed: it must be a positive number.")
        self._check_arms()
        self._check_seeds()
        self._check_rates()
        self._check_tests()
        check_notes(self.notes, self.arms)

    def _check_seeds(self) -> None:
        for name in ("seeds", "grid_seeds"):
            values = getattr(self, name)
            if not all(_is_whole(seed) and seed >= 0 for seed in values):
                raise ValueError(f"{name}={list(values)} is not allowed: a seed is a whole number from 0 on.")
            if not values or len(set(values)) < len(values):
                raise ValueError(f"{name}={list(values)} is not allowed: name each seed once, at least one.")
        if both := sorted(set(self.seeds) & set(self.grid_seeds)):
            raise ValueError(
                f"grid_seeds={list(self.grid_seeds)} and seeds share {both[0]}: the grid needs seeds of its own, else "
                "the tests hold the runs that were chosen for looking well."
            )

    def _check_rates(self) -> None:
        shown = list(self.learning_rates)
        if not all(isinstance(rate, float) and _is_positive(rate) for rate in shown):
            raise ValueError(f"learning_rates={shown} must be positive numbers, such as 1.0e-6.")
        if len({f"{rate:g}" for rate in shown}) < len(shown):
            raise ValueError(f"learning_rates={shown} is not allowed: two of them are equal to six digits; drop one.")

    def _check_tests(self) -> None:
        """Makes `tests` a mapping, too."""
        if isinstance(self.tests, str) or not isinstance(self.tests, (Mapping, list, tuple)):
            raise ValueError(f"tests={self.tests!r} is not a list of splits; write e.g. [{self.tests}].")
        if not isinstance(self.tests, Mapping) and (wrong := [one for one in self.tests if not isinstance(one, str)]):
            raise ValueError(
                f"tests={list(self.tests)} is not allowed: {wrong[0]!r} is no name of a split; tests with options are "
                "a mapping, 'name: {split: test, ...}', one a line."
            )
        if len(set(map(str, self.tests))) < len(self.tests):
            raise ValueError(f"tests={list(self.tests)} is not allowed: name each split once.")
        if not isinstance(self.tests, Mapping):
            object.__setattr__(self, "tests", {test: {} for test in self.tests})
        if not self.tests:
            raise ValueError("tests=[] is not allowed: name a split, at least one.")
        _check_names("test", self.tests)
        for name in self.tests:
            test = self._options_of(name)
            if name in (*CHOOSING, TRAINING):
                raise ValueError(
                    f"tests={list(self.tests)} is not allowed: {name!r} is for training or for choosing the rates; use "
                    "another name."
                )
            if not isinstance(test, Mapping):
                raise ValueError(f"test {name!r} is {test!r}: give a mapping of options, {{}} for the split {name!r}.")
            if self.split_of(name) in CHOOSING:
                raise ValueError(
                    f"tests={list(self.tests)} is not allowed: {self.split_of(name)!r} is for training or for choosing "
                    "the rates; name other splits."
                )
        self._check_averages()

    def _check_averages(self) -> None:
        for name, tests in self.averages.items():
            listed = isinstance(tests, (list, tuple)) and all(isinstance(test, str) for test in tests)
            if name in (*self.tests, TRAINING) or not listed or not 2 <= len(set(tests)) == len(tests):
                raise ValueError(
                    f"averages: {name!r} must be no test's name, and name two or more of them, each once, in a list."
                )
            if unknown := [test for test in tests if test not in self.tests]:
                raise ValueError(f"averages: {name!r} names {unknown[0]!r}; the tests are {', '.join(self.tests)}.")

    def _check_sizes(self) -> None:
        if unknown := [name for name in self.validation if name not in ("prompts", "samples")]:
            raise ValueError(f"validation has no {unknown[0]!r}: it has prompts and samples.")
        if (self.rollout_tokens is None) == (self.steps is None):
            raise ValueError("a comparison needs rollout_tokens or steps: give exactly one of them.")
        names = (self.budget[0], "prompts", "samples", "batch_size", "parallel", "threads")
        numbers = {name: getattr(self, name) for name in names}
        numbers |= {f"validation's {name}": value for name, value in self.validation.items()}
        for name, value in numbers.items():
            if not _is_whole(value) or value < 1:
                raise ValueError(f"{name}={value!r} is not allowed: it must be a whole number from 1 on.")
        if not isinstance(self.greedy, bool):
            raise ValueError(f"greedy={self.greedy!r} is not allowed: it must be true or false.")
        if not isinstance(self.output_dir, str):
            raise ValueError(f"output_dir={self.output_dir!r} is not allowed: it must be a folder's name.")
        for k in self.pass_at:
            if not _is_whole(k) or not 1 <= k <= self.samples:
                raise ValueError(f"pass_at={list(self.pass_at)}: {k!r} must be from 1 to samples={self.samples}.")

    def split_of(self, test: str) -> str:
        """The task's split of a test, or of "validation"."""
        return str(self._options_of(test).get("split", test))

    def task_options_of(self, test: str) -> dict[str, Any]:
        """The task's options that differ from the recipe's."""
        return {name: value for name, value in self._options_of(test).items() if name != "split"}

    def _options_of(self, test: str) -> Mapping[str, Any]:
        assert isinstance(self.tests, Mapping)  # `_check_tests` made it one
        return self.tests.get(test, {})

    def size_of(self, test: str) -> dict[str, Any]:
        """`prompts`, `samples`, `temperature`, `greedy` of a test or of "validation", and `batch_size` if it is set."""
        own = self.validation if test == "validation" else {"greedy": self.greedy}
        size = {"prompts": self.prompts, "samples": self.samples, "temperature": self.temperature, "greedy": False}
        batch = {} if self.batch_size == Comparison.batch_size else {"batch_size": self.batch_size}
        return {**size, **batch, **own}

    @property
    def budget(self) -> tuple[str, int]:
        """The option by which a run ends, "rollout_tokens" or "steps", and its value."""
        if self.rollout_tokens is not None:
            return "rollout_tokens", self.rollout_tokens
        assert self.steps is not None, "checked at the beginning"
        return "steps", self.steps

    def is_trained(self, arm: str) -> bool:
        """Return whether an arm is trained; `max_steps: 0` makes it the model that the runs begin from."""
        return self.arms[arm].get("max_steps") != 0

    @property
    def ks(self) -> list[int]:
        """The k of pass@k, ascending."""
        return sorted(set(self.pass_at or (1, self.samples)))

    def _check_arms(self) -> None:
        if not isinstance(self.arms, Mapping) or not self.arms:
            raise ValueError(f"arms={self.arms!r} names no arm: write 'name: {{option: value}}', one a line.")
        _check_names("arm", self.arms)
        for name, options in self.arms.items():
            if not isinstance(options, Mapping):
                raise ValueError(f"arm {name!r} is {options!r}: give a mapping of options, {{}} for the recipe's own.")
            changes = {option: value for option, value in options.items() if (option, value) != ("max_steps", 0)}
            if taken := [option for option in changes if option in OWNED]:
                raise ValueError(f"arm {name!r} sets {taken[0]}: the comparison sets it, for every arm alike.")
        if self.grid_arm is not None and self.grid_arm not in list(self.arms):
            raise ValueError(f"grid_arm={self.grid_arm!r} is no arm; there are {', '.join(self.arms)}.")
        self._check_references()

    def _check_references(self) -> None:
        if not isinstance(self.references, Mapping):
            raise ValueError(f"references={self.references!r} is no mapping: write 'arm: its reference', one a line.")
        for arm, reference in self.references.items():
            if unknown := [name for name in (arm, reference) if name not in list(self.arms)]:
                raise ValueError(f"references: {unknown[0]!r} is no arm; there are {', '.join(self.arms)}.")
            chain = [arm]
            while (following := self.reference_of(chain[-1])) is not None:
                chain.append(following)
                if following in chain[:-1]:
                    raise ValueError(f"references: {' -> '.join(chain)} is a circle: name another arm.")

    def reference_of(self, arm: str) -> str | None:
        """The arm that this one is compared with; None for the first, unless `references` names one for it."""
        first = next(iter(self.arms))
        return self.references.get(arm, first if arm != first else None)

    def grid(self) -> list[Run]:
        """The runs that choose the learning rates; none where there is nothing to choose."""
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
        trained = [arm for arm in self.arms if self.is_trained(arm)]
        if len(self.learning_rates) < 2:
            rates = dict.fromkeys(trained, self.learning_rates[0] if self.learning_rates else None)
        else:
            rates = {arm: self._best(self.grid_arm or arm, validation) for arm in trained}
        return {arm: rates.get(arm) for arm in self.arms}

    def _best(self, arm: str, validation: Validation) -> float:
        means = {rate: self.grid_mean(arm, rate, validation) for rate in sorted(self.learning_rates)}
        trained = {rate: mean for rate, mean in means.items() if mean is not None}
        if not trained:
            raise ValueError(f"arm {arm!r} diverged at every learning rate of the grid: put lower ones into it.")
        return max(trained, key=trained.__getitem__)

    def grid_mean(self, arm: str, rate: float, validation: Validation) -> float | None:
        """The mean over the grid's seeds; None where one of them diverged."""
        values = [validation[Run(arm, rate, seed)] for seed in self.grid_seeds]
        scores = [value for value in values if value is not None]
        return sum(scores) / len(scores) if len(scores) == len(values) else None

    def edges(self, rates: Mapping[str, float | None]) -> dict[str, str]:
        """Arm that tried the rates -> "lowest" or "highest", where its choice is the grid's."""
        if len(self.learning_rates) < 2:
            return {}
        ends = {min(self.learning_rates): "lowest", max(self.learning_rates): "highest"}
        tried = {arm: rate for arm in self.grid_arms if (rate := rates[arm]) is not None}
        return {arm: ends[rate] for arm, rate in tried.items() if rate in ends}

    def final(self, rates: Mapping[str, float | None]) -> list[Run]:
        """The runs that are compared: every arm at its rate with every seed."""
        return [Run(arm, rates[arm], seed) for seed in self.seeds for arm in self.arms]


def _check_names(what: str, names: Iterable[Any]) -> None:
    """See that names can be those of files beside one another, on every file system."""
    seen: dict[str, str] = {}
    for name in names:
        if (
            not isinstance(name, str)
            or not name.replace("-", "").replace("_", "").replace(".", "").replace("+", "").isalnum()
        ):
            raise ValueError(
                f"{what} {name!r}: a name is letters, digits, '-', '_', '+' and '.', since it names files."
            )
        if (size := len(name.encode("utf-8", "surrogatepass"))) > LONGEST_NAME:
            raise ValueError(f"{what} {name[:20] + '...'!r}: a name has at most {LONGEST_NAME} bytes, not {size}.")
        if name[0] == "." or name[-1] == "." or name.casefold() in RESULTS:
            raise ValueError(
                f"{what} {name!r} cannot be a name, since the comparison's folder has files of that name or the system "
                "hides or shortens it: use another."
            )
        if (other := seen.setdefault(name.casefold(), name)) != name:
            raise ValueError(
                f"{what}s {other!r} and {name!r} differ in upper and lower case alone, which some file systems take "
                "for one name: rename one."
            )


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_positive(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < math.inf

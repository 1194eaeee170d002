"""Checks of a comparison's plan: a value that is not allowed is a ValueError with what to write instead."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from echorl.core.options import check_options
from echorl.lab.compare.notes import check_notes

if TYPE_CHECKING:
    from echorl.lab.compare.plan import Comparison

SET_BY_COMPARISON = (
    "seed", "learning_rate", "max_rollout_tokens", "max_steps", "output_dir", "resume_from_checkpoint",
)  # fmt: skip
"""Options of a run that no arm can set."""
RESULTS = ("results.json", "results.md")
"""The comparison's tables, beside the arms' folders."""
LONGEST_NAME = 200
"""In bytes; file systems take 255, of which endings need some."""
RESERVED = ("train", "validation", "training")
"""Names that no test can have: the splits for training and for choosing the rates, and the training's table."""


def check_plan(plan: Comparison) -> None:
    """Check all values of a plan.

    Raises:
        ValueError: a value is not allowed; the message names it and what is.
    """
    if (plan.rollout_tokens is None) == (plan.steps is None):
        raise ValueError("a comparison needs rollout_tokens or steps: give exactly one of them.")
    check_options(plan)
    for name, value in plan.validation.items():
        if name not in ("prompts", "samples"):
            raise ValueError(f"validation has no {name!r}: it has prompts and samples.")
        if not _is_whole(value) or value < 1:
            raise ValueError(f"validation's {name}={value!r} is not allowed: it must be a whole number of at least 1.")
    for k in plan.pass_at:
        if not _is_whole(k) or not 1 <= k <= plan.samples:
            raise ValueError(f"pass_at={list(plan.pass_at)}: {k!r} must be from 1 to samples={plan.samples}.")
    _check_arms(plan)
    _check_references(plan)
    _check_seeds(plan)
    _check_rates(plan.learning_rates)
    _check_tests(plan)
    check_notes(plan.notes, plan.arms)


def _check_arms(plan: Comparison) -> None:
    if not isinstance(plan.arms, Mapping) or not plan.arms:
        raise ValueError(f"arms={plan.arms!r} names no arm: write 'name: {{option: value}}', one a line.")
    _check_names("arm", plan.arms)
    for name, options in plan.arms.items():
        if not isinstance(options, Mapping):
            raise ValueError(f"arm {name!r} is {options!r}: give a mapping of options, {{}} for the recipe's own.")
        set_here = {name for name, value in options.items() if (name, value) != ("max_steps", 0)}
        if refused := [name for name in SET_BY_COMPARISON if name in set_here]:
            raise ValueError(f"arm {name!r} sets {refused[0]}, which the comparison sets for every arm: remove it.")
    if plan.grid_arm is not None and plan.grid_arm not in list(plan.arms):
        raise ValueError(f"grid_arm={plan.grid_arm!r} is no arm: choose one of {', '.join(plan.arms)}.")


def _check_references(plan: Comparison) -> None:
    if not isinstance(plan.references, Mapping):
        raise ValueError(f"references={plan.references!r} is no mapping: write 'arm: its reference', one a line.")
    for arm, reference in plan.references.items():
        if unknown := [name for name in (arm, reference) if name not in list(plan.arms)]:
            raise ValueError(f"references: {unknown[0]!r} is no arm: choose one of {', '.join(plan.arms)}.")
        chain = [arm]
        while (following := plan.reference_of(chain[-1])) is not None:
            chain.append(following)
            if following in chain[:-1]:
                raise ValueError(f"references: {' -> '.join(chain)} is a circle: name another arm.")


def _check_seeds(plan: Comparison) -> None:
    for name, seeds in (("seeds", plan.seeds), ("grid_seeds", plan.grid_seeds)):
        if not all(_is_whole(seed) and seed >= 0 for seed in seeds):
            raise ValueError(f"{name}={list(seeds)} is not allowed: a seed is a whole number from 0 on.")
        if not seeds or len(set(seeds)) < len(seeds):
            raise ValueError(f"{name}={list(seeds)} is not allowed: name each seed once, at least one.")
    if shared := sorted(set(plan.seeds) & set(plan.grid_seeds)):
        raise ValueError(
            f"grid_seeds={list(plan.grid_seeds)} and seeds share {shared[0]}: the grid needs seeds of its own, since "
            "the rates are chosen for the runs that scored best."
        )


def _check_rates(rates: Sequence[float]) -> None:
    if not all(isinstance(rate, float) and 0 < rate < math.inf for rate in rates):
        raise ValueError(f"learning_rates={list(rates)} must be positive numbers, such as 1.0e-6.")
    if len({f"{rate:g}" for rate in rates}) < len(rates):
        raise ValueError(f"learning_rates={list(rates)} is not allowed: two of them are equal to six digits; drop one.")


def tests_by_name(tests: Any) -> Mapping[str, Any]:
    """Return the tests of a plan as a mapping from name to options; a list of splits becomes one.

    Raises:
        ValueError: they are neither a mapping nor a list of splits.
    """
    if isinstance(tests, Mapping):
        return tests
    if not isinstance(tests, (list, tuple)):
        raise ValueError(f"tests={tests!r} is not a list of splits; write e.g. [{tests}].")
    if wrong := [test for test in tests if not isinstance(test, str)]:
        raise ValueError(
            f"tests={list(tests)} is not allowed: {wrong[0]!r} is no name of a split; tests with options are "
            "a mapping, 'name: {split: test, ...}', one a line."
        )
    if len(set(tests)) < len(tests):
        raise ValueError(f"tests={list(tests)} is not allowed: name each split once.")
    return {test: {} for test in tests}


def _check_tests(plan: Comparison) -> None:
    assert isinstance(plan.tests, Mapping)  # by `tests_by_name`
    if not plan.tests:
        raise ValueError("tests=[] is not allowed: name a split, at least one.")
    _check_names("test", plan.tests)
    for name, options in plan.tests.items():
        if not isinstance(options, Mapping):
            raise ValueError(f"test {name!r} is {options!r}: give a mapping of options, {{}} for the split {name!r}.")
        if refused := [word for word in (name, plan.split_of(name)) if word in RESERVED]:
            raise ValueError(
                f"tests={list(plan.tests)} is not allowed: {refused[0]!r} is for training or for choosing the rates; "
                "use another name or split."
            )
    for name, members in plan.averages.items():
        listed = isinstance(members, (list, tuple)) and all(isinstance(test, str) for test in members)
        if name in (*plan.tests, "training") or not listed or not 2 <= len(set(members)) == len(members):
            raise ValueError(
                f"averages: {name!r} must be no test's name, and name two or more of them, each once, in a list."
            )
        if unknown := [test for test in members if test not in plan.tests]:
            raise ValueError(f"averages: {name!r} names {unknown[0]!r}; the tests are {', '.join(plan.tests)}.")


def _check_names(kind: str, names: Iterable[Any]) -> None:
    """Check that files of these names can lie beside one another, on every file system."""
    seen: dict[str, str] = {}
    for name in names:
        if not isinstance(name, str) or not re.sub(r"[-_.+]", "", name).isalnum():
            raise ValueError(
                f"{kind} {name!r}: a name is letters, digits, '-', '_', '+' and '.', since it names files."
            )
        if (size := len(name.encode("utf-8", "surrogatepass"))) > LONGEST_NAME:
            raise ValueError(f"{kind} {name[:20] + '...'!r}: a name has at most {LONGEST_NAME} bytes, not {size}.")
        if name[0] == "." or name[-1] == "." or name.casefold() in RESULTS:
            raise ValueError(
                f"{kind} {name!r} cannot be a name, since the comparison's folder has files of that name or the system "
                "hides or shortens it: use another."
            )
        if (other := seen.setdefault(name.casefold(), name)) != name:
            raise ValueError(
                f"{kind}s {other!r} and {name!r} differ in upper and lower case alone, which some file systems take "
                "for one name: rename one."
            )


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)

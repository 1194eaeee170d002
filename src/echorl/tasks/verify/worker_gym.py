"""The functions of reasoning-gym's workers. `worker` imports this file without the rest of echorl."""

from __future__ import annotations

import builtins
import json
import re
import sys
from collections.abc import Callable, Hashable, Mapping
from functools import cache
from itertools import chain
from operator import is_, itemgetter
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any

from . import worker_gym_checks as checks
from . import worker_gym_syntax as syntax

MAX_ANSWER_CHARS = 20_000
"""A longer answer scores 0; no scorer of reasoning-gym sees it."""


IN_PROCESS = frozenset({"chain_sum", "decimal_chain_sum", "products"})
"""Datasets whose own scorer only compares two decimals, in a bounded time on any text."""


def reasoning_gym_score(
    generator: str, config: str, answer: str, instance: str, trust_scorers: bool = False
) -> float | None:
    """The score of the dataset's scorer; 0.0 for an answer that is too long or breaks the question's rules.

    Args:
        config, instance: the dataset's settings and the instance, as texts by `encode`.
        trust_scorers: run a scorer that is not on the list of safe ones as it is.

    Raises:
        PermissionError: the scorer is neither on the list nor trusted, or it may evaluate answers and `warm_up` was
            not called.
    """
    if len(answer) > MAX_ANSWER_CHARS:
        return 0.0
    dataset = _dataset(generator, config)
    entry = decode(instance)
    score = type(dataset).score_answer
    if not is_checked(generator):
        if not trust_scorers:
            raise PermissionError(f"the scorer of {generator} is not on the list of safe ones")
        return score(dataset, answer, entry)
    if not (_is_guarded or runs_in_process(generator)):
        raise PermissionError("call warm_up first: this scorer may evaluate answers")
    if not checks.has_form(generator, answer, entry):
        return 0.0
    value = score(dataset, answer, entry)
    return 0.0 if value == 1.0 and not checks.is_right(generator, answer, entry) else value


def is_checked(generator: str) -> bool:
    """Return whether the dataset's scorer is on the list of safe ones, or compares the answer with the reference."""
    return generator in checks.CHECKED_SCORERS or _compares_with_reference(generator)


def runs_in_process(generator: str) -> bool:
    """Return whether the scorer takes a bounded time on any text and evaluates none of it."""
    return generator in IN_PROCESS or _compares_with_reference(generator)


@cache
def _compares_with_reference(generator: str) -> bool:
    from reasoning_gym.dataset import ProceduralDataset
    from reasoning_gym.factory import DATASETS

    return DATASETS[generator][0].score_answer is ProceduralDataset.score_answer


@cache
def _dataset(generator: str, config: str) -> Any:
    import reasoning_gym

    return reasoning_gym.create_dataset(generator, seed=0, size=1, **decode(config))


def encode(value: Any) -> str:
    """The value as JSON in which tuples are marked, since plain JSON makes them lists and scorers compare them."""
    return json.dumps(_mark(value))


def decode(text: str) -> Any:
    """The value from which `encode` made the text.

    >>> decode(encode({"board": ((1, 2), [3])}))
    {'board': ((1, 2), [3])}
    """
    return json.loads(text, object_hook=lambda value: tuple(value["__tuple__"]) if "__tuple__" in value else value)


def _mark(value: Any) -> Any:
    if isinstance(value, tuple):
        return {"__tuple__": [_mark(item) for item in value]}
    if isinstance(value, list):
        return [_mark(item) for item in value]
    if isinstance(value, Mapping):
        return {key: _mark(item) for key, item in value.items()}
    return value


_is_guarded = False


def warm_up() -> None:
    """Import what every call needs, and replace `eval` and `parse_expr` by the parsers."""
    global _is_guarded
    import reasoning_gym  # noqa: F401

    _replace_evaluation()
    _is_guarded = True
    _watch()


def _replace_evaluation() -> None:
    """Let no module of reasoning-gym, nor sympy's `sympify`, evaluate a text.

    A module's own `eval` hides the builtin. `sympify` imports `parse_expr` from its module when it is given a text.
    """
    import sympy
    import sympy.parsing
    import sympy.parsing.sympy_parser

    from . import worker_gym_parsers as parsers

    original = sympy.parse_expr
    for module in _gym_modules():
        for name in [name for name, value in vars(module).items() if value is original]:
            setattr(module, name, parsers.parse_expression)
        vars(module)["eval"] = parsers.evaluate_literal
        vars(module).setdefault("__warningregistry__", {})  # which a warning would add, without a change of the scorers
    for module in (sympy, sympy.parsing, sympy.parsing.sympy_parser):
        module.parse_expr = parsers.parse_expression


def _gym_modules() -> list[ModuleType]:
    return [module for name, module in list(sys.modules.items()) if name.partition(".")[0] == "reasoning_gym"]


_watched: list[tuple[Mapping[str, Any], Callable[[Mapping[str, Any]], tuple[Any, ...]]]] = []
"""The names of a module or class, and a function that returns those of its values that `fingerprint` compares."""
_original: list[tuple[Any, ...]] = [()]
"""The values of `_watched` right after `warm_up`."""
_NO_SCORERS = re.compile(r"\.(coaching|bfit|logic_puzzle)\b")
"""Modules of reasoning-gym without scorers."""
_counted: list[Mapping[str, Any]] = []
"""Modules and classes that must not get new names, which could hide a builtin or a function of the base class."""


def _watch() -> None:
    """Note the functions of reasoning-gym, of its classes that score, of this file and of the files that it uses."""
    import sympy.parsing.sympy_parser as sympy_parser

    modules = [*(module for module in _gym_modules() if not _NO_SCORERS.search(module.__name__)), checks, syntax]
    _counted[:] = [*map(vars, modules), *map(vars, _scoring_classes(modules)), globals(), vars(builtins)]
    owners = [*_counted, checks.FORMS, checks.RULES, FUNCTIONS, vars(json)]
    watched = [(owner, [name for name, value in owner.items() if _is_watched(name, value)]) for owner in owners]
    watched.append((vars(sympy_parser), ["parse_expr", "eval_expr"]))
    watched.append((vars(sys.modules["sympy"]), ["parse_expr", "sympify", "simplify", "diff"]))
    _watched[:] = [(owner, itemgetter(*names, names[0])) for owner, names in watched if names]
    _original[0] = tuple(chain.from_iterable([values(owner) for owner, values in _watched]))


def _scoring_classes(modules: list[ModuleType]) -> list[type]:
    """The classes of these modules, without configurations and curricula."""
    return [
        value
        for module in modules
        for name, value in vars(module).items()
        if isinstance(value, type)
        and value.__module__ == module.__name__
        and not name.endswith(("Config", "Curriculum"))
    ]


def _is_watched(name: str, value: Any) -> bool:
    if name.startswith("__") or name in ("dataclass", "register_dataset"):
        return False
    kinds = (FunctionType, BuiltinFunctionType, ModuleType, staticmethod, classmethod, property, type(_dataset))
    return isinstance(value, kinds)


def fingerprint() -> Hashable:
    """A value that changes if a call replaces a function that scores, or adds a name to its module or class."""
    try:
        values = chain.from_iterable([values(owner) for owner, values in _watched])
    except KeyError:  # a name was deleted
        return False, ()
    return all(map(is_, values, _original[0])), tuple(map(len, _counted))


FUNCTIONS = {"reasoning_gym_score": reasoning_gym_score}

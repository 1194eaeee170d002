"""Methods that EchoRL plugs into: one file a method (or family), one dict. A new method is a file and a line here."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from echorl.methods.agpo import AGPO
from echorl.methods.avspo import AVSPO
from echorl.methods.base import Method
from echorl.methods.configured import PositiveNLL, TopEntropy
from echorl.methods.dapo import DAPO
from echorl.methods.exclude_degenerate import ExcludeDegenerate
from echorl.methods.failure_prefix import FailurePrefix
from echorl.methods.group_relative import CISPO, GRPO, GSPO, RLOO, DrGRPO
from echorl.methods.luffy import LUFFY, RLWithSFT
from echorl.methods.reinforce import ReinforceRej, WReinforce
from echorl.methods.reinforce_ada import ReinforceAda
from echorl.methods.rl_zvp import RLZVP
from echorl.methods.spo import SPO
from echorl.methods.uft import UFT

__all__ = ["METHODS", "SET_BY_METHODS", "Method", "load_method", "method_settings"]

METHODS: Mapping[str, type[Method]] = {
    "grpo": GRPO,
    "dr_grpo": DrGRPO,
    "gspo": GSPO,
    "cispo": CISPO,
    "rloo": RLOO,
    "dapo": DAPO,
    "luffy": LUFFY,
    "rl_sft": RLWithSFT,
    "uft": UFT,
    "exclude_degenerate": ExcludeDegenerate,
    "rl_zvp": RLZVP,
    "w_reinforce": WReinforce,
    "reinforce_rej": ReinforceRej,
    "agpo": AGPO,
    "positive_nll": PositiveNLL,
    "top_entropy": TopEntropy,
    "avspo": AVSPO,
    "reinforce_ada": ReinforceAda,
    "spo": SPO,
    "failure_prefix": FailurePrefix,
}
"""Name -> settings, a frozen dataclass with the paper's defaults."""

SET_BY_METHODS = tuple(sorted({field for method in METHODS.values() for field in method.settings}))
"""The trainer's fields that some method sets."""


def load_method(name: str | None, options: Mapping[str, Any] | None = None) -> Method:
    """The method of that name with these options; None: the trainer's own settings, as they are.

    Raises:
        ValueError: no such method, an option that it does not have, or a value that is not allowed.

    >>> load_method("luffy").gamma
    0.1
    """
    if name is None:
        if options:
            raise ValueError(
                f"method_options={dict(options)} without a method: set method, one of {', '.join(METHODS)}."
            )
        return Method()
    if name not in METHODS:
        raise ValueError(f"method={name!r} does not exist; there are {', '.join(METHODS)}.")
    known = _options(METHODS[name])
    own = {option: value for option, value in (options or {}).items() if option not in METHODS[name].settings}
    for option in own:
        if option not in known:
            raise ValueError(_unknown(name, option, known))
    try:
        return METHODS[name](**own)
    except TypeError as error:
        raise ValueError(f"method_options of {name!r}: {error}.") from None


def method_settings(name: str | None, options: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The trainer's fields that the method sets, with its values, or those that `options` names instead.

    >>> method_settings("uft", {"beta": 0.0})["beta"], method_settings("uft")["beta"]
    (0.0, 0.001)
    """
    settings = METHODS[name].settings if name else {}
    return {**settings, **{field: value for field, value in (options or {}).items() if field in settings}}


def _options(method: type[Method]) -> list[str]:
    return [field.name for field in dataclasses.fields(method)]


def _unknown(name: str, option: str, known: list[str]) -> str:
    others = [other for other, method in METHODS.items() if option in _options(method)]
    belongs = f" (an option of {', '.join(others)})" if others else ""
    return f"method {name!r} has no option {option!r}{belongs}; it has {', '.join(known) or 'none'}."

"""Methods that EchoRL plugs into: one file a method, which registers it under the file's name."""

from __future__ import annotations

import importlib
import pkgutil

from echorl.core.options import option
from echorl.methods.base import Method
from echorl.methods.registry import METHODS, find_method, load_method, method_settings, register_method, settable_fields

__all__ = [
    "METHODS",
    "SET_BY_METHODS",
    "Method",
    "find_method",
    "load_method",
    "method_settings",
    "option",
    "register_method",
]

for _file in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_file.name}")

SET_BY_METHODS = tuple(sorted(settable_fields()))
"""The trainer's fields that some method sets."""

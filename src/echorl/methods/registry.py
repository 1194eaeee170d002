"""Methods by a string: a registered name, or a class in a file of the user's, "my_rule.py:MyRule"."""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any, TypeVar

from echorl.core.options import options_of
from echorl.methods.base import NO_FILE, Method

M = TypeVar("M", bound=type[Method])

_REGISTERED: dict[str, type[Method]] = {}
METHODS: Mapping[str, type[Method]] = MappingProxyType(_REGISTERED)
"""Name -> class, of echorl's methods and of those that `register_method` added."""

BUILT_IN = "echorl.methods."
"""Prefix of the modules of echorl's methods."""


def register_method(name: str) -> Callable[[M], M]:
    """Return a decorator that makes a class the method of this name.

    It stands above `@dataclass`. A class that is defined once more, in a cell that is run again, replaces itself.

    Raises:
        ValueError: the name has a colon or is another method's, or the class is no method.
    """
    if not name or ":" in name:
        raise ValueError(f"register_method({name!r}): a name is text without ':', which stands in file.py:Class.")

    def register(method: M) -> M:
        check_class(method, f"register_method({name!r})")
        previous = _REGISTERED.get(name)
        if previous is not None and _place(previous) != _place(method):
            raise ValueError(f"two methods are named {name!r}, {_place(previous)} and {_place(method)}: rename one.")
        if not method.__module__.startswith(BUILT_IN):
            method.source_hash = _hash_module(method.__module__)
        _REGISTERED[name] = method
        return method

    return register


def find_method(name: str) -> type[Method]:
    """Return the class of a method: a registered name, or file.py:Class.

    A file's path is relative to the working directory. The file is read again when it has changed.

    Raises:
        ValueError: no such name, file or class, a class that is no method, or a file that cannot be imported.
    """
    if name in _REGISTERED:
        return _REGISTERED[name]
    path, colon, class_name = name.rpartition(":")
    if name.endswith(".py") or (colon and not class_name):
        raise ValueError(f"method={name!r} names no class: write {path or name}:Class.")
    if not colon:
        listing = _suggest(name, _REGISTERED, f"there are {', '.join(_REGISTERED)}; your own is file.py:Class.")
        raise ValueError(f"method={name!r} does not exist; {listing}")
    return _find_in_file(name, Path(path), class_name)


def load_method(name: str | None, options: Mapping[str, Any] | None = None) -> Method:
    """Return the method of that name with these options; None: the trainer's method, unchanged.

    Raises:
        ValueError: as `find_method`; an option that it does not have, or a value that is not allowed.

    >>> load_method("luffy").gamma
    0.1
    """
    if name is None:
        if options:
            raise ValueError(
                f"method_options={dict(options)} without a method: set method, one of {', '.join(METHODS)}, or "
                "file.py:Class."
            )
        return Method()
    method = find_method(name)
    declared = [field.name for field in dataclasses.fields(method)]
    values = {option: value for option, value in (options or {}).items() if option not in method.settings}
    for option in values:
        if option not in declared:
            raise ValueError(_unknown(name, option, declared))
    try:
        return method(**values)
    except TypeError as error:
        raise ValueError(f"method_options of {name!r}: {error}.") from None
    except (Exception, SystemExit) as error:
        if isinstance(error, ValueError) or method.__module__.startswith(BUILT_IN):
            raise
        raise ValueError(f"method={name!r} raised {type(error).__name__}: {error}: mend its file.") from error


def method_settings(name: str | None, options: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the trainer's fields that the method sets, with its values, or those that `options` names instead.

    >>> method_settings("uft", {"beta": 0.0})["beta"], method_settings("uft")["beta"]
    (0.0, 0.001)
    """
    settings = find_method(name).settings if name else {}
    return {**settings, **{field: value for field, value in (options or {}).items() if field in settings}}


def check_class(method: Any, place: str) -> None:
    """Check that a class can be a method.

    Raises:
        ValueError: it is no subclass of `Method`, has options and is no dataclass, has a name that is nearly that of
            a hook, or sets a field that no method can set; the message begins with `place`.
    """
    if not (isinstance(method, type) and issubclass(method, Method)):
        raise ValueError(
            f"{place}: {getattr(method, '__name__', method)!r} is not a subclass of echorl.methods.Method."
        )
    if any(isinstance(value, dataclasses.Field) for value in vars(method).values()):
        raise ValueError(
            f"{place}: {method.__name__} has options and is no dataclass: write @dataclass(frozen=True, kw_only=True) "
            "right above the class."
        )
    if method.__module__.startswith(BUILT_IN):
        return
    hooks = [name for name in vars(Method) if not name.startswith("_")]
    declared = {*hooks, *(field.name for field in dataclasses.fields(method))}
    for name in sorted(vars(method).keys() - declared):
        if not name.startswith("_") and (close := difflib.get_close_matches(name, hooks, n=1, cutoff=0.85)):
            raise ValueError(
                f"{place}: {method.__name__}.{name} does nothing: did you mean {close[0]!r}? The name of a helper "
                "of your own begins with '_'."
            )
    if not isinstance(method.settings, Mapping):
        raise ValueError(
            f"{place}: {method.__name__}.settings is {method.settings!r}: give a mapping of fields to values."
        )
    unknown = method.settings.keys() - settable_fields()
    if unknown:
        raise ValueError(
            f"{place}: settings has {min(unknown)!r}, which a method cannot set; it can set "
            f"{', '.join(sorted(settable_fields()))}."
        )


def settable_fields() -> frozenset[str]:
    """Return the trainer's fields that some method of echorl's sets; in a config they are None until written."""
    built_in = [method for method in _REGISTERED.values() if method.__module__.startswith(BUILT_IN)]
    return frozenset(field for method in built_in for field in method.settings)


def _find_in_file(name: str, path: Path, class_name: str) -> type[Method]:
    place = f"method={name!r}"
    if not path.is_file():
        raise ValueError(f"{place}: there is no file {path.absolute()}; a path is relative to the working directory.")
    module, digest = _load_file(path.resolve(), place)
    method = vars(module).get(class_name)
    if method is None:
        classes = [key for key, value in vars(module).items() if _is_defined_in(module, value)]
        listing = _suggest(class_name, classes, f"it has {', '.join(classes) or 'no method'}.")
        raise ValueError(f"{place}: {path} has no {class_name!r}; {listing}")
    check_class(method, place)
    if not _is_defined_in(module, method):
        raise ValueError(
            f"{place}: {class_name} is imported from {method.__module__}: name a class of the file itself."
        )
    method.source_hash = digest
    return method


def _is_defined_in(module: ModuleType, value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, Method) and value.__module__ == module.__name__


_LOADED: dict[Path, tuple[ModuleType, str]] = {}


def _load_file(path: Path, place: str) -> tuple[ModuleType, str]:
    """Return the module that a file makes, and the hash of the file; as loaded before, unless the file has changed."""
    source = path.read_bytes()
    digest = hash_source(source)
    if path in _LOADED and _LOADED[path][1] == digest:
        return _LOADED[path]
    module = ModuleType(f"{path.stem}_{hash_source(str(path).encode())}")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module  # dataclasses look up their annotations there
    try:
        exec(compile(source, str(path), "exec"), vars(module))
    except (Exception, SystemExit) as error:
        raise ValueError(f"{place}: {path} cannot be imported ({type(error).__name__}: {error}).") from error
    _LOADED[path] = module, digest
    return module, digest


def _hash_module(name: str) -> str:
    file = getattr(sys.modules.get(name), "__file__", None)  # a notebook's __main__ has none
    return hash_source(Path(file).read_bytes()) if file else NO_FILE


def hash_source(content: bytes) -> str:
    """Return the hash of a file's content, as a run's checkpoint keeps it."""
    return hashlib.sha256(content).hexdigest()[:16]


def _place(method: type[Method]) -> str:
    return f"{method.__qualname__} in {getattr(sys.modules.get(method.__module__), '__file__', method.__module__)}"


def _unknown(name: str, option: str, declared: list[str]) -> str:
    owners = [key for key, method in METHODS.items() if option in (each.name for each in options_of(method))]
    belongs = f" (an option of {', '.join(owners)})" if owners else ""
    listing = _suggest(option, declared, f"it has {', '.join(declared) or 'none'}.")
    return f"method {name!r} has no option {option!r}{belongs}; {listing}"


def _suggest(name: str, names: Iterable[str], listing: str) -> str:
    """Return the sentence `listing`, after a question with the most similar name if there is one."""
    close = difflib.get_close_matches(name, list(names), n=1)
    return f"did you mean {close[0]!r}? {listing[0].upper()}{listing[1:]}" if close else listing

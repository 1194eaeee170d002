"""Entry point of the group `verl.plugins`: verl loads it at the end of `import verl`, in every process.

So it must be cheap: the trainers, which import ray and transformers, are registered when `verl.trainer.ppo.v1` is
imported, not before. verl logs errors here at DEBUG only; the trainers print at their start that EchoRL is active.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Sequence
from importlib import import_module, metadata
from types import ModuleType
from typing import Any

from packaging.version import Version


class _Loader(importlib.abc.Loader):
    """Loads a module as `inner` does, then imports the module `then`."""

    def __init__(self, inner: importlib.abc.Loader, then: str) -> None:
        self.inner, self.then = inner, then

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        return self.inner.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        assert module.__spec__ is not None  # as of every module that an import makes
        module.__spec__.loader = module.__loader__ = self.inner  # readers of sources or data need verl's loader
        self.inner.exec_module(module)
        import_module(self.then)


class _Finder(importlib.abc.MetaPathFinder):
    """Wraps the loader of one module, once."""

    def __init__(self, module: str, then: str) -> None:
        self.module, self.then = module, then

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: Any = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != self.module:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader, self.then)
        return spec


def after_import(module: str, then: str) -> None:
    """Import `then` as soon as `module` has been imported, or at once if it has; a second call changes nothing."""
    if module in sys.modules:
        import_module(then)
    elif not any(isinstance(f, _Finder) and (f.module, f.then) == (module, then) for f in sys.meta_path):
        sys.meta_path.insert(0, _Finder(module, then))


def hide_trl_from_verl() -> None:
    """Make verl 0.9 treat TRL 1.16 and newer as absent: with it verl could not build any model.

    `verl.models.transformers.monkey_patch` imports a value-head class from any TRL, and these versions have none. Only
    critics with that class use it elsewhere in verl. An older TRL stays visible.
    """
    try:
        installed = Version(metadata.version("trl"))
    except metadata.PackageNotFoundError:
        return
    if installed.release >= (1, 16):
        utils: Any = import_module("verl.utils.import_utils")
        utils.is_trl_available = lambda: False


def register() -> None:
    """Register the trainers where verl looks for them, once verl's trainers are imported."""
    hide_trl_from_verl()
    after_import("verl.trainer.ppo.v1", "echorl.verl.trainers")


register()

"""Entry point of the group `verl.plugins`: verl loads it at the end of `import verl`, in every process.

So it must be cheap: the trainers, which import ray and transformers, are registered when `verl.trainer.ppo.v1` is
imported, not before. verl only logs (at DEBUG) what fails here; the trainers say at their start that EchoRL is active.
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
        module.__spec__.loader = module.__loader__ = self.inner  # whoever asks for sources or data finds verl's own
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
    """Import `then` as soon as `module` has been imported; at once, if it has. Asked twice, it is done once."""
    if module in sys.modules:
        import_module(then)
    elif not any(isinstance(f, _Finder) and (f.module, f.then) == (module, then) for f in sys.meta_path):
        sys.meta_path.insert(0, _Finder(module, then))


def let_verl_live_beside_trl() -> None:
    """Make verl 0.9 take TRL 1.16 and newer for absent: beside one it could not build any model.

    `verl.models.transformers.monkey_patch` imports a value-head class from any TRL that it finds, and these have none.
    verl asks for it nowhere else but in critics with that class, which such a TRL could not give either. An older TRL
    is left alone.
    """
    try:
        installed = Version(metadata.version("trl"))
    except metadata.PackageNotFoundError:
        return
    if installed.release >= (1, 16):
        utils: Any = import_module("verl.utils.import_utils")
        utils.is_trl_available = lambda: False


def register() -> None:
    """See to it that the trainers are registered where verl looks for them, once its own are imported."""
    let_verl_live_beside_trl()
    after_import("verl.trainer.ppo.v1", "echorl.verl.trainers")


register()

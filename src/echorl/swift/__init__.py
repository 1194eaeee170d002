"""EchoRL in ms-swift 4.6 (docs/guides/ms-swift.md): call `use_echo` in a file for `--external_plugins`."""

from echorl.swift.settings import use_echo

__all__ = ["use_echo"]

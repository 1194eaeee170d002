"""EchoRL in axolotl: `plugins: [echorl.axolotl.EchoPlugin]` in its YAML (docs/guides/axolotl.md)."""

from echorl.axolotl.plugin import EchoPlugin

__all__ = ["EchoPlugin"]

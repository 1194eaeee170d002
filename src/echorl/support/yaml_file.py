"""YAML loader that refuses a mapping with the same key twice, of which plain YAML silently keeps the last."""

from __future__ import annotations

from typing import Any

import yaml

MERGE = "tag:yaml.org,2002:merge"


class _Loader(yaml.SafeLoader):
    """`yaml.SafeLoader` that refuses a key that its mapping already has."""

    def compose_mapping_node(self, anchor: str | None) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        lines: dict[tuple[str, str], int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag == MERGE:
                continue
            line = key.start_mark.line + 1
            if (key.tag, key.value) in lines:
                first = lines[key.tag, key.value]
                raise yaml.YAMLError(f"{key.value!r} stands twice, in line {first} and in line {line}: keep one")
            lines[key.tag, key.value] = line
        return node


def load_yaml(text: str) -> Any:
    """Return the value of a YAML text, by the rules of `yaml.safe_load`.

    Raises:
        yaml.YAMLError: it is no YAML, or a mapping in it has a key twice; the message names key and lines.

    >>> load_yaml("{a: {b: 1}, c: [2]}")
    {'a': {'b': 1}, 'c': [2]}
    """
    return yaml.load(text, Loader=_Loader)

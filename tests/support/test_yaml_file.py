"""A key that stands twice in a YAML is refused, at every depth; merged keys may be set again."""

from __future__ import annotations

import pytest
import yaml

from echorl.support.yaml_file import load_yaml


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("seed: 1\nlr: 2\nseed: 1\n", "'seed' stands twice, in line 1 and in line 3"),
        ("arms:\n  a: {}\n  b: {}\n  a: {x: 1}\n", "'a' stands twice, in line 2 and in line 4"),
        ("arms: {a: {x: 1, 'x': 2}}", "'x' stands twice, in line 1 and in line 1"),
        ("- {1: a, 1: b}", "'1' stands twice"),
    ],
)
def test_refused(text, words):
    with pytest.raises(yaml.YAMLError, match=words):
        load_yaml(text)


@pytest.mark.parametrize(
    "text",
    [
        "a: 1\nb: {a: 2}\n",
        "base: &base {x: 1, y: 2}\narm: &arm {<<: *base, x: 3}\nother: {<<: *arm, x: 4}\n",
        "deep: {a: {b: &b {<<: {x: 1}, x: 2}}}\nlast: {<<: *b, y: 1}\n",
        "1: a\n'1': b\n",
        "[a, a]",
        "",
    ],
)
def test_as_yaml_says(text):
    assert load_yaml(text) == yaml.safe_load(text)

"""Names, options and settings of methods, and what is refused."""

from __future__ import annotations

import dataclasses

import pytest

from echorl.methods import METHODS, Method, load_method, method_settings


@pytest.mark.parametrize("name", METHODS)
def test_every_method_loads_with_the_papers_defaults(name):
    method = load_method(name)
    assert type(method) is METHODS[name]
    assert set(method.fixed) <= set(method.settings)
    with pytest.raises(dataclasses.FrozenInstanceError):
        method.anything = 1


def test_no_method_is_the_trainers_own():
    assert type(load_method(None)) is Method
    assert method_settings(None) == {}


def test_options_reach_the_method():
    assert load_method("luffy", {"gamma": 0.5}).gamma == 0.5
    assert load_method("rl_sft", {"weight": 2}).weight == 2
    assert load_method("uft", {"hint_steps": 600, "beta": 0.0}).hint_steps == 600  # beta is the trainer's


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        (
            "lufy",
            {},
            r"method='lufy' does not exist; did you mean 'luffy'\? There are grpo, .* uft; your own is file.py:Class\.",
        ),
        (None, {"gamma": 0.1}, r"method_options=\{'gamma': 0.1\} without a method: set method, one of grpo"),
        ("grpo", {"gamma": 0.1}, r"'grpo' has no option 'gamma' \(an option of luffy, exgrpo\); it has none\."),
        ("luffy", {"gama": 0.1}, r"'luffy' has no option 'gama'; did you mean 'gamma'\? It has gamma\."),
        (
            "uft",
            {"gamma": 0.1},
            r"'uft' has no option 'gamma' \(an option of luffy, exgrpo\); it has max_chunks, low, high",
        ),
        ("grpo", {"beta": 0.1}, r"'grpo' has no option 'beta'"),  # a field that this method does not set
        ("luffy", {"gamma": 0}, r"gamma=0 is not allowed: it must be a finite number above 0\."),
        ("luffy", {"gamma": "0.1"}, r"gamma='0.1' is not allowed"),
        ("luffy", {"gamma": True}, r"gamma=True is not allowed"),
        ("luffy", {"gamma": float("nan")}, r"gamma=nan is not allowed"),
        ("rl_sft", {"weight": -1.0}, r"weight=-1.0 is not allowed"),
        ("uft", {"low": 0.9, "high": 0.5}, r"low=0.9 and high=0.5 are not allowed: low must be at most high\."),
        ("uft", {"hint_steps": -1}, r"hint_steps=-1 is not allowed"),
        ("dapo", {"max_rounds": 0}, r"max_rounds=0 is not allowed"),
        (
            "dapo",
            {"overlong_buffer": -1},
            r"overlong_buffer=-1 is not allowed: it must be None or a whole number of at least 0\.",
        ),
        ("dapo", {"overlong_buffer": True}, r"overlong_buffer=True is not allowed"),
        ("dapo", {"overlong_buffer": 4.5}, r"overlong_buffer=4.5 is not allowed: it must be None or a whole number"),
        ("dapo", {"max_rounds": 2.5}, r"max_rounds=2.5 is not allowed: it must be a whole number of at least 1\."),
        ("dapo", {"max_rounds": True}, r"max_rounds=True is not allowed"),
        ("dapo", {"dynamic_sampling": "false"}, r"dynamic_sampling='false' is not allowed: it must be true or false\."),
        ("dapo", {"dynamic_sampling": 0}, r"dynamic_sampling=0 is not allowed"),
        ("uft", {"max_chunks": 2.5}, r"max_chunks=2.5 is not allowed: it must be a whole number of at least 1\."),
        ("uft", {"max_chunks": True}, r"max_chunks=True is not allowed"),
        ("uft", {"hint_steps": 2.5}, r"hint_steps=2.5 is not allowed: it must be a whole number of at least 0\."),
        ("uft", {"hint_steps": "300"}, r"hint_steps='300' is not allowed"),
        ("uft", {"low": "0.1"}, r"low='0.1' is not allowed: it must be a number from 0 to 1\."),
        ("uft", {"low": -0.1}, r"low=-0.1 is not allowed: it must be a number from 0 to 1\."),
        ("uft", {"high": True}, r"high=True is not allowed: it must be a number from 0 to 1\."),
    ],
)
def test_what_is_refused(name, options, message):
    with pytest.raises(ValueError, match=message):
        load_method(name, options)


def test_settings_can_be_set_otherwise():
    assert method_settings("uft")["beta"] == 0.001
    assert method_settings("uft", {"beta": 0.0, "hint_steps": 5})["beta"] == 0.0
    assert "hint_steps" not in method_settings("uft", {"hint_steps": 5})


def test_settings_are_the_methods_own_not_shared():
    method_settings("uft")["beta"] = 7.0
    assert method_settings("uft")["beta"] == 0.001


@pytest.mark.parametrize(
    ("length", "buffer", "expected"), [(20480, None, 4096), (8192, None, 1638), (100, 30, 30), (100, 0, 0)]
)
def test_dapos_buffer(length, buffer, expected):
    assert load_method("dapo", {"overlong_buffer": buffer}).overlong_tokens(length) == expected


def test_dapo_without_dynamic_sampling_needs_no_hooks():
    assert load_method("dapo").trl_hooks == "echorl.trl.methods.dapo:DynamicSamplingHooks"
    assert load_method("dapo", {"dynamic_sampling": False}).trl_hooks is None

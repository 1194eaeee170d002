"""Methods of one's own: registered, or in a file; what is refused in one sentence."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass

import pytest
import torch

from echorl.methods import METHODS, Method, load_method, method_settings, option, register_method, registry
from echorl.methods.base import NO_FILE
from echorl.methods.rules import apply_advantages, apply_token_advantages, excluded_rows, rows_with_gradient
from tests.methods.batches import group_relative, make_batch

RULE = """
from __future__ import annotations
from dataclasses import dataclass
import torch
from echorl.methods import Method, option

@dataclass(frozen=True, kw_only=True)
class Bonus(Method):
    settings = {"loss_type": "dapo"}
    size: float = option(0.1, "The bonus.", ge=0)

    def advantages(self, advantages, batch):
        return torch.where(batch.all_success, self.size, advantages)

class Plain(Method):
    pass

def helper():
    pass
"""


@pytest.fixture(autouse=True)
def methods_stay_as_they_were(monkeypatch):
    monkeypatch.setattr(registry, "_REGISTERED", registered := dict(registry._REGISTERED))
    monkeypatch.setattr(registry, "_LOADED", {})
    return registered


@pytest.fixture
def rule(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "my_rule.py"
    path.write_text(RULE)
    return path


def test_a_class_in_a_file(rule):
    method = load_method("my_rule.py:Bonus", {"size": 0.5, "loss_type": "grpo"})
    assert (type(method).__name__, method.size) == ("Bonus", 0.5)
    assert method_settings("my_rule.py:Bonus", {"loss_type": "grpo"}) == {"loss_type": "grpo"}
    batch = make_batch([1.0] * 4 + [1.0, 0.0, 0.0, 1.0])
    found = apply_advantages(method, group_relative(batch), batch)
    assert found.tolist() == pytest.approx([0.5] * 4 + group_relative(batch)[4:].tolist())
    assert type(load_method(f"{rule}:Bonus")) is type(method)  # an absolute path is the same file
    assert method.needs_verdicts
    assert not load_method("my_rule.py:Plain").needs_verdicts


def test_a_file_that_was_edited_has_another_hash_and_another_rule(rule):
    before = load_method("my_rule.py:Bonus")
    rule.write_text(RULE.replace("0.1", "0.2"))
    now = load_method("my_rule.py:Bonus")
    assert (before.size, now.size) == (0.1, 0.2)
    assert before.source_hash != now.source_hash
    rule.write_text(RULE)
    assert load_method("my_rule.py:Bonus").source_hash == before.source_hash
    assert load_method("grpo").source_hash == ""


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("other.py:Bonus", {}, r"method='other.py:Bonus': there is no file /.*/other\.py; a path is relative to the "),
        ("my_rule.py:Bonsu", {}, r"my_rule\.py has no 'Bonsu'; did you mean 'Bonus'\? It has Bonus, Plain\."),
        ("my_rule.py:Method", {}, r"Method is imported from echorl\.methods\.base: name a class of the file itself\."),
        ("my_rule.py:helper", {}, r"method='my_rule.py:helper': 'helper' is not a subclass of echorl\.methods\.Method"),
        ("my_rule.py", {}, r"method='my_rule\.py' names no class: write my_rule\.py:Class\."),
        ("my_rule.py:", {}, r"method='my_rule\.py:' names no class: write my_rule\.py:Class\."),
        ("my_rule.py:Bonus", {"sise": 1.0}, r"'my_rule\.py:Bonus' has no option 'sise'; did you mean 'size'\? It has"),
        ("my_rule.py:Bonus", {"size": -1}, r"size=-1 is not allowed: it must be a finite number of at least 0\."),
    ],
)
def test_what_is_refused(rule, name, options, message):
    with pytest.raises(ValueError, match=message) as error:
        load_method(name, options)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("import torch", "import nothing_of_this_name", r"cannot be imported \(ModuleNotFoundError: No module named"),
        ("class Plain", "class", r"cannot be imported \(SyntaxError: "),
        ("def advantages", "def advantage", r"Bonus\.advantage does nothing: did you mean 'advantages'\? The name of "),
        ('settings = {"loss', 'setting = {"loss', r"Bonus\.setting does nothing: did you mean 'settings'\?"),
        ("import torch", "raise SystemExit(3)", r"cannot be imported \(SystemExit: 3\)"),
        ("@dataclass(frozen=True, kw_only=True)\n", "", r"Bonus has options and is no dataclass: write @dataclass"),
        ('{"loss_type": "dapo"}', "5", r"Bonus\.settings is 5: give a mapping"),
        ("loss_type", "learning_rate", r"settings has 'learning_rate', which a method cannot set; it can set beta, "),
    ],
)
def test_a_file_that_cannot_be_a_method(rule, old, new, message):
    rule.write_text(RULE.replace(old, new))
    with pytest.raises(ValueError, match=message):
        load_method("my_rule.py:Bonus")


@pytest.mark.parametrize("error", ["KeyError(1)", "SystemExit(0)"])
def test_an_error_of_the_users_code_is_named(rule, error):
    rule.write_text(RULE.replace("return torch", f"raise {error}\n        return torch"))
    method = load_method("my_rule.py:Bonus")
    with pytest.raises(ValueError, match=rf"Bonus.advantages raised {error[:8]}.*my_rule.py, line \d+\): mend"):
        apply_advantages(method, torch.zeros(4), make_batch([1.0, 1.0, 0.0, 1.0], size=2))
    rule.write_text(RULE.replace("    pass", f"    def __post_init__(self):\n        raise {error}", 1))
    with pytest.raises(ValueError, match=rf"method='my_rule.py:Plain' raised {error[:8]}.*: mend its file"):
        load_method("my_rule.py:Plain")


def test_a_registered_name(rule, methods_stay_as_they_were, monkeypatch):
    registered = RULE.replace("@dataclass", '@register_method("bonus")\n@dataclass')
    rule.write_text(registered.replace("import Method,", "import Method, register_method,"))
    monkeypatch.syspath_prepend(rule.parent)
    import my_rule

    assert methods_stay_as_they_were["bonus"] is my_rule.Bonus
    assert load_method("bonus", {"size": 3}).size == 3
    assert load_method("bonus").source_hash == registry.hash_source(rule.read_bytes())
    del sys.modules["my_rule"]


def test_two_methods_of_one_name():
    def make():
        @register_method("twice")
        class First(Method):
            pass

        return First

    make()
    make()  # the same cell, run again
    with pytest.raises(ValueError, match=r"two methods are named 'twice', .*First in .*test_registry\.py and .*Second"):

        @register_method("twice")
        class Second(Method):
            pass

    with pytest.raises(ValueError, match=r"two methods are named 'grpo', GRPO in .*grpo\.py and "):

        @register_method("grpo")
        class Third(Method):
            pass


def test_names_and_classes_that_cannot_be_registered():
    with pytest.raises(ValueError, match=r"register_method\('a:b'\): a name is text without ':'"):
        register_method("a:b")
    with pytest.raises(ValueError, match=r"register_method\('x'\): 'dict' is not a subclass"):
        register_method("x")(dict)
    with pytest.raises(ValueError, match=r"register_method\('x'\): Reversed has options and is no dataclass"):

        @dataclass(frozen=True, kw_only=True)
        @register_method("x")
        class Reversed(Method):
            size: float = option(0.1, "The bonus.")


def test_a_class_without_a_file(monkeypatch):
    cell = {"__name__": "a_notebook", "Method": Method, "register_method": register_method}
    exec('@register_method("typed")\nclass Typed(Method): pass', cell)
    assert cell["Typed"].source_hash == NO_FILE


# -- what a rule returns --------------------------------------------------------------------------------------------


class Returns(Method):
    """A rule that returns what it is told."""

    def advantages(self, advantages, batch):
        return self.__class__.result

    token_advantages = excluded = lambda self, *_: self.__class__.result


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (
            torch.zeros(3),
            r"Returns\.advantages returned a tensor of shape \[3\]: it must return a tensor of shape \[4\]",
        ),
        (torch.zeros(4, 1), r"returned a tensor of shape \[4, 1\]"),
        (0.5, r"Returns\.advantages returned float: it must return a tensor of shape \[4\]"),
        (None, r"Returns\.advantages returned NoneType"),
        (torch.tensor([0.0, math.nan, 0.0, 0.0]), r"returned nan for rollout 1: every number must be finite"),
        (torch.tensor([0.0, 0.0, 0.0, -math.inf]), r"returned -inf for rollout 3"),
    ],
)
def test_a_result_that_cannot_be_used(monkeypatch, result, message):
    monkeypatch.setattr(Returns, "result", result, raising=False)
    batch = make_batch([1.0, 0.0, 0.0, 1.0])
    with pytest.raises(ValueError, match=message):
        apply_advantages(Returns(), group_relative(batch), batch)


def test_results_of_the_other_rules_are_checked_too(monkeypatch):
    batch = make_batch([1.0, 0.0, 0.0, 1.0])
    monkeypatch.setattr(Returns, "result", torch.full((4, 2), math.nan), raising=False)
    with pytest.raises(ValueError, match=r"Returns\.token_advantages returned nan for rollout 0"):
        apply_token_advantages(Returns(), group_relative(batch), torch.ones(4, 2), batch)
    with pytest.raises(ValueError, match=r"Returns\.excluded returned a tensor of shape \[4, 2\]"):
        excluded_rows(Returns(), batch)


def test_a_result_has_the_type_of_the_advantages(monkeypatch):
    batch = make_batch([1.0, 0.0, 0.0, 1.0])
    monkeypatch.setattr(Returns, "result", torch.tensor([1, 0, 0, -1]), raising=False)
    assert apply_advantages(Returns(), group_relative(batch), batch).dtype == torch.float32


@pytest.mark.parametrize("name", METHODS)
def test_the_trainer_s_own_rounding_is_no_gradient(name):
    """Degenerate groups keep what the trainer gives, or have an advantage that counts."""
    batch = make_batch([1.0] * 4 + [0.0] * 4 + [1.0, 0.0, 0.0, 1.0])
    given = group_relative(batch) + 1e-8
    own = {"w_reinforce", "reinforce_rej", "agpo", "avspo"}
    found = rows_with_gradient(METHODS[name](), given, batch)
    on_successes = [name in {*own, "added_failures"}] * 4
    assert found.tolist() == [*on_successes, *[name in own] * 4, *[True] * 4]


def test_defaults_follow_from_what_a_rule_overrides():
    class Tokens(Method):
        def token_advantages(self, advantages, entropy, rollouts):
            return advantages.unsqueeze(1) * entropy

    batch = make_batch([1.0, 0.0, 0.0, 1.0])
    assert (Tokens().needs_entropy, Tokens().needs_verdicts, Tokens().excludes) == (True, True, False)
    assert Tokens().entropy_rows(batch).all()
    assert (Method().needs_entropy, Method().needs_verdicts, Method().excludes) == (False, False, False)
    assert not Method().entropy_rows(batch).any()

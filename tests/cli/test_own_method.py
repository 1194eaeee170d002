"""own-method.md: the same string trains, is probed and is compared; an edited file is refused."""

from __future__ import annotations

import json
import re
import textwrap
from pathlib import Path

import pytest
import torch

from echorl.cli import main
from echorl.core.rollouts import Rollouts
from echorl.methods import load_method
from echorl.methods.rules import apply_token_advantages

PAGE = (Path(__file__).parents[2] / "docs" / "guides" / "own-method.md").read_text(encoding="utf-8")
EXAMPLE, _, BY_TOKENS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
METHOD = "my_rule.py:SolvedBonus"


@pytest.fixture
def rule(tmp_path):
    path = tmp_path / "my_rule.py"
    path.write_text(EXAMPLE)
    return path


def test_the_example_has_at_most_40_lines():
    assert len(EXAMPLE.splitlines()) <= 40


def test_the_example_by_tokens(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("by_tokens.py").write_text(EXAMPLE + "\n" + textwrap.indent(BY_TOKENS, "    "))
    rule = load_method("by_tokens.py:SolvedBonus", {"bonus": 1.0})
    rollouts = Rollouts.build(
        rewards=torch.tensor([1.0, 1.0, 1.0, 0.0]),
        success=torch.tensor([True, True, True, False]),
        has_verdict=torch.ones(4, dtype=torch.bool),
        group_ids=torch.tensor([0, 0, 1, 1]),
        token_ids=torch.zeros(4, 64, dtype=torch.int64),
        in_loss=torch.arange(64) < torch.tensor([[32], [64], [64], [64]]),
    )
    result = apply_token_advantages(rule, torch.tensor([0.0, 0.0, 0.7, -0.7]), torch.zeros(4, 64), rollouts)
    torch.testing.assert_close(result, torch.tensor([0.5, 0.25, 0.7, -0.7]).unsqueeze(1).expand(4, 64))
    assert not rule.entropy_rows(rollouts).any()


def test_it_trains_and_an_edited_file_does_not_resume(rule, recipe, fails, tmp_path):
    path = recipe(method=METHOD, method_options={"bonus": 0.5}, save_strategy="steps", save_steps=1)
    assert main(["train", "--config", path]) == 0
    run = tmp_path / "run"
    state = torch.load(run / "checkpoint-1" / "echorl_state_0.pt", weights_only=True)
    assert (state["settings"]["method"], len(state["settings"]["method_hash"])) == (METHOD, 16)
    rule.write_text(EXAMPLE.replace("0.1", "0.2"))
    resumed = ["train", "--config", str(run / "config.yaml"), "--max_steps", "3", "--resume_from_checkpoint", "true"]
    fails(
        resumed, "cannot resume from", f"the file of method='{METHOD}' was edited since the checkpoint", "start a new"
    )
    rule.write_text(EXAMPLE)
    assert main(resumed) == 0


def test_its_errors_are_one_sentence(rule, recipe, fails):
    fails(["train", "--config", recipe(method="none.py:SolvedBonus")], "there is no file", "none.py")
    path = recipe(method=METHOD, method_options={"bonsu": 0.5})
    fails(["train", "--config", path], f"method '{METHOD}' has no option 'bonsu'; did you mean 'bonus'? It has bonus.")
    rule.write_text(EXAMPLE.replace("self.bonus, advantages)", "self.bonus, advantages / 0)"))
    fails(
        ["train", "--config", recipe(method=METHOD)], "SolvedBonus.advantages returned", "every number must be finite"
    )


def test_it_is_probed(rule, tmp_path, fails):
    words = ["probe", "--model", "quickstart", "--benchmark", "quickstart", "--prompts", "4", "--samples", "2",
             "--max_new_tokens", "80", "--baseline_samples", "0", "--output_dir", "out", "--device", "cpu",
             "--projection", "64", "--method", METHOD]  # fmt: skip
    assert main(words) == 0
    result = json.loads((tmp_path / "out/probe.json").read_text())
    rows = [row["groups"] for row in result["rules"] if row["rule"] == "method" and row["label"] == METHOD]
    assert rows == ["all", "all_success", "all_fail"]
    assert result["settings"]["method"] == METHOD
    rule.write_text(EXAMPLE.replace("0.1", "0.2"))
    fails(words, "method_hash")
    fails([*words, "--method_options", '{"bonus": -1}'], "bonus=-1 is not allowed")


def test_it_is_an_arm_of_a_comparison(rule, write_study, fails, capsys):
    arms = {"grpo": {"method": "grpo"}, "bonus": {"method": METHOD}}
    study = write_study(arms=arms, learning_rates=[1e-5])
    assert main(["compare", study, "--dry_run"]) == 0
    assert "run    bonus/rate-1e-05/seed-0" in capsys.readouterr().out
    wrong = write_study(arms={**arms, "wrong": {"method": METHOD, "method_options": {"bonus": -1}}})
    fails(["compare", wrong, "--dry_run"], "arm 'wrong': bonus=-1 is not allowed")


def test_an_error_in_the_rule_while_training_is_named(rule, recipe, fails):
    rule.write_text(EXAMPLE.replace("rollouts.all_success", "rollouts.all_right"))
    assert "rollouts.all_right" in rule.read_text()
    words = ("SolvedBonus.advantages raised AttributeError", "my_rule.py, line", "mend the method")
    fails(["train", "--config", recipe(method=METHOD)], *words)

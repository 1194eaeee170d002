"""What verl's processes load, in processes of their own; and the reward function, as verl's workers find it."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytest.importorskip("verl", reason="verl is not installed: run `make test-verl`")

from tests.verl.batches import make_config


def python(lab, code):
    result = subprocess.run([sys.executable, "-c", code], env=lab.environment(), capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-3000:]
    return result.stdout.split()


def test_importing_verl_loads_the_plug_in_and_no_trainer(lab):
    code = "import sys, verl; print('echorl.verl.plugin' in sys.modules, 'echorl.verl.trainers' in sys.modules)"
    assert python(lab, code)[-2:] == ["True", "False"]


def test_verl_finds_the_trainers(lab):
    code = """
from verl.trainer.ppo.v1 import get_trainer_cls
for mode in ("sync", "colocate_async", "separate_async"):
    echo, base = get_trainer_cls("echo_" + mode), get_trainer_cls(mode)
    assert issubclass(echo, base) and echo.mode == mode and base.__module__.startswith("verl.")
    print(echo.__name__)
"""
    assert python(lab, code)[-3:] == ["EchoTrainerSync", "EchoTrainerColocateAsync", "EchoTrainerSeparateAsync"]


def test_the_module_keeps_verl_s_own_loader(lab):
    code = """
import inspect, verl.trainer.ppo.v1 as v1
print(v1.__spec__.loader.__class__.__name__, v1.__loader__.__class__.__name__, len(inspect.getsource(v1)) > 0)
"""
    assert python(lab, code)[-3:] == ["SourceFileLoader", "SourceFileLoader", "True"]


def test_a_verl_without_these_trainers_is_let_alone(lab):
    """As one of another version would be: it fails as without the plug-in, when its own module is asked for."""
    code = """
from echorl.verl.plugin import after_import
after_import("verl.no_such_module", "echorl.verl.trainers")
try:
    import verl.no_such_module
except ModuleNotFoundError as error:
    print(error.name)
"""
    assert python(lab, code)[-1] == "verl.no_such_module"


@pytest.mark.parametrize(
    ("version", "absent"), [("1.15.9", False), ("1.16rc1", True), ("1.17.0.dev0", True), ("2.0", True)]
)
def test_which_trl_is_taken_for_absent(monkeypatch, version, absent):
    from importlib import metadata

    from verl.utils import import_utils

    from echorl.verl.plugin import hide_trl_from_verl

    before = object()
    monkeypatch.setattr(import_utils, "is_trl_available", before)
    monkeypatch.setattr(metadata, "version", lambda name: version)
    hide_trl_from_verl()
    assert (import_utils.is_trl_available is not before) == absent


def test_beside_this_trl_verl_takes_it_for_absent(lab):
    pytest.importorskip("trl")
    code = "import verl.models.transformers.monkey_patch as m; print(m.is_trl_available())"
    assert python(lab, code)[-1] == "False"


@pytest.mark.parametrize(("right", "source"), [("4", "gsm8k"), ("12", "word_problems")])
def test_the_reward_function_as_verl_loads_it(right, source):
    from verl.trainer.ppo.reward import get_custom_reward_fn

    score = get_custom_reward_fn(make_config("reward.custom_reward_function.path=pkg://echorl.verl.reward"))
    row = dict(data_source=source, ground_truth=right, extra_info={"index": 0})
    assert score(solution_str=f"so\n#### {right}", **row) == {"score": 1.0, "acc": 1.0, "timeout": 0.0}
    assert score(solution_str="#### 5", **row) == {"score": 0.0, "acc": 0.0, "timeout": 0.0}


def test_the_reward_function_of_a_named_task_with_options():
    pytest.importorskip("reasoning_gym")
    from verl.trainer.ppo.reward import get_custom_reward_fn

    from echorl.tasks import load_task

    kwargs = "+reward.custom_reward_function.reward_kwargs"
    score = get_custom_reward_fn(
        make_config(
            "reward.custom_reward_function.path=pkg://echorl.verl.reward",
            f"{kwargs}.task=reasoning_gym",
            f"{kwargs}.config={{max_terms: 3}}",
        )
    )
    row = load_task("reasoning_gym", config={"max_terms": 3}).dataset("train", size=1)[0]
    answer = row["demonstration"]
    assert score(data_source="x", solution_str=answer, ground_truth=row["instance"])["acc"] == 1.0
    assert score(data_source="x", solution_str="no", ground_truth=row["instance"])["acc"] == 0.0


def test_the_reward_function_refuses_what_it_does_not_know():
    from echorl.verl.reward import compute_score

    with pytest.raises(ValueError, match=r"data_source='openai/x' is no task .* reasoning_gym, gsm8k, word_problems"):
        compute_score("openai/x", "1", "1")
    with pytest.raises(ValueError, match="has no option 'level'"):
        compute_score("gsm8k", "1", "1", level=3)

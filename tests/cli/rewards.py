"""Reward functions that the tests name as `rewards.py:function`."""

import os
import signal

CALLS = {"kill": 0}


def some_right(completion_ids, **_):
    return [float(sum(ids) % 3 == 0) for ids in completion_ids]


def killed(completion_ids, **_):
    """As `some_right`, but at the call that an environment variable names the process dies as by kill -9."""
    CALLS["kill"] += 1
    if CALLS["kill"] == int(os.environ.get("ECHORL_TEST_KILL_AT", "0")):
        os.kill(os.getpid(), signal.SIGKILL)
    return some_right(completion_ids)


def interrupted(completion_ids, trainer_state=None, **_):
    if trainer_state.global_step == 2:
        os.kill(os.getpid(), signal.SIGINT)
    return some_right(completion_ids)


def never(completions, **_):
    return [None] * len(completions)


def broken(completions, **_):
    return [1.0 / 0 for _ in completions]


def too_few(completions, **_):
    return [1.0]


def without_package(completions, **_):
    from echorl.tasks.verify.pool import Pool

    return Pool("nix").call_each("latex_value", [("1",)] * len(completions), timeout=5)


def exits(completions, **_):
    raise SystemExit(0)


async def exits_later(completions, **_):
    raise SystemExit(0)


def infinite(completions, **_):
    return [float("inf") if i % 2 else 0.0 for i in range(len(completions))]


def too_large(completions, **_):
    return [1e39 for _ in completions]


def minus_infinite(completions, **_):
    return [-float("inf")] * len(completions)


def undefined(completion_ids, **_):
    """NaN, which is TRL's own mark for None, for every fourth."""
    return [float("nan") if i % 4 == 3 else value for i, value in enumerate(some_right(completion_ids))]


def of_another_column(completions, solution):
    return [1.0] * len(completions)

"""Forms of JSON in which a line is not one rollout: ms-swift's batches, and the episodes of prime-rl and verifiers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from echorl.lab.logs.files import Row

Form = Callable[[Row], Iterator[Row]]
LIMITS = ("max_turns", "max_input_tokens", "max_output_tokens", "max_total_tokens", "context_length")
"""Stop conditions of verifiers under which a rollout counts as truncated."""


def find_form(row: Row, path: Path) -> Form | None:
    """Return the function that gives the rollouts of a line; None where a line is a rollout."""
    prompts = row.get("prompt")
    if isinstance(row.get("completion"), list) and isinstance(prompts, list) and isinstance((prompts or [0])[0], str):
        return split_batch
    if {"task", "traces"} <= row.keys() or {"task", "nodes", "rewards"} <= row.keys():
        step = _step_of(path)
        return lambda line: split_episode(line, step)
    return None


def split_batch(row: Row) -> Iterator[Row]:
    """Yield the rollouts of a batch that has a list in each column; a value that is no list is that of all rollouts.

    Raises:
        ValueError: a list that is as long as no other.
    """
    size = len(row["prompt"]) if isinstance(row.get("prompt"), list) else -1
    lists = {name: values for name, values in row.items() if isinstance(values, list)}
    if size < 0 or any(len(values) != size for values in lists.values()):
        raise ValueError("its columns are not lists of one length: give each rollout a value in every column.")
    for index in range(size):
        yield row | {name: values[index] for name, values in lists.items()}


def split_episode(row: Row, step: int | None) -> Iterator[Row]:
    """Yield the rollouts of an episode: its traces whose tokens train the policy; or of a trace that stands alone.

    Args:
        step: of the folder in which prime-rl puts the episodes of a batch; None elsewhere.

    Raises:
        ValueError: a part is missing or of another form.
    """
    try:
        if step is None:
            step = ((row.get("run") or {}).get("work") or {}).get("step")
        group = (row.get("group") or {}).get("id")
        for trace in row.get("traces", [row]):
            if (trace.get("agent") or {}).get("trainable", True):
                task = trace.get("task") or row["task"]
                yield _rollout_of(trace, task, step, group)
    except (AttributeError, KeyError, TypeError, IndexError):
        raise ValueError("this is no episode as verifiers writes it: give the file as prime-rl saved it.") from None


def _rollout_of(trace: Row, task: Row, step: Any, group: Any) -> Row:
    rewards = {name: reward for name, reward in trace["rewards"].items() if reward is not None}
    sampled = [node["message"] for node in trace["nodes"] if node.get("sampled")]
    given = [node["message"] for node in trace["nodes"] if not node.get("sampled")]
    calls = trace.get("calls") or []
    lengths = [call["usage"]["completion_tokens"] for call in calls if call.get("usage")]
    last: Row = next((call for call in reversed(calls) if not call.get("error")), {})
    values: Row = {name: reward["score"] for name, reward in rewards.items()}
    values |= {
        "prompt": task["data"].get("prompt") or given,
        "response": sampled[-1:],
        "reward": sum(reward["score"] * reward.get("weight", 1.0) for reward in rewards.values()) if rewards else None,
        "reference_answer": task["data"].get("answer"),
        "truncated": trace.get("stop_condition") in LIMITS or last.get("finish_reason") == "length",
    }
    optional = {"step": step, "group_id": group, "num_output_tokens": sum(lengths) if lengths else None}
    return values | {name: value for name, value in optional.items() if value is not None}


def _step_of(path: Path) -> int | None:
    """Return N of `rollouts/step_N/train/effective/traces.jsonl`."""
    steps = [part.removeprefix("step_") for part in path.parts if part.startswith("step_")]
    return int(steps[-1]) if steps and steps[-1].isdigit() else None

"""Logs as the frameworks write them."""

from __future__ import annotations

import json
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq


def jsonl(path, *rows: dict[str, Any]):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def parquet(path, *rows: dict[str, Any]):
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(list(rows)), path)
    return path


def trl(folder, step: int, prompts, responses, rewards: dict[str, list[float | None]], advantages, extra=None):
    """`GRPOTrainer.log`'s completions_*.parquet: a data frame, in which a reward that is missing is NaN."""
    table = {
        "step": [step] * len(prompts),
        "prompt": prompts,
        "completion": responses,
        **{name: [float("nan") if each is None else each for each in values] for name, values in rewards.items()},
        **(extra or {}),
        "advantage": advantages,
    }
    folder.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(table).to_parquet(folder / f"completions_{step:05d}.parquet")


def verl(folder, step: int, rows):
    """`_write_generations`: rows of (input, output, gts, score, extra columns), one a line."""
    lines = [
        {"input": prompt, "output": response, "gts": answer, "score": score, "step": step, **extra}
        for prompt, response, answer, score, extra in rows
    ]
    return jsonl(folder / f"{step}.jsonl", *lines)


def episode(prompt: str, response: str, rewards: dict[str, float], group: str, **trace: Any) -> dict[str, Any]:
    """An episode of one trace as prime-rl's file monitor writes it, without what has no value."""
    nodes = [
        {"message": {"role": "user", "content": prompt}, "sampled": False, "timestamp": 1.0},
        {"parent": 0, "message": {"role": "assistant", "content": response}, "sampled": True, "timestamp": 2.0},
    ]
    task = {"type": "GSM8KTask", "data": {"idx": 3, "prompt": prompt, "answer": "42"}, "key": "k"}
    usage = {"prompt_tokens": 9, "completion_tokens": 5}
    return {
        "id": f"{group}-{response}",
        "env": {"id": "gsm8k", "name": "gsm8k"},
        "task": task,
        "group": {"id": group},
        "run": {"type": "train", "id": "run", "work": {"type": "train", "step": 3}},
        "ok": True,
        "errors": [],
        "traces": [
            {
                "version": 1,
                "task": task,
                "agent": {"name": "agent", "trainable": True},
                "nodes": nodes,
                "calls": [{"node": 1, "finish_reason": "stop", "usage": usage, "time": {"start": 1.0, "end": 2.0}}],
                "rewards": {name: {"score": score, "weight": 1.0} for name, score in rewards.items()},
                "metrics": {},
                "stop_condition": "stop",
                "ok": True,
                **trace,
            }
        ],
    }

"""`echorl mine`: EchoClips of stored rollouts, scored part by part; finished parts are kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

from echorl.core.steps import StepDelimiters
from echorl.lab.audit.suspects import unusual_rewards
from echorl.lab.evaluate.checkpoint import Checkpoint
from echorl.lab.jobs import View
from echorl.lab.logs.layouts import read_rollouts
from echorl.lab.mine.clips import clip_rows, count, mine_part, write_clips
from echorl.lab.mine.plan import Plan, results_in
from echorl.lab.mine.scorer import Scorer, check_prompts, tokenize
from echorl.lab.mine.spool import Spool
from echorl.lab.mine.summary import ALL, Summary
from echorl.models.loading import tokenizer_of
from echorl.support.files import scratch_in, stored, write_value
from echorl.support.folder import json_parts

SUMMARY = "summary.json"
Part = dict[str, Any]
"""{"clips": rows, "counts": of `clips.count`}"""


def mine(folder: Path, plan: Plan, checkpoint: Checkpoint, start: Callable[[], Any], view: View) -> dict[str, Any]:
    """Mine all rollouts into `folder`; parts that an earlier call with the same settings left there are used.

    Args:
        start: loads the model; called only if a part is to be scored.

    Returns:
        The summary.

    Raises:
        ValueError: a file, a row or the model cannot be used, or the folder holds something else.
    """
    results, parts = results_in(folder), json_parts(folder / "parts")
    results.check_owner()
    limit = plan.reading.max_length or checkpoint.context
    plan = replace(plan, reading=replace(plan.reading, max_length=limit))
    delimiters = StepDelimiters.from_tokenizer(checkpoint.processing_class)
    rollouts = read_rollouts(plan.files, plan.columns, view.begin("reading rollouts", None))
    rollouts = check_prompts(rollouts, checkpoint.processing_class, plan.reading.chat)
    with scratch_in(folder) as path:
        spool = Spool(path, rollouts)
        settings = {"model": checkpoint.fingerprint(), "rollouts": spool.digest, **plan.settings()}
        results.claim(settings)
        summary = stored(folder / SUMMARY, settings)
        if summary is None:
            scorer = cache(lambda: Scorer(start(), temperature=plan.temperature, tokens_at_once=plan.tokens_at_once))
            make = partial(_make_part, plan, checkpoint, delimiters, scorer, spool)
            slices, advance = spool.parts(plan.batch_size), view.begin("mining rollouts", len(spool))
            for index, rows in enumerate(slices):
                parts.ensure(index, settings, partial(make, index, rows))
                advance(rows.stop)
            summary = _finish(folder, plan.format, lambda: map(parts.load, range(len(slices))))
            summary[ALL]["unusual_rewards"] = list(unusual_rewards(spool.rewards))
            write_value(folder / SUMMARY, settings, summary)
    parts.remove()
    return summary


def _make_part(
    plan: Plan,
    checkpoint: Checkpoint,
    delimiters: StepDelimiters,
    scorer: Callable[[], Scorer],
    spool: Spool,
    index: int,
    rows: slice,
) -> Part:
    """Score and mine some whole groups."""
    rollouts, groups = spool.read(rows)
    tokens = tokenize(rollouts, checkpoint.processing_class, plan.reading)
    limit = plan.reading.max_length
    entropies = [entropy for _, entropy in scorer().scores(tokens, limit)]
    scored = [limit is None or len(each) <= limit for each in tokens]
    part = mine_part(rollouts, tokens, groups, entropies, scored, plan.echo, delimiters, draw=index)
    return {"clips": clip_rows(part, tokenizer_of(checkpoint.processing_class)), "counts": count(part)}


def _finish(folder: Path, format: str, load: Callable[[], Iterable[Part]]) -> dict[str, Any]:
    """Write all clips, and return the summary. One part is in memory at a time."""
    summary = Summary()
    for part in load():
        summary.add(part)
    write_clips(folder, (row for part in load() for row in part["clips"]), format)
    return summary.result()

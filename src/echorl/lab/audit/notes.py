"""Sentences on what was guessed while a log was read, what was left out, and what the log cannot tell."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from echorl.lab.audit.groups import GroupTable
from echorl.lab.logs.columns import LogColumns, list_names

if TYPE_CHECKING:
    from echorl.lab.audit.read import Reading


def describe(reading: Reading, groups: GroupTable, files: list[Path]) -> list[str]:
    """Return the notes on a log that was read."""
    layouts, path = [layout for layout, _ in reading.layouts], reading.layouts[0][1]
    return [
        *dict.fromkeys(f"{layout.guess}; --reward names another." for layout in layouts if layout.guess),
        *(f"The columns of {other} differ from those of {path}: {layout}." for layout, other in reading.layouts[1:]),
        *_left_out(reading),
        *_decided(reading.groups.counts),
        *_steps(reading, layouts),
        *_unknown(reading, groups, layouts),
    ]


def _left_out(reading: Reading) -> Iterator[str]:
    if reading.repeats.num_repeated:
        yield (
            f"Rows that were left out: {reading.repeats.num_repeated:,}, which repeat a batch of an earlier step, "
            "since the log is written more often than rollouts are sampled."
        )
    if reading.repeats.num_open:
        yield (
            f"Rows that are equal to those of the step before and count as new ones: {reading.repeats.num_open:,}. All "
            "responses to a prompt are equal there, so that the log does not tell whether it shows a batch again."
        )
    if reading.num_not_for_training:
        number = reading.num_not_for_training
        yield f"Rows that were left out: {number:,}, which the policy did not sample for training."
    if reading.num_without_verdict:
        yield f"Rollouts without a verdict of the verifier: {reading.num_without_verdict:,}."


def _decided(counts: Counter[str]) -> Iterator[str]:
    if counts["single"]:
        yield (
            f"Groups of one rollout, which were left out: {counts['single']:,}. Nothing is compared in them; if others "
            "belong to their groups, --group names a column that tells."
        )
    if counts["unfinished"]:
        yield "The log ends within a group, which was left out."
    if counts["without_length"]:
        yield (
            f"Rollouts without a number of response tokens: {counts['without_length']:,}. They count with the mean of "
            "the others of their group."
        )
    if counts["split"]:
        yield (
            "Groups that were told apart from another group of their prompt, by the order of the rows or by advantages "
            f"that sum to 0: {counts['split']:,}."
        )
    if counts["unsplit"]:
        yield (
            f"Groups with a multiple of the usual size: {counts['unsplit']:,}. Each may be several groups of its "
            "prompt, which the order of the rows does not tell apart; --group names a column that does."
        )
    if counts["open_steps"]:
        yield (
            "Steps in which the log does not tell whether a prompt's rollouts are one group or several: "
            f"{counts['open_steps']:,}. They count as one; --group names a column that tells them apart."
        )
    if counts["several_prompts"]:
        yield (
            f"Groups with more than one prompt: {counts['several_prompts']:,}. If these are no groups, name another "
            "column with --group."
        )
    if counts["reopened"]:
        yield f"Steps that came again after others, and count as batches of their own: {counts['reopened']:,}."


def _steps(reading: Reading, layouts: list[LogColumns]) -> Iterator[str]:
    if not any(layout.step for layout in layouts):
        yield "The log has no step: nothing is shown over time, and all numbers are about the whole log."
    gaps = Counter(np.diff(sorted(reading.repeats.steps)).tolist())
    gap = gaps.most_common(1)[0][0] if gaps else 1
    if gap > 1:
        yield (
            f"The log has a batch at every {gap} steps: batches that were sampled in between, if there were any, are "
            "not in it."
        )


def _unknown(reading: Reading, groups: GroupTable, layouts: list[LogColumns]) -> Iterator[str]:
    if not all(layout.prompt for layout in layouts):
        yield "The log has no prompt: it cannot tell which prompts recur."
    if any(layout.from_policy and len(layout.rewards) == 1 for layout in layouts):
        yield "The log has verdicts and no rewards: it cannot tell which groups of one verdict have other rewards."
    unweighted = next((each.compared for each in layouts if len(each.compared) > 1 and not each.advantage), ())
    if unweighted:
        yield (
            f"The log has no advantage and not the weights of {list_names(unweighted)}: a group counts as one without "
            "gradient where each of these is equal."
        )
    largest, names = reading.largest_reward, dict.fromkeys(layout.reward for layout in layouts)
    if -np.inf < largest and not reading.succeeds(largest):
        yield (
            f"No reward in {list_names(names)} reaches {reading.success_reward:g}: the largest is {largest:g}. "
            "--success_reward sets from where on a rollout is right."
        )
    if not groups.degenerate.any():
        yield "Every group of the log gives a gradient: a run that filters the others does not log them."
    if groups.unit == "characters":
        measured = "lengths are in characters" if groups.length.any() else "lengths are not known"
        yield f"The log has no number of response tokens: {measured}."
    if any(layout.rolling and not layout.kind for layout in layouts):
        yield "The log does not tell evaluations apart: a step at which the run was evaluated may hold their rollouts."
    if (groups.truncated < 0).all():
        yield "The log does not tell which responses ended at the limit of length."

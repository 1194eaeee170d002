"""EchoClips of whole groups as rows of a table, their file, and the counts for a summary; mined as trainers mine."""

from __future__ import annotations

import itertools
import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from echorl.core.config import EchoConfig
from echorl.core.entropy import step_entropy
from echorl.core.miner import EchoMiner, Mined
from echorl.core.mining import candidate_steps
from echorl.core.rollouts import Rollouts
from echorl.core.statistics import KINDS
from echorl.core.steps import StepDelimiters
from echorl.lab.logs.layouts import Rollout
from echorl.lab.mine.scorer import Tokens
from echorl.support.files import replacing

NUM_OTHERS = 3
"""Other candidates in a clip's row."""
COLUMNS = {
    "group": "int64", "group_id": "string", "kind": "string", "group_size": "int32", "successes": "int32",
    "file": "string", "line": "int64", "reward": "float64", "prompt": "json", "response": "string", "clip": "string",
    "clip_tokens": "int32", "response_tokens": "int32", "step": "int32", "steps": "int32", "step_text": "string",
    "step_entropy": "float64", "other_entropy": "float64", "rank": "int32", "candidates": "int32", "others": "json",
    "tokens": "json", "entropy": "json", "step_ids": "json",
}  # fmt: skip
"""Columns of a clip's row and their types, in order; the last three describe the rollout, as in a run's dumps."""


@dataclass(frozen=True, eq=False, kw_only=True)
class MinedPart:
    """Whole groups with their EchoClips; B rollouts of at most T tokens.

    Attributes:
        sources: the rollouts as they were read.
        tokens: their tokens.
        group_numbers: int64 [B], the number of each rollout's group in all parts.
        scored: bool [B], false where a rollout was too long for the model.
        entropy: float32 [B, T], NaN where it is unknown.
        rollouts: the batch that the miner read.
        blank: int64 [B], the blank tokens of each rollout.
        miner, mined: the miner and what it returned.
    """

    sources: Sequence[Rollout]
    tokens: Sequence[Tokens]
    group_numbers: Tensor
    scored: Tensor
    entropy: Tensor
    rollouts: Rollouts
    blank: Tensor
    miner: EchoMiner
    mined: Mined

    @cached_property
    def step_means(self) -> Tensor:
        """float32 [B, K]: the mean entropy of each step; -inf where there is none."""
        return step_entropy(self.entropy, self.mined.step_ids)

    @cached_property
    def candidates(self) -> dict[int, list[tuple[float, int, int]]]:
        """Group -> (-entropy, row, step) of every step that could have ended a clip, the highest entropy first."""
        config = replace(self.miner.config, top_k=max(1, self.step_means.shape[1]))
        steps = candidate_steps(self.entropy, self.mined.step_ids, config, threshold=self.miner.threshold)
        eligible = self.miner.rows_to_score(self.rollouts).unsqueeze(1)
        rows, slots = ((steps.score > -torch.inf) & eligible).nonzero(as_tuple=True)
        columns = (self.rollouts.groups.index[rows], -steps.entropy[rows, slots], rows, steps.step[rows, slots])
        by_group: dict[int, list[tuple[float, int, int]]] = defaultdict(list)
        for group, *candidate in sorted(zip(*(column.tolist() for column in columns), strict=True)):
            by_group[group].append(tuple(candidate))
        return by_group


def mine_part(
    sources: Sequence[Rollout],
    tokens: Sequence[Tokens],
    group_numbers: Tensor,
    entropies: Sequence[Tensor],
    scored: Sequence[bool],
    config: EchoConfig,
    delimiters: StepDelimiters,
    draw: int,
) -> MinedPart:
    """Put the rollouts side by side and mine them, with a new miner, so that a part does not depend on others.

    Args:
        scored: false where a rollout was too long for the model: it counts in its group and gives no clip.
        draw: mixed into the random choices, so that they differ from part to part.
    """
    pad = torch.nn.utils.rnn.pad_sequence
    responses = [torch.tensor(each.response, dtype=torch.int64) for each in tokens]
    ids = pad(responses, batch_first=True, padding_value=-1)  # which is not blank
    entropy = pad(list(entropies), batch_first=True, padding_value=torch.nan)
    values = [torch.nan if source.reward is None else source.reward for source in sources]
    rewards = torch.tensor(values, dtype=torch.float64)  # a reward of 1e300 is infinite in float32
    rollouts = Rollouts.build(
        rewards=rewards,
        success=rewards >= config.success_reward,
        has_verdict=~rewards.isnan(),
        group_ids=group_numbers,
        token_ids=ids,
        in_loss=(ids >= 0) & torch.tensor(scored).unsqueeze(1),
    )
    miner = EchoMiner(config, delimiters)
    return MinedPart(
        sources=sources,
        tokens=tokens,
        group_numbers=group_numbers,
        scored=torch.tensor(scored),
        entropy=entropy,
        rollouts=rollouts,
        blank=delimiters.is_blank(ids).sum(1),
        miner=miner,
        mined=miner(rollouts, entropy, draw=draw),
    )


def clip_rows(part: MinedPart, tokenizer: Any) -> list[dict[str, Any]]:
    """Return one row a clip (`COLUMNS`), by group, then by rollout, then by step."""
    clips = part.mined.clips
    columns = (clips.rollout, clips.step, clips.end, clips.length, clips.entropy)
    return [_row(part, tokenizer, *numbers) for numbers in zip(*(column.tolist() for column in columns), strict=True)]


def _row(
    part: MinedPart, tokenizer: Any, rollout: int, step: int, end: int, length: int, entropy: float
) -> dict[str, Any]:
    source, response, groups = part.sources[rollout], part.tokens[rollout].response, part.rollouts.groups
    step_ids, group = part.mined.step_ids[rollout, : len(response)].tolist(), int(groups.index[rollout])
    return {
        "group": int(part.group_numbers[rollout]),
        "group_id": source.group,
        "kind": KINDS[groups.kind[group]],
        "group_size": int((groups.index == group).sum()),
        "successes": int(part.rollouts.num_success[group]),
        "file": source.place[0],
        "line": source.place[1],
        "reward": source.reward,
        "prompt": source.prompt,
        "response": source.response,
        "clip": _text(tokenizer, response[:end]),
        "clip_tokens": length,
        "response_tokens": len(response),
        "step": step,
        "steps": max(step_ids) + 1,
        "step_text": _text(tokenizer, [token for token, k in zip(response, step_ids, strict=True) if k == step]),
        "step_entropy": entropy,
        **_compare(part, group, rollout, step),
        "tokens": tokenizer.batch_decode([[token] for token in response]),
        "entropy": [_rounded(value) for value in part.entropy[rollout, : len(response)].tolist()],
        "step_ids": step_ids,
    }


def _text(tokenizer: Any, ids: list[int]) -> str:
    return tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)


def _rounded(value: float) -> float | None:
    """Four decimals are enough to look at; None for NaN, which JSON lacks."""
    return None if value != value else round(value, 4)


def _compare(part: MinedPart, group: int, rollout: int, step: int) -> dict[str, Any]:
    """Return the columns that compare a clip's step with the rollout's other steps and the group's candidates."""
    candidates = part.candidates[group]
    means = part.step_means[rollout]
    is_other = means.isfinite() & (torch.arange(len(means)) != step)
    other_candidates = [candidate for candidate in candidates if candidate[1:] != (rollout, step)][:NUM_OTHERS]
    places = [part.sources[row].place for _, row, _ in other_candidates]
    return {
        "other_entropy": float(means[is_other].double().mean()) if is_other.any() else None,
        "rank": [candidate[1:] for candidate in candidates].index((rollout, step)) + 1,
        "candidates": len(candidates),
        "others": [
            {"file": file, "line": line, "step": k, "entropy": -negative}
            for (file, line), (negative, _, k) in zip(places, other_candidates, strict=True)
        ],
    }


def count(part: MinedPart) -> dict[str, dict[str, Any]]:
    """Return kind of group -> counts and sums that can be added up over parts.

    Those of rollouts with a verdict are apart for right and wrong ones; "steps" counts the rollouts of each number of
    steps.
    """
    rollouts, groups, scored = part.rollouts, part.rollouts.groups, part.scored
    sizes, lengths = torch.bincount(groups.index), torch.tensor([len(each.response) for each in part.tokens])
    has_entropy = part.step_means.isfinite()
    num_steps, entropy = has_entropy.sum(1), part.step_means.double().where(has_entropy, 0.0).sum(1)
    right, wrong = rollouts.success, rollouts.has_verdict & ~rollouts.success
    counts = {}
    for code in groups.kind.unique().tolist():
        is_kind = groups.kind == code
        rows = is_kind[groups.index]
        counts[KINDS[code]] = {
            "groups": int(is_kind.sum()),
            "degenerate": int(groups.degenerate[is_kind].sum()),
            "groups_of_one": int((sizes[is_kind] == 1).sum()),
            "rollouts": int(rows.sum()),
            "too_long": int((rows & ~scored).sum()),
            "tokens": int(lengths[rows].sum()),
            "blank": int(part.blank[rows].sum()),
            "right_steps": int(num_steps[rows & right].sum()),
            "right_entropy": float(entropy[rows & right].sum()),
            "wrong_steps": int(num_steps[rows & wrong].sum()),
            "wrong_entropy": float(entropy[rows & wrong].sum()),
            "steps": Counter(num_steps[rows & scored].tolist()),
        }
    return counts


def write_clips(folder: Path, rows: Iterator[dict[str, Any]], format: str) -> Path:
    """Write clips to the folder's clips.jsonl or clips.parquet, in one move, and return its path."""
    path = folder / f"clips.{format}"
    with replacing(path) as scratch:
        (_write_jsonl if format == "jsonl" else _write_parquet)(scratch, rows)
    return path


def _write_jsonl(path: Path, rows: Iterator[dict[str, Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for row in rows:
            file.write(json.dumps({name: row[name] for name in COLUMNS}) + "\n")


def _write_parquet(path: Path, rows: Iterator[dict[str, Any]]) -> None:
    """Write parquet with a row group for every thousand clips; messages and the other candidates as JSON text."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([(name, "string" if kind == "json" else kind) for name, kind in COLUMNS.items()])
    with pq.ParquetWriter(path, schema) as writer:
        while batch := [_flat(row) for row in itertools.islice(rows, 1000)]:
            writer.write_table(pa.Table.from_pylist(batch, schema=schema))


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    as_json = [name for name, kind in COLUMNS.items() if kind == "json" and not isinstance(row[name], str)]
    return {**row, **{name: json.dumps(row[name]) for name in as_json}}

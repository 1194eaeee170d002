"""EchoClips of whole groups as rows of a table, and the numbers for a summary. The mining itself is `echorl.core`'s."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from echorl.core.config import EchoConfig
from echorl.core.entropy import step_entropy
from echorl.core.groups import Groups, classify_groups
from echorl.core.mining import candidate_steps, eligible_rollouts, mine_echo_clips
from echorl.core.statistics import KINDS
from echorl.core.steps import StepDelimiters, segment_steps
from echorl.lab.mine.layouts import Rollout
from echorl.lab.mine.scorer import Tokens

VERDICTS = ("wrong", "right", "unscored")
NO_VERDICT = VERDICTS.index("unscored")
NUM_OTHERS = 3
"""Other candidates that are told of beside a clip."""
COLUMNS = {
    "group": "int64", "group_id": "string", "kind": "string", "group_size": "int32", "successes": "int32",
    "file": "string", "line": "int64", "reward": "float64", "prompt": "json", "response": "string", "clip": "string",
    "clip_tokens": "int32", "response_tokens": "int32", "step": "int32", "steps": "int32", "step_text": "string",
    "step_entropy": "float64", "other_entropy": "float64", "rank": "int32", "candidates": "int32", "others": "json",
    "tokens": "json", "entropy": "json", "step_ids": "json",
}  # fmt: skip
"""Of a clip's row, in order; the last three are the rollout's, named as in a training run's dumps."""


@dataclass(frozen=True, eq=False)
class Scored:
    """Rollouts of whole groups with what mining needs; B rollouts of at most T tokens.

    Attributes:
        rollouts, tokens: B of each.
        group: int64 [B].
        entropy: float32 [B, T], NaN where there is none.
        step_ids: int64 [B, T]; -1 throughout where the rollout was not scored.
        success, judged: bool [B]; the second is false where no verifier gave a verdict.
        blank: int64 [B], blank tokens.
        kinds: of the groups.
    """

    rollouts: Sequence[Rollout]
    tokens: Sequence[Tokens]
    group: Tensor
    entropy: Tensor
    step_ids: Tensor
    success: Tensor
    judged: Tensor
    blank: Tensor
    kinds: Groups

    @property
    def kind(self) -> list[str]:
        """[B], the kind of each rollout's group."""
        return [KINDS[i] for i in self.kinds.kind[self.kinds.index].tolist()]


def combine(
    rollouts: Sequence[Rollout],
    tokens: Sequence[Tokens],
    group: Tensor,
    entropies: Sequence[Tensor],
    scored: Sequence[bool],
    delimiters: StepDelimiters,
    success_reward: float,
) -> Scored:
    """Put rollouts side by side; `scored` is false where a rollout was too long for the model."""
    pad = torch.nn.utils.rnn.pad_sequence
    lengths = torch.tensor([len(one.response) if ok else 0 for one, ok in zip(tokens, scored, strict=True)])
    responses = [torch.tensor(one.response, dtype=torch.int64) for one in tokens]
    ids = pad(responses, batch_first=True, padding_value=-1)  # which is not blank
    mask = torch.arange(ids.shape[1]) < lengths.unsqueeze(1)
    given = [torch.nan if rollout.reward is None else rollout.reward for rollout in rollouts]
    rewards = torch.tensor(given, dtype=torch.float64)  # a reward of 1e300 is infinite in float32
    success, judged = rewards >= success_reward, ~rewards.isnan()
    return Scored(
        rollouts=rollouts,
        tokens=tokens,
        group=group,
        entropy=pad(list(entropies), batch_first=True, padding_value=torch.nan),
        step_ids=segment_steps(ids, mask, delimiters),
        success=success,
        judged=judged,
        blank=delimiters.is_blank(ids).sum(1),
        kinds=classify_groups(success, judged, rewards, group),
    )


def clip_rows(scored: Scored, tokenizer: Any, config: EchoConfig, draw: int) -> list[dict[str, Any]]:
    """One row a clip (`COLUMNS`), by group, then by rollout, then by step."""
    batch = (scored.entropy, scored.step_ids, scored.success, scored.group)
    clips = mine_echo_clips(*batch, config, has_verdict=scored.judged, draw=draw)
    ranks = _Ranks(scored, config, draw)
    sizes = torch.bincount(scored.kinds.index)
    wins = torch.bincount(scored.kinds.index, weights=scored.success.double()).long()
    rows, kinds = [], scored.kind
    columns = (clips.rollout, clips.step, clips.end, clips.length, clips.entropy, clips.group)
    for rollout, step, end, length, entropy, group in zip(*(column.tolist() for column in columns), strict=True):
        source, response, at = scored.rollouts[rollout], scored.tokens[rollout].response, scored.kinds.index[rollout]
        inside = [token for token, own in zip(response, scored.step_ids[rollout].tolist(), strict=False) if own == step]
        rows.append(
            {
                "group": group,
                "group_id": source.group,
                "kind": kinds[rollout],
                "group_size": int(sizes[at]),
                "successes": int(wins[at]),
                "file": source.place[0],
                "line": source.place[1],
                "reward": source.reward,
                "prompt": source.prompt,
                "response": source.response,
                "clip": _text(tokenizer, response[:end]),
                "clip_tokens": length,
                "response_tokens": len(response),
                "step": step,
                "steps": int(scored.step_ids[rollout].max()) + 1,
                "step_text": _text(tokenizer, inside),
                "step_entropy": entropy,
                **ranks.of(rollout, step),
                "tokens": tokenizer.batch_decode([[token] for token in response]),
                "entropy": [_rounded(value) for value in scored.entropy[rollout, : len(response)].tolist()],
                "step_ids": scored.step_ids[rollout, : len(response)].tolist(),
            }
        )
    return rows


def _text(tokenizer: Any, ids: list[int]) -> str:
    return tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)


def _rounded(value: float) -> float | None:
    """Four decimals are enough to look at; None for NaN, which JSON lacks."""
    return None if value != value else round(value, 4)


class _Ranks:
    """Where a step stands by entropy among the candidates of its group."""

    def __init__(self, scored: Scored, config: EchoConfig, draw: int) -> None:
        self.scored, self.means = scored, step_entropy(scored.entropy, scored.step_ids)
        every = replace(config, top_k=max(1, self.means.shape[1]))
        candidates = candidate_steps(scored.entropy, scored.step_ids, every, draw=draw)
        eligible = eligible_rollouts(scored.success, scored.group, config, has_verdict=scored.judged)
        rows, slots = ((candidates.score > -torch.inf) & eligible.unsqueeze(1)).nonzero(as_tuple=True)
        found = (scored.group[rows], candidates.entropy[rows, slots], rows, candidates.step[rows, slots])
        self._by_group: dict[int, list[tuple[float, int, int]]] = {}
        for group, entropy, row, step in zip(*(column.tolist() for column in found), strict=True):
            self._by_group.setdefault(group, []).append((-entropy, row, step))
        for entries in self._by_group.values():
            entries.sort()

    def of(self, rollout: int, step: int) -> dict[str, Any]:
        """rank (1: the largest), candidates, mean entropy of the response's other steps, and the best others."""
        entries = self._by_group[int(self.scored.group[rollout])]
        rank = next(i for i, entry in enumerate(entries, 1) if entry[1:] == (rollout, step))
        others = [self._tell(*entry) for entry in entries if entry[1:] != (rollout, step)][:NUM_OTHERS]
        own = self.means[rollout].clone()
        own[step] = -torch.inf
        rest = own[own.isfinite()].double()
        mean = float(rest.mean()) if len(rest) else None
        return {"other_entropy": mean, "rank": rank, "candidates": len(entries), "others": others}

    def _tell(self, negative: float, row: int, step: int) -> dict[str, Any]:
        file, line = self.scored.rollouts[row].place
        return {"file": file, "line": line, "step": step, "entropy": -negative}


def count(scored: Scored, was_scored: Sequence[bool]) -> dict[str, dict[str, Any]]:
    """Kind of group -> numbers that can be added up over parts: of groups, rollouts, steps and tokens."""
    found: dict[str, dict[str, Any]] = {}
    for kind, degenerate, size in _groups(scored):
        entry = found.setdefault(kind, {"steps": {}})
        _add(entry, groups=1, degenerate=int(degenerate), groups_of_one=int(size == 1))
    means = step_entropy(scored.entropy, scored.step_ids)
    sums = means.double().masked_fill(~means.isfinite(), 0).sum(1).tolist()
    verdicts = torch.where(scored.judged, scored.success.long(), NO_VERDICT).tolist()
    columns = (scored.kind, means.isfinite().sum(1).tolist(), sums, verdicts, scored.blank.tolist())
    for kind, steps, total, number, blank, tokens, ok in zip(*columns, scored.tokens, was_scored, strict=True):
        verdict, entry = VERDICTS[number], found[kind]
        _add(entry, rollouts=1, tokens=len(tokens.response), blank=blank, too_long=int(not ok))
        _add(entry, **{f"{verdict}_steps": steps, f"{verdict}_entropy": total})
        if ok:
            _add(entry["steps"], **{str(steps): 1})
    return found


def _groups(scored: Scored) -> Iterator[tuple[str, bool, int]]:
    sizes = torch.bincount(scored.kinds.index).tolist()
    columns = (scored.kinds.kind.tolist(), scored.kinds.degenerate.tolist(), sizes)
    return ((KINDS[kind], degenerate, size) for kind, degenerate, size in zip(*columns, strict=True))


def _add(entry: dict[str, Any], **values: float) -> None:
    for name, value in values.items():
        entry[name] = entry.get(name, 0) + value

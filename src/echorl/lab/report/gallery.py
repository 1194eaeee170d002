"""EchoClips to look at: rows of rollout dumps (`rollouts/*.parquet`) become exhibits that a template draws."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from echorl.support.visible import prompt_text, visible

EDGES = (0.025, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6)
"""Nats at which a token gets the next shade; each is twice the edge before it, since most entropies are small."""

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Token:
    """A piece of text as the page shows it, with its entropy in nats and its shade."""

    text: str
    entropy: float
    level: int
    special: bool


@dataclass(frozen=True)
class Step:
    """A step of a rollout: number from 1 (0: tokens of no step), tokens, mean entropy, and its place in the clip."""

    number: int
    tokens: list[Token]
    entropy: float
    level: int
    in_clip: bool
    ends_clip: bool


@dataclass(frozen=True)
class Rollout:
    """A rollout of a group: its number from 1, success, steps, and whether it is a demonstration or a mistake."""

    number: int
    success: bool
    steps: list[Step]
    demonstration: bool = False


@dataclass(frozen=True)
class Exhibit:
    """A group with an EchoClip: its kind, training step, prompt, the rollout that holds the clip, and all rollouts."""

    kind: str
    training_step: int
    prompt: str
    clip_entropy: float
    clip_tokens: int
    winner: Rollout
    rollouts: list[Rollout]


def by_group(rows: Iterable[Row]) -> list[list[Row]]:
    """Return the rows of each group of a training step."""
    groups: dict[tuple[int, int], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["step"], row["group"]), []).append(row)
    return list(groups.values())


def choose_exhibits(rows: Iterable[Row], *, kinds: Sequence[str] = ("all_success", "mixed", "mixed")) -> list[Exhibit]:
    """Return an exhibit of a group for each kind in `kinds`, no group twice; fewer where there is no such group.

    Preferred are groups of a training step without an exhibit, then those with the most steps in the clip's rollout,
    which have more text, then the latest. The choice does not depend on the entropies.
    """
    with_clip = [group for group in by_group(rows) if any(row["clip_step"] >= 0 for row in group)]
    ranked = sorted(with_clip, key=_preference, reverse=True)
    exhibits = []
    for kind in kinds:
        group = next((group for group in ranked if group[0]["kind"] == kind), None)
        if group is not None:
            exhibits.append(make_exhibit(group))
            ranked.remove(group)
            ranked.sort(key=lambda group: group[0]["step"] in {exhibit.training_step for exhibit in exhibits})
    return exhibits


def _preference(group: Sequence[Row]) -> tuple[int, int]:
    row = group[_winner(group)]
    return max(row["step_ids"], default=-1), row["step"]


def _winner(group: Sequence[Row]) -> int:
    """Return the index of the row with the clip; of several (`clip_per="rollout"`) the clip of the highest entropy."""
    with_clip = [i for i, row in enumerate(group) if row["clip_step"] >= 0]
    return max(with_clip, key=lambda i: group[i]["clip_entropy"])


def make_exhibit(group: Sequence[Row]) -> Exhibit:
    """Return the exhibit of one group's rows, at least one of which has a clip."""
    rollouts = [make_rollout(row, number) for number, row in enumerate(group, 1)]
    winner = _winner(group)
    row = group[winner]
    return Exhibit(
        kind=row["kind"],
        training_step=row["step"],
        prompt=visible(prompt_text(row["prompt"])),
        clip_entropy=row["clip_entropy"],
        clip_tokens=sum(0 <= step <= row["clip_step"] for step in row["step_ids"]),
        winner=rollouts[winner],
        rollouts=rollouts,
    )


def make_rollout(row: Row, number: int) -> Rollout:
    """Return a rollout cut into its steps; tokens outside the steps come as a step with number 0."""
    pieces = align_tokens(row["tokens"], row["completion"])
    entropies = [math.nan if entropy is None else entropy for entropy in row["entropy"]]
    tokens = [
        Token(text=visible(text), entropy=entropy, level=level_of(entropy), special=special)
        for (text, special), entropy in zip(pieces, entropies, strict=True)
    ]
    steps = []
    for step, pairs in itertools.groupby(zip(row["step_ids"], tokens, strict=True), key=lambda pair: pair[0]):
        part = [token for _, token in pairs]
        mean, in_clip = sum(token.entropy for token in part) / len(part), 0 <= step <= row["clip_step"]
        steps.append(Step(step + 1, part, mean, level_of(mean), in_clip, in_clip and step == row["clip_step"]))
    demonstration = not row.get("written_by_policy", True)  # older dumps lack the column
    return Rollout(number=number, success=row["success"], steps=steps, demonstration=demonstration)


def level_of(entropy: float) -> int:
    """Return the shade of an entropy in nats, 0 to `len(EDGES)`; NaN has the lightest.

    >>> [level_of(value) for value in (0.0, 0.1, 1.59, 9.0, float("nan"))]
    [0, 3, 6, 7, 0]
    """
    return sum(entropy >= edge for edge in EDGES)


def align_tokens(tokens: Sequence[str], text: str) -> list[tuple[str, bool]]:
    """Return (text, is special) of each token, so that the texts of the tokens that are not special make up `text`.

    Tokens decoded one by one differ from the text: bytes of one character give U+FFFD each, some tokenizers drop a
    leading space, and special tokens are not in the text. A character in several tokens belongs to the first.

    >>> align_tokens(["\\ufffd", "\\ufffd", "a", "<eos>"], "éa")
    [('é', False), ('', False), ('a', False), ('<eos>', True)]
    """
    pieces: list[tuple[str, bool]] = []
    at = 0
    for index, token in enumerate(tokens):
        end = _end_of(tokens, index, text, at)
        pieces.append((token, True) if end is None else (text[at:end], False))
        at = at if end is None else end
    if at < len(text) and pieces:
        last = max((i for i, (_, special) in enumerate(pieces) if not special), default=0)
        pieces[last] = (pieces[last][0] + text[at:], False)
    return pieces


def _end_of(tokens: Sequence[str], index: int, text: str, at: int) -> int | None:
    """Return where token `index`, which begins at `at`, ends in the text; None for a special token."""
    token = tokens[index]
    if text.startswith(token, at):
        return at + len(token)
    if "\ufffd" not in token:
        blanks = len(text[at:]) - len(text[at:].lstrip())
        return at + blanks + len(token) if token and text.startswith(token, at + blanks) else None
    if index and "\ufffd" in tokens[index - 1]:
        return at  # a further part of a character that the first has taken
    following = next((t for t in tokens[index + 1 :] if "\ufffd" not in t and t in text[at:]), None)
    return len(text) if following is None else max(at, text.find(following, min(at + 1, len(text))))

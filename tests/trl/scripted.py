"""Groups rewarded as a script says, for the tests of DAPO.

A script is one string a round, one letter a group: `m` mixed, `+` all right, `-` all wrong, `?` no verdict.
"""

from __future__ import annotations

from types import SimpleNamespace

import torch

from tests.trl.by_hand import train_and_keep
from tests.trl.tiny import build

GIVEN = {"m": (1.0, 0.0, 1.0, 0.0), "+": (1.0,) * 4, "-": (0.0,) * 4, "?": (None,) * 4}


class Script:
    """Rewards groups of four as written, and keeps what it was asked about."""

    __name__ = "verifier"

    def __init__(self, *rounds: str, then: str = "m"):
        self.rounds, self.then = list(rounds), then
        self.numbers, self.tokens, self.played = [], 0, ""

    def __call__(self, completion_ids, number, **_):
        letters = self.rounds.pop(0) if self.rounds else self.then * (len(number) // 4)
        assert len(letters) == len(number) // 4
        self.numbers.append(number[::4])
        self.tokens += sum(len(ids) for ids in completion_ids)
        self.played += letters
        return [reward for letter in letters for reward in GIVEN[letter]]


def by_number(number, **_):
    """The kind depends on the prompt alone, two of five are mixed."""
    return [GIVEN["m+m-+"[n % 5]][i % 4] for i, n in enumerate(number)]


def options(**own):
    return {"overlong_buffer": 0, **own}


def dapo(**changes):
    own = options(**changes.pop("method_options", {}))
    return dict(method="dapo", method_options=own, max_steps=1, **changes)


def first_batch(tmp_path, reward, **changes):
    """One step; the trainer, each round's batch as it was sampled, the whole batch, and the gradient."""
    trainer = build(tmp_path, reward, **dapo(**changes))
    rounds, sample = [], trainer._sample

    def keep_round(inputs, **options):
        sampled = sample(inputs, **options)
        rounds.append({k: v.clone() if torch.is_tensor(v) else v for k, v in sampled.batch.items()})
        return sampled

    trainer._sample = keep_round
    (batch, *_), (gradient, *_) = train_and_keep(trainer)
    log = trainer.state.log_history[0]
    return SimpleNamespace(trainer=trainer, rounds=rounds, batch=batch, gradient=gradient, log=log)


def counts(log):
    return tuple(int(log[f"method/{name}"]) for name in ("rounds", "num_sampled_prompts", "filtered", "filled"))


def tokens_of(batch, rows=slice(None)):
    pairs = zip(batch["completion_ids"][rows], batch["completion_mask"][rows], strict=True)
    return [ids[mask.bool()].tolist() for ids, mask in pairs]


def rows_named(rounds, letters):
    """The token ids of the rollouts of groups with these letters."""
    found, first = {letter: [] for letter in "m+-?"}, 0
    for batch in rounds:
        for group in range(len(batch["completion_ids"]) // 4):
            found[letters[first]] += tokens_of(batch, slice(4 * group, 4 * group + 4))
            first += 1
    return found


def same(one, other):
    return all(torch.equal(one[3][name], other[3][name]) for name in one[3])

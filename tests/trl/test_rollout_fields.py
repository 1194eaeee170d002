"""What a `rollout_func` says of a rollout reaches the verifier with that rollout, in further rounds, too."""

from __future__ import annotations

import pytest

from tests.trl.distributed import rollouts
from tests.trl.scripted import Script
from tests.trl.tiny import build


class Tagged:
    """Numbers every rollout that it samples, and a verifier that keeps the numbers which it is given."""

    __name__ = "tagged"

    def __init__(self, verifier):
        self.verifier, self.made, self.got = verifier, [], []

    def sample(self, prompts, trainer):
        first = sum(map(len, self.made))
        self.made.append(list(range(first, first + len(prompts))))
        return {**rollouts(prompts, trainer), "tag": self.made[-1]}

    def __call__(self, tag, **kwargs):
        self.got.append(list(tag))
        return self.verifier(**kwargs)


@pytest.mark.parametrize(
    ("method", "verifier", "changes"),
    [
        ("reinforce_ada", Script("m+-m", "-m"), {"max_steps": 1}),
        ("dapo", Script("m+-m", "mm"), {"max_steps": 1}),
    ],
)
def test_every_rollout_is_judged_by_its_own(tmp_path, method, verifier, changes):
    tagged = Tagged(verifier)
    build(tmp_path, tagged, method=method, echo_coef=0.0, rollout_func=tagged.sample, **changes).train()
    assert len(tagged.got) > 1
    assert tagged.got == tagged.made

"""Beginnings made beforehand: whose failures, and where they are cut."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from datasets import Dataset

from benchmarks import failure_prefixes
from benchmarks.failure_prefixes import Aim, make_prefixes
from echorl.lab.evaluate.sampling import Completions

PASSED = {"a": "++-+", "b": "++++", "c": "+---", "d": "-+++"}
"""The verdicts of four rollouts of each prompt."""
AIM = Aim(rollouts=4, continuations=4, parts=4)


@pytest.fixture
def asked(monkeypatch):
    """Eight letters a rollout and an end; of the continuations of n letters 4 - n / 2 are right."""
    asked = []

    def sample(model, tokenizer, prompts, *, group_size, **_):
        asked.append(prompts)
        assert group_size == 4
        if prompts == list(PASSED):
            texts = ["x" * 8 + PASSED[prompt][place] for prompt in prompts for place in range(4)]
        else:
            texts = [
                "y" + ("+" if place < 4 - (len(prompt) - 1) / 2 else "-") for prompt in prompts for place in range(4)
            ]
        return Completions(texts, [[*map(ord, text[:-1]), 0] for text in texts], [], group_size)

    monkeypatch.setattr(failure_prefixes, "sample", sample)
    return asked


def verify(completions, number, **_):
    assert len(number) == len(completions)
    return [float(text.endswith("+")) for text in completions]


@pytest.mark.parametrize(("target", "length"), [(0.5, 4), (0.75, 2), (0.0, 6)])
def test_the_first_failure_of_saturated_prompts_is_cut_where_its_rate_is_nearest(asked, target, length):
    tokenizer = SimpleNamespace(decode=lambda ids: "".join(map(chr, ids)))
    rows = Dataset.from_dict({"prompt": list(PASSED), "number": list(range(4))})
    aim = Aim(target=target, rollouts=4, continuations=4, parts=4)
    found = make_prefixes((None, tokenizer), rows, verify, aim, {})
    expected = {"failure_prefix": "x" * length, "rate": 1 - length / 8}
    assert found == [{"prompt": prompt, **expected} for prompt in "ad"]
    assert asked[1:] == [[prompt + "x" * length for length in (2, 4, 6)] for prompt in "ad"]


def test_chat_messages_are_refused():
    rows = Dataset.from_dict({"prompt": [[{"role": "user", "content": "1+1?"}]]})
    with pytest.raises(ValueError, match="the prompts are chat messages"):
        make_prefixes((None, None), rows, verify, AIM, {})

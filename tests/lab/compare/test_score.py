"""Scores of a policy with several ends."""

from __future__ import annotations

from datasets import Dataset

from echorl.lab.compare.score import Policy
from tests.tiny import PIECES, make_tokenizer
from tests.trl.tiny import make_model


def test_a_completion_that_one_of_the_models_ends_closed_is_not_truncated():
    def right(completions, **_):
        return [1.0] * len(completions)

    rows, model = Dataset.from_dict({"prompt": ["1+1=?\n"]}), make_model()
    model.generation_config.eos_token_id = list(range(1, len(PIECES)))  # whatever is sampled ends it
    model.generation_config.suppress_tokens = [0]
    policy = Policy(model=model, tokenizer=make_tokenizer(), max_new_tokens=1)
    scores = policy.score(rows, right, samples=4, temperature=1.0)
    assert scores["truncated"] == 0.0
    assert scores["length"] == 1.0

"""Real rollouts of a Qwen2.5-Math model under the real Qwen2 tokenizer; the scorer is random, for the plumbing."""

from __future__ import annotations

import pytest
import torch
from transformers import PreTrainedTokenizerFast

from echorl.core.config import EchoConfig
from echorl.lab.mine.scorer import Scorer
from echorl.models.loading import load_policy
from tests.lab.conftest import run, save_model
from tests.lab.mine.test_mine import clips_of

NUM_OUTPUTS = 64


@pytest.fixture(scope="module")
def qwen(shared_data, tmp_path_factory):
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_file=str(shared_data / "tokenizers/qwen2/tokenizer.json"), eos_token="<|endoftext|>"
    )
    return save_model(tmp_path_factory.mktemp("qwen"), tokenizer, context=4096)


@pytest.fixture(scope="module")
def rollouts(shared_data):
    return shared_data / "math_rollouts/qwen25_math_100x8.jsonl"


def with_few_outputs(folder):
    """The model reads all 151,936 ids and tells 64 apart: the entropies of all would take minutes."""
    model = load_policy(folder)[0]
    torch.manual_seed(0)
    model.lm_head = torch.nn.Linear(model.config.hidden_size, NUM_OUTPUTS, bias=False)
    return model


@pytest.fixture(scope="module")
def scored_once():
    """The scores of a batch are computed for the first scope and looked up for the second."""
    scores, memory = Scorer.scores, {}

    def remembered(scorer, rollouts, max_length=None):
        key = (max_length, *((*rollout.prompt, -1, *rollout.response) for rollout in rollouts))
        if key not in memory:
            memory[key] = scores(scorer, rollouts, max_length)
        return memory[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Scorer, "scores", remembered)
        yield


def check(found, clips, expected):
    assert {kind: row["groups"] for kind, row in found.items()} == expected
    assert len(clips) == len({clip["group_id"] for clip in clips}) == found["all"]["clips"]["count"]
    for clip in clips:
        assert clip["response"].startswith(clip["clip"])
        assert clip["step_text"].strip()
        assert clip["clip"].endswith(clip["step_text"])
        assert clip["rank"] == 1


@pytest.mark.slow
@pytest.mark.parametrize(("scope", "count"), [("verified", 96), ("degenerate", 86)])
def test_all_groups(tmp_path, qwen, rollouts, scored_once, scope, count):
    found = run(tmp_path / "out", [rollouts], qwen, lambda: with_few_outputs(qwen), echo=EchoConfig(scope=scope))
    clips = clips_of(tmp_path / "out")
    check(found, clips, {"all": 100, "mixed": 10, "all_success": 86, "all_fail": 4})
    assert len(clips) == count
    assert {clip["kind"] for clip in clips} == {"all_success", *(["mixed"] if scope == "verified" else [])}

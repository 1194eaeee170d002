"""`echo_entropy_from="top_logprobs"` without an engine: what TRL gets and EchoRL keeps; tests/vllm has the real one."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch

from echorl.trl.batch import Capture, Plan
from echorl.trl.recording import TOP, recording_top
from echorl.trl.sources import TopLogprobs, as_table
from tests.trl.tiny import all_right, run

IDS = [[3, 7], [5]]
SORTED = {3: [(3, -0.1), (4, -2.5)], 7: [(9, -0.2), (7, -1.9)], 5: [(5, None), (6, -3.0)]}


class Engine:
    """Gives the log-probs of a token as TRL's engine does: most likely first, the sampled one among them or last."""

    logprobs = 0

    def generate(self, prompts):
        table = [[SORTED[token] for token in row] for row in IDS]
        if self.logprobs == 0:
            table = [[[pair for pair in pairs if pair[0] == token] for token, pairs in zip(*row, strict=True)]
                     for row in zip(IDS, table, strict=True)]  # fmt: skip
        ids, logps = ([[[pair[at] for pair in pairs] for pairs in row] for row in table] for at in (0, 1))
        return prompts, IDS, logps, ids


def context(**changes):
    args = dict(echo_entropy_from="top_logprobs", use_vllm=True, vllm_importance_sampling_correction=False)
    args |= dict(gradient_accumulation_steps=1, steps_per_generation=1, num_iterations=1)
    return SimpleNamespace(args=SimpleNamespace(**args | changes))


def test_trl_gets_what_it_gets_without_echorl():
    engine, capture = Engine(), Capture()
    expected = engine.generate([])
    with recording_top(engine, capture, context()):
        assert engine.logprobs == TOP
        assert engine.generate([]) == expected
    assert capture.top_logps == [[[-0.1, -2.5], [-0.2, -1.9]], [[None, -3.0]]]
    assert engine.logprobs == 0
    assert "generate" not in vars(engine)


@pytest.mark.parametrize(
    "changes",
    [
        dict(echo_entropy_from="logits"),
        dict(use_vllm=False),
        dict(vllm_importance_sampling_correction=True),
        dict(num_iterations=2),
    ],
    ids=str,
)
def test_nothing_is_asked_for_where_logits_exist_or_no_engine_samples(changes):
    engine, capture = Engine(), Capture()
    with recording_top(engine, capture, context(**changes)):
        assert engine.logprobs == 0
        engine.generate([])
    assert capture.top_logps is None


def test_the_middle_of_the_bounds_behind_a_prefix():
    """Half, a quarter, and a rest of a quarter: one further token, or as many as there are."""
    values = [[math.log(0.5), math.log(0.25)]]
    capture = Capture(plan=Plan(prefixes=[[8], []]), turns=1, top_logps=[values, [[None, -1.0]]])
    log = {}
    comm = SimpleNamespace(sum=lambda values: values)
    seen = SimpleNamespace(tokenizer=range(10), comm=comm, log=SimpleNamespace(update=log.update))
    out = {"completion_ids": torch.zeros(2, 3, dtype=torch.long)}
    entropy = TopLogprobs().read(out, capture, torch.tensor([True, True]), seen)
    known, least, most = 0.5 * math.log(2) + 0.25 * math.log(4), 0.25 * math.log(4), 0.25 * math.log(8 / 0.25)
    assert entropy[0, 1].item() == pytest.approx(known + (least + most) / 2)
    assert entropy.isnan().tolist() == [[True, False, True], [True, True, True]]
    assert log["echo/entropy_bound"] == pytest.approx((most - least) / 2)


def test_several_calls_of_the_engine_are_not_read():
    capture = Capture(turns=2, top_logps=[[[-0.5]]])
    out = {"completion_ids": torch.zeros(1, 1, dtype=torch.long)}
    assert TopLogprobs().read(out, capture, torch.tensor([True]), None) is None


def test_a_table_of_rows_of_different_lengths():
    assert as_table([[-1.0, -2.0], [-3.0]]).tolist() == [[-1.0, -2.0], [-3.0, -math.inf]]
    assert as_table([]).shape == (0, 1)


def test_without_an_engine_it_is_refused(tmp_path):
    with pytest.raises(
        ValueError, match="echo_entropy_from='top_logprobs' finds no log-probs of the most likely tokens"
    ):
        run(tmp_path, all_right, echo_entropy_from="top_logprobs", generation_kwargs={"num_beams": 2}, max_steps=1)

"""A list in the place of a tensor is refused by every public function, in one sentence that names it."""

from __future__ import annotations

import pytest
import torch

import echorl

ROW = torch.zeros(1, 2)
STEPS = torch.zeros(1, 2, dtype=torch.int64)
YES, GROUP = torch.ones(1, dtype=torch.bool), torch.zeros(1, dtype=torch.int64)
DELIMITERS = echorl.StepDelimiters.from_ids([1], vocab_size=2)


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda: echorl.mine_echo_clips([[0.0, 0.0]], STEPS, YES, GROUP), "entropy"),
        (lambda: echorl.mine_echo_clips(ROW, [[0, 0]], YES, GROUP), "step_ids"),
        (lambda: echorl.mine_echo_clips(ROW, STEPS, [True], GROUP), "success"),
        (lambda: echorl.mine_echo_clips(ROW, STEPS, YES, [0]), "group_ids"),
        (lambda: echorl.segment_steps([[0, 1]], ROW, DELIMITERS), "token_ids"),
        (lambda: echorl.segment_steps(STEPS, [[1, 1]], DELIMITERS), "mask"),
        (lambda: echorl.step_entropy([[0.0, 0.0]], STEPS), "entropy"),
        (lambda: echorl.step_entropy(ROW, [[0, 0]]), "step_ids"),
        (lambda: echorl.logp_and_entropy([[0.0, 0.0]], GROUP), "logits"),
        (lambda: echorl.logp_and_entropy(ROW, [0]), "targets"),
        (lambda: echorl.echo_loss([[0.0, 0.0]], ROW, num_prompts=1), "logp"),
        (lambda: echorl.echo_loss(ROW, [[0.0, 0.0]], num_prompts=1), "weights"),
        (lambda: echorl.as_advantages([[0.0, 0.0]], coef=1.0, num_prompts=1), "weights"),
    ],
)
def test_a_list_is_refused(call, name):
    with pytest.raises(ValueError, match=rf"^{name} is a list, not a tensor: give torch\.tensor\({name}\)\.$"):
        call()

"""GRESO: which prompts are skipped, what comes in their place, and how the probability of a visit adapts."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from echorl.trl.methods.greso import FilteredStream
from echorl.trl.sampling.row_keys import row_key
from tests.trl.scripted import GIVEN, Script, by_number, same
from tests.trl.test_methods import streamed
from tests.trl.tiny import build, make_dataset, run

NEVER = {"visit_solved": 1.0, "visit_failed": 1.0, "step": 0.0}
"""No prompt is skipped."""

ONE_ROUND = dict(method="greso", echo_coef=0.0, dataset=make_dataset(8))


class ByPrompt:
    """Prompts 0 to 3 are solved, 4 and 5 fail, 6 and 7 are mixed; keeps the prompts of each call."""

    __name__ = "verifier"

    def __init__(self):
        self.numbers = []

    def __call__(self, number, **_):
        self.numbers.append(number[::4])
        return [GIVEN["++++--mm"[n]][i % 4] for i, n in enumerate(number)]


def train(tmp_path, options, **changes):
    verifier = ByPrompt()
    options = {"dynamic_sampling": False, **options}
    trainer = build(tmp_path, verifier, method_options=options, **{**ONE_ROUND, **changes})
    trainer.train()
    return trainer, verifier.numbers


# -- reductions -------------------------------------------------------------------------------------------------------


def test_without_skips_and_rounds_it_is_grpo_bit_for_bit(tmp_path):
    changes = dict(echo_coef=0.0, dataset=make_dataset(8), max_steps=4)
    options = {**NEVER, "dynamic_sampling": False}
    one = run(tmp_path, ByPrompt(), method="greso", method_options=options, **changes)
    other = run(tmp_path, ByPrompt(), method="grpo", **changes)
    assert same(one, other)
    assert one[2] == other[2]


def test_without_skips_it_is_dynamic_sampling_bit_for_bit(tmp_path):
    changes = dict(echo_coef=0.1, max_steps=2)
    one = run(tmp_path, by_number, method="greso", method_options=NEVER, **changes)
    loss = dict(loss_type="grpo", epsilon=0.2, epsilon_high=None)
    options = {"overlong_buffer": 0}
    other = run(tmp_path, by_number, method="dapo", method_options=options, **loss, **changes)
    assert same(one, other)
    assert one[0].state.log_history[0]["method/rounds"] == other[0].state.log_history[0]["method/rounds"] > 1


# -- skips ------------------------------------------------------------------------------------------------------------


def test_with_a_probability_of_0_solved_prompts_are_visited_once_in_a_hundred(tmp_path):
    """From the second epoch on the mixed and the failed ones come up, and sometimes a solved one."""
    options = {"visit_solved": 0.0, "visit_failed": 1.0, "step": 0.0}
    trainer, numbers = train(tmp_path, options, max_steps=8)
    assert sorted(numbers[0] + numbers[1]) == list(range(8))
    later = [number for batch in numbers[2:] for number in batch]
    assert len(later) == 24
    assert sum(number < 4 for number in later) <= 2
    entries = trainer.stations.hooks.entries
    rows = {row["number"]: row_key(row) for row in make_dataset(8)}
    assert entries[rows[0]] == ("all_success", 1)
    assert entries[rows[4]] == ("all_fail", sum(batch.count(4) for batch in numbers))
    assert rows[6] not in entries
    log = trainer.state.log_history
    assert [entry["method/skipped"] for entry in log[:2]] == [0.0, 0.0]
    assert all(entry["method/skipped"] > 0.2 for entry in log[2:8])


def test_a_batch_of_skipped_prompts_alone_ends_with_the_streams_epoch(tmp_path, monkeypatch):
    """A stream that has passed all prompts takes any."""
    stream = FilteredStream(5, seed=0, is_skipped=lambda number: True)
    assert len(stream.draw(2)) == 2
    assert stream.drawn == 5 + 2
    monkeypatch.setattr("echorl.methods.greso.LEAST", 0.0)
    trainer, numbers = train(tmp_path, {"visit_solved": 0.0, "visit_failed": 0.0}, max_steps=4, dataset=make_dataset(4))
    assert all(len(batch) == 4 for batch in numbers)
    assert trainer.state.log_history[3]["method/skipped"] > 0.9


def test_skipped_prompts_cost_no_rollouts_and_rounds_skip_too(tmp_path):
    script = Script("++++", then="m")
    options = {"visit_solved": 0.0, "step": 0.0}
    trainer = build(tmp_path, script, method="greso", method_options=options, max_steps=2, dataset=make_dataset(8))
    trainer.train()
    solved = set(script.numbers[0])
    assert not solved & {number for batch in script.numbers[1:] for number in batch}
    assert trainer.statistics.num_tokens == script.tokens


def test_p_adapts_from_the_second_epoch_on(tmp_path):
    """Two batches an epoch; at a target of 0.25 a batch without all-success groups raises their p."""
    trainer, numbers = train(tmp_path, {"visit_solved": 0.5, "visit_failed": 0.5, "step": 0.1}, max_steps=4)
    log, p = trainer.state.log_history, {"all_success": 0.5, "all_fail": 0.5}
    for batch, entry in zip(numbers, log[:4], strict=True):
        for kind, members in (("all_success", range(4)), ("all_fail", range(4, 6))):
            assert entry[f"method/visit_{kind}"] == pytest.approx(p[kind])
            if batch not in numbers[:2]:
                too_many = sum(n in members for n in batch) / 4 >= 0.25 * (1 if kind == "all_success" else 2) / 3
                p[kind] += -0.1 if too_many else 0.1
    assert trainer.stations.hooks.p == pytest.approx(p)


# -- checkpoints and processes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("dynamic_sampling", [True, False])
def test_a_resumed_run_skips_the_same_prompts(tmp_path, dynamic_sampling):
    changes = dict(ONE_ROUND, echo_coef=0.1, max_steps=6, save_strategy="steps", save_steps=3)
    changes["method_options"] = {"dynamic_sampling": dynamic_sampling, "max_rounds": 2, "step": 0.1}
    whole, *_, weights = run(tmp_path, ByPrompt(), **changes)
    resumed = build(tmp_path, ByPrompt(), **changes)
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-3"))
    assert all(torch.equal(weights[name], p) for name, p in resumed.model.named_parameters())
    assert resumed.stations.hooks.state_dict() == whole.stations.hooks.state_dict()
    assert whole.stations.hooks.entries != {}


def test_other_prompts_come_in_the_place_of_the_same_groups_on_every_process(tmp_path):
    """Six rows a process, groups of four: the second group, which is skipped, lies on both."""
    rows = list(make_dataset(8))
    keys = [row_key(row) for row in rows]
    everything = [row for number in (0, 1, 2) for row in [rows[number]] * 4]
    gathered = torch.tensor([row_key(row) for row in everything])
    found = []
    for rank in (0, 1):
        trainer = build(tmp_path, method_options={"visit_solved": 0.0, "dynamic_sampling": False}, **ONE_ROUND)
        hooks = trainer.stations.hooks
        hooks.entries, hooks.columns = {keys[1]: ("all_success", 5)}, list(rows[0])
        args = SimpleNamespace(num_generations=4)
        comm = SimpleNamespace(rank=rank, num_ranks=2, device=torch.device("cpu"), gather=lambda _: gathered)
        context = SimpleNamespace(comm=comm, args=args)
        found += [row["number"] for row in hooks._replace(everything[6 * rank :][:6], context)]
    assert found[:4] + found[8:] == [0] * 4 + [2] * 4
    assert len(set(found[4:8])) == 1
    assert found[4] != 1


def test_streamed_rows_are_refused(tmp_path):
    with pytest.raises(ValueError, match="a training set without random access"):
        build(
            tmp_path, **{**ONE_ROUND, "dataset": streamed(make_dataset(8))}, method_options={"dynamic_sampling": False}
        )

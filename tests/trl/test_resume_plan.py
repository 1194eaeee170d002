"""`resume_plan` against a simulation of TRL's count of micro-steps, for all combinations of small values."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field, replace

import pytest

from echorl.methods.base import NO_FILE
from echorl.trl.resume import ResumeSettings, resume_plan

PLAIN = ResumeSettings(
    per_device_train_batch_size=8,
    gradient_accumulation_steps=2,
    steps_per_generation=2,
    num_iterations=1,
    num_processes=1,
    method=None,
    has_memory=False,
    echo_coef=0.0,
    beta=0.0,
    vllm_importance_sampling_correction=False,
)
BATCHINGS = [
    replace(PLAIN, gradient_accumulation_steps=accumulation, steps_per_generation=steps, num_iterations=passes)
    for accumulation, steps, passes in itertools.product((1, 2, 3), (1, 2, 4), (1, 2))
]
COEFS = list(itertools.product((0.0, 0.1), repeat=2))
OTHERS = {
    "nothing": ({}, {}),
    "batch": ({}, {"per_device_train_batch_size": 4}),
    "processes": ({"num_processes": 2}, {"num_processes": 1}),
    "method": ({"method": "grpo"}, {"method": "luffy"}),
    "options": ({"method": "dapo"}, {"method": "dapo", "method_options": {"max_rounds": 2}}),
    "memory": ({"method": "spo", "has_memory": True}, {"method": "grpo"}),
    "same memory": ({"method": "spo", "has_memory": True}, {"method": "spo", "has_memory": True}),
    "penalty": ({}, {"beta": 0.1}),
    "less": ({"beta": 0.1, "vllm_importance_sampling_correction": True}, {}),
    "engine": ({}, {"vllm_importance_sampling_correction": True}),
}


class FaultError(Exception):
    """What would stop or falsify the training."""


@dataclass
class GenerationBatch:
    """Made by a run with `settings`, by the weights after `updates` optimiser steps."""

    settings: ResumeSettings
    updates: int
    name: int
    delivered: list[int] = field(default_factory=list)


@dataclass
class Run:
    """GRPOTrainer's bookkeeping, step by step: `_step`, `_buffered_inputs`, and what the losses need of a slot."""

    settings: ResumeSettings
    step: int = 0
    batch: GenerationBatch | None = None
    updates: int = 0
    batches: int = 0
    seen: list[tuple[int, int]] = field(default_factory=list)

    def update(self) -> None:
        """One optimiser step."""
        for _ in range(self.settings.gradient_accumulation_steps):
            self._micro_step()
        self.updates += 1

    def _micro_step(self) -> None:
        if self.batch is None or self.step % (self.settings.steps_per_generation * self.settings.num_iterations) == 0:
            self._generate()
        slot = self.step % self.settings.steps_per_generation
        if slot >= self.batch.settings.steps_per_generation:
            raise FaultError("IndexError")
        self._loss(self.batch, slot)
        self.batch.delivered.append(slot)
        self.seen.append((self.batch.name, slot))
        self.step += 1

    def _generate(self) -> None:
        if self.batch is not None:
            made_by = self.batch.settings
            expected = sorted(list(range(made_by.steps_per_generation)) * made_by.num_iterations)
            if sorted(self.batch.delivered) != expected:
                raise FaultError("micro-batches never reached the loss")
        self.batch = GenerationBatch(self.settings, self.updates, self.batches)
        self.batches += 1

    def _loss(self, batch: GenerationBatch, slot: int) -> None:
        made_by, own = batch.settings, self.settings
        sizes = [(s.per_device_train_batch_size, s.num_processes) for s in (made_by, own)]
        if sizes[0] != sizes[1]:
            raise FaultError("another number of rows")
        if made_by.method != own.method:
            raise FaultError("tensors of another method")
        for name in ("echo_coef", "beta", "vllm_importance_sampling_correction"):
            if getattr(own, name) and not getattr(made_by, name):
                raise FaultError(f"no tensors for {name}")
        # TRL keeps no log-probs of the sampling policy where every batch is used up within an optimiser step.
        used_up = made_by.gradient_accumulation_steps % (made_by.steps_per_generation * made_by.num_iterations) == 0
        if used_up and batch.updates != self.updates:
            raise FaultError("an off-policy batch without old log-probs")


def stopped(settings: ResumeSettings, updates: int) -> Run:
    run = Run(settings)
    for _ in range(updates):
        run.update()
    return run


def resumed(run: Run, new: ResumeSettings, *, step: int, keep: bool) -> Run:
    """The run under other settings, with its batch in use or without; some batches long."""
    batch = None if run.batch is None or not keep else replace(run.batch, delivered=list(run.batch.delivered))
    after = Run(new, step, batch, run.updates, run.batches)
    for _ in range(3 * new.steps_per_generation * new.num_iterations):
        after.update()
    return after


def every_resume():
    for (old, new), updates in itertools.product(itertools.product(BATCHINGS, repeat=2), (1, 2, 3)):
        for (coef, new_coef), (before, after) in itertools.product(COEFS, OTHERS.values()):
            yield replace(old, echo_coef=coef, **before), replace(new, echo_coef=new_coef, **after), updates


def check(old: ResumeSettings, new: ResumeSettings, updates: int) -> str:
    run = stopped(old, updates)
    plan = resume_plan(old, new, run.step)
    forgets = old.has_memory and old.method != new.method
    assert (plan.action == "refuse") == forgets
    if forgets:
        assert f"method={old.method!r}" in plan.sentence
        assert f"method={new.method!r}" in plan.sentence
        return plan.action
    within = run.step % (old.steps_per_generation * old.num_iterations) != 0
    go_on = plan.action == "go_on"
    after = resumed(run, new, step=plan.step, keep=go_on and within)  # raises what goes wrong
    if go_on:
        assert plan.step == run.step
        assert not plan.sentence
    else:
        assert plan.step >= run.step
        assert after.seen[0] == (run.batches, 0)
        assert plan.step % new.gradient_accumulation_steps == 0  # TRL logs the time of a step at such counts
        assert bool(plan.sentence) == within
    if old == new:
        assert go_on
        undisturbed = stopped(old, after.updates)
        assert run.seen + after.seen == undisturbed.seen
    return plan.action


def test_no_resume_breaks_the_bookkeeping_of_trl():
    actions = [check(*each) for each in every_resume()]
    assert set(actions) == {"go_on", "new_batch", "refuse"}


def is_faulty(old: ResumeSettings, new: ResumeSettings, updates: int) -> bool:
    """Whether it goes wrong to go on at the checkpoint's count, whatever has changed."""
    run = stopped(old, updates)
    within = run.step % (old.steps_per_generation * old.num_iterations) != 0
    try:
        resumed(run, new, step=run.step, keep=within)
    except FaultError:
        return True
    return False


def test_other_options_of_the_method_begin_a_new_batch_within_one_alone():
    """The loss may read tensors that the batch was made without, as `saturated_learning` does where its coef was 0."""
    old = replace(PLAIN, method="saturated_learning", num_iterations=2, method_options={"coef": 0.0})
    new = replace(old, method_options={"coef": 1.0})
    within, after = (resume_plan(old, new, step) for step in (2, 4))
    assert (within.action, after.action) == ("new_batch", "go_on")
    assert "method_options is {'coef': 1.0} and was {'coef': 0.0}" in within.sentence


@pytest.mark.parametrize(
    ("updates", "before", "after", "named"),
    [
        (1, {}, {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 4, "steps_per_generation": 4}, ()),
        (3, {}, {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 4, "steps_per_generation": 4}, ()),
        (1, {"steps_per_generation": 4}, {"steps_per_generation": 8}, ("steps_per_generation is 8 and was 4",)),
        (1, {"steps_per_generation": 4}, {"steps_per_generation": 2}, ("steps_per_generation is 2 and was 4",)),
        (1, {"steps_per_generation": 4}, {"echo_coef": 0.001}, ("echo_coef is 0.001 and was 0.0",)),
        (1, {"num_iterations": 2}, {"num_processes": 2}, ("num_processes is 2 and was 1",)),
        (
            1,
            {"steps_per_generation": 4},
            {"gradient_accumulation_steps": 4},
            ("gradient_accumulation_steps is 4 and was 2",),
        ),
        (1, {"num_iterations": 2}, {"method": "luffy"}, ("method is 'luffy' and was None",)),
        (1, {"num_iterations": 2}, {"beta": 0.1}, ("beta is 0.1 and was 0.0",)),
    ],
)
def test_a_new_batch_begins_where_going_on_is_a_fault(updates, before, after, named):
    old = replace(PLAIN, **before)
    new = replace(old, **after)
    assert is_faulty(old, new, updates)
    plan = resume_plan(old, new, updates * old.gradient_accumulation_steps)
    assert plan.action == "new_batch"
    assert all(text in plan.sentence for text in named)
    assert bool(plan.sentence) == bool(named)  # nothing is lost between two batches


def test_a_smaller_coefficient_goes_on_within_a_batch():
    old = replace(PLAIN, num_iterations=2, echo_coef=0.1)
    for coef in (0.0, 0.001, 0.5):
        assert resume_plan(old, replace(old, echo_coef=coef), 2).action == "go_on"


def test_an_edited_rule_is_refused_and_one_without_a_file():
    old = replace(PLAIN, method="my_rule.py:MyRule", method_hash="before")
    for step in (3, 4):  # within a generation batch, and after one
        assert resume_plan(old, old, step).action == "go_on"
        plan = resume_plan(old, replace(old, method_hash="after"), step)
        assert plan.action == "refuse"
        assert plan.sentence.startswith("the file of method='my_rule.py:MyRule' was edited since the checkpoint: ")
    typed = replace(old, method="typed", method_hash=NO_FILE)
    plan = resume_plan(typed, typed, 4)
    assert plan.action == "refuse"
    assert plan.sentence.startswith("method='typed' has no file to compare with the checkpoint's: ")

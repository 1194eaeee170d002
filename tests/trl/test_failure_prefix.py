"""Groups that begin with a column's text, and with failures that are stored: which, and how much of them."""

from __future__ import annotations

import json

import pytest
import torch

from echorl.trl.methods.failure_prefix import read_prefixes
from tests.trl.by_hand import closest, gradient_of, logps_and_entropies, train_and_keep
from tests.trl.scripted import same
from tests.trl.tiny import build, make_dataset, make_model, make_tokenizer, run

GIVEN = {"h": (1.0, 1.0, 0.0, 1.0), "m": (1.0, 0.0, 1.0, 0.0), "+": (1.0,) * 4, "-": (0.0,) * 4}


PREFIXES = ["1+1=3\n", None, "", "2"]
"""The beginnings of four prompts."""


def with_prefixes(prefixes=PREFIXES):
    return make_dataset(4).add_column("failure_prefix", list(prefixes))


# -- beginnings that are given -----------------------------------------------------------------------------------------


def first_batch(tmp_path, **changes):
    script = Visits("mmmm")
    own = dict(method="failure_prefix", echo_coef=0.0, dataset=with_prefixes(), max_steps=1)
    trainer = build(tmp_path, script, **{**own, **changes})
    (batch,), (gradient,) = train_and_keep(trainer)
    return trainer, script.seen[0], batch, gradient


def test_a_group_begins_with_its_rows_text(tmp_path):
    trainer, seen, batch, _ = first_batch(tmp_path)
    ids = [make_tokenizer()(text or "", add_special_tokens=False)["input_ids"] for text in PREFIXES]
    for number, rollouts in seen.items():
        assert all(rollout[: len(ids[number])] == ids[number] for rollout in rollouts)
        assert all(len(rollout) > len(ids[number]) for rollout in rollouts)
    policys = int((batch["completion_mask"] * batch["tool_mask"]).sum())
    assert policys == int(batch["completion_mask"].sum()) - 4 * sum(map(len, ids))
    assert trainer.statistics.num_tokens == policys
    log = trainer.state.log_history[0]
    assert log["method/prefixed"] == 0.5
    assert log["method/prefix_tokens"] == (len(ids[0]) + len(ids[3])) / 2


def test_the_loss_is_dapos_on_the_continuations_with_its_clip(tmp_path):
    trainer, _, batch, gradient = first_batch(tmp_path)
    assert (trainer.args.epsilon, trainer.args.epsilon_high, trainer.args.loss_type) == (0.2, 0.4, "dapo")
    model = make_model()
    logp, _ = logps_and_entropies(model, batch)
    mask = batch["completion_mask"] * batch["tool_mask"]
    per_token = (logp - logp.detach()).exp() * batch["advantages"].unsqueeze(1) * mask
    assert closest(gradient_of(model, -per_token.sum() / mask.sum()), gradient) < 1e-5


def test_without_beginnings_it_is_grpo_with_dapos_loss_bit_for_bit(tmp_path):
    changes = dict(echo_coef=0.0, dataset=with_prefixes([None] * 3 + [""]), max_steps=2)
    one = run(tmp_path, Visits(), method="failure_prefix", **changes)
    other = run(tmp_path, Visits(), method="grpo", loss_type="dapo", epsilon_high=0.4, **changes)
    assert same(one, other)
    assert one[2] == other[2]


def test_same_gradient_at_every_micro_batch(tmp_path):
    gradients = [
        first_batch(tmp_path, echo_coef=1.0, per_device_train_batch_size=size, gradient_accumulation_steps=16 // size)[
            3
        ]
        for size in (16, 2)
    ]
    assert closest(*gradients) < 1e-5


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            dict(dataset=make_dataset(4)),
            r"prefixes='failure_prefix', which is no column .*: prompt, number\).*online=true",
        ),
        (
            dict(dataset=with_prefixes(["1", "2", "3", "4"]), method_options={"prefixes": "number"}),
            "row 0: number=0 is no text",
        ),
        (dict(dataset=with_prefixes(), remove_unused_columns=True), "would take the column 'failure_prefix' out"),
    ],
)
def test_a_column_that_cannot_be_read_is_refused(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        build(tmp_path, method="failure_prefix", **changes)


def test_a_file_has_the_beginnings_by_prompt(tmp_path):
    """That of the first prompt is the column's, that of others is not there."""
    path = tmp_path / "prefixes.jsonl"
    path.write_text(json.dumps({"prompt": make_dataset(4)[0]["prompt"], "failure_prefix": PREFIXES[0]}) + "\n")
    changes = dict(echo_coef=0.0, max_steps=2, method="failure_prefix")
    given = run(tmp_path, Visits(), dataset=make_dataset(4), method_options={"prefixes": str(path)}, **changes)
    other = run(tmp_path, Visits(), dataset=with_prefixes([PREFIXES[0], None, None, None]), **changes)
    assert same(given, other)
    assert given[0].state.log_history[0]["method/prefixed"] == 0.25


def test_a_file_may_have_any_text_and_blank_lines(tmp_path):
    path = tmp_path / "prefixes.jsonl"
    path.write_text('\ufeff{"prompt": "1\u20282", "failure_prefix": "\u2028"}\n\n', encoding="utf-8")
    assert list(read_prefixes(path).values()) == ["\u2028"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"[]", "line 1 is not a JSON object"),
        (b"{broken", "line 1 is not a JSON object"),
        (b'{"prompt": "\xff"}', "line 1 is not a JSON object"),
        (b'{"prompt": "1"}', "row 1: write an object with 'prompt' and the text"),
        (b'{"prompt": "1", "failure_prefix": null}', "row 1: write an object with 'prompt' and the text"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused(tmp_path, line, message):
    with pytest.raises(ValueError, match=r"prefixes='.*missing.jsonl': there is no such file"):
        read_prefixes(tmp_path / "missing.jsonl")
    (tmp_path / "bad.jsonl").write_bytes(line + b"\n")
    with pytest.raises(ValueError, match=rf"bad\.jsonl, {message}"):
        read_prefixes(tmp_path / "bad.jsonl")


# -- failures of earlier visits ---------------------------------------------------------------------------------------

STORED = {"online": True, "loss_type": "grpo", "epsilon_high": 0.2}
"""GRPO with the failures of earlier visits."""


class Visits:
    """Rewards of a visit's groups by prompt number: one string a visit; and what was seen."""

    __name__ = "verifier"

    def __init__(self, *visits: str):
        self.visits, self.seen = list(visits), []

    def __call__(self, completion_ids, number, **_):
        kinds = self.visits.pop(0) if self.visits else "mmmm"
        self.seen.append(
            {n: [list(ids) for ids in completion_ids[4 * g : 4 * g + 4]] for g, n in enumerate(number[::4])}
        )
        return [GIVEN[kinds[n]][i % 4] for i, n in enumerate(number)]


def train(tmp_path, *visits, options=None, **changes):
    """Four prompts, so that every batch visits each."""
    script = Visits(*visits)
    own = dict(method="failure_prefix", echo_coef=0.0, dataset=make_dataset(4), max_steps=len(visits))
    method_options = {**STORED, "max_tokens": 16, **(options or {})}
    trainer = build(tmp_path, script, method_options=method_options, **{**own, **changes})
    return trainer, script.seen, *train_and_keep(trainer)


def common(rollouts):
    """The length of what all of them begin with."""
    return next((i for i, tokens in enumerate(zip(*rollouts, strict=False)) if len(set(tokens)) > 1), 0)


def test_a_group_begins_with_half_of_the_first_failure_of_a_saturated_prompt(tmp_path):
    """Prompt 0 is saturated (3 of 4), 1 mixed, 2 all right, 3 all wrong: only the first leaves a failure."""
    trainer, seen, kept, _ = train(tmp_path, "hm+-", "mm+-")
    failure = seen[0][0][2][:-1]  # one token at least is left
    half = failure[: round(len(failure) / 2)]
    assert all(ids[: len(half)] == half for ids in seen[1][0])
    assert [common(seen[1][number]) < 4 for number in (1, 2, 3)] == [True] * 3
    log = trainer.state.log_history
    assert [log[i]["method/prefixed"] for i in (0, 1)] == [0.0, 0.25]
    assert log[1]["method/prefix_tokens"] == len(half)
    batch = kept[1]
    rows = [row for row, ids in enumerate(batch["completion_ids"]) if ids[: len(half)].tolist() == half]
    assert len(rows) == 4
    assert not batch["tool_mask"][rows][:, : len(half)].any()
    assert batch["tool_mask"].sum() == 4 * 16 * batch["tool_mask"].shape[1] / 4 - 4 * len(half)
    own = (batch["completion_mask"] * batch["tool_mask"]).sum()
    assert trainer.statistics.num_tokens == int(kept[0]["completion_mask"].sum() + own)


def test_the_gradient_is_that_of_the_continuations(tmp_path):
    _, _, kept, gradients = train(tmp_path, "hhhh", "mmmm", learning_rate=0.0)
    batch, model = kept[1], make_model()
    logp, _ = logps_and_entropies(model, batch)
    own = batch["completion_mask"] * batch["tool_mask"]
    assert own.sum() < batch["completion_mask"].sum()
    per_rollout = ((logp - logp.detach()).exp() * batch["advantages"].unsqueeze(1) * own).sum(1) / own.sum(1)
    assert closest(gradient_of(model, -per_rollout.mean()), gradients[1]) < 1e-5


@pytest.mark.parametrize(
    ("target", "visits", "shares"),
    [
        # Beyond 1 and below 0 a failure is dropped.
        (None, "+m-h", {0: (0.5, 0.8, 0), 1: (0.5, 0.5, 0.5), 2: (0.5, 0.2, 0), 3: (0.5, 0.5, 0.5)}),
        (0.5, "+m-h", {0: (0.5, 0.8, 0), 1: (0.5, 0.5, 0.5), 2: (0.5, 0.2, 0), 3: (0.5, 0.8, 0)}),
    ],
)
def test_the_share_moves_towards_a_mixed_group_or_a_target(tmp_path, target, visits, shares):
    options = {"step": 0.3, "target": target}
    trainer, seen, _, _ = train(tmp_path, "hhhh", visits, visits, "mmmm", options=options)
    failures = {number: rollouts[2][:-1] for number, rollouts in seen[0].items()}
    for number, wanted in shares.items():
        for visit, share in zip(seen[1:], wanted, strict=True):
            begins = failures[number][: round(share * len(failures[number]))]
            assert all(ids[: len(begins)] == begins for ids in visit[number])
    found = [entry.get("method/prefix_tokens") for entry in trainer.state.log_history[1:4]]
    for visit, mean in enumerate(found):
        used = [round(wanted[visit] * len(failures[n])) for n, wanted in shares.items() if wanted[visit]]
        assert mean == sum(used) / len(used)


def test_prefixes_are_cut_and_failures_stay(tmp_path):
    trainer, *_ = train(tmp_path, "hhhh", "mmmm", "mmmm", options={"max_tokens": 2})
    log = trainer.state.log_history
    assert [log[i]["method/prefixed"] for i in range(3)] == [0.0, 1.0, 1.0]
    assert [log[i]["method/prefix_tokens"] for i in (1, 2)] == [2.0, 2.0]


def test_without_a_share_it_is_grpo_bit_for_bit(tmp_path):
    changes = dict(echo_coef=0.0, dataset=make_dataset(4), max_steps=2)
    one = run(tmp_path, Visits("hhhh"), method="failure_prefix", method_options={**STORED, "share": 0.0}, **changes)
    assert same(one, run(tmp_path, Visits("hhhh"), method="grpo", **changes))


def test_a_resumed_run_has_what_was_stored_and_other_rows_are_refused(tmp_path):
    def by_prompt(number, **_):
        return [GIVEN["hmh+"[n % 4]][i % 4] for i, n in enumerate(number)]

    changes = dict(
        method="failure_prefix", method_options=STORED, echo_coef=0.1, max_steps=4, save_strategy="steps", save_steps=2
    )
    whole, *_, weights = run(tmp_path, by_prompt, dataset=make_dataset(4), **changes)
    resumed = build(tmp_path, by_prompt, dataset=make_dataset(4), **changes)
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
    assert all(torch.equal(weights[name], p) for name, p in resumed.model.named_parameters())
    assert resumed.stations.hooks.stored == whole.stations.hooks.stored != {}
    other = build(tmp_path, by_prompt, dataset=make_dataset(5), **changes)
    with pytest.raises(
        ValueError, match="the memory of method='failure_prefix' in this checkpoint is of other training rows"
    ):
        other.train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))


@pytest.mark.parametrize("options", [{}, STORED])
def test_a_rollout_func_is_refused(tmp_path, options):
    with pytest.raises(ValueError, match="'failure_prefix' cannot be combined with a rollout_func"):
        build(tmp_path, method="failure_prefix", method_options=options, rollout_func=lambda prompts, trainer: {})

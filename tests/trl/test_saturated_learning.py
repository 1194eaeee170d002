"""The preference among the right rollouts of solved prompts, in the trainer."""

from __future__ import annotations

import itertools
from types import SimpleNamespace

import pytest
import torch
from torch.nn.functional import logsigmoid

from echorl.methods.judging import fill_question
from echorl.trl.batch import COMPLETION_IDS, COMPLETIONS
from echorl.trl.sampling.judgements import check_judging, make_question
from tests.trl.by_hand import closest, gradient_of, logps_and_entropies, train_and_keep
from tests.trl.scripted import GIVEN, Script, same
from tests.trl.tiny import build, make_dataset, make_model, make_tokenizer, run

KINDS = "m+-+"
SOLVED = (slice(4, 8), slice(12, 16))


def values(options=None, **changes):
    return dict(method="saturated_learning", method_options=options or {}, echo_coef=0.0, max_steps=1, **changes)


def first_batch(tmp_path, reference=None, **changes):
    """The batch as the loss sees it, the gradient and the log of a step; beside a reference model if it is given."""
    own = values(**changes)
    if reference is not None:
        make_model().save_pretrained(tmp_path / "policy")
        own |= dict(model=type(make_model()).from_pretrained(tmp_path / "policy"), beta=0.1)
    trainer = build(tmp_path, Script(KINDS), **own)
    if reference is not None:
        trainer.ref_model.load_state_dict(reference.state_dict())
    (batch,), (gradient,) = train_and_keep(trainer)
    return batch, gradient, trainer.state.log_history[0]


def by_entropy(batch, model):
    """Log-probs, lengths, and of each solved group its rows from the lowest mean entropy to the highest."""
    logp, entropy = logps_and_entropies(model, batch)
    mask = batch["completion_mask"]
    means = (entropy.detach() * mask).sum(1) / mask.sum(1)
    orders = [(means[rows].argsort() + rows.start).tolist() for rows in SOLVED]
    return logp * mask, mask.sum(1), means, orders


def policy_term(logp, lengths, batch):
    """GRPO's, on its policy."""
    return (
        -((logp - logp.detach()).exp() * batch["completion_mask"] * batch["advantages"].unsqueeze(1)).sum(1) / lengths
    )


def test_rrhfs_gradient_by_hand(tmp_path):
    batch, gradient, log = first_batch(tmp_path)
    model = make_model()
    logp, lengths, means, orders = by_entropy(batch, model)
    p, loss = logp.sum(1) / lengths, policy_term(logp, lengths, batch).mean()
    for order in orders:
        loss = loss - p[order[0]] / 4
        for place, better in enumerate(order):
            for worse in order[place + 1 :]:
                weight = torch.sigmoid(1 / means[better] - 1 / means[worse])
                loss = loss - 0.1 * weight * (p[better] - p[worse]) / 4
    assert closest(gradient_of(model, loss), gradient) < 1e-5
    assert log["method/ranked"] == 0.5
    assert not batch["advantages"][SOLVED[0]].any()


@pytest.mark.parametrize("with_reference", [False, True])
def test_dpos_gradient_by_hand(tmp_path, with_reference):
    """What the term adds, beside the reference's KL; without a reference that of the policy itself."""
    reference = make_model(seed=1) if with_reference else None
    batch, gradient, _ = first_batch(tmp_path / "with", reference, options={"loss": "dpo", "dpo_beta": 0.5})
    _, without, _ = first_batch(tmp_path / "without", reference, options={"coef": 0.0})
    model = make_model()
    logp, _, _, orders = by_entropy(batch, model)
    other = (by_entropy(batch, reference or model)[0]).detach()
    ratio = (logp - other).sum(1)
    loss = -sum(logsigmoid(0.5 * (ratio[order[0]] - ratio[order[-1]])) for order in orders) / 4
    term = {n: gradient[n] - without[n] for n in gradient}
    assert closest(gradient_of(model, loss), term) < 1e-5


def always(kinds):
    """A verifier that rewards every batch so, and sees no judgement."""

    def verifier(completion_ids, **_):
        assert len(completion_ids) == 4 * len(kinds)
        return [reward for letter in kinds for reward in GIVEN[letter]]

    return verifier


class Judge:
    """Answers the questions that a trainer asks in the making of a batch, and keeps what it was asked."""

    def __init__(self, trainer, answers):
        self.asked, self.calls, self.made = [], [], []
        self.answers, self.again = iter(answers), trainer._sample_again
        trainer._sample_again = self

    def __call__(self, prompts, plan, **settings):
        self.made.append(self.again(prompts, plan, **settings))
        answered = list(self.made[-1])
        answered[COMPLETIONS] = [next(self.answers, "") for _ in prompts]
        self.asked += prompts
        self.calls.append(settings)
        return answered


ANSWERS = [f"Judgment: [{letter}]" if letter in "01" else "Both." for letter in "00101010x111"]
WINS = (2, 1, 1, 2), (1.5, 1, 1, 2.5)
"""By hand, of the pairs 01 02 03 12 13 23 of each solved group."""


def judged_batch(tmp_path, kinds=KINDS, answers=ANSWERS, **changes):
    """As `first_batch`, with the judge and the trainer."""
    options = {"ranking": "judgement", **changes.pop("options", {})}
    trainer = build(tmp_path, always(kinds), **values(options, **changes))
    judge = Judge(trainer, answers)
    (batch,), (gradient,) = train_and_keep(trainer)
    return SimpleNamespace(batch=batch, gradient=gradient, judge=judge, trainer=trainer)


def test_the_policy_is_asked_about_every_pair_of_a_solved_group(tmp_path):
    """In calls of the batch's size at most, so that memory is bounded; the tokens of its answers are counted."""
    result = judged_batch(tmp_path, "m+++", options={"judge_prompt": "{problem}|{first}|{second}"})
    tokenizer, batch, judge = make_tokenizer(), result.batch, result.judge
    texts = tokenizer.batch_decode(batch["completion_ids"], skip_special_tokens=True)
    prompts = tokenizer.batch_decode(batch["prompt_ids"], skip_special_tokens=True)
    pairs = [pair for first in (4, 8, 12) for pair in itertools.combinations(range(first, first + 4), 2)]
    assert judge.asked == [f"{prompts[i]}|{texts[i]}|{texts[j]}" for i, j in pairs]
    assert judge.calls == [{"temperature": 1.0, "top_p": 1e-9}] * 2
    answers = [ids for made in judge.made for ids in made[COMPLETION_IDS]]
    log = result.trainer.state.log_history[0]
    assert log["method/judgement_tokens"] == pytest.approx(sum(map(len, answers)) / 18)
    assert log["method/judgements_read"] == pytest.approx(11 / 18)
    assert result.trainer.statistics.num_tokens == int(batch["completion_mask"].sum()) + sum(map(len, answers))


def test_it_answers_with_the_likeliest_tokens(tmp_path):
    judge = judged_batch(tmp_path).judge
    model, tokenizer = make_model().eval(), make_tokenizer()
    for prompt, ids in zip(judge.asked[:3], judge.made[0][COMPLETION_IDS], strict=False):
        place = tokenizer(prompt, return_tensors="pt")["input_ids"]
        greedy = model.generate(place, do_sample=False, max_new_tokens=16)[0, place.shape[1] :].tolist()
        assert ids == greedy[: len(ids)]


@pytest.mark.parametrize("loss", ["rrhf", "dpo"])
def test_the_gradient_by_judgement_by_hand(tmp_path, loss):
    result = judged_batch(tmp_path, options={"loss": loss})
    model = make_model()
    logp, lengths, _, _ = by_entropy(result.batch, model)
    p, total = logp.sum(1) / lengths, policy_term(logp, lengths, result.batch).mean()
    for rows, wins in zip(SOLVED, WINS, strict=True):
        own, whole = p[rows], logp.sum(1)[rows]
        best, worst = wins.index(max(wins)), wins.index(min(wins))
        if loss == "dpo":
            total = total - 2.5 * (whole[best] - whole[worst]) / 4
            continue
        total = total - own[best] / 4
        for i, j in itertools.permutations(range(4), 2):
            if wins[i] > wins[j]:
                total = total - 0.1 * torch.sigmoid(torch.tensor(float(wins[i] - wins[j]))) * (own[i] - own[j]) / 4
    assert closest(gradient_of(model, total), result.gradient) < 1e-5


def test_by_judgement_the_gradient_is_the_same_at_every_micro_batch(tmp_path):
    sizes = [dict(per_device_train_batch_size=size, gradient_accumulation_steps=16 // size) for size in (16, 1)]
    one, other = (judged_batch(tmp_path, **changes) for changes in sizes)
    assert closest(one.gradient, other.gradient) < 1e-5


def test_a_group_without_a_readable_judgement_is_not_ranked(tmp_path):
    """The second solved group's answers alone name a winner."""
    result = judged_batch(tmp_path, answers=["Both."] * 6 + ANSWERS[6:])
    rows = result.batch["rank_weights"].any(1).nonzero().flatten().tolist()
    assert rows == [12, 13, 14, 15]
    assert result.trainer.state.log_history[0]["method/ranked"] == 0.25


def test_a_policy_that_names_no_winner_is_told_of_and_learns_as_by_grpo(tmp_path, caplog):
    one = judged_batch(tmp_path, answers=[])
    _, plain, _ = first_batch(tmp_path, options={"coef": 0.0})
    assert closest(one.gradient, plain) < 1e-6
    assert "named no better rollout in any of a batch's 12 comparisons" in caplog.text


def test_a_thinking_policy_is_read_after_its_thinking(tmp_path):
    thinking = "<think>\nJudgment: [0]\n</think>\nJudgment: [1]"
    answers = [thinking, *ANSWERS[1:]]
    one, other = (
        judged_batch(tmp_path, answers=given).gradient for given in (answers, ["Judgment: [1]", *ANSWERS[1:]])
    )
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("2+2?", "2+2?|a|b"),
        ([{"role": "user", "content": "2+2?"}], [{"role": "user", "content": "2+2?|a|b"}]),
        (
            [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "2+2?"}],
            [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "2+2?|a|b"}],
        ),
        (
            [
                {"role": "user", "content": "1+1?"},
                {"role": "assistant", "content": "2"},
                {"role": "user", "content": "And 3 more?"},
            ],
            [{"role": "user", "content": "user: 1+1?\n\nassistant: 2\n\nuser: And 3 more?|a|b"}],
        ),
    ],
)
def test_the_question_of_a_prompt(prompt, expected):
    assert make_question("{problem}|{first}|{second}", prompt, "a", "b") == expected


def test_a_solution_that_holds_braces_or_an_answer_is_text(tmp_path):
    assert fill_question("{problem} {first} {second}", "{first}", "{second}{0}", "%s") == "{first} {second}{0} %s"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(rollout_func=lambda *_: {}), "a rollout_func, which cannot be asked about rollouts"),
        (
            dict(dataset=make_dataset().add_column("image", [None] * 32)),
            "the column 'image': the question is text alone",
        ),
        (dict(options={"judge_prompt": "{problem} {first}"}), r"judge_prompt='.*' has no {second}: write it"),
        (
            dict(options={"ranking": "length"}),
            "ranking='length' is not allowed: it must be one of 'entropy', 'judgement'",
        ),
    ],
)
def test_what_judgements_cannot_be_combined_with(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        judged_batch(tmp_path, **changes)


@pytest.mark.parametrize(
    ("features", "changes", "message"),
    [
        ({"tools"}, {}, "'saturated_learning' cannot be combined with tools: a judgement makes no"),
        (
            (),
            {"generation_kwargs": {"top_p": 0.9}},
            r"generation_kwargs\['top_p'\], which vLLM would use for",
        ),
        ((), {"vllm_structured_outputs_regex": "[0-9]+"}, "vllm_structured_outputs_regex, to which judgements"),
        ((), {"vllm_max_model_length": 60}, r"vllm_max_model_length=60: a question .* \(set it to at least 72 and the"),
    ],
)
def test_what_judgements_cannot_be_combined_with_under_vllm(features, changes, message):
    own = dict(use_vllm=True, generation_kwargs=None, vllm_structured_outputs_regex=None, vllm_max_model_length=None)
    args = SimpleNamespace(method="saturated_learning", max_completion_length=16, **{**own, **changes})
    context = SimpleNamespace(rows=None, features=features, args=args, tokenizer=make_tokenizer())
    question = "{problem}{first}{second}"
    with pytest.raises(ValueError, match=message):
        check_judging(question, context)
    args.use_vllm = False
    check_judging(question, SimpleNamespace(**{**vars(context), "features": ()}))


@pytest.mark.parametrize("loss", ["rrhf", "dpo"])
def test_same_gradient_at_every_micro_batch(tmp_path, loss):
    gradients = []
    for size in (16, 4, 1):
        changes = dict(per_device_train_batch_size=size, gradient_accumulation_steps=16 // size, options={"loss": loss})
        gradients.append(first_batch(tmp_path, **changes)[1])
    assert all(closest(gradients[0], other) < 1e-5 for other in gradients[1:])


@pytest.mark.parametrize(
    ("kinds", "options"),
    [
        ("m+-+", {"coef": 0.0}),
        ("m--m", {}),
        ("m--m", {"loss": "dpo"}),
        ("m--m", {"ranking": "judgement"}),
        ("m+-+", {"coef": 0.0, "ranking": "judgement"}),
    ],
)
def test_without_a_weight_or_a_solved_prompt_it_is_grpo_bit_for_bit(tmp_path, kinds, options):
    changes = dict(echo_coef=0.0, max_steps=2)
    one = run(tmp_path, always(kinds), **{**values(options), **changes})
    assert same(one, run(tmp_path, always(kinds), method="grpo", **changes))


def test_a_step_of_solved_prompts_has_a_gradient_beside_the_echos(tmp_path):
    trainer, *_ = run(tmp_path, Script("++++"), **{**values(), "echo_coef": 0.1})
    assert trainer.state.log_history[0]["echo/without_policy_gradient"] == 0.0


@pytest.mark.parametrize("changes", [{"num_iterations": 2}, {"steps_per_generation": 4}])
def test_dpo_is_refused_where_a_pair_meets_several_policies(tmp_path, changes):
    with pytest.raises(
        ValueError, match=r"take several optimiser steps of a generation batch, which loss='dpo'.*'rrhf'"
    ):
        build(tmp_path, **values({"loss": "dpo"}, **changes))
    build(tmp_path, **values(**changes))

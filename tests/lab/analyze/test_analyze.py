"""The two analyses: scores by hand, sums by hand, and a policy that only finishes what it can see."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from tokenizers import processors

from echorl.core.entropy import logp_and_entropy
from echorl.lab.analyze import curves, entropy
from echorl.lab.analyze.deletion import Outcome, delete, open_thinking, outcome, prefixed_items
from echorl.lab.analyze.entropy import MEASURES, by_prompt, compare
from echorl.lab.analyze.run import Loaders, Plan, analyze_deletion
from echorl.lab.analyze.source import Fixed, Source
from echorl.lab.analyze.steps import FRONT_FIRST, HIGH_FIRST, LOW_FIRST, ORDERS, PERCENTS, RANDOM, removed_share
from echorl.lab.analyze.traces import EXPERT, RIGHT, WRONG, Scores, Trace, score_traces, step_texts
from echorl.lab.evaluate.benchmarks import Item
from echorl.lab.evaluate.checkpoint import Checkpoint
from echorl.lab.evaluate.engines import Response
from echorl.lab.evaluate.metrics import mean_of_runs
from echorl.lab.jobs import Silent
from echorl.lab.mine.scorer import Scorer
from echorl.lab.options import Sampling
from echorl.models.loading import load_policy
from tests.lab.conftest import save_model
from tests.trl import tiny


def item(name="a", prompt="1+1=?\n"):
    return Item(id=name, prompt=prompt, reference_answer="2")


def trace(kind=RIGHT, text="1+\n2\n", number=0, **which):
    return Trace(item=item(**which), kind=kind, number=number, text=text)


def scores(step_entropy, lengths=None, texts=None, nll=1.0, profile=0.0):
    lengths = lengths or [1] * len(step_entropy)
    mean = sum(h * n for h, n in zip(step_entropy, lengths, strict=True)) / sum(lengths)
    texts = texts or [f"{k}+\n" for k in range(len(step_entropy))]
    return Scores(
        texts=texts, lengths=lengths, step_entropy=step_entropy, entropy=mean, nll=nll,
        profile=[profile] * 10, nll_profile=[profile] * 10,
    )  # fmt: skip


def test_scores_of_a_trace(tmp_path, model):
    checkpoint = Checkpoint("tiny", str(model))
    text = "1+a\n\n2+3.\n4"
    [found] = score_traces(
        [trace(text=text)], checkpoint, lambda: Scorer(load_policy(model)[0], temperature=0.7), tmp_path / "parts", {},
        size=4, view=Silent(),
    )  # fmt: skip
    policy, tokenizer = load_policy(model)
    prompt = tokenizer("1+1=?\n")["input_ids"]
    ids = [*tokenizer(text, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
    with torch.no_grad():
        logits = policy(torch.tensor([prompt + ids])).logits[0, len(prompt) - 1 : -1]
    logp, h = logp_and_entropy(logits, torch.tensor(ids), temperature=0.7)
    assert found.texts == ["1+a\n\n", "2+3.\n", "4"]
    assert found.tokens == len(ids)
    assert found.nll == pytest.approx(-float(logp.sum()), abs=1e-4)
    assert found.entropy == pytest.approx(float(h.mean()), abs=1e-5)
    ends = [0, *(sum(found.lengths[: k + 1]) for k in range(3))]
    means = [float(h[a:b].mean()) for a, b in itertools.pairwise(ends)]
    assert found.step_entropy == pytest.approx(means, abs=1e-5)
    assert sum(found.profile) / 10 == pytest.approx(found.entropy, abs=1e-6)


def test_parts_are_made_once_and_belong_to_their_texts(tmp_path, model):
    checkpoint, loads = Checkpoint("tiny", str(model)), []

    def start():
        loads.append(1)
        return Scorer(load_policy(model)[0])

    def run(traces):
        return score_traces(traces, checkpoint, start, tmp_path, {}, size=2, view=Silent())

    traces = [trace(text=f"{k}+\n2") for k in range(4)]
    first = run([*traces, trace(text=" \n"), trace(text="1+" * 200)])
    assert first[4:] == [None, None]  # blank; longer than the context
    assert run([*traces, trace(text=" \n"), trace(text="1+" * 200)]) == first
    assert len(loads) == 1
    again = run([*traces[:2], trace(text="7+\n8"), traces[3]])
    assert again[:2] == first[:2]
    assert again[2] != first[2]
    assert len(loads) == 2


def test_step_texts_are_the_text():
    tokenizer = tiny.make_tokenizer()
    ids = tokenizer("1+\n\n2.\n3", add_special_tokens=False)["input_ids"]
    steps = [0, 0, 0, 1, 1, 2][: len(ids)]
    assert "".join(step_texts(tokenizer, ids, steps)) == "1+\n\n2.\n3"


def test_prompts_count_once_and_pairs_are_paired():
    traces = [
        trace(EXPERT), trace(RIGHT), trace(RIGHT, number=1), trace(WRONG),
        trace(EXPERT, name="b"), trace(RIGHT, name="b"),
        trace(EXPERT, name="c"), trace(RIGHT, name="c"),
    ]  # fmt: skip
    found = [scores([h]) for h in (0.5, 0.1, 0.3, 0.9, 0.6, 0.2)] + [scores([0.7]), None]
    prompts = by_prompt(traces, found)
    assert prompts["a"][RIGHT]["token_entropy"] == pytest.approx(0.2)
    result = compare(prompts, RIGHT, EXPERT)
    assert result["prompts"] == 2  # c's only rollout could not be scored
    row = result["measures"]["token_entropy"]
    expected = mean_of_runs([0.5 - 0.2, 0.6 - 0.2])
    assert [row["difference"][name] for name in ("value", "low", "high")] == pytest.approx(
        list(vars(expected).values())
    )
    assert row[EXPERT]["value"] == pytest.approx(0.55)
    assert compare(prompts, RIGHT, WRONG)["measures"]["token_entropy"]["difference"] == {
        "value": pytest.approx(0.7), "low": None, "high": None
    }  # fmt: skip


def test_measures_by_hand():
    one = scores([0.1, 0.9, 0.9, 0.3], lengths=[2, 1, 1, 4], nll=4.0)
    found = {name: function(one) for name, (_, function) in MEASURES.items()}
    assert found == pytest.approx(
        {
            "token_entropy": (0.2 + 0.9 + 0.9 + 1.2) / 8, "step_entropy": 0.55, "max_step_entropy": 0.9,
            "max_step_place": 1.5 / 4, "nll_per_token": 0.5, "nll": 4.0, "tokens": 8, "steps": 4,
            "text_entropy": 0.2 + 0.9 + 0.9 + 1.2,
        }
    )  # fmt: skip


def test_findings_follow_from_the_numbers():
    def told(*differences):
        traces = [t for name in "abc" for t in (trace(EXPERT, name=name), trace(RIGHT, name=name))]
        values = [scores([h]) for difference in differences for h in (0.5 + difference, 0.5)]
        return entropy.report(traces, values)["findings"][0]

    assert told(0.2, 0.21, 0.22).endswith("over 3 prompts: higher.")
    assert told(-0.2, -0.21, -0.22).endswith("over 3 prompts: lower.")
    assert told(-0.2, 0.2, 0.1).endswith("over 3 prompts: no difference shown.")


TEXTS = ["first\n", "second\n", "third\n", "#### 2"]


def cut(text_entropies=(0.9, 0.1, 0.5, 0.0), **which):
    return delete(trace(**which), scores(list(text_entropies), lengths=[1, 4, 5, 2], texts=TEXTS), seed=0)


def test_the_answer_is_neither_shown_nor_counted():
    found = cut()
    assert found.texts == TEXTS[:3]
    assert found.kept_text((0, 2)) == "first\nthird\n"
    assert removed_share(found.lengths, (0, 2)) == 0.4
    middle = PERCENTS.index(30)  # one of three
    assert {order: found.cuts[order][middle] for order in (HIGH_FIRST, LOW_FIRST, FRONT_FIRST)} == {
        HIGH_FIRST: (1, 2), LOW_FIRST: (0, 2), FRONT_FIRST: (1, 2)
    }  # fmt: skip
    assert delete(trace(), scores([0.3], texts=["#### 2"]), seed=0) is None


def test_each_rest_is_asked_for_once(model):
    checkpoint = Checkpoint("tiny", str(model))
    items = prefixed_items([cut(), cut(name="b")], checkpoint)
    prompts = [one.prompt for one in items]
    assert len({one.id for one in items}) == len(items)
    own = prompts[: len(prompts) // 2]
    assert len(own) == len(set(own)) <= 8  # subsets of three steps
    assert {"1+1=?\n", "1+1=?\nfirst\nsecond\nthird\n", "1+1=?\nfirst\nthird\n"} <= set(own)
    assert all(one.reference_answer == "2" for one in items)
    assert not any("####" in prompt for prompt in prompts)


def test_what_the_template_begins_is_written_once(model):
    """The begin token, which a chat template writes and a tokenizer would write again."""
    tokenizer = tiny.make_tokenizer()
    tokenizer.bos_token = "<unk>"
    single = processors.TemplateProcessing(single="<unk> $A", special_tokens=[("<unk>", 2)])
    tokenizer.backend_tokenizer.post_processor = single
    tokenizer.chat_template = "<unk>{% for m in messages %}{{ m.content }}{% endfor %}"
    checkpoint = Checkpoint("tiny", str(model))
    vars(checkpoint)["processing_class"] = tokenizer
    one = item(prompt=[{"role": "user", "content": "1+1=?\n"}])
    own = Trace(item=one, kind=RIGHT, number=0, text="1+\n2\n")
    [whole, bare] = prefixed_items([delete(own, scores([0.5, 0.1], texts=["1+\n", "2\n"]), 0)], checkpoint)
    prompt = checkpoint.token_ids([one])[0]
    assert prompt[:2] == [2, tokenizer.convert_tokens_to_ids("1")]
    assert checkpoint.token_ids([bare])[0] == prompt
    step = tokenizer("1+\n", add_special_tokens=False)["input_ids"]
    assert checkpoint.token_ids([whole])[0] == prompt + step


def test_outcomes_and_sums_of_a_policy_that_needs_the_first_step():
    """It is right whenever "first" is left, the step of high entropy: first to go, or last."""
    outcomes = []
    for name in "abcd":
        one = cut(name=name)
        rests = {kept for cuts in one.cuts.values() for kept in cuts}
        verdicts = {one.item_id(kept): [0 in kept, 0 in kept, False, False] for kept in rests}
        outcomes.append(outcome(one, verdicts, "third"))
    found = curves.summarize(outcomes, RIGHT)
    assert (found["prompts"], found["traces"]) == (4, 4)
    rows = {order: [row["value"] for row in found["orders"][order]["success"]] for order in ORDERS}
    assert rows[HIGH_FIRST] == [0.5, 0.5] + [0.0] * 9  # one of three steps goes from 20 % on
    assert rows[LOW_FIRST] == [0.5] * 9 + [0.0] * 2
    assert rows[HIGH_FIRST] == rows[FRONT_FIRST]
    assert found["orders"][LOW_FIRST]["shown"] == [1.0] * 5 + [0.0] * 6  # "third", of the middle entropy
    areas = {order: found["orders"][order]["area"] for order in ORDERS}
    assert areas[HIGH_FIRST]["steps"]["value"] == pytest.approx(0.075)
    assert areas[HIGH_FIRST]["tokens"]["value"] == pytest.approx(0.025)  # "first" has a tenth of the tokens
    assert areas[LOW_FIRST]["tokens"]["value"] == pytest.approx(0.5 * 0.9 + 0.025)
    contrast = found["contrasts"][0]
    assert (contrast["first"], contrast["second"]) == (HIGH_FIRST, LOW_FIRST)
    assert contrast["steps"]["value"] == pytest.approx(0.075 - areas[LOW_FIRST]["steps"]["value"])
    assert contrast["steps"]["high"] < 0
    told = curves.findings(RIGHT, found)
    assert "fewer right" in told[1]
    assert "no difference" in told[3]  # from the front is the same order here
    assert curves.summarize(outcomes, EXPERT) is None


def test_a_prompt_with_many_traces_counts_once():
    def one(name, value):
        same = {order: [value] * len(PERCENTS) for order in ORDERS}
        return Outcome(
            item=name, kind=RIGHT, success=same, tokens={o: [p / 100 for p in PERCENTS] for o in ORDERS}, shown=same
        )

    found = curves.summarize([one("a", 1.0), one("a", 1.0), one("a", 1.0), one("b", 0.0)], RIGHT)
    assert found["orders"][RANDOM]["success"][0]["value"] == 0.5
    assert found["orders"][RANDOM]["area"]["tokens"]["value"] == pytest.approx(0.5)
    assert math.isclose(found["contrasts"][0]["steps"]["value"], 0)


@pytest.fixture(scope="module")
def thinking(tmp_path_factory):
    """A model whose chat template begins to think."""
    tokenizer = tiny.make_tokenizer()
    tokenizer.add_tokens(["#", "<think>", "</think>"])
    tokenizer.chat_template = "{% for m in messages %}{{ m.content }}{% endfor %}<think>\n"
    return Checkpoint("tiny", str(save_model(tmp_path_factory.mktemp("thinking"), tokenizer)))


class Hasty:
    """Thinks and solves; given a part of a solution, it writes the answer and nothing else."""

    def __init__(self, checkpoint):
        self.checkpoint = checkpoint

    def generate(self, chunk, max_new_tokens):
        items = [one.item for one in chunk.requests]
        texts = ["#### 9" if isinstance(one.prompt, str) else "</think>\n1+\n2+\n#### 9" for one in items]
        return [Response(self.checkpoint.opening(one) + text, 9, False) for one, text in zip(items, texts, strict=True)]


def test_an_answer_inside_thinking_that_is_still_open_is_none_whatever_is_left(tmp_path, thinking):
    """It is right where the end of the thinking is left, the first of three steps."""
    given = tuple(
        Item(id=name, prompt=[{"role": "user", "content": f"{name}=?\n"}], reference_answer="9") for name in "12"
    )
    source = Source(
        benchmark=Fixed(name="own", title="own", grader="number", given=given),
        demonstrations={one.id: "</think>\n3+\n4+\n#### 9" for one in given},
    )
    plan = Plan(checkpoint=thinking, source=source, sampling=Sampling(samples=1, max_new_tokens=40, batch_size=64))
    load = Loaders(engine=lambda *_: Hasty(thinking), scorer=lambda _: Scorer(load_policy(thinking.path)[0]))
    found = analyze_deletion(tmp_path / "out", plan, load, Silent())["value"]["kinds"]
    for kind in (RIGHT, EXPERT):
        rows = found[kind]["orders"][FRONT_FIRST]["success"]
        assert [row["value"] for row in rows] == [1.0] * 2 + [0.0] * 9  # it goes at 20 %


def test_thinking_that_a_kept_step_began_is_open_until_a_kept_step_ends_it(model):
    texts = ["<think>\n", "1+\n", "</think>\n", "#### 2"]
    one = delete(trace(EXPERT), scores([0.1, 0.2, 0.3, 0.0], texts=texts), seed=0)
    begun = open_thinking([one], Checkpoint("tiny", str(model)))
    assert begun == {
        one.item_id(kept): "<think>" if 0 in kept and 2 not in kept else "" for kept in one.different_cuts()
    }

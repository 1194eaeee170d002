"""Forks: where they are, the variance that a step decides, and policies whose steps decide all or nothing."""

from __future__ import annotations

import random
from fractions import Fraction
from types import SimpleNamespace

import pytest
import torch

from echorl.analysis.golden.fork_estimates import Point, difference, estimate, risk, share
from echorl.analysis.golden.fork_report import report
from echorl.analysis.golden.fork_run import analyze_forks
from echorl.analysis.golden.forks import HIGH, LOW, find_forks, first_step, variance_parts
from echorl.analysis.golden.run import Loaders, Plan
from echorl.analysis.golden.source import Fixed, Source
from echorl.analysis.golden.traces import Scores, Trace
from echorl.core.steps import StepDelimiters
from echorl.evaluate.benchmarks import Item
from echorl.evaluate.checkpoint import Checkpoint
from echorl.evaluate.engines import Response
from echorl.evaluate.plan import Sampling
from echorl.processes import Silent
from tests.analysis.conftest import save_model
from tests.trl import tiny

TRACE = Trace(item=Item(id="a", prompt="1+1", gold="2"), kind="own", number=3, text="")


def scored(texts, entropies):
    lengths = [len(text) for text in texts]
    return Scores(
        texts=texts, lengths=lengths, step_entropy=entropies, entropy=0.1, nll=1.0, profile=[0.1] * 10,
        nll_profile=[0.1] * 10,
    )  # fmt: skip


def test_the_answers_step_is_no_fork_and_of_equal_steps_the_first_counts():
    high, low = find_forks(TRACE, scored(["ab\n", "cdef\n", "g\n", "h\n", "#### 2"], [0.2, 0.2, 0.1, 0.1, 0.9]))
    assert (high.end, high.before, high.place, high.tokens, high.entropy) == (HIGH, "", 0.0, 3, 0.2)
    assert (low.end, low.before, low.tokens, low.entropy) == (LOW, "ab\ncdef\n", 2, 0.1)
    assert low.place == pytest.approx(8 / 12)
    assert high.name == "a.own3.high"


@pytest.mark.parametrize(
    ("texts", "entropies"),
    [(["ab\n", "#### 2"], [0.2, 0.9]), (["#### 2"], [0.2]), (["ab\n", "cd\n", "#### 2"], [0.2, 0.2, 0.9])],
)
def test_nothing_to_compare(texts, entropies):
    assert find_forks(TRACE, scored(texts, entropies)) == []


def test_the_first_step_of_a_completion():
    tokenizer = tiny.make_tokenizer()
    delimiters = StepDelimiters.from_tokenizer(tokenizer)
    assert first_step("1+\n\n2.\n3", tokenizer, delimiters) == "1+\n\n"
    assert first_step("\n1+\n2", tokenizer, delimiters) == "\n1+\n"  # a blank line begins no step
    for whole in ("1+2", "1+2\n\n", "\n", ""):
        assert first_step(whole, tokenizer, delimiters) == whole


def slowly(verdicts):
    """(success, between, total) by loops over all pairs of verdicts that differ in draw or completion."""
    places = [(v, f) for v, own in enumerate(verdicts) for f in range(len(own))]

    def mean(pairs):
        return Fraction(sum(verdicts[v][f] * verdicts[w][g] for (v, f), (w, g) in pairs), len(pairs))

    success = Fraction(sum(map(sum, verdicts)), len(places))
    same = mean([(a, b) for a in places for b in places if a[0] == b[0] and a != b])
    different = mean([(a, b) for a in places for b in places if a[0] != b[0]])
    return success, same - different, success - different


def test_the_parts_of_a_table_by_hand_and_by_loops():
    table = [[True, True, True, False], [True, False, False, False], [False] * 4]
    # Of a draw's 12 pairs both are right in 6, 0, 0; right shares are 3/4, 1/4, 0, so draws' products 3/16, 0, 0.
    same, different = 6 / 36, (3 / 16) / 3
    parts = variance_parts(table)
    assert (parts.success, parts.between, parts.total) == pytest.approx((1 / 3, same - different, 1 / 3 - different))
    rng = random.Random(0)
    for _ in range(20):
        table = [[rng.random() < 0.5 for _ in range(3)] for _ in range(5)]
        parts = variance_parts(table)
        assert (parts.success, parts.between, parts.total) == pytest.approx(tuple(map(float, slowly(table))))
        assert parts.total >= 0


@pytest.mark.parametrize("verdicts", [[[True, False]], [[True], [False]]])
def test_single_draws_or_completions_are_refused(verdicts):
    with pytest.raises(ValueError, match="two or more of both are needed"):
        variance_parts(verdicts)


def points(end, chances, prompts=60, seed=0):
    """Forks whose 8 draws have one of these chances of success, each as likely, with 4 completions."""
    rng, made = random.Random(seed), []
    for prompt in range(prompts):
        draws = [rng.choice(chances) for _ in range(8)]
        verdicts = [[rng.random() < chance for _ in range(4)] for chance in draws]
        about = dict(item=str(prompt), rollout=0, end=end, entropy=0.5 if end == HIGH else 0.1, place=0.0, tokens=3)
        right = [sum(own) for own in verdicts]
        made.append(Point(**about, variants=len(set(draws)), right=right, parts=variance_parts(verdicts)))
    return made


@pytest.mark.parametrize(
    ("chances", "variance"), [([0.2, 0.8], 0.09), ([0.5], 0.0), ([0.0, 1.0], 0.25), ([0.1, 0.5, 0.6], 0.0467)]
)
def test_estimates_are_unbiased(chances, variance):
    many, mean = points(HIGH, chances, prompts=3000), sum(chances) / len(chances)
    between = sum(point.parts.between for point in many) / len(many)
    assert between == pytest.approx(variance, abs=0.004)
    assert estimate(share, many)["value"] == pytest.approx(variance / (mean * (1 - mean)), abs=0.02)
    assert estimate(risk, many)["value"] == pytest.approx(100 * max(between, 0) ** 0.5)


def test_intervals_cover_the_truth_about_as_often_as_they_should():
    covered = {"share": 0, "risk": 0, "difference": 0}
    for seed in range(80):
        high, low = points(HIGH, [0.2, 0.8], prompts=40, seed=seed), points(LOW, [0.5], prompts=40, seed=seed + 100)
        found = {
            "share": (estimate(share, high), 0.36), "risk": (estimate(risk, high), 30),
            "difference": (difference(share, high, low), 0.36),
        }  # fmt: skip
        for name, (row, truth) in found.items():
            covered[name] += row["low"] <= truth <= row["high"]
    assert all(70 <= count <= 80 for count in covered.values()), covered


def test_prompts_are_drawn_whole():
    """Four copies of every fork of a prompt say no more than one."""
    once = points(HIGH, [0.2, 0.8], prompts=20)
    assert estimate(share, once * 4) == pytest.approx(estimate(share, once))
    assert estimate(risk, once * 4) == pytest.approx(estimate(risk, once))


def test_every_fork_of_a_prompt_counts():
    both = [*points(HIGH, [0.2, 0.8], prompts=20), *points(HIGH, [0.5], prompts=20, seed=1)]
    between, total = (sum(getattr(point.parts, name) for point in both) for name in ("between", "total"))
    assert estimate(share, both)["value"] == pytest.approx(between / total)
    assert estimate(risk, both)["value"] == pytest.approx(100 * (between / 40) ** 0.5)


def test_what_is_said():
    def told(high, low, prompts=60):
        return report([*points(HIGH, high, prompts), *points(LOW, low, prompts, seed=1)], 8, {})["findings"]

    findings = told([0.1, 0.9], [0.5])
    assert findings[0].startswith("Steps of highest entropy (60 prompts): risky.")
    assert findings[1].startswith("Steps of lowest entropy (60 prompts): harmless.")
    assert "decided (more)" in findings[2]
    findings = told([0.5], [0.1, 0.9])
    assert "(60 prompts): harmless." in findings[0]
    assert "decided (less)" in findings[2]
    findings = told([0.35, 0.65], [0.35, 0.65], prompts=10)  # 9 % is decided
    assert "(10 prompts): not settled. " in findings[0]
    assert "no difference that these prompts can show" in findings[2]


def test_what_is_reported():
    found = report([*points(HIGH, [0.1, 0.9]), *points(LOW, [0.5])], 8, {"rollouts": 60})
    assert found["sizes"] == {"prompts": 60, "forks": 120, "draws": 960, "rollouts": 60}
    assert all(len(row) == 4 for row in found["tables"][0]["rows"])
    high, low, less = (found["value"][name] for name in (HIGH, LOW, "difference"))
    for name in ("share", "risk", "success", "variants"):
        assert less[name]["value"] == pytest.approx(high[name]["value"] - low[name]["value"])
    [line] = found["curves"][0]["lines"]
    assert len(line["x"]) == 5
    assert line["y"][-1] > 30 > 10 > line["y"][0]  # the high ones are the bins on the right


def test_where_nothing_varies_nothing_is_said():
    sure = [*points(HIGH, [1.0], prompts=3), *points(LOW, [1.0], prompts=3)]
    found = report(sure, 8, {})
    assert all("not settled, since too few outcomes vary" in sentence for sentence in found["findings"][:2])
    assert found["tables"][0]["rows"][0][1:] == ["-"] * 3
    few = report([*sure, *points(HIGH, [0.1, 0.9], prompts=1), *points(LOW, [0.5], prompts=1)], 8, {})
    assert "not settled, since too few outcomes vary" in few["findings"][0]
    assert few["value"][HIGH]["share"]["low"] is None


class Policy:
    """Writes a first step, 1 or 2, then a second one, then an answer; which of the steps decides is its own matter.

    "risky": the first step decides all. "harmless": nothing does, a coin is thrown at the end. "early": the first step
    may give the answer, and what follows is no answer; half the time the text ends there.
    """

    def __init__(self, kind):
        self.kind, self.seeds = kind, []

    def generate(self, chunk, max_new_tokens):
        self.seeds.append(chunk.seed)
        rng = random.Random(chunk.seed)
        return [Response(self.go_on(one.item.prompt, rng), 9, False) for one in chunk.requests]

    def go_on(self, prompt, rng):
        _, _, text = prompt.partition("=?\n")
        before = len(text)
        if not text and self.kind == "early" and rng.random() < 0.5:
            return rng.choice(["#### 9\nab", "#### 9"])
        text = text or f"{rng.choice('12')}+\n"
        if text.count("\n") < 2 and "#" not in text:
            text += "3+\n"
        right = text.startswith("1") if self.kind == "risky" else rng.random() < 0.5
        tail = "ab" if "#" in text else f"#### {9 if right else 8}"
        return text[before:] + tail


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A tokenizer that knows the answer's mark."""
    tokenizer = tiny.make_tokenizer()
    tokenizer.add_tokens(["#"])
    return Checkpoint("tiny", str(save_model(tmp_path_factory.mktemp("model"), tokenizer)))


def analyze(folder, checkpoint, kind, policy=None, golds="9", **changes):
    """Forks of a policy whose entropy falls from token to token, so that its first step is the uncertain one."""
    items = tuple(Item(id=f"p{n}", prompt=f"{n}=?\n", gold=golds[n % len(golds)]) for n in range(30))
    source = Source(
        benchmark=Fixed(name="own", title="own", grader="number", given=items),
        demonstrations={item.id: "1+\n3+\n#### 9" for item in items},
    )
    sampling = Sampling(samples=3, temperature=1.0, max_new_tokens=40, batch_size=64)
    plan = Plan(checkpoint=checkpoint, source=source, **{"sampling": sampling, **changes})
    falling = SimpleNamespace(
        scores=lambda rows: [
            (torch.full((len(r.response),), -0.5), torch.linspace(1, 0, len(r.response))) for r in rows
        ]
    )
    load = Loaders(engine=lambda works, sampling: policy or Policy(kind), scorer=lambda temperature: falling)
    return analyze_forks(folder, plan, load, Silent())


def test_a_risky_step(tmp_path, checkpoint):
    found = analyze(tmp_path / "out", checkpoint, "risky")
    high, low = found["value"][HIGH], found["value"][LOW]
    assert found["sizes"]["prompts"] == 30
    assert found["sizes"]["rollouts"] == 60  # the first 2 of 3
    assert high["share"] == pytest.approx({"value": 1.0, "low": 1.0, "high": 1.0})
    assert high["risk"]["value"] == pytest.approx(50, abs=3)
    assert low["share"]["value"] is None  # behind the first step all is decided
    assert low["risk"] == {"value": 0.0, "low": 0.0, "high": 0.0}
    assert (low["variants"]["value"], low["place"]["value"]) == (1.0, 0.5)
    assert ": risky." in found["findings"][0]


def test_a_harmless_step(tmp_path, checkpoint):
    found = analyze(tmp_path / "out", checkpoint, "harmless")
    assert found["value"][HIGH]["variants"]["value"] == pytest.approx(2, abs=0.1)
    for end in (HIGH, LOW):
        own = found["value"][end]
        assert own["share"]["value"] == pytest.approx(0, abs=0.05)
        assert own["success"]["value"] == pytest.approx(0.5, abs=0.05)
    assert ": harmless." in found["findings"][0]


def test_the_whole_rollout_is_judged(tmp_path, checkpoint):
    """A draw that gives the answer makes the rollout right, whatever follows and whether it ends there."""
    found = analyze(tmp_path / "out", checkpoint, "early")
    first = [fork for fork in found["value"]["forks"] if fork["end"] == HIGH and fork["place"] == 0]
    right = [count for fork in first for count in fork["right"]]
    # Half the draws give the answer, 4 of 4 right; the others throw a coin in each of their completions.
    assert sum(count == 4 for count in right) / len(right) == pytest.approx(0.5 + 0.5 / 16, abs=0.08)
    assert found["sizes"]["fewer_than_two_steps"] == 60 - len(first) > 0


def test_prompts_that_are_never_solved_count(tmp_path, checkpoint):
    found = analyze(tmp_path / "out", checkpoint, "harmless", golds="97")
    assert found["sizes"]["prompts"] == 30
    success = {fork["item"]: fork["parts"]["success"] for fork in found["value"]["forks"]}
    assert all(success[f"p{n}"] == 0 for n in range(1, 30, 2))
    assert found["value"][HIGH]["success"]["value"] == pytest.approx(0.25, abs=0.05)


def test_no_two_stages_draw_with_the_same_noise_and_nothing_is_drawn_twice(tmp_path, checkpoint):
    policy = Policy("risky")
    first = analyze(tmp_path / "out", checkpoint, "risky", policy)
    assert len(policy.seeds) == len(set(policy.seeds))
    again = Policy("risky")
    assert analyze(tmp_path / "out", checkpoint, "risky", again) == first
    assert again.seeds == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"variants": 1}, "variants=1 has no variance to show"),
        ({"finishes": 1}, "finishes=1 has no variance to show"),
        ({"sampling": Sampling(samples=3, temperature=0.0, max_new_tokens=40)}, "temperature=0 draws the same step"),
        ({"sampling": Sampling(samples=3, max_new_tokens=125)}, "no rollout can be forked: of 60, 60 leave no room"),
    ],
)
def test_what_cannot_be_forked(tmp_path, checkpoint, changes, message):
    with pytest.raises(ValueError, match=message):
        analyze(tmp_path / "out", checkpoint, "risky", **changes)

"""`find_suspects` by hand-made rows: each kind, and what must not be taken for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from echorl.lab.audit.answers import read_reference
from echorl.lab.audit.evidence import MAX_ANSWERS, MAX_PLACES, MAX_VALUES, Place, PromptEvidence
from echorl.lab.audit.findings import SUSPECT_KINDS, Suspects, quoted
from echorl.lab.audit.groups import GroupTable
from echorl.lab.audit.read import read_log
from echorl.lab.audit.suspects import MIN_VISITS, find_suspects
from echorl.lab.logs.rows import LoggedRollout
from echorl.lab.options import Columns
from tests.lab.audit.rollouts import rollout
from tests.lab.audit.simulated import group_table

Rollouts = Sequence[LoggedRollout]


def answers(*texts: str, reward: float | None = 0.0, **columns: Any) -> list[LoggedRollout]:
    return [rollout(f"So \\boxed{{{text}}}.", reward, line, **columns) for line, text in enumerate(texts, 1)]


def evidence_of(*prompts: Rollouts) -> PromptEvidence:
    """The evidence of a log in which prompt n has the rollouts `prompts[n]`, one after the other."""
    evidence = PromptEvidence()
    for prompt, rollouts in enumerate(prompts):
        for each in rollouts:
            evidence.add(each, prompt, None if each.reward is None else each.reward == 1.0)
    return evidence


def suspects_of(*prompts: Rollouts, groups: GroupTable | None = None, **options: Any) -> Suspects:
    """The suspects of a log with these prompts; without a table it has 50 more, whose rollouts are all accepted."""
    groups = table([8] * 50, prompt=range(len(prompts), len(prompts) + 50)) if groups is None else groups
    return find_suspects(groups, evidence_of(*prompts), **options)


def table(successes: Sequence[int], **columns: Sequence[int]) -> GroupTable:
    """Groups of 8 rollouts, with these columns in place of the usual ones."""
    arrays: dict[str, Any] = {name: np.asarray(column) for name, column in columns.items()}
    return replace(group_table(successes), **arrays)


def sentences(suspects: Suspects, kind: str) -> list[str]:
    return [suspect.why for suspect in suspects.listed if suspect.kind == kind]


def test_agreeing_rejected_rollouts_are_a_mislabelled_prompt() -> None:
    (suspect,) = suspects_of(answers("8"), answers(*["8"] * 9), answers("8", reward=1.0)).listed
    assert (suspect.kind, suspect.prompt) == ("mislabelled", 1)
    assert suspect.places == tuple(Place(0, line) for line in range(1, MAX_PLACES + 1))
    assert suspect.why == "9 of 9 rollouts answer '8', where the reference answer is '7'; none is accepted."


def test_forms_of_one_number_agree() -> None:
    assert suspects_of(answers("0.5", "\\frac12", "\\dfrac{1}{2}", "$\\frac{2}{4}$", "1/2")).counts["mislabelled"] == 1


def test_rollouts_without_a_readable_answer_count_as_if_they_disagreed() -> None:
    rollouts = [*answers(*["8"] * 4), rollout("Hm."), rollout("")]
    (why,) = sentences(suspects_of(rollouts), "mislabelled")
    assert "4 of 6 rollouts (2 have no readable answer) answer '8'" in why
    assert suspects_of([*rollouts, rollout("")]).counts["mislabelled"] == 0


@pytest.mark.parametrize(
    ("agreeing", "accepted", "agreement", "share"),
    [
        pytest.param([8] * 2, [8] * 18, 0.6, 0.1, id="rejected answers are rare"),
        pytest.param([5, 6, 7, 8], [8] * 12, 0.9, 1 / 13, id="rare among prompts that agree more"),
        pytest.param([5, 8], [5] * 17, 0.6, 2 / 19, id="rare enough nowhere: rarest at the first"),
        pytest.param([5] * 9 + [8], [8] * 6, 0.7, 1 / 7, id="rare enough nowhere: rarest at the second"),
        pytest.param([8] * 2, [3] * 6, 0.6, 1.0, id="rollouts agree on rejected answers alone"),
        pytest.param([], [], 0.6, 0.0, id="no prompts"),
    ],
)
def test_the_agreement_that_a_log_needs(
    agreeing: list[int], accepted: list[int], agreement: float, share: float
) -> None:
    """Each prompt has 8 rollouts; `agreeing` of the first ones give one rejected answer, the others different ones."""
    prompts = [answers(*["8"] * number, *map(str, range(100, 108 - number))) for number in agreeing]
    groups = table([0] * len(agreeing) + accepted)
    suspects = suspects_of(*prompts, groups=groups)
    assert (suspects.agreement, suspects.rejected_share) == (agreement, pytest.approx(share))
    assert suspects.counts["mislabelled"] == sum(number >= 8 * agreement for number in agreeing)


def test_weak_evidence_is_said() -> None:
    suspects = suspects_of(answers(*["8"] * 8), groups=table([0, 8, 8, 8]))
    assert suspects.lines() == [
        "1 prompt looks mislabelled; but 25% of the answers that rollouts agree on are rejected in this log, so "
        "many of them may be errors of the policy"
    ]


def test_a_log_without_reference_answers() -> None:
    (why,) = sentences(suspects_of(answers(*["8"] * 4, reference_answer=None)), "mislabelled")
    assert why == "4 of 4 rollouts answer '8'; none is accepted."


@pytest.mark.parametrize(
    "rollouts",
    [
        pytest.param(answers("8", "8"), id="few"),
        pytest.param(answers(*["8"] * 4, "1", "2", "3"), id="too many others"),
        pytest.param([*answers(*["8"] * 8), rollout("\\boxed{7}", 1.0)], id="accepted later"),
        pytest.param([rollout("\\boxed{7}", 1.0), *answers(*["8"] * 8)], id="accepted before"),
        pytest.param([rollout("\\boxed{8}", None)] * 8, id="no verdict"),
        pytest.param([rollout("I give up.")] * 8, id="no answer"),
        pytest.param([rollout("It is 8", truncated=True)] * 8, id="truncated before the answer"),
        pytest.param([rollout(None)] * 8, id="a log without texts"),
    ],
)
def test_no_mislabelled_prompt(rollouts: list[LoggedRollout]) -> None:
    assert suspects_of(rollouts).counts["mislabelled"] == 0


def test_the_reference_answer_itself_rejected() -> None:
    suspects = suspects_of(answers(*["7.0"] * 8), answers(*["9"] * 7, "7"), answers("7", "8", reference_answer=None))
    assert suspects.counts["mislabelled"] == 0
    end = "'7', which equals the reference answer '7', but none is accepted: the verifier may not read this form."
    starts = ("8 of 8 rollouts answer", "1 of 8 rollouts answers")
    assert sentences(suspects, "rejected_match") == [f"{start} {end}" for start in starts]
    assert suspects.listed[1].places == (Place(0, 8),)


@pytest.mark.parametrize(
    "reference",
    [
        "Janet has 0 eggs.\n#### 0",
        "x" * 400 + "\n#### 0",
        "so \\boxed{0}.",
        '["0"]',
        "[0]",
        '{"target": 0}',
        '{"ground_truth": ["0"]}',
    ],
)
def test_the_reference_answer_in_a_solution_a_list_or_a_mapping(reference: str) -> None:
    suspects = suspects_of([rollout("#### 0", reference_answer=reference)] * 8)
    assert (suspects.counts["rejected_match"], suspects.counts["mislabelled"]) == (1, 0)


@pytest.mark.parametrize("reference", ["[0, 1]", "{x}", '{"other": 0}', "[null]", "[" * 10**6])
def test_other_brackets_are_the_reference_answer_themselves(reference: str) -> None:
    assert read_reference(reference) == reference


def test_an_answer_of_most_rollouts_is_counted_among_many_others() -> None:
    rest = [str(number) for number in range(100, 120)]
    (suspect,) = suspects_of(answers(*rest[:10], *["8"] * 90, *rest[10:])).listed
    assert "90 of 110 rollouts answer '8'" in suspect.why


def test_several_reference_answers() -> None:
    changed = [rollout("", line=line, reference_answer=text) for line, text in enumerate(["7", "7.0", "8", "8"], 1)]
    suspects = suspects_of(changed)
    assert sentences(suspects, "several_references") == [
        "The prompt comes with 2 different reference answers: '7' and '8'."
    ]
    assert suspects.listed[0].places == (Place(0, 1), Place(0, 3), Place(0, 4))


def test_many_reference_answers_are_counted_up_to_a_limit() -> None:
    changed = [answers("1", reference_answer=str(number))[0] for number in range(100)]
    (why,) = sentences(suspects_of(changed), "several_references")
    assert f"at least {MAX_ANSWERS + 1} different reference answers" in why


def test_long_reference_answers_differ_at_their_ends() -> None:
    same, different = (["x" * 10_000 + end for end in ends] for ends in ("aa", "ab"))
    for texts, count in ((same, 0), (different, 1)):
        changed = [answers("1", reference_answer=text)[0] for text in texts]
        assert suspects_of(changed).counts["several_references"] == count


def test_an_exceptional_reward() -> None:
    rollouts = [*answers(*["7"] * 60, reward=1.0), *answers(*["7"] * 39), rollout("", 0.5, line=100)]
    suspects = suspects_of(rollouts)
    assert sentences(suspects, "reward_values") == ["1 of 100 rewards are 0.5, where the usual ones are 0 or 1."]
    assert suspects.listed[0].places == (Place(0, 100),)
    assert suspects_of(rollouts[:-1]).counts["reward_values"] == 0
    assert suspects_of(rollouts[:60]).counts["reward_values"] == 0


def test_partial_credit_is_one_suspect() -> None:
    rollouts = [rollout("", number / 10, number + 1) for number in range(11)]
    assert sentences(suspects_of(rollouts), "reward_values") == [
        "The verifier's column has 11 different rewards, and only 18% of them are 0 or 0.1: it gives partial credit, "
        "or another column is the verifier's."
    ]


def test_rewards_beyond_number_are_counted_together() -> None:
    evidence = evidence_of([rollout("", reward) for reward in (*map(float, range(10 * MAX_VALUES)), float("nan"))])
    assert len(evidence.rewards) == MAX_VALUES + 1
    assert sum(tally.count for tally in evidence.rewards.values()) == 10 * MAX_VALUES + 1


def test_truncated_successes() -> None:
    truncated = [rollout("", 1.0, 1, truncated=True), rollout("", 0.0, 2, truncated=True)]
    complete = [rollout("", 1.0, 3, truncated=False)] * 3
    suspects = suspects_of([*truncated, *complete], complete)
    assert sentences(suspects, "truncated_success") == [
        "1 response was accepted although the limit of length cut the text (in the whole log 50% of the truncated and "
        "100% of the other responses are accepted)."
    ]
    assert (suspects.listed[0].prompt, suspects.listed[0].places) == (0, (Place(0, 1),))


def test_truncated_failures_and_logs_that_do_not_tell_are_no_suspects() -> None:
    rollouts = [rollout("", 0.0, truncated=True), rollout("", 1.0, truncated=False), rollout("", 1.0, truncated=None)]
    assert suspects_of(rollouts).counts["truncated_success"] == 0


def test_never_solved_in_many_visits() -> None:
    rollouts = [*answers("1", "1", "2", "3", "4"), rollout("Hm", line=6), rollout("1", truncated=True, line=7)]
    suspects = suspects_of(rollouts, groups=table([0] * MIN_VISITS, prompt=[0] * MIN_VISITS))
    assert sentences(suspects, "never_solved") == [
        "None of 7 rollouts in 3 visits was accepted; 1 ended at the limit of length; 2 have no readable answer; the "
        "most frequent answer '1' came 2 times."
    ]
    assert suspects.listed[0].places[:2] == (Place(0, 1), Place(0, 2))


@pytest.mark.parametrize(
    "columns",
    [
        pytest.param({"successes": [0, 0]}, id="few visits"),
        pytest.param({"successes": [0, 0, 1]}, id="solved in the last visit"),
        pytest.param({"successes": [0, 0, 0], "verdicts": [0, 8, 8]}, id="a visit without a verdict"),
    ],
)
def test_not_never_solved(columns: dict[str, list[int]]) -> None:
    groups = table(**{"prompt": [0] * len(columns["successes"]), **columns})
    assert find_suspects(groups, evidence_of(answers("1", "2"))).counts["never_solved"] == 0


def test_a_mislabelled_prompt_is_not_listed_as_never_solved_too() -> None:
    groups = table([0] * 3, prompt=[0] * 3)
    counts = suspects_of(answers(*["8"] * 24), groups=groups).counts
    assert (counts["mislabelled"], counts["never_solved"]) == (1, 0)


def test_equal_texts() -> None:
    groups = table([0, 8, 8, 3], prompt=[5, 5, 6, 7], num_texts=[1, 1, 8, 1], length=[160, 400, 400, 8])
    suspects = find_suspects(groups, PromptEvidence())
    assert sentences(suspects, "equal_texts") == [
        "In 1 group all responses are the same text, e.g. 8 of 1 tokens; the verifier accepts 3 of them.",
        "In 2 groups all responses are the same text, e.g. 8 of 50 tokens.",
    ]
    accepted_in_part, accepted = (suspect.places for suspect in suspects.listed)
    assert accepted_in_part == tuple(Place(0, line) for line in range(25, 33))
    assert accepted == (Place(0, 9), Place(0, 1))


def test_equal_texts_that_do_not_stand_together_are_one_place() -> None:
    groups = table([3], num_texts=[1], last_line=[20])
    assert find_suspects(groups, PromptEvidence()).listed[0].places == (Place(0, 1),)


@pytest.mark.parametrize(
    "columns",
    [
        pytest.param({"num_texts": [1], "length": [8 * 15]}, id="short"),
        pytest.param({"num_texts": [2], "length": [8 * 500]}, id="one differs"),
        pytest.param({"num_texts": [-1], "length": [8 * 500]}, id="a log without texts"),
        pytest.param({"num_texts": [1], "length": [500], "size": [1], "verdicts": [1]}, id="one rollout"),
    ],
)
def test_no_equal_texts(columns: dict[str, list[int]]) -> None:
    assert find_suspects(table([0], **columns), PromptEvidence()).counts["equal_texts"] == 0


def test_group_sizes() -> None:
    suspects = find_suspects(table([1] * 10, size=[8] * 7 + [7, 16, 16]), PromptEvidence())
    assert sentences(suspects, "group_size") == [
        "2 groups have 16 rollouts, where the usual size is 8, as if the prompt came 2 times in a step.",
        "1 group has 7 rollouts, where the usual size is 8.",
    ]
    assert suspects.listed[0].places == (Place(0, 65), Place(0, 73))


def test_group_sizes_without_a_usual_one_are_one_suspect() -> None:
    (why,) = sentences(find_suspects(table([1] * 4, size=[2, 3, 4, 5]), PromptEvidence()), "group_size")
    assert why.startswith("Groups have 2 to 5 rollouts, and no size is that of most groups")


def test_the_most_convincing_come_first_and_a_cut_is_said() -> None:
    suspects = suspects_of(answers(*["8"] * 4), answers(*["8"] * 16), answers(*["8"] * 8), max_listed=2)
    assert [suspect.prompt for suspect in suspects.listed] == [1, 2]
    assert suspects.lines() == ["3 prompts look mislabelled (the first 2 are listed)"]
    assert suspects_of(answers(*["8"] * 4)).lines() == ["1 prompt looks mislabelled"]


def test_an_empty_log() -> None:
    suspects = find_suspects(group_table([]), PromptEvidence())
    assert (suspects.listed, suspects.lines()) == ((), [])
    assert dict(suspects.counts) == dict.fromkeys(SUSPECT_KINDS, 0)


HOSTILE = [
    "\\boxed{" + "[" * 10**6 + "]" * 10**6 + "}",
    "[" * 10**6,
    "\\boxed{" * 10**6,
    "x" * 10**7,
    "\\boxed{9^{9^{9^{9}}}}",
    "\\boxed{10^{999999999}}",
    "\\boxed{__import__('os').system('false')}",
    "#### 1e999999999",
    "<think>" * 10**5,
]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_texts_are_read_and_their_evidence_is_small(text: str) -> None:
    evidence = evidence_of([rollout(text, reference_answer=text)] * 4)
    kept = [*evidence.rejected[0].answers, evidence.references[0][0]]
    assert sum(map(len, kept)) < 1000
    assert all(len(why) < 400 for why in sentences(find_suspects(group_table([0]), evidence), "mislabelled"))


def test_characters_of_answers_are_visible() -> None:
    (why,) = sentences(suspects_of([rollout("\\boxed{\ud800\x1b[31m\u202e}")] * 4), "mislabelled")
    assert "\\ud800␛[31m" in why
    assert why.isprintable()
    assert quoted("a\n\tb") == "'a ␉b'"


def test_answers_of_solved_prompts_are_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    texts: list[str] = []

    def read_answer(text: str, *, truncated: bool) -> str:
        texts.append(text)
        return "8"

    monkeypatch.setattr("echorl.lab.audit.evidence.read_answer", read_answer)
    evidence_of([rollout("before"), rollout("success", 1.0), *[rollout("after")] * 100, rollout("none", None)])
    assert texts == ["before"]


def test_evidence_of_many_rollouts_is_small() -> None:
    rollouts = [rollout(f"\\boxed{{{n}}}", 0.0, n, truncated=True, reference_answer=str(n)) for n in range(1, 3000)]
    accepted = [each._replace(reward=1.0) for each in rollouts]
    evidence = evidence_of(rollouts, accepted)
    (rejected,) = evidence.rejected.values()
    tallies = [*rejected.answers.values(), *evidence.truncated_successes.values(), *evidence.rewards.values()]
    assert (rejected.count, len(rejected.answers), len(evidence.other_references[0])) == (
        2999,
        MAX_ANSWERS,
        MAX_ANSWERS,
    )
    assert all(len(tally.places) <= MAX_PLACES for tally in tallies)


def test_real_rollouts(shared_data: Path) -> None:
    """The log has a damaged reference answer, a figure that is not in the text, and a label that is wrong."""
    log = read_log([shared_data / "math_rollouts/qwen25_math_100x8.jsonl"], Columns(), 1.0)
    starts = [suspect.why.partition(",")[0] for suspect in find_suspects(log.groups, log.evidence).listed]
    assert starts == [
        "8 of 8 rollouts answer '4:30 p.m'",
        "8 of 8 rollouts answer '40'",
        "1 of 8 rollouts answers '10000'",
    ]

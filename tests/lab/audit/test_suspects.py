"""`find_suspects` by hand-made rows: each kind, and what must not be taken for it."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from echorl.lab.audit.evidence import PromptEvidence
from echorl.lab.audit.suspects import Suspects, find_suspects
from tests.lab.audit.rollouts import LoggedRollout, rollout
from tests.lab.audit.simulated import group_table


def evidence_of(prompts: Sequence[Sequence[LoggedRollout]]) -> PromptEvidence:
    """The evidence of a log in which prompt n has the rollouts `prompts[n]`, one after the other."""
    evidence = PromptEvidence()
    for prompt, rollouts in enumerate(prompts):
        for each in rollouts:
            evidence.add(each, prompt, None if each.reward is None else each.reward == 1.0)
    return evidence


def suspects_of(*prompts: Sequence[LoggedRollout], **options: object) -> Suspects:
    return find_suspects(group_table([1] * len(prompts)), evidence_of(prompts), **options)  # type: ignore[arg-type]


def answers(*texts: str, reward: float = 0.0, **columns: object) -> list[LoggedRollout]:
    return [rollout(f"So \\boxed{{{text}}}.", reward, line, **columns) for line, text in enumerate(texts, 1)]


def test_agreeing_rejected_rollouts_are_a_mislabelled_prompt() -> None:
    (suspect,) = suspects_of(answers("8"), answers(*["8"] * 8), answers("8", reward=1.0)).listed
    assert (suspect.kind, suspect.prompt, len(suspect.places)) == ("mislabelled", 1, 8)
    assert suspect.why == "8 of 8 rollouts answer '8', the reference answer is '7', and the verifier accepts none."


def test_forms_of_one_number_agree() -> None:
    assert suspects_of(answers("0.5", "\\frac12", "\\dfrac{1}{2}", "$\\frac{2}{4}$", "1/2")).counts["mislabelled"] == 1


@pytest.mark.parametrize(
    "rollouts",
    [
        pytest.param(answers("8", "8", "8"), id="few"),
        pytest.param(answers(*["8"] * 5, "1", "2", "3"), id="too many others"),
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
    suspects = suspects_of(answers(*["7.0"] * 8))
    assert (suspects.counts["mislabelled"], suspects.counts["rejected_match"]) == (0, 1)


def test_an_answer_of_most_rollouts_is_counted_among_many_others() -> None:
    rest = [str(number) for number in range(100, 120)]
    (suspect,) = suspects_of(answers(*rest[:10], *["8"] * 90, *rest[10:])).listed
    assert "90 of 110 rollouts answer '8'" in suspect.why


def test_the_most_convincing_come_first_and_a_cut_is_said() -> None:
    suspects = suspects_of(answers(*["8"] * 4), answers(*["8"] * 16), answers(*["8"] * 8), max_listed=2)
    assert [suspect.prompt for suspect in suspects.listed] == [1, 2]
    assert suspects.lines() == ["3 prompts whose reference answer looks wrong (the first 2 are listed)"]


def test_an_empty_log() -> None:
    suspects = find_suspects(group_table([]), PromptEvidence())
    assert suspects.listed == ()
    assert set(suspects.counts.values()) == {0}

"""From dump rows to exhibits: tokens that make up the text, steps, clips, and the choice of groups."""

from __future__ import annotations

import itertools
import random

import pytest

from echorl.lab.report.gallery import align_tokens, choose_exhibits, make_exhibit
from echorl.support.visible import prompt_text, visible

TEXTS = [
    "naïve 🏳️‍🌈 ok\n",
    "日本語\n答え: ４２",
    "שלום\nعالم",
    "e\u0301 \U0001f9d1‍\U0001f680",
    "",
    "\n\n \n",
    "a\ufffdb",
]


def row(**changes):
    tokens = ["1+1=2", "\n", "#### ", "2", "<eos>"]
    values = {
        "step": 3,
        "group": 0,
        "kind": "all_success",
        "success": True,
        "prompt": "1+1=?\n",
        "completion": "1+1=2\n#### 2",
        "tokens": tokens,
        "entropy": [0.3, 0.1, 0.0, 0.0, 0.0],
        "step_ids": [0, 0, 1, 1, 1],
        "clip_end": 0,
        "clip_step": -1,
        "clip_entropy": None,
    }
    return {**values, **changes}


def clip(**changes):
    return row(**{"clip_end": 2, "clip_step": 0, "clip_entropy": 0.2, **changes})


@pytest.mark.parametrize("text", TEXTS)
def test_bytes_of_a_character_in_several_tokens(text):
    """Byte-level vocabularies: every cut of the bytes, decoded piece by piece, gives the text back."""
    rng, data = random.Random(0), text.encode()
    for _ in range(50):
        cuts = sorted({0, len(data), *(rng.randrange(len(data) + 1) for _ in range(4))})
        tokens = [data[a:b].decode("utf-8", "replace") for a, b in itertools.pairwise(cuts)]
        pieces = align_tokens([*tokens, "<eos>"], text)
        assert len(pieces) == len(tokens) + 1
        assert "".join(piece for piece, special in pieces if not special) == (text if tokens else "")


def test_dropped_spaces_and_special_tokens():
    assert align_tokens(["<s>", "Hello", "world", "</s>"], "Hello world") == [
        ("<s>", True),
        ("Hello", False),
        (" world", False),
        ("</s>", True),
    ]
    assert align_tokens([], "") == []


def test_visible_shows_what_would_act():
    assert visible("a\x1b[31m\u202e\u200b\x7fb") == "a␛[31m\\u202e\\u200b␡b"
    assert visible("\ud800") == "\\ud800"
    for text in TEXTS:
        assert visible(text) == text


def test_prompt_text_of_chat_messages():
    assert prompt_text('[{"role": "user", "content": "1+1?"}]') == "user: 1+1?"
    for text in ("1+1=?", "[1, 2]", "{}", "17"):
        assert prompt_text(text) == text


def test_exhibit_by_hand():
    exhibit = make_exhibit([row(), clip(), row(success=False)])
    assert (exhibit.kind, exhibit.training_step, exhibit.clip_tokens, exhibit.winner.number) == ("all_success", 3, 2, 2)
    first, second = exhibit.winner.steps
    assert [token.text for token in first.tokens] == ["1+1=2", "\n"]
    assert (first.number, first.entropy, first.in_clip, first.ends_clip) == (1, pytest.approx(0.2), True, True)
    assert (second.number, second.in_clip) == (2, False)
    assert [token.special for token in second.tokens] == [False, False, True]
    assert [rollout.success for rollout in exhibit.rollouts] == [True, True, False]


def test_a_rollout_without_tokens_or_steps():
    exhibit = make_exhibit([clip(), row(tokens=[], entropy=[], step_ids=[], completion="")])
    assert exhibit.rollouts[1].steps == []
    blank = row(tokens=["\n"], entropy=[0.5], step_ids=[-1], completion="\n")
    assert [step.number for step in make_exhibit([clip(), blank]).rollouts[1].steps] == [0]


def test_a_demonstration_is_told_apart_and_its_unknown_entropies_get_the_lightest_shade():
    unknown = row(written_by_policy=False, entropy=[float("nan")] * 5)
    exhibit = make_exhibit([clip(written_by_policy=True), unknown, row()])  # the last as in older dumps
    assert [rollout.demonstration for rollout in exhibit.rollouts] == [False, True, False]
    assert {token.level for step in exhibit.rollouts[1].steps for token in step.tokens} == {0}


def test_choice_takes_each_kind_and_no_group_twice():
    rows = [row(group=0), clip(group=0), clip(group=1), clip(group=2, kind="mixed"), row(group=3, kind="all_fail")]
    exhibits = choose_exhibits(rows, kinds=("all_success", "mixed", "all_success"))
    assert [exhibit.kind for exhibit in exhibits] == ["all_success", "mixed", "all_success"]
    exhibits = choose_exhibits([clip(group=i, step=i // 2) for i in range(4)], kinds=("all_success",) * 3)
    assert [exhibit.training_step for exhibit in exhibits[:2]] == [1, 0]
    assert choose_exhibits(rows[2:4]) != choose_exhibits([])
    assert choose_exhibits([]) == []
    assert len(choose_exhibits([clip()])) == 1

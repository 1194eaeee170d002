"""Progress where the output is not a terminal: one line a minute, the remaining time, a resume."""

from __future__ import annotations

import pytest

from echorl.cli import bars
from echorl.cli.bars import Bars


@pytest.fixture
def lines(capsys):
    """A function that returns the lines since its last call."""
    return lambda: capsys.readouterr().err.splitlines()


def test_a_line_a_minute(lines, monkeypatch):
    seconds = [0.0]
    monkeypatch.setattr(bars.time, "monotonic", lambda: seconds[0])
    view = Bars()
    view.progress.get_time = lambda: seconds[0]
    advance = view.begin("GRPO", 240, note=lambda: "reward 0.61")
    assert lines() == ["GRPO"]
    for step in range(1, 150):
        seconds[0] += 1.0
        advance(step)
    assert lines() == [
        "GRPO: 60 of 240, reward 0.61, about 3 min left",
        "GRPO: 120 of 240, reward 0.61, about 2 min left",
    ]


def test_a_resume_is_announced_and_counted_from_where_it_was(lines, monkeypatch):
    seconds = [0.0]
    monkeypatch.setattr(bars.time, "monotonic", lambda: seconds[0])
    view = Bars()
    view.progress.get_time = lambda: seconds[0]
    advance = view.begin("GRPO", 240, 120)
    assert lines() == ["GRPO goes on at 120 of 240."]
    for step in range(121, 182):
        seconds[0] += 2.0
        advance(step)
    assert lines()[-1] == "GRPO: 180 of 240, about 2 min left"


def test_a_run_that_is_being_scored_has_no_remaining_time(lines, monkeypatch):
    monkeypatch.setattr(bars, "SECONDS_BETWEEN_LINES", 0)
    Bars().begin("GRPO", 240, 240, lambda: "scoring")(240)
    assert lines() == ["GRPO", "GRPO: 240 of 240, scoring"]


def test_work_of_unknown_length_and_work_that_is_done(lines, monkeypatch):
    monkeypatch.setattr(bars, "SECONDS_BETWEEN_LINES", 0)
    view = Bars()
    view.begin("reading", None)(1234)
    view.begin("scoring", 2)(2)
    assert lines() == ["reading", "reading: 1,234", "scoring", "reading: 1,234"]

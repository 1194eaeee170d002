"""The quickstart: GRPO and GRPO + EchoRL from the same start, then a table, a picture and a page."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from echorl.quickstart import POLICY
from echorl.quickstart.study import ARMS, LABELS, Study, cached, read_json, stored
from echorl.quickstart.summary import summarize

OWN = ("start.json", "results.json", "index.html", "quickstart.png", *ARMS)
"""All that a quickstart writes in its output folder."""


class View(Protocol):
    """Shows how far a quickstart is."""

    def begin(self, text: str, total: int) -> Callable[[int], None]:
        """A piece of work begins; the result is called with the number of its parts done."""


class Silent:
    """Shows nothing."""

    def begin(self, text: str, total: int) -> Callable[[int], None]:
        return lambda done: None


def quickstart(output: Path, study: Study, *, fresh: bool = False, view: View | None = None) -> dict[str, Any]:
    """Do what is not done yet, and return the summary (also in results.json, with index.html and quickstart.png).

    Everything is stored in `output` when it is finished, under the settings, the package version and the policy's hash;
    what is stored under the same is used again. `fresh` discards it first.

    Raises:
        ValueError: `output` is not a folder, cannot be written, or has an arm's folder that no quickstart wrote.
    """
    view = view or Silent()
    prepare_output(output, fresh=fresh)
    scores = {"start": _score("start", output, study, view)}
    arms = {}
    for arm in ARMS:
        arms[arm] = _train(arm, output / arm, study, view)
        scores[arm] = _score(arm, output, study, view)
    key = study.key("results")
    summary = cached(output / "results.json", key, lambda: summarize(study, scores, arms))
    pictures = [output / "index.html", output / "quickstart.png"]
    newest = max((output / arm / "scores.json").stat().st_mtime for arm in ARMS)
    if not all(path.exists() and path.stat().st_mtime >= newest for path in pictures):
        _draw(output, study, summary, arms, view)
    return summary


def prepare_output(output: Path, *, fresh: bool) -> None:
    """Make the folder and see that it can be written; with `fresh`, remove a former quickstart's results from it."""
    try:
        output.mkdir(parents=True, exist_ok=True)
        probe = output / ".echorl-probe"
        probe.touch()
        probe.unlink()
    except OSError as error:
        reason = error.strerror or "not a folder"
        raise ValueError(f"cannot write to the output folder {output} ({reason}): choose another --output.") from None
    if fresh and read_json(output / "start.json") is not None:
        for name in OWN:
            path = output / name
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def _train(arm: str, folder: Path, study: Study, view: View) -> dict[str, Any]:
    from echorl.quickstart.arm_folder import MARK

    coef = ARMS[arm]
    done = stored(folder / MARK, study.key("arm", coef=coef))
    if done is not None:
        return done
    on_step = view.begin(f"training {LABELS[arm]}", study.num_steps)
    from echorl.quickstart.arm import train_arm

    return train_arm(study, coef, folder, on_step=on_step)


def _score(name: str, output: Path, study: Study, view: View) -> dict[str, Any]:
    """Scores of the start or of a trained arm."""
    policy = output / name / "policy" if name in ARMS else POLICY
    path = output / name / "scores.json" if name in ARMS else output / "start.json"

    def make() -> dict[str, Any]:
        on_part = view.begin(f"testing {LABELS[name]}", 3)
        from echorl.quickstart.score import load_policy, score

        return score(*load_policy(policy), study, on_part=on_part)

    return cached(path, study.key("scores", policy_of=name), make)


def _draw(output: Path, study: Study, summary: dict[str, Any], arms: dict[str, Any], view: View) -> None:
    on_part = view.begin("drawing the page", 2)
    from echorl.quickstart.draw import make_curves, make_page
    from echorl.report import page, plots

    curves = make_curves(summary, arms)
    plots.write_png(curves, output / "quickstart.png")
    on_part(1)
    page.write(make_page(study, summary, curves, output / "echorl" / "rollouts"), output / "index.html")
    on_part(2)

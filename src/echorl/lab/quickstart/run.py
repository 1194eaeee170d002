"""The quickstart: GRPO and GRPO + EchoRL from the same start, then a table, a picture and a page."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

from echorl.lab.jobs import Job, Silent, View, run_jobs
from echorl.lab.quickstart.arm_folder import prepare_folder
from echorl.lab.quickstart.study import ARMS, LABELS, Study
from echorl.lab.quickstart.summary import summarize
from echorl.lab.quickstart.worker import result_of, scores_of
from echorl.support.files import read_json, scratch_in, write_json

PICTURES = ("index.html", "quickstart.png")
OWN = ("start.json", "results.json", *PICTURES, *ARMS)
"""All that a finished quickstart leaves in its output folder."""
LOGS = tuple(f"{name}.log" for name in LABELS)


def quickstart(output: Path, study: Study, *, fresh: bool = False, view: View | None = None) -> dict[str, Any]:
    """Do what is not done yet, and return the summary (also in results.json, with index.html and quickstart.png).

    Everything is stored in `output` when it is finished, under the settings, the package version and the policy's hash;
    what is stored under the same is used again. `fresh` discards it first.

    Raises:
        ValueError: `output` is not a folder, cannot be written, or has an arm's folder or results that no quickstart
            wrote.
        RuntimeError: a worker failed.
    """
    view = view or Silent()
    prepare_output(output, fresh=fresh)
    train_and_score(output, study, view)
    arms = {arm: result_of(arm, output, study) for arm in ARMS}
    scores = {name: scores_of(name, output, study) for name in LABELS}
    summary = summarize(study, scores, arms)
    results = {"key": study.key("results"), "value": summary}
    if read_json(output / "results.json") != results or not all((output / name).exists() for name in PICTURES):
        _draw(output, study, summary, arms, view)
        write_json(output / "results.json", results)
    return summary


def prepare_output(output: Path, *, fresh: bool) -> None:
    """Make the folder and see that it can be written; with `fresh`, remove a former quickstart's results from it."""
    try:
        output.mkdir(parents=True, exist_ok=True)
        with scratch_in(output):
            pass
    except OSError as error:
        reason = error.strerror or "not a folder"
        text = f"cannot write to the output folder {output} ({reason}): choose another --output_dir."
        raise ValueError(text) from None
    ours = [arm for arm in ARMS if read_json(output / arm / "arm.json") is not None]
    if not ours and read_json(output / "start.json") is None:
        _check_results(output)
    elif fresh:
        _discard(output, ours)


def _check_results(output: Path) -> None:
    """In a folder without arms and scores, the results are somebody's."""
    for name in ("results.json", *PICTURES):
        if (output / name).exists():
            raise ValueError(f"{output} holds {name}, which no quickstart wrote: choose another --output_dir.")


def _discard(output: Path, ours: list[str]) -> None:
    """Remove what a quickstart wrote: arms only with their mark, files only beside an arm or the start's scores."""
    for name in (*OWN, *LOGS):
        path = output / name
        if path.is_dir() and name in ours:
            shutil.rmtree(path)
        elif path.is_file():
            path.unlink()


def train_and_score(output: Path, study: Study, view: View) -> None:
    """Let workers make the results that are missing, all at once."""
    trained = [name for name in LABELS if name not in ARMS or result_of(name, output, study) is not None]
    missing = [name for name in LABELS if name not in trained or scores_of(name, output, study) is None]
    for arm in (name for name in missing if name in ARMS):
        prepare_folder(output / arm, study.key("arm", coef=ARMS[arm]))
    run_jobs([_job(name, output, study) for name in missing], parallel=len(LABELS), view=view)


def _job(name: str, output: Path, study: Study) -> Job:
    """A worker; an arm's progress are the optimiser steps in its metrics.jsonl."""
    metrics = output / name / "metrics.jsonl"
    return Job(
        text=f"{'training and testing' if name in ARMS else 'testing'} {LABELS[name]}",
        name=LABELS[name],
        module="echorl.lab.quickstart.worker",
        arguments=(name, str(output), json.dumps(asdict(study))),
        log=output / f"{name}.log",
        total=study.num_steps if name in ARMS else 1,
        done=lambda: metrics.read_bytes().count(b'"reward"') if metrics.exists() else 0,
    )


def _draw(output: Path, study: Study, summary: dict[str, Any], arms: dict[str, Any], view: View) -> None:
    on_part = view.begin("drawing the page", 2)
    from echorl.lab.quickstart import panels
    from echorl.lab.quickstart.draw import make_curves, make_page
    from echorl.lab.report import page

    curves = make_curves(summary, arms)
    panels.write_png(curves, output / "quickstart.png")
    on_part(1)
    page.write(make_page(study, summary, curves, output / "echorl" / "rollouts"), output / "index.html")
    on_part(2)

"""The quickstart's curves and page, from its summary and its arms."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import echorl
from echorl.lab.quickstart.panels import PANELS, Curves, panel_svg
from echorl.lab.quickstart.study import ARMS, LABELS, SPLITS, Study
from echorl.lab.quickstart.summary import LEDGER, accuracy_rows, behaviour_rows, findings, training_rows
from echorl.lab.report.gallery import choose_exhibits, read_rollouts
from echorl.lab.report.page import Page, Table

NOTE = (
    "95 % intervals in brackets, clustered by prompt; the difference is EchoRL less GRPO in percentage points, paired "
    "by prompt (bootstrap). They cover the choice of test prompts, not the luck of training: this is one seed."
)


def make_curves(summary: dict[str, Any], arms: dict[str, Any]) -> Curves:
    """What the panels show."""
    metrics = {arm: result["metrics"] for arm, result in arms.items()}
    series = {
        name: {arm: [line[key] for line in lines] for arm, lines in metrics.items()}
        for name, key in (("rewards", "reward"), ("lengths", "completions/mean_length"), ("entropies", "entropy"))
    }
    accuracy = {
        SPLITS[split]: {arm: (est["value"], est["low"], est["high"]) for arm, est in by_arm.items()}
        for split, by_arm in summary["accuracy"].items()
    }
    ledger = {kind: [line[f"echo/groups/{kind}"] for line in metrics["grpo"]] for kind in LEDGER}
    return Curves(labels=LABELS, ledger=ledger, accuracy=accuracy, **series)


def make_page(study: Study, summary: dict[str, Any], curves: Curves, rollouts: Path) -> Page:
    """The page, with three EchoClips from the dumps in `rollouts`."""
    return Page(
        title="GRPO with and without EchoRL, on a laptop's CPU",
        lead=[_lead(study)],
        findings=findings(summary),
        figures=[panel_svg(panel, curves) for panel in PANELS],
        tables=make_tables(summary),
        exhibits=choose_exhibits(read_rollouts(rollouts)),
        foot=[f"echorl {echorl.__version__}. Settings: " + _settings(study)],
    )


def make_tables(summary: dict[str, Any]) -> list[Table]:
    """The tables of the page, of the terminal and of a report."""
    arms = [LABELS[name] for name in ARMS]
    return [
        Table("Held-out prompts", ["", *LABELS.values(), "difference"], accuracy_rows(summary), NOTE),
        Table("How the answers changed", ["", *LABELS.values()], behaviour_rows(summary)),
        Table("What training saw: groups by kind and gradients", ["", *arms], training_rows(summary)),
    ]


def _lead(study: Study) -> str:
    each = f"{study.num_steps} steps of {study.prompts_per_step} prompts with {study.group_size} rollouts each"
    return (
        "A policy of 0.9 million parameters adds up two to four two-digit numbers, step by step (harder: five). It was "
        f"trained twice from the same start, with the same seed and the same prompts in the same order, {each}: with "
        "GRPO, and with GRPO + EchoRL at the paper's coefficient of 0.001. Both use the learning rate that was best "
        "for GRPO alone."
    )


def _settings(study: Study) -> str:
    return ", ".join(f"{name} {value}" for name, value in vars(study).items()) + "."

"""From stored results to numbers, sentences and tables. What is claimed follows from the numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from echorl.lab.evaluate import Estimate, paired_difference, pass_at_1, pass_at_k
from echorl.lab.quickstart.study import ARMS, LABELS, SPLITS, Study

Metrics = Sequence[dict[str, Any]]
"""The lines of a metrics file, one a training step."""

LEDGER = ("all_success", "mixed", "all_fail")


def summarize(study: Study, scores: dict[str, Any], arms: dict[str, Any]) -> dict[str, Any]:
    """Every number that the quickstart states, ready for JSON.

    `scores` holds `score.score`'s result for "start" and both arms, `arms` `arm.train_arm`'s for both.
    """
    verdicts = {name: {split: score[split]["verdicts"] for split in SPLITS} for name, score in scores.items()}
    return {
        "accuracy": {split: {name: vars(pass_at_1(verdicts[name][split])) for name in verdicts} for split in SPLITS},
        "pass_at_k": {
            split: {name: pass_at_k(verdicts[name][split], study.samples_per_prompt) for name in verdicts}
            for split in SPLITS
        },
        "k": study.samples_per_prompt,
        "difference": {
            split: vars(paired_difference(verdicts["grpo"][split], verdicts["echorl"][split])) for split in SPLITS
        },
        "gain": {
            split: {arm: vars(paired_difference(verdicts["start"][split], verdicts[arm][split])) for arm in ARMS}
            for split in SPLITS
        },
        "behaviour": {
            name: {key: score["test"][key] for key in ("length", "blank_share", "entropy")}
            for name, score in scores.items()
        },
        "solved": {name: score["solved"] for name, score in scores.items()},
        "ledger": {arm: ledger(result["metrics"]) for arm, result in arms.items()},
        "alone": {arm: alone(result["metrics"]) for arm, result in arms.items()},
    }


def ledger(metrics: Metrics) -> dict[str, dict[str, float]]:
    """Shares of groups by kind, and the tokens' share of all-success groups, in the first and the last fifth of steps.

    A run of fewer than five steps has one step in each.
    """
    size = max(1, len(metrics) // 5)
    parts = {"first": metrics[:size], "last": metrics[-size:]}
    keys = {**{kind: f"echo/groups/{kind}" for kind in LEDGER}, "solved_tokens": "echo/tokens/all_success"}
    return {
        name: {short: mean([line[key] for line in part]) for short, key in keys.items()} for name, part in parts.items()
    }


def alone(metrics: Metrics) -> dict[str, float]:
    """Steps without policy gradient (every group degenerate), of how many, and the largest gradient norm in them."""
    dead = [line for line in metrics if line["echo/frac_degenerate"] == 1.0]
    return {"steps": len(dead), "of": len(metrics), "norm": max((line["grad_norm"] for line in dead), default=0.0)}


def mean(values: Sequence[float]) -> float:
    """The mean; 0 for no value."""
    return sum(values) / len(values) if values else 0.0


def findings(summary: dict[str, Any]) -> list[str]:
    """What was measured, in sentences."""
    return [
        _gradient_finding(summary),
        _alone_finding(summary),
        *(_difference_finding(summary, split) for split in SPLITS),
    ]


def _gradient_finding(summary: dict[str, Any]) -> str:
    solved = summary["solved"]["start"]
    if not solved["groups"]:
        return f"Before training none of {solved['prompts']} groups was all-success: nothing to compare gradients on."
    text = (
        f"On the {solved['groups']} of {solved['prompts']} groups whose rollouts all succeed before training, GRPO's "
        f"gradient has norm {solved['policy']:.2g} and EchoRL's {solved['echo']:.2g}"
    )
    if solved["policy"] == 0 and solved["echo"] > 0:
        return f"{text}: the gradient comes back."
    return f"{text}."


def _alone_finding(summary: dict[str, Any]) -> str:
    parts = []
    for arm, dead in summary["alone"].items():
        norm = f" (largest gradient norm in them: {dead['norm']:.2g})" if dead["steps"] else ""
        parts.append(f"{dead['steps']} of {dead['of']} under {LABELS[arm]}{norm}")
    return f"Training steps without any policy gradient: {', '.join(parts)}."


def _difference_finding(summary: dict[str, Any], split: str) -> str:
    difference = Estimate(**summary["difference"][split])
    place = {"test": "on held-out prompts of the training distribution", "harder": "on harder prompts"}[split]
    size = f"{points(difference)} percentage points"
    if not difference.excludes_zero:
        return f"No difference in accuracy between the two was measurable {place}: EchoRL less GRPO is {size}."
    word = "more" if difference.value > 0 else "less"
    return (
        f"This run's GRPO + EchoRL policy is {word} accurate than its GRPO policy {place}: {size}. The interval leaves "
        "out the luck of training: one pair of runs doesn't tell which method is better (docs/quickstart.md has more)."
    )


def percent(estimate: Estimate) -> str:
    """Such as `43.2% [40.1, 46.3]`."""
    return f"{estimate.value:.1%} [{estimate.low * 100:.1f}, {estimate.high * 100:.1f}]"


def points(estimate: Estimate) -> str:
    """Such as `+1.2 [-0.3, +2.7]`, in percentage points."""
    return f"{estimate.value * 100:+.1f} [{estimate.low * 100:+.1f}, {estimate.high * 100:+.1f}]"


def accuracy_rows(summary: dict[str, Any]) -> list[list[str]]:
    """Split, before, GRPO, GRPO + EchoRL, and the paired difference of the two."""
    rows = []
    for split, name in SPLITS.items():
        cells = [percent(Estimate(**summary["accuracy"][split][arm])) for arm in LABELS]
        rows.append([f"pass@1, {name}", *cells, points(Estimate(**summary["difference"][split]))])
    for split, name in SPLITS.items():
        cells = [f"{summary['pass_at_k'][split][arm]:.1%}" for arm in LABELS]
        rows.append([f"pass@{summary['k']}, {name}", *cells, ""])
    return rows


def behaviour_rows(summary: dict[str, Any]) -> list[list[str]]:
    """Response length, blank share and entropy on the in-distribution prompts."""
    formats = {
        "length": ("response length, tokens", "{:.1f}"),
        "blank_share": ("blank tokens", "{:.1%}"),
        "entropy": ("token entropy, nats", "{:.3f}"),
    }
    return [
        [name, *(form.format(summary["behaviour"][arm][key]) for arm in LABELS)]
        for key, (name, form) in formats.items()
    ]


def training_rows(summary: dict[str, Any]) -> list[list[str]]:
    """Groups by kind in the first and the last fifth, steps without policy gradient, a gradient norm; of both arms."""
    rows = []
    for kind, name in (
        ("all_success", "all-success groups"),
        ("mixed", "mixed groups"),
        ("all_fail", "all-fail groups"),
    ):
        rows.append([f"{name}, first → last fifth", *(_first_to_last(summary["ledger"][arm], kind) for arm in ARMS)])
    name = "tokens spent on all-success groups"
    rows.append([name, *(_first_to_last(summary["ledger"][arm], "solved_tokens") for arm in ARMS)])
    counts = [f"{summary['alone'][arm]['steps']} of {summary['alone'][arm]['of']}" for arm in ARMS]
    rows.append(["steps without policy gradient", *counts])
    solved = summary["solved"]["start"]
    rows.append(["gradient norm, all-success groups alone", f"{solved['policy']:.2g}", f"{solved['echo']:.2g}"])
    return rows


def _first_to_last(parts: dict[str, dict[str, float]], kind: str) -> str:
    return f"{parts['first'][kind]:.0%} → {parts['last'][kind]:.0%}"

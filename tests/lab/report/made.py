"""Folders as echorl's commands leave them, made up in a moment."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from tests.lab.report.test_gallery import clip, row

HOSTILE = '<script>alert(1)</script></script><!--<img src=x onerror="alert(2)">&amp;\u2028{{ 7*7 }}'
MIXED = ("mixed", "all_success", "all_fail")


def write_json(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value) + "\n", encoding="utf-8")


def metrics(num_steps: int, *, start: float = 0.5, echo: bool = True) -> list[dict[str, Any]]:
    """A line a step, as TRL's trainer and echorl's log them; evaluation after the last."""
    rows = []
    for step in range(1, num_steps + 1):
        shares = {"mixed": 0.5, "all_success": 0.5 * step / num_steps, "all_fail": 0.5 - 0.5 * step / num_steps}
        line = {"step": step, "reward": start + step / 100, "entropy": 0.1, "grad_norm": 0.3}
        line |= {"completions/mean_length": 20.0 + step, "echo/rollout_tokens": 100 * step, "echo/frac_degenerate": 0.5}
        line |= {f"echo/{name}/{kind}": share for kind, share in shares.items() for name in ("groups", "tokens")}
        if echo:
            line |= {"echo/nll": 0.1}
        rows.append(line)
    return [*rows, {"step": num_steps, "eval_reward": start}, {"step": num_steps, "train_runtime": 1.0}]


def make_run(folder: Path, *, seed: int = 0, coef: float = 0.001, num_steps: int = 6, **changes: Any) -> Path:
    """A run of `echorl train` without dumps."""
    folder.mkdir(parents=True, exist_ok=True)
    options = {"echo_coef": coef, "learning_rate": 1e-4, "output_dir": str(folder), "seed": seed, **changes}
    defaults = "".join(f"# {line}\n" for line in yaml.safe_dump({"beta": 0.0, "echo_scope": "verified"}).splitlines())
    text = f"# echorl 0.1.0\n{yaml.safe_dump(options)}\n# Every other option had its default:\n{defaults}"
    (folder / "config.yaml").write_text(text, encoding="utf-8")
    lines = metrics(num_steps, start=0.5 + seed / 10, echo=coef > 0)
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return folder


def group_rows(
    step: int, group: int, *, size: int = 4, prompt: str = "1+1=?\n", **changes: Any
) -> list[dict[str, Any]]:
    """A group of a dump; its kind goes round, and its second rollout has the clip unless all fail."""
    kind = MIXED[group % 3]
    made = []
    for number in range(size):
        success = kind == "all_success" or (kind == "mixed" and number < 2)
        make = clip if number == 1 and success else row
        made.append(make(step=step, group=group, kind=kind, success=success, prompt=prompt, **changes))
    return made


def dump(folder: Path, rows: list[dict[str, Any]], name: str = "step-000001-process-0.parquet") -> Path:
    """A dump of a run, in its `rollouts`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    (folder / "rollouts").mkdir(parents=True, exist_ok=True)
    path = folder / "rollouts" / name
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def hostile_rows(group: int = 0) -> list[dict[str, Any]]:
    """A group whose texts are HTML."""
    return group_rows(
        0, group, prompt=HOSTILE, completion=HOSTILE, tokens=[HOSTILE], entropy=[0.7], step_ids=[0]
    )  # fmt: skip


def make_probe(folder: Path) -> Path:
    """An output folder of `echorl probe`, some of whose numbers could not be computed."""
    some, none = {"value": 0.06, "se": 0.02, "z": 3.0}, {"value": None, "se": None, "z": None}
    rule = {
        "rule": "echo", "label": "EchoClip, 1/L", "groups": "all_success", "acts_on": 0.4, "signal_share": some,
        "cosine": {"pass_at_1": {"value": -0.26, "se": 0.12, "z": -2.2}, "length": some, "entropy": none},
        "coef_at": {"0.01": 1e-3, "0.1": 0.01, "1": None}, "signal_per_noise": some, "saves": none,
    }  # fmt: skip
    result = {
        "echorl": "probe", "model": "quickstart", "settings": {},
        "sizes": {"prompts": 64, "samples": 8, "rollouts": 512, "prompts_per_batch": 32},
        "groups": {"all_success": 0.4, "mixed": 0.5, "all_fail": 0.1}, "pass_at_1": {"value": 0.63, "se": 0.03},
        "policy_gradient": {**rule, "label": "policy gradient", "acts_on": None}, "rules": [rule], "bound": 0.125,
        "verdict": ["The sample is too small: 400 prompts would settle it."],
    }  # fmt: skip
    write_json(folder / "probe.json", result)
    return folder


def make_analysis(folder: Path) -> Path:
    """An output folder of `echorl analyze deletion`; a bound and a value are missing, a name is hostile."""
    line = {"label": "high $entropy$ first", "x": [0, 0.5, 1.0], "y": [1.0, None, 0.2], "low": [0.9, None, None]}
    curve = {"title": HOSTILE, "x_label": "share removed", "y_label": "accuracy"}
    curve["lines"] = [{**line, "high": [1.0, None, 0.4]}, {**line, "label": "at random", "low": None, "high": None}]
    table = {"title": "Own rollouts", "head": ["removed", "high first"], "rows": [["0 %", HOSTILE]], "note": ""}
    made = {"echorl": "analyze deletion", "model": "quickstart", "settings": {}, "sizes": {"prompts_own": 14}}
    made |= {"tables": [table], "curves": [curve], "findings": ["Order matters."], "value": {}}
    write_json(folder / "deletion.json", made)
    return folder


def make_comparison(folder: Path, *, finished: bool = True) -> Path:
    """A study of two arms with two seeds at chosen rates, after a grid of one seed."""
    from echorl.lab.compare.plan import Comparison, Run
    from echorl.lab.compare.table import compare

    arms = {"grpo": {"echo_coef": 0.0}, "echorl": {"echo_coef": 0.001}}
    study = Comparison(recipe=("r",), arms=arms, rollout_tokens=1, output_dir=str(folder), seeds=(0, 1), samples=2)
    rates = {"grpo": 1e-4, "echorl": 1e-5}
    grid = [Run(arm, rate, 1000) for arm in arms for rate in (1e-4, 1e-5)]
    final = [Run(arm, rates[arm], seed) for arm in arms for seed in study.seeds]
    for each in [*grid, *final] if finished else grid:
        make_run(folder / each.name / "policy", seed=each.seed, coef=arms[each.arm]["echo_coef"])
        options = {**arms[each.arm], "learning_rate": each.rate, "seed": each.seed}
        value = {"updates": 6, "rollout_tokens": 600, "diverged": None}
        write_json(folder / each.name / "run.json", {"key": {"options": options}, "value": value})
        write_json(folder / each.name / "scores-validation.json", {"key": {}, "value": {"right": [1, 2], "samples": 2}})
    if finished:
        behaviour = {"length": 10.0, "entropy": 0.5, "blank_share": 0.1, "truncated": 0.0}
        scores = {run: {"right": [1 + (run.arm == "echorl"), run.seed], "samples": 2, **behaviour} for run in final}
        results = {run: {"training": {"updates": 6, "rollout_tokens": 600}, "test": scores[run]} for run in final}
        tests = compare(study, rates, results)
        record = {"learning_rates": rates, "validation": {run.name: 0.5 for run in grid}, "tests": tests}
        write_json(folder / "results.json", record)
    return folder


def make_evaluation(folder: Path) -> Path:
    """An output folder of `echorl eval`."""
    from echorl.lab.evaluate.summary import measure

    measures = {name: measure([1.0, 0.5, 0.0]) for name in ("avg@2", "pass@1", "pass@2", "maj@2")}
    row = {"items": 3, "samples": 2, "measures": measures, "mean_tokens": 12.0, "truncated": 0.0, "no_answer": 0.5}
    write_json(folder / "results.json", {"model": "m", "benchmarks": {"amc": row}, "averages": {}})
    return folder


def make_one_seed(folder: Path) -> Path:
    """A study of one seed as `echorl quickstart` leaves it: two trained arms, and the model before training."""
    from echorl.lab.compare.plan import Comparison, Run
    from echorl.lab.compare.table import compare

    arms = {"before-training": {"max_steps": 0}, "GRPO": {"echo_coef": 0.0}, "GRPO+EchoRL": {"echo_coef": 0.001}}
    references, tests = {"GRPO+EchoRL": "GRPO"}, ("test", "harder")
    notes = {"title": "Sums", "about": "A policy adds numbers.", "findings": ["The gradient comes back."]}
    study = Comparison(
        recipe=("r",), arms=arms, steps=6, output_dir=str(folder), seeds=(0,), samples=2, tests=tests, notes=notes,
        references=references,
    )  # fmt: skip
    behaviour = {"length": 20.0, "entropy": 0.1, "blank_share": 0.12, "truncated": 0.0}
    results = {}
    for arm, options in arms.items():
        run, trained = Run(arm, None, 0), study.is_trained(arm)
        if trained:
            make_run(folder / run.name / "policy", coef=options["echo_coef"])
        training = {"updates": 6 * trained, "rollout_tokens": 600 * trained, "diverged": None}
        training |= {"without_gradient": 2, "norm_without_gradient": options["echo_coef"]} if trained else {}
        write_json(folder / run.name / "run.json", {"key": {"options": {**options, "seed": 0}}, "value": training})
        scores = {"right": [1 + trained, 1, 0], "samples": 2, **behaviour}
        results[run] = {"training": training, **dict.fromkeys(tests, scores)}
    tables = compare(study, dict.fromkeys(arms), results)
    record = {"learning_rates": dict.fromkeys(arms), "validation": {}, "tests": tables, "seeds": [0], "notes": notes}
    write_json(folder / "results.json", record)
    return folder

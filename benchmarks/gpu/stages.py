"""The stages of `make gpu`, each a process of its own: python -m benchmarks.gpu.stages STAGE SETTINGS PARENT.

A stage writes each row to `gpu-STAGE.csv` as soon as it is measured, and measures no row that is there already.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
import yaml

from benchmarks.gpu import kernels
from benchmarks.gpu.carry import join_model
from benchmarks.results import ROOT, provenance, read_rows, write_rows
from benchmarks.sizes import CUDA_SIZES, REHEARSAL_SIZES
from echorl.support.errors import guard
from echorl.support.files import read_json, write_text

GPU_TESTS = ("tests/core", "tests/properties")
"""Folders with tests that are marked `gpu`; they import neither TRL nor what a machine with a GPU may lack."""
STUDY = ROOT / "recipes/cpu/smollm2/solved/study.yaml"
STORED = ROOT / "benchmarks/studies/solved.jsonl.gz"
SECONDS_TO_PACK = 30


@dataclass(frozen=True)
class Settings:
    """Settings of all stages.

    Attributes:
        output: the folder of the rows.
        model: the folder of the policy that the study begins from, which the study joins from its parts.
        until: the time (of `time.time`) at which the stage has to be over.
        parallel: runs of the study at a time.
        command: the command that the rows name.
    """

    output: Path
    model: Path
    until: float
    parallel: int
    rehearse: bool
    command: str

    @property
    def device(self) -> str:
        return "cpu" if self.rehearse else "cuda"

    def path(self, stage: str) -> Path:
        return self.output / f"gpu-{stage}.csv"

    def measured(self, stage: str) -> set[str]:
        """Return the names of a stage's rows."""
        return {row["name"] for row in read_rows(self.path(stage))}

    def add(self, stage: str, name: str, row: Mapping[str, object]) -> None:
        """Write one row more."""
        origin = provenance(self.device, "src", self.command)
        write_rows(self.path(stage), [*read_rows(self.path(stage)), {"name": name, **row, **origin}])


def run_tests(settings: Settings) -> None:
    """Run the tests that are marked `gpu`.

    Raises:
        SystemExit: a test failed; the row names it, and the next call runs the tests again.
    """
    report = settings.output / ".gpu-tests.xml"
    code = spawn("pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider", f"--junitxml={report}", *GPU_TESTS).wait()
    cases = list(ElementTree.parse(report).iter("testcase"))
    report.unlink()
    failed = [
        case.attrib["name"] for case in cases if case.find("failure") is not None or case.find("error") is not None
    ]
    skipped = sum(case.find("skipped") is not None for case in cases)
    row = {"passed": len(cases) - len(failed) - skipped, "skipped": skipped, "failed": " ".join(failed)}
    settings.path("tests").unlink(missing_ok=True)
    settings.add("tests", "failed" if failed else "gpu", row)
    if code:
        raise SystemExit(f"pytest ended with exit code {code}; failed: {' '.join(failed) or 'no test'}")


def run_kernels(settings: Settings) -> None:
    """Measure mining and log-probs with entropy against the copy bandwidth."""
    for name, row in kernels.measure(settings.device, settings.rehearse, settings.measured("kernels")):
        settings.add("kernels", name, row)


def run_step(settings: Settings) -> None:
    """Measure step time and memory with EchoRL on and off; without TRL in a loop of the core's functions.

    A call measures one size more, so that the study has time, too.

    Raises:
        SystemExit: at the end, with the errors of the sizes that failed.
    """
    try:
        from benchmarks.step_overhead import Place, measure
    except ImportError as error:
        print(f"TRL cannot be imported ({error}): the step is measured in a loop of the core's functions.")
        place = None
    else:
        place = Place(settings.device, "none")
    sizes = REHEARSAL_SIZES if settings.rehearse else CUDA_SIZES
    pairs, failed = 1 if settings.rehearse else 3, []
    for name in [name for name in sizes if name not in settings.measured("step")]:
        try:
            row = (
                measure(name, sizes[name], pairs, place) if place else kernels.loop(sizes[name], pairs, settings.device)
            )
            settings.add("step", name, row)
            break
        except (subprocess.CalledProcessError, torch.OutOfMemoryError) as error:
            failed.append(f"{name}: {error}")
    raise SystemExit("\n".join(failed) or 0)


def run_study(settings: Settings) -> None:
    """Run seeds of the study by `echorl compare`, and add the row of each run as soon as it is scored.

    Raises:
        UserError: the model's parts are incomplete.
        SystemExit: with the exit code of `echorl compare`, 0 if it was ended for want of time.
    """
    if not settings.model.exists():
        join_model(settings.model.with_name("model"), settings.model)
    path = settings.output / "gpu-study"
    compare = "echorl", "compare", str(write_study(settings, path))
    process = spawn(*compare)
    while process.poll() is None and time.time() < settings.until - SECONDS_TO_PACK:
        time.sleep(0.5)
        add_runs(settings, path)
    code = process.poll()
    if code is None:
        process.terminate()  # its workers end with it; what they have finished is kept
        process.wait()
    add_runs(settings, path)
    if settings.measured("study"):
        code = spawn(*compare, "--pack").wait() or code
    raise SystemExit(code or 0)


def spawn(*words: str) -> Any:
    """Start `python -m WORDS`."""
    return subprocess.Popen([sys.executable, "-m", *words], cwd=ROOT, stdin=subprocess.DEVNULL)


def write_study(settings: Settings, output: Path) -> Path:
    """Write the study for this machine, and return its path: the stored study at one rate, from the carried policy."""
    study = yaml.safe_load(STUDY.read_text())
    model = os.path.relpath(settings.model, ROOT)  # a part of the runs' keys: alike on every machine
    recipe = {"model_name_or_path": model, "use_cpu": settings.rehearse, "save_steps": 50}
    changes = {"output_dir": str(output), "parallel": settings.parallel, "learning_rates": [chosen_rate()]}
    changes |= {"batch_size": 2304, "recipe": [str(STUDY.with_name("grpo.yaml")), "gpu-recipe.yaml"]}
    if settings.rehearse:
        recipe |= {"max_completion_length": 8, "train_size": 32, "bf16": False}
        changes |= {"rollout_tokens": 300, "seeds": [0], "prompts": 4, "samples": 8, "bf16": False}
    del study["grid_arm"]
    write_text(output.with_name("gpu-recipe.yaml"), yaml.safe_dump(recipe))
    write_text(output.with_name("gpu-study.yaml"), yaml.safe_dump({**study, **changes}, sort_keys=False))
    return output.with_name("gpu-study.yaml")


def chosen_rate() -> float:
    """Return the rate that the stored study's grid chose; before its grid is finished the recipe's."""
    from echorl.lab.compare.packed import open_pack

    study = open_pack(STORED)
    validation = study.validation()
    rate = study.comparison.chosen(validation)["grpo"] if validation else None
    return rate or yaml.safe_load(STUDY.with_name("grpo.yaml").read_text())["learning_rate"]


def add_runs(settings: Settings, folder: Path) -> None:
    """Add the rows of the runs that are trained and scored."""
    measured = settings.measured("study")
    for mark in sorted(folder.glob("*/rate-*/seed-*/run.json")):
        arm, rate, seed = mark.parent.relative_to(folder).parts
        cost = (read_json(mark) or {}).get("value")
        tests = {test: read_json(mark.with_name(f"scores-{test}.json")) or {} for test in ("test", "harder")}
        if (name := f"{arm}/{seed}") not in measured and cost and (all(tests.values()) or cost["diverged"]):
            row: dict[str, object] = {
                "arm": arm,
                "rate": rate.removeprefix("rate-"),
                "seed": seed.removeprefix("seed-"),
            }
            row |= {key: cost.get(key) for key in ("updates", "rollout_tokens", "minutes", "degenerate", "diverged")}
            for test, scores in tests.items():
                row |= {f"{test}_{key}": value for key, value in summary(scores.get("value")).items()}
            settings.add("study", name, row)


def summary(scores: Mapping[str, Any] | None) -> dict[str, object]:
    """Return the numbers of a test, all "" for a run that diverged; tests have 8 samples."""
    if scores is None:
        return dict.fromkeys(("pass_at_1", "pass_at_8", "greedy", "length", "entropy"), "")
    shares = [count / scores["samples"] for count in scores["right"]]
    means = {"pass_at_1": fmean(shares), "pass_at_8": fmean(share > 0 for share in shares)}
    return {**means, "greedy": fmean(scores["greedy"]), "length": scores["length"], "entropy": scores["entropy"]}


STAGES: dict[str, Callable[[Settings], None]] = {
    "tests": run_tests, "kernels": run_kernels, "step": run_step, "study": run_study,
}  # fmt: skip


def rows_of(stage: str, rehearse: bool) -> set[str]:
    """Return the names of the rows that a finished stage has."""
    study = yaml.safe_load(STUDY.read_text())
    seeds = [0] if rehearse else study["seeds"]
    return {
        "tests": {"gpu"},
        "kernels": set(kernels.NAMES),
        "step": set(REHEARSAL_SIZES if rehearse else CUDA_SIZES),
        "study": {f"{arm}/seed-{seed}" for arm in study["arms"] for seed in seeds},
    }[stage]


def main() -> None:
    """Run a stage, which ends with its parent."""
    stage, text, parent = sys.argv[1:]
    threading.Thread(target=end_group_with, args=(int(parent),), daemon=True).start()
    values = json.loads(text)
    settings = Settings(**{**values, "output": Path(values["output"]), "model": Path(values["model"])})
    os.environ["HF_HUB_OFFLINE"] = "1"
    raise SystemExit(guard(lambda: STAGES[stage](settings)))


def end_group_with(parent: int) -> None:
    """End this process and its children soon after `parent` was killed; they are a process group."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main()

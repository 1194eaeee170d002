"""The quickstart: GRPO and GRPO + EchoRL on a small policy, on a CPU, and a page that compares them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from echorl.lab.compare.conduct import claim_missing, run_study, write_results
from echorl.lab.compare.plan_checks import RESULTS
from echorl.lab.compare.read import read_comparison
from echorl.lab.compare.run import check_study
from echorl.lab.compare.study import Study
from echorl.lab.jobs import View
from echorl.lab.quickstart.solved import solved_finding
from echorl.support.files import read_json
from echorl.train.recipe import read_recipe, read_recipes

STUDY = Path(__file__).with_name("study.yaml")
PAGE, PICTURE = "index.html", "quickstart.png"
PANEL_SIZE = (3.9, 3.1)
"""Width and height of a panel of the picture, in inches."""
TINY: dict[str, Any] = {"steps": 4, "prompts": 16, "samples": 2}
TINY_RECIPE: dict[str, Any] = {
    "num_generations": 4, "per_device_train_batch_size": 16, "train_size": 16, "save_steps": 1,
}  # fmt: skip
"""Changes that make a run of seconds, too small to show a difference."""


def make_study(output: Path, *, seed: int = 0, tiny: bool = False) -> Study:
    """Return the shipped study with one seed."""
    # The study has no grid, but none of its seeds can be one of the grid's.
    changes = {"output_dir": str(output), "seeds": [seed], "grid_seeds": [seed + 1], **(TINY if tiny else {})}
    comparison = read_comparison(STUDY, read_recipe(STUDY, ""), changes)
    return Study(comparison, {**read_recipes(comparison.recipe).options, **(TINY_RECIPE if tiny else {})})


def quickstart(output: Path, *, seed: int = 0, tiny: bool = False, view: View | None = None) -> None:
    """Make the missing runs, and results, page and picture in `output`.

    Raises:
        ValueError: `output` holds something else, or a run failed.
    """
    check_study(output, (*RESULTS, PAGE, PICTURE))
    study = make_study(output, seed=seed, tiny=tiny)
    comparison, samples = study.comparison, study.recipe["num_generations"]
    claim_missing(study, comparison.final(comparison.chosen({})), list(comparison.tests))  # before anything is written
    finding = solved_finding(output, prompts=comparison.prompts // 4, samples=samples, view=view)
    if view:
        view.say(finding)  # a first result, long before the others
    study = replace(study, comparison=replace(comparison, notes={**comparison.notes, "findings": [finding]}))
    methods = {arm: {"echo_coef": options.get("echo_coef")} for arm, options in comparison.arms.items()}
    results = run_study(study, methods, view)
    if read_json(output / RESULTS[0]) != results or not all((output / name).exists() for name in (PAGE, PICTURE)):
        (output / PAGE).unlink(missing_ok=True)  # so that a kill leaves no page of other results
        write_results(study.comparison, results, output)
        _draw(output)


def _draw(output: Path) -> None:
    from echorl.lab.report.assemble import make_report
    from echorl.lab.report.charts import write_png
    from echorl.lab.report.page import write
    from echorl.lab.report.panels import Accuracies, GroupAreas

    report = make_report([output])
    write(report.page, output / PAGE)
    panels = [chart for kind in (GroupAreas, Accuracies) for chart in report.charts if isinstance(chart, kind)]
    write_png(panels, output / PICTURE, PANEL_SIZE)

"""The numbers and figures of docs/studies/rivals.md, made from the packed runs alone by `make rivals`."""

from __future__ import annotations

import dataclasses
import itertools
import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from benchmarks.predicted import make_sections, read_points, spearman
from echorl.lab.compare.packed import PackedStudy, open_pack
from echorl.lab.compare.results import make_results, results_markdown
from echorl.lab.compare.table import markdown_rows, number
from echorl.lab.report.assemble import Report, assemble
from echorl.lab.report.compared import of_results
from echorl.lab.report.page import Table, write
from echorl.lab.report.verdicts import PASS, parts_of, verdict_table
from echorl.methods import METHODS

MAIN = ("chain_sum", "products")
SECOND = ("chain_sum-second", "products-second")
"""The second family: other arms of the same tasks."""
PRETRAINED = ("solved",)
"""A study of SmolLM2 (docs/studies/solved.md). Its runs go on, so it is read on the first seeds that all arms have."""
PLACES = {"in-distribution": "in distribution", "out-of-distribution": "out of it", "test": "as trained"}
TASKS = {"chain_sum": "sums", "products": "products", "solved": "word problems"}
OTHERS = (
    "chain_sum-start",
    "products-start",
    "chain_sum-sft-grpo",
    "products-sft-grpo",
    *(f"chain_sum-{arm}-{rate}e-4" for arm in ("uft", "luffy") for rate in (1, 2)),
)
STORED = Path("benchmarks/studies")
NOTES = Path("recipes/cpu/rivals/notes.yaml")
FORMER = STORED / "former-notes.yaml"
"""The notes of arms that are stored, and that no study can run again since their methods have left echorl."""
ADVICE = STORED / "advice.yaml"
"""Further notes of the two main studies, which a study of the same arms on other prompts does not have."""
OUTPUT = Path("runs/rivals")
TABLES = OUTPUT / "tables.md"
MEASURED = Path("src/echorl/lab/audit/measured.json")
"""The methods and their measured gains, for `echorl audit`, which imports no torch and reads no study."""
FORMS = {
    "failure_prefix": "failure_prefix (GRPO's loss)",
    "failure_prefix-target": "failure_prefix (target: 0.5)",
    "spo": "spo (prior: 0)",
    "uft": "uft (use_bias_correction_kl)",
}
"""Arms whose options are not their method's present defaults -> what `audit` calls them."""
DEGENERATE = "degenerate groups, %"
FIGURES = {
    "rivals-in": "pass-1-in-distribution",
    "rivals-out": "pass-1-out-of-distribution",
    "rivals-products-in": "pass-1-in-distribution-2",
    "rivals-probe": "gain-against-the-probe-cosine-with-pass-1",
}
"""Picture in docs/images -> chart of the report."""
LEAD = """# The rivals' study: all numbers

Written by `make rivals` from `benchmarks/studies`; docs/studies/rivals.md reads them. The first row
of a table has means, the others paired differences (the reference stands behind the arm) with
Student's 95 % intervals over the seeds; a star: p < 0.05 after Holm's correction over the column.
Only pass@1 was named as primary beforehand. Intervals by bootstrap over seeds and prompts, single
levels, and p-values: `*/results.md` beside this file.
"""


def main() -> None:
    """Write the tables, the report, the figures and what `echorl audit` says of the methods."""
    studies = {name: open_study(name) for name in (*MAIN, *SECOND, *PRETRAINED, *OTHERS)}
    results = {name: keep(name, study) for name, study in studies.items()}
    TABLES.write_text(document(results), encoding="utf-8")
    MEASURED.write_text(json.dumps(measured(results), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    report = make_report(results)
    write(report.page, OUTPUT / "index.html")
    report.write_pngs(OUTPUT / "index")
    for name, chart in FIGURES.items():
        shutil.copy(OUTPUT / f"index-{chart}.png", f"docs/images/{name}.png")
    print(TABLES, MEASURED, OUTPUT / "index.html", sep="\n")


def keep(name: str, study: PackedStudy) -> dict[str, Any]:
    """Results of a packed study, which are also written to `OUTPUT`."""
    results = make_results(study, study.methods)
    (OUTPUT / name).mkdir(parents=True, exist_ok=True)
    (OUTPUT / name / "results.json").write_text(json.dumps(results) + "\n", encoding="utf-8")
    (OUTPUT / name / "results.md").write_text(results_markdown(study.comparison, results), encoding="utf-8")
    return results


def open_study(name: str) -> PackedStudy:
    """A packed study; a main study is packed again if its notes have changed, an unfinished one has fewer seeds."""
    study = open_pack(STORED / f"{name}.jsonl.gz")
    if name in PRETRAINED:
        seeds = study.finished_seeds(study.comparison.chosen(study.finished_grid()))
        return dataclasses.replace(study, comparison=dataclasses.replace(study.comparison, seeds=seeds))
    notes = read_notes() if name in MAIN else {}
    if notes == study.comparison.notes:
        return study
    pack = dataclasses.replace(study.pack, plan={**study.pack.plan, "notes": notes})
    pack.write()
    return open_pack(pack.path)


def read_notes() -> dict[str, Any]:
    """The notes of the main studies, with those of all stored arms and our advice."""
    notes, former, advice = (yaml.safe_load(path.read_text(encoding="utf-8")) for path in (NOTES, FORMER, ADVICE))
    return {**notes, "arms": {**notes["arms"], **former}, **advice}


def measured(results: Mapping[str, Any]) -> dict[str, Any]:
    """The methods, the kinds of groups that each addresses, and its arms' gains over plain GRPO."""
    gains = []
    for name in (*MAIN, *SECOND):
        tests, summary = results[name]["tests"], _summary(results[name])
        for part in results[name]["averages"]:
            texts = {row[0]: row[summary.head.index(part)] for row in summary.rows}
            for arm, row in tests[part][PASS].items():
                if row["reference"] == "grpo" and (treatment := _treatment(arm, results[name]["methods"][arm])):
                    gain = {"value": round(row["difference"]["value"], 3), "text": texts[arm]}
                    gains.append({"treatment": treatment, "study": _without_family(name), "part": part, **gain})
    degenerate = {name: round(results[name]["tests"]["training"][DEGENERATE]["grpo"]["mean"] / 100, 3) for name in MAIN}
    addresses = {name: dict(method.addresses) for name, method in METHODS.items() if method.addresses}
    return {"addresses": addresses, "degenerate": degenerate, "gains": gains}


def _treatment(arm: str, options: Mapping[str, Any]) -> str | None:
    """A method's name, or EchoRL's coefficient on GRPO; None for controls and for methods that echorl no longer has."""
    if arm in FORMS or arm in METHODS:
        return FORMS.get(arm, arm)
    is_echo = options["method"] == "grpo" and options["echo_coef"] and options["echo_select"] == "max_entropy"
    return f"EchoRL {options['echo_coef']:g}" if is_echo else None


def document(results: Mapping[str, Any]) -> str:
    """The text of `TABLES`."""
    main, second, pretrained = ({name: results[name] for name in names} for names in (MAIN, SECOND, PRETRAINED))
    families = [joined(main), joined(second, "The second family"), joined(pretrained, "A pretrained model")]
    all_tables = (text for name in (*main, *second, *pretrained) for text in tables(name, results[name]))
    return "\n".join([LEAD, *families, predictors(main), *all_tables])


def make_report(results: Mapping[str, Any]) -> Report:
    """Both studies on a page, and what the probes foretold beside what the arms gained."""
    report = assemble([of_results(STORED / f"{name}.jsonl.gz", results[name]) for name in MAIN])
    points = [point for name in MAIN for point in read_points(STORED / "probes" / name, name, results[name])]
    _, sections = make_sections(points)
    page = dataclasses.replace(report.page, sections=[*report.page.sections, *sections])
    return dataclasses.replace(report, page=page)


def joined(results: Mapping[str, Any], title: str = "pass@1 on both tasks") -> str:
    """Table of all arms, with the tasks side by side."""
    sides = {name: _summary(each) for name, each in results.items()}
    first = next(iter(sides.values()))
    notes = slice(2, first.head.index("updates"))
    parts = {name: parts_of(each) for name, each in results.items()}
    columns = [f"{_task(name)}, {PLACES.get(part, part)}" for name in sides for part in parts[name]]
    rows = [["arm", *columns, *first.head[notes]]]
    for row in first.rows:
        gains = [_cells(side, row[0], parts[name]) for name, side in sides.items()]
        rows.append([_arm(row[0], row[1]), *itertools.chain(*gains), *row[notes]])
    return f"## {title}\n\n{markdown_rows(rows)}\n"


def _summary(results: Mapping[str, Any]) -> Table:
    summary = verdict_table(results)
    assert summary is not None  # a study of rivals has seeds and pass@1
    return summary


def _task(study: str) -> str:
    return TASKS[_without_family(study)]


def _without_family(study: str) -> str:
    return study.removesuffix("-second")


def _cells(table: Table, arm: str, columns: Iterable[str]) -> list[str]:
    row = next(row for row in table.rows if row[0] == arm)
    return [row[table.head.index(column)] for column in columns]


def _arm(name: str, reference: str) -> str:
    return f"`{name}`" + (f" − {reference}" if reference else "")


def tables(name: str, results: Mapping[str, Any]) -> Iterator[str]:
    """Tables of each average, of the training, and of the grid of rates."""
    for part in parts_of(results):
        yield f"## {name}, {part}\n\n{markdown_rows(_table(results['tests'][part], _cell))}\n"
    training = _table(results["tests"]["training"], lambda row: number(row["mean"], ".3g"))
    title = f"{name}, training (means; `hold_step`'s updates count those that it held)"
    yield f"## {title}\n\n{markdown_rows(training)}\n"
    rates = sorted({float(key.split("/rate-")[1].split("/")[0]) for key in results["validation"]})
    rows = [["arm", *(f"{rate:g}" for rate in rates)]]
    with_grid = {run.split("/")[0] for run in results["validation"]}
    for arm, chosen in results["learning_rates"].items():
        if arm not in with_grid:
            continue
        cells = [_grid_mean(results["validation"], arm, rate) for rate in rates]
        rows.append([f"`{arm}`", *(f"**{x}**" if rate == chosen else x for rate, x in zip(rates, cells, strict=True))])
    title = f"{name}, grid: pass@1 in % on the validation split, mean over its seeds; bold: chosen"
    yield f"## {title}\n\n{markdown_rows(rows)}\n"


def _grid_mean(validation: Mapping[str, Any], arm: str, rate: float) -> str:
    values = [value for key, value in validation.items() if key.startswith(f"{arm}/rate-{rate:g}/")]
    return f"{100 * sum(values) / len(values):.1f}" if values and None not in values else "diverged"


def _table(measures: Mapping[str, Mapping[str, Any]], cell: Any) -> list[list[str]]:
    rows = [["arm", *measures]]
    for arm, first in next(iter(measures.values())).items():
        rows.append([_arm(arm, first["reference"]), *(cell(measure[arm]) for measure in measures.values())])
    return rows


def _cell(row: Mapping[str, Any]) -> str:
    if row["difference"] is None:
        return number(row["mean"], ".3g")
    value, low, high = (number(row["difference"][name], "+.2g") for name in ("value", "low", "high"))
    return f"{value} [{low}, {high}]{'*' if row['holm'] is not None and row['holm'] < 0.05 else ''}"


def predictors(results: Mapping[str, Any]) -> str:
    """Rank correlations of the gains in distribution with possible predictors."""
    gains, rows = {}, [["the gain in distribution with", "arms", "Spearman"]]
    for study in MAIN:
        tests = results[study]["tests"]
        pass_at_1, training = tests["in-distribution"][PASS], tests["training"]
        gains[study] = {arm: row["difference"]["value"] for arm, row in pass_at_1.items() if row["difference"]}
        arms = [arm for arm in gains[study] if pass_at_1[arm]["reference"] == "grpo"]
        for measure in ("updates", "tokens outside mixed groups, %"):
            ranked = [arm for arm in arms if (measure, arm) != ("updates", "hold_step")]  # its updates count held ones
            ranks = spearman([training[measure][arm]["mean"] for arm in ranked], [gains[study][arm] for arm in ranked])
            rows.append([f"{measure.removesuffix(', %')}, {study}", str(len(ranked)), f"{ranks:+.2f}"])
    for text, ranked in (("that on the other task", list(gains[MAIN[0]])), ("that, arms beside grpo alone", arms)):
        ranks = spearman(*([gains[study][arm] for arm in ranked] for study in MAIN))
        rows.append([text, str(len(ranked)), f"{ranks:+.2f}"])
    return f"## What goes with the gains\n\n{markdown_rows(rows)}\n"


if __name__ == "__main__":
    main()

"""docs/rivals-study.md's numbers and figures again, from the stored runs; runs what is missing.

make rivals
"""

from __future__ import annotations

import contextlib
import io
import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from echorl.cli import main as echorl
from echorl.compare.table import markdown_rows, number
from echorl.report.predicted import spearman
from echorl.report.verdicts import PASS, verdict_table

RECIPES = Path("recipes/cpu/rivals")
MAIN = ("chain_sum/study", "products/study")
OTHERS = (
    "chain_sum/start",
    "products/start",
    *(f"chain_sum/{arm}-{rate}e-4" for arm in ("uft", "luffy") for rate in (1, 2)),
)
STORED = Path("benchmarks/studies")
OUTPUT = Path("runs/rivals")
TABLES = Path("docs/rivals-study-tables.md")
FIGURES = {
    "rivals-in": "pass-1-in-distribution",
    "rivals-out": "pass-1-out-of-distribution",
    "rivals-products-in": "pass-1-in-distribution-2",
    "rivals-probe": "gain-against-the-probe-cosine-with-pass-1",
}
"""Picture in docs/images -> chart of the report."""
LEAD = """# The rivals' study: all numbers

Written by `make rivals` from `benchmarks/studies`; read in [rivals-study.md](rivals-study.md). The first row
of a table has means, the others paired differences (the reference stands behind the arm) with Student's 95 % intervals
over the seeds; a star: p < 0.05 after Holm's correction over the column. Only pass@1 was named as primary beforehand.
Intervals by bootstrap over seeds and prompts, single levels, and p-values: `results.md` beside the runs.
"""


def main() -> None:
    results = {}
    for study in (*MAIN, *OTHERS):
        with contextlib.redirect_stdout(io.StringIO()):
            _call("compare", str(RECIPES / f"{study}.yaml"))
    for study in MAIN:
        results[study] = json.loads((STORED / study.split("/")[0] / "results.json").read_text(encoding="utf-8"))
    parts = [LEAD, joined(results), *(text for study in MAIN for text in tables(study.split("/")[0], results[study]))]
    TABLES.write_text("\n".join([*parts, predictors(results)]), encoding="utf-8")
    folders = [str(STORED / study.split("/")[0]) for study in MAIN]
    _call("report", *folders, "--output", str(OUTPUT / "index.html"), "--png")
    for name, chart in FIGURES.items():
        shutil.copy(OUTPUT / f"index-{chart}.png", f"docs/images/{name}.png")
    print(TABLES)


def _call(*words: str) -> None:
    if code := echorl(list(words)):
        raise SystemExit(code)


def joined(results: Mapping[str, Any]) -> str:
    """The README's table: both tasks side by side."""
    sums, products = (verdict_table(results[study]) for study in MAIN)
    gains = [sums.head.index(part) for part in results[MAIN[0]]["averages"]]
    other = {row[0]: row for row in products.rows}
    places = ("sums, in distribution", "sums, out of it", "products, in distribution", "products, out of it")
    rows = [["arm", *sums.head[2:4], *places, "claimed by its source"]]
    for row in sums.rows:
        name = f"`{row[0]}`" + (f" − {row[1]}" if row[1] else "")
        rows.append([name, *row[2:4], *(side[i] for side in (row, other[row[0]]) for i in gains), row[-1]])
    return f"## pass@1 on both tasks\n\n{markdown_rows(rows)}\n"


def tables(name: str, found: Mapping[str, Any]) -> Iterator[str]:
    """A table for each average, one of the training, one of the grid of rates."""
    for part in found["averages"]:
        yield f"## {name}, {part}\n\n{markdown_rows(_table(found['tests'][part], _cell))}\n"
    training = _table(found["tests"]["training"], lambda row: number(row["mean"], ".3g"))
    title = f"{name}, training (means; `hold_step`'s updates count those that it held)"
    yield f"## {title}\n\n{markdown_rows(training)}\n"
    rates = sorted({float(key.split("/rate-")[1].split("/")[0]) for key in found["validation"]})
    rows = [["arm", *(f"{rate:g}" for rate in rates)]]
    for arm, chosen in found["learning_rates"].items():
        cells = [_grid_mean(found["validation"], arm, rate) for rate in rates]
        rows.append([f"`{arm}`", *(f"**{x}**" if rate == chosen else x for rate, x in zip(rates, cells, strict=True))])
    yield f"## {name}, grid: pass@1 in % on the validation split, one seed; bold: chosen\n\n{markdown_rows(rows)}\n"


def _grid_mean(validation: Mapping[str, Any], arm: str, rate: float) -> str:
    values = [value for key, value in validation.items() if key.startswith(f"{arm}/rate-{rate:g}/")]
    return f"{100 * sum(values) / len(values):.1f}" if values and None not in values else "diverged"


def _table(measures: Mapping[str, Mapping[str, Any]], cell: Any) -> list[list[str]]:
    rows = [["arm", *measures]]
    for arm, first in next(iter(measures.values())).items():
        name = f"`{arm}`" + (f" − {first['reference']}" if first["reference"] else "")
        rows.append([name, *(cell(measure[arm]) for measure in measures.values())])
    return rows


def _cell(row: Mapping[str, Any]) -> str:
    if row["difference"] is None:
        return number(row["mean"], ".3g")
    value, low, high = (number(row["difference"][name], "+.2g") for name in ("value", "low", "high"))
    return f"{value} [{low}, {high}]{'*' if row['holm'] is not None and row['holm'] < 0.05 else ''}"


def predictors(results: Mapping[str, Any]) -> str:
    """Rank correlations of the gains in distribution with what might have foretold them."""
    gains, rows = {}, [["the gain in distribution with", "arms", "Spearman"]]
    for study in MAIN:
        tests = results[study]["tests"]
        pass_at_1, training = tests["in-distribution"][PASS], tests["training"]
        gains[study] = {arm: row["difference"]["value"] for arm, row in pass_at_1.items() if row["difference"]}
        arms = [arm for arm in gains[study] if pass_at_1[arm]["reference"] == "grpo"]
        for measure in ("updates", "tokens outside mixed groups, %"):
            kept = [arm for arm in arms if (measure, arm) != ("updates", "hold_step")]  # whose updates count held ones
            ranks = spearman([training[measure][arm]["mean"] for arm in kept], [gains[study][arm] for arm in kept])
            rows.append([f"{measure.removesuffix(', %')}, {study.split('/')[0]}", str(len(kept)), f"{ranks:+.2f}"])
    for text, kept in (("that on the other task", list(gains[MAIN[0]])), ("that, arms beside grpo alone", arms)):
        ranks = spearman(*([gains[study][arm] for arm in kept] for study in MAIN))
        rows.append([text, str(len(kept)), f"{ranks:+.2f}"])
    return f"## What goes with the gains\n\n{markdown_rows(rows)}\n"


if __name__ == "__main__":
    main()

"""The page of an audit: the first sentences, curves, tables, suspects, and what was measured of the methods."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import echorl
from echorl.lab.audit.advice import PLACES, source, treatments
from echorl.lab.audit.summary import LOST, Results, percent, share_rows
from echorl.lab.report.charts import Chart, Drawn, Line
from echorl.lab.report.page import Page, Section, Table
from echorl.lab.report.panels import Bars
from echorl.support.visible import visible

SHOWN = 25
"""Suspects of a kind that the page lists; the file has more."""
PROMPT = 160
"""Characters of a prompt that the page shows."""
CURVES = {"no_gradient": "no gradient", "all_success": "all right", "all_fail": "all wrong"}
EXTRAPOLATED = 21
"""The look of a line in the first colour, dashed."""


def make_page(results: Results) -> Page:
    """Return the page of an audit; every text of the log is made visible, and the template escapes it."""
    names = [Path(place).name for place in results["log"]["places"]]
    log = results["log"]
    counts = f"{log['groups']:,} groups, {log['rollouts']:,} rollouts of {log['prompts']:,} prompts"
    return Page(
        title=visible(f"Audit: {', '.join(names[:3])}{' …' if len(names) > 3 else ''}"),
        lead=[f"{counts}, from {len(log['files']):,} file{'s' if len(log['files']) > 1 else ''}."],
        sections=[*sections(results)],
        foot=[f"echorl {echorl.__version__}: echorl audit {visible(' '.join(results['log']['places']))}"],
    )


def sections(results: Results) -> Iterator[Section]:
    """Yield the parts of the page."""
    yield Section(findings=[visible(text) for text in results["summary"]], charts=[*charts(results)])
    yield Section(title="Shares of the log", lead=[SHARES], tables=[*share_tables(results)])
    if results["suspects"]["listed"]:
        yield Section(title="What looks wrong", lead=[SUSPICIOUS], tables=[*suspect_tables(results)])
    if results["advice"]:
        yield Section(title="What is known about methods", lead=[source()], tables=[*advice_tables(results)])
    yield Section(
        title="How the log was read",
        findings=[visible(text) for text in results["log"]["notes"]],
        tables=[Table("", ["read as", "column"], [[a, visible(b)] for a, b in results["log"]["columns"].items()])],
    )


SHARES = (
    "In brackets: 95 % intervals, for other prompts and other rollouts of them. A group without gradient has equal "
    "rewards, so its advantages are 0."
)
SUSPICIOUS = (
    "A list to walk through, the most convincing first: each line says why a person should look, and at which rows of "
    "the log. None is proof."
)


def charts(results: Results) -> Iterator[Drawn]:
    """Yield the pictures: shares over the run, successes of a group, and the share at other group sizes."""
    if len(results["losses"]["curve"]) > 1:
        yield _curve(results, "groups", "Groups without gradient")
        if results["losses"]["whole"]["lengths"]:
            yield _curve(results, "lengths", f"{results['log']['unit'].capitalize()} without gradient")
    if any(results["successes"]["whole"]):
        yield _successes(results)
    if results["sizes"]:
        yield _sizes(results["sizes"])


def _curve(results: Results, weight: str, title: str) -> Chart:
    curve = results["losses"]["curve"]
    has_steps = curve[0]["first_step"] is not None
    ends = [(each["first_step"], each["last_step"]) if has_steps else (i, i) for i, each in enumerate(curve, 1)]
    lines = []
    for look, (part, name) in enumerate(CURVES.items()):
        points = [(sum(end) / 2, each[weight][part]) for end, each in zip(ends, curve, strict=True) if each[weight]]
        x, shares = [x for x, _ in points], [share for _, share in points]
        lines.append(Line(name, look, x, *([share[side] for share in shares] for side in ("value", "low", "high"))))
    of = {"groups": "groups", "rollouts": "rollouts", "lengths": f"all {results['log']['unit']}"}[weight]
    caption = (
        f"The higher the line 'no gradient', the larger the part of {of} that was sampled and taught nothing; bands are "
        "95 % intervals."
    )
    return Chart(
        title,
        "step" if has_steps else f"stretch of the log, of {len(curve)}",
        lines,
        percent=True,
        named=True,
        caption=caption,
    )


def _successes(results: Results) -> Bars:
    counts = results["successes"]
    size = len(counts["whole"]) - 1
    stretches = {"whole": "whole log", "recent": "last fifth"}
    if counts["whole"] == counts["recent"]:
        del stretches["recent"]
    series = {name: [n / max(1, sum(counts[part])) for n in counts[part]] for part, name in stretches.items()}
    caption = f"The outer bars, 0 and {size}, are the groups that the verifier makes no difference in; those next to them are about to join."
    return Bars(
        "Right rollouts in a group", f"right rollouts of {size}", [str(k) for k in range(size + 1)], series, caption
    )


def _sizes(sizes: Mapping[str, Any]) -> Chart:
    exact = [each for each in sizes["shares"] if not each["extrapolated"]]
    beyond = [*exact[-1:], *(each for each in sizes["shares"] if each["extrapolated"])]
    lines = [_size_line("from the log", 0, exact)]
    if len(beyond) > 1:
        lines.append(_size_line("extrapolated", EXTRAPOLATED, beyond))
    caption = (
        f"Up to {sizes['logged_size']} rollouts a group the share is an average over parts of the logged groups; beyond, "
        "a model of the prompts' success rates gives the line, and the band is the range that the log allows."
    )
    return Chart(
        "One verdict at other group sizes, last fifth", "rollouts a group", lines, percent=True, named=True,
        powers=True, caption=caption,
    )  # fmt: skip


def _size_line(name: str, look: int, shares: Sequence[Mapping[str, Any]]) -> Line:
    sides = ([each["same"][side] for each in shares] for side in ("value", "low", "high"))
    return Line(name, look, [each["size"] for each in shares], *sides)


def share_tables(results: Results) -> Iterator[Table]:
    """Yield the shares of the last fifth and of the whole log."""
    losses = results["losses"]
    if losses["recent"]["num_groups"] < losses["whole"]["num_groups"]:
        yield Table("Last fifth of the run", *share_rows(results, "recent"))
    yield Table("Whole log", *share_rows(results, "whole"))


def suspect_tables(results: Results) -> Iterator[Table]:
    """Yield a table of suspects a kind."""
    files, suspects = results["log"]["files"], results["suspects"]
    for kind, count in suspects["counts"].items():
        listed = [each for each in suspects["listed"] if each["kind"] == kind]
        rows = [[visible(each["why"]), _places(files, each["places"])] for each in listed[:SHOWN]]
        note = f"{len(rows)} of {count:,}; suspects.jsonl has {len(listed)}, with texts." if count > len(rows) else ""
        if rows:
            yield Table(f"{kind.replace('_', ' ').capitalize()}: {count:,}", ["why", "rows to look at"], rows, note)


def _places(files: Sequence[str], places: Sequence[Sequence[int]]) -> str:
    """Return places as text: `a.jsonl 3, 4; b.jsonl 17`."""
    lines: dict[int, list[str]] = {}
    for file, line in places:
        lines.setdefault(file, []).append(str(line))
    return "; ".join(f"{visible(Path(files[file]).name)} {', '.join(numbers)}" for file, numbers in lines.items())


def advice_tables(results: Results) -> Iterator[Table]:
    """Yield a table of methods for each kind of loss."""
    for advice in results["advice"]:
        rows = [each.cells for each in treatments(advice["kind"])]
        head = ["method", "on such a group", *PLACES.values()]
        title = f"{KIND_TITLES[advice['kind']]}: {percent(advice['share'])} of groups"
        yield Table(title, head, rows, advice["sentence"])


KIND_TITLES = {
    "all_success": "All right",
    "all_fail": "All wrong",
    "uniform_reward": LOST["uniform_reward"].capitalize(),
}

"""The page of an audit: the first sentences, curves, tables, suspects, and what was measured of the methods."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import echorl
from echorl.lab.audit.advice import PLACES, source, treatments
from echorl.lab.audit.summary import LOST, Results, batch_texts, interval, percent, share_rows
from echorl.lab.report.charts import Chart, Drawn, Line
from echorl.lab.report.page import Page, Section, Table
from echorl.lab.report.panels import Bars
from echorl.support.visible import visible

SHOWN = 25
"""Suspects of a kind that the page lists; the file has more."""
CURVES = {"no_gradient": "no gradient", "all_success": "all right", "all_fail": "all wrong"}
EXTRAPOLATED = 21
"""The look of a line in the first colour, dashed."""


def make_page(results: Results) -> Page:
    """Return the page of an audit; every text of the log is made visible, and the template escapes it."""
    names = ["/".join(Path(place).parts[-2:]) for place in results["log"]["places"]]
    log, whole = results["log"], results["losses"]["whole"]
    counts = f"{whole['num_groups']:,} groups, {whole['num_rollouts']:,} rollouts of {whole['num_prompts']:,} prompts"
    return Page(
        title=visible(f"Audit: {', '.join(names[:3])}{' …' if len(names) > 3 else ''}"),
        lead=[f"{counts}, from {len(log['files']):,} file{'s' if len(log['files']) > 1 else ''}."],
        sections=[*sections(results)],
        foot=[f"echorl {echorl.__version__}: echorl audit {visible(' '.join(results['log']['places']))}"],
    )


def sections(results: Results) -> Iterator[Section]:
    """Yield the parts of the page."""
    yield Section(findings=[visible(text) for text in results["summary"]], charts=[*charts(results)])
    yield Section(title="Shares of the log", lead=[SHARES, *batch_texts(results)], tables=[*share_tables(results)])
    if results["skipping"]["rules"]:
        yield Section(title="Skipping solved prompts", lead=[SKIPPING], tables=[skipping_table(results["skipping"])])
    if results["suspects"]["listed"]:
        yield Section(title="What looks wrong", lead=[SUSPICIOUS], tables=[*suspect_tables(results)])
    if results["advice"]:
        lead = [*(advice["sentence"] for advice in results["advice"]), source()]
        yield Section(title="What is known about methods", lead=lead, tables=[*advice_tables(results)])
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


SKIPPING = (
    "A replay on this log: a prompt is skipped for good once all its rollouts were right in so many visits in a row. "
    "'Saved' counts its later visits, 'had a gradient' those of them that taught something. A run that skips would "
    "have learned otherwise."
)


def skipping_table(skipping: Mapping[str, Any]) -> Table:
    """Return a row a rule."""
    rows = [
        [
            f"{rule['streak']} in a row",
            f"{rule['num_groups']:,}",
            *(interval(rule[name]) if rule[name] else "–" for name in ("groups", "length", "with_gradient")),
        ]
        for rule in skipping["rules"]
    ]
    return Table("", ["all right", "groups saved", "share of groups", "share of length", "had a gradient"], rows)


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
    curve, of = results["losses"]["curve"], results["log"]["unit"] if weight == "lengths" else weight
    has_steps = curve[0]["first_step"] is not None
    ends = [(each["first_step"], each["last_step"]) if has_steps else (i, i) for i, each in enumerate(curve, 1)]
    lines = []
    for look, (part, name) in enumerate(CURVES.items()):
        points = [(sum(end) / 2, each[weight][part]) for end, each in zip(ends, curve, strict=True) if each[weight]]
        x, shares = [x for x, _ in points], [share for _, share in points]
        lines.append(Line(name, look, x, *([share[side] for share in shares] for side in ("value", "low", "high"))))
    caption = (
        f"Where the line 'no gradient' is at 40 %, two fifths of the {of} were sampled and taught nothing; bands are "
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
    caption = f"The verifier says the same of all rollouts at 0 and at {size}; groups next to these may join them soon."
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
        f"Up to {sizes['logged_size']} rollouts a group the share is read from parts of the logged groups; beyond, the "
        "dashed line is a model's, and the band is the range that the log allows."
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
        yield _share_table("Last fifth of the run", *share_rows(results, "recent"))
    yield _share_table("Whole log", *share_rows(results, "whole"))


def _share_table(title: str, head: list[str], rows: list[list[str]]) -> Table:
    """Return a table whose indented rows stay indented on the page, which drops spaces at the beginning of a text."""
    return Table(title, head, [[row[0].replace("  ", "\u2003"), *map(unbroken, row[1:])] for row in rows])


def suspect_tables(results: Results) -> Iterator[Table]:
    """Yield a table of suspects a kind."""
    files, suspects = results["log"]["files"], results["suspects"]
    for kind, count in suspects["counts"].items():
        listed = [each for each in suspects["listed"] if each["kind"] == kind]
        rows = [
            [visible(each["text"] or "–"), visible(each["why"]), _places(files, each["places"])]
            for each in listed[:SHOWN]
        ]
        note = f"{len(rows)} of {count:,}; suspects.jsonl has {len(listed)}, with texts." if count > len(rows) else ""
        if rows:
            yield Table(
                f"{kind.replace('_', ' ').capitalize()}: {count:,}", ["prompt", "why", "rows to look at"], rows, note
            )


def _places(files: Sequence[str], places: Sequence[Sequence[int]]) -> str:
    """Return places as text: `a.jsonl 3, 4; b.jsonl 17`."""
    lines: dict[int, list[str]] = {}
    for file, line in places:
        lines.setdefault(file, []).append(str(line))
    return "; ".join(f"{visible(Path(files[file]).name)} {', '.join(numbers)}" for file, numbers in lines.items())


def advice_tables(results: Results) -> Iterator[Table]:
    """Yield a table of the measured methods for each kind of loss; a note names the others."""
    for advice in results["advice"]:
        methods = treatments(advice["kind"])
        rows = [[*each.cells[:2], *map(unbroken, each.cells[2:])] for each in methods if each.gains]
        others = [f"{each.name} ({each.action})" for each in methods if not each.gains]
        title = f"{KIND_TITLES[advice['kind']]}: {percent(advice['share'])} of groups"
        note = f"Not measured: {'; '.join(others)}." if others else ""
        yield Table(title, ["method", "on such a group", *PLACES.values()], rows, note)


def unbroken(text: str) -> str:
    """Return a text that a browser keeps on one line."""
    return text.replace(" ", "\u00a0")


KIND_TITLES = {
    "all_success": "All right",
    "all_fail": "All wrong",
    "uniform_reward": LOST["uniform_reward"].capitalize(),
}

"""The page of an audit: the first sentences, curves, tables, suspects, and what was measured of the methods."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import echorl
from echorl.lab.audit.advice import KINDS, PLACES, Treatment, source, treatments
from echorl.lab.audit.findings import SUSPECT_KINDS, TITLES
from echorl.lab.audit.summary import ROWS, Results, batch_texts, interval, share_rows
from echorl.lab.report.charts import Chart, Drawn, Line
from echorl.lab.report.page import Page, Section, Table
from echorl.lab.report.panels import Bars
from echorl.support.visible import visible

SHOWN = 25
"""Suspects of a kind that the page lists; the file has more."""
CURVES = ("no_gradient", "all_success_no_gradient", "all_fail_no_gradient", "other_reward")
"""The parts of the log that a picture has lines of; the last one only where the log has such groups."""
EXTRAPOLATED = 21
"""The look of a line in the first colour, dashed."""
METHODS = "The methods and their measured gains"
"""The line in whose place the table of methods folds out."""


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
    skipping = results["skipping"]
    if skipping["rules"]:
        yield Section(title="Skipping solved prompts", lead=[SKIPPING], tables=[skipping_table(skipping)])
    else:
        yield Section(title="Skipping solved prompts", lead=[f"This cannot be replayed: {skipping['reason']}"])
    if results["suspects"]["listed"]:
        yield Section(title="What looks wrong", lead=[SUSPICIOUS], tables=[*suspect_tables(results)])
    if results["advice"]:
        lead = [*(advice["sentence"] for advice in results["advice"]), source()]
        kinds = [advice["kind"] for advice in results["advice"] if treatments(advice["kind"])]
        tables = [advice_table(kinds)] if kinds else []
        yield Section(title="What is known about methods", lead=lead, tables=tables)
    yield Section(
        title="How the log was read",
        findings=[visible(text) for text in results["log"]["notes"]],
        tables=[
            Table(
                "",
                ["read as", "column"],
                [[name, visible(column)] for name, column in results["log"]["columns"].items()],
            )
        ],
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
HOLM = (
    "'Better' and 'worse' are said only with a star. Of so many comparisons some have an interval on one side of 0 by "
    "chance, which Holm's correction takes into account."
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
    curve = results["losses"]["curve"]
    if len(curve) > 1 and all(None not in (each["first_step"], each["last_step"]) for each in curve):
        yield _curve(results, "groups", "Groups without gradient")
        if results["losses"]["whole"]["lengths"]:
            yield _curve(results, "lengths", f"{results['log']['unit'].capitalize()} without gradient")
    if any(results["successes"]["whole"]):
        yield _successes(results)
    if results["sizes"]:
        yield _sizes(results["sizes"])


def _curve(results: Results, weight: str, title: str) -> Chart:
    curve, unit = results["losses"]["curve"], results["log"]["unit"] if weight == "lengths" else weight
    lines = []
    whole = results["losses"]["whole"][weight]
    parts = [part for part in CURVES if part != "other_reward" or whole[part]["value"]]
    for look, part in enumerate(parts):
        points = [(_middle(each), each[weight][part]) for each in curve if each[weight]]
        x, shares = [x for x, _ in points], [share for _, share in points]
        lines.append(
            Line(ROWS[part].strip(), look, x, *([share[side] for share in shares] for side in ("value", "low", "high")))
        )
    caption = (
        f"Where the line 'no gradient' is at 40 %, two fifths of the {unit} were sampled and taught nothing; bands are "
        "95 % intervals."
    )
    return Chart(
        title,
        "step",
        lines,
        percent=True,
        named=True,
        caption=caption,
    )


def _middle(shares: Mapping[str, Any]) -> float:
    """Return the middle of a stretch's steps."""
    return (shares["first_step"] + shares["last_step"]) / 2


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
    extrapolated = [each for each in sizes["shares"] if each["extrapolated"]]
    lines = [_size_line("from the log", 0, exact)]
    caption = f"Up to {sizes['logged_size']:,} rollouts a group the share is that of parts of the logged groups"
    if extrapolated:
        lines.append(_size_line("extrapolated", EXTRAPOLATED, [exact[-1], *extrapolated]))
        caption += "; beyond, the dashed line is a model's, and the band is the range that the log allows."
    else:
        caption += "; larger groups are not extrapolated from groups as large as these."
    return Chart(
        "Groups with one verdict, by group size", "rollouts a group", lines, percent=True, named=True,
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
    for kind, count in ((kind, suspects["counts"].get(kind, 0)) for kind in SUSPECT_KINDS):
        listed = [each for each in suspects["listed"] if each["kind"] == kind]
        rows = [
            [visible(each["text"] or "–"), visible(each["why"]), _places(files, each["places"])]
            for each in listed[:SHOWN]
        ]
        note = f"{len(rows)} of {count:,}; suspects.jsonl has {len(listed)}, with texts." if count > len(rows) else ""
        if kind == "mislabelled" and suspects["doubt"]:
            note = f"{note} {suspects['doubt'][0].upper()}{suspects['doubt'][1:]}.".strip()
        if rows:
            title = f"{count:,} {TITLES[kind][count != 1]}"
            details = [visible(each["response"] or "") for each in listed[:SHOWN]]
            yield Table(title, ["prompt", "why", "rows to look at"], rows, note, details=details)


def _places(files: Sequence[str], places: Sequence[Sequence[int]]) -> str:
    """Return places as text: `a.jsonl 3, 4; b.jsonl 17`."""
    lines: dict[int, list[str]] = {}
    for file, line in places:
        lines.setdefault(file, []).append(str(line))
    return "; ".join(f"{visible(Path(files[file]).name)} {', '.join(numbers)}" for file, numbers in lines.items())


def advice_table(kinds: Sequence[str]) -> Table:
    """Return the measured methods that address these kinds of groups; a note names the others."""
    methods: dict[str, Treatment] = {}
    actions: dict[str, dict[str, str]] = {}
    for kind in kinds:
        for each in treatments(kind):
            methods.setdefault(each.name, each)
            actions.setdefault(each.name, {})[kind] = each.action
    ranked = sorted(methods.values(), key=lambda each: -sum(gain.value for gain in each.gains))
    rows = [
        [each.name, *(actions[each.name].get(kind, "nothing") for kind in kinds), *map(unbroken, each.gain_texts)]
        for each in ranked
        if each.gains
    ]
    unmeasured = ", ".join(each.name for each in ranked if not each.gains)
    note = f"{HOLM} Not measured: {unmeasured or 'none'} (see docs/reference/methods.md)."
    return Table("", ["method", *(f"on {KINDS[kind]}" for kind in kinds), *PLACES.values()], rows, note, folded=METHODS)


def unbroken(text: str) -> str:
    """Return a text with an interval that a browser breaks before the interval alone."""
    return text.replace(" ", "\u00a0").replace("\u00a0[", " [")

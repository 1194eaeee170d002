"""From RUNs to a page: what each RUN has of its own, then all training runs' curves together, then the rollouts."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import echorl
from echorl.lab.report import charts
from echorl.lab.report.charts import Drawn
from echorl.lab.report.clip_picture import write_clips_png
from echorl.lab.report.curves import AXES, group_areas, groups_table, make_charts, runs_table, statistics_tables
from echorl.lab.report.gallery import Exhibit
from echorl.lab.report.page import Page, Section
from echorl.lab.report.sources import Source, name_of, read_sources
from echorl.lab.report.training import Arm, TrainingRun, group_by_seed
from echorl.lab.report.viewer import Found, from_clips, from_dumps, gallery_json
from echorl.support.visible import visible

BAND = (
    "A line is the mean of an arm's seeds, its band reaches from the lowest seed to the highest, and it ends where the "
    "shortest of its runs does. Rewards and other things measured in every step are smoothed over a tenth of the run."
)


@dataclass(frozen=True, kw_only=True)
class Report:
    """A page, and what pictures of their own can be made of: its charts, and some EchoClips of each training run."""

    page: Page
    charts: Sequence[Drawn]
    clips: Sequence[Sequence[Exhibit]] = ()

    def write_pngs(self, stem: Path) -> list[Path]:
        """A PNG a chart, STEM-TITLE.png, and STEM-clips.png for each run with EchoClips. Returns the files."""
        paths: list[Path] = []
        for chart in self.charts:
            charts.write_png([chart], _free(stem, slug(chart.title), paths))
        for exhibits in self.clips:
            write_clips_png(exhibits, _free(stem, "clips", paths))
        return paths


def _free(stem: Path, name: str, paths: list[Path]) -> Path:
    """STEM-NAME.png, the second of that name STEM-NAME-2.png, and so on; it joins `paths`."""
    endings = itertools.chain([""], (f"-{number}" for number in itertools.count(2)))
    path = next(path for end in endings if (path := stem.with_name(f"{stem.name}-{name}{end}.png")) not in paths)
    paths.append(path)
    return path


def slug(title: str) -> str:
    """A title as part of a file's name.

    >>> slug("Response length, tokens")
    'response-length-tokens'
    """
    return re.sub(r"\W+", "-", title.lower()).strip("-")[:60] or "chart"


def make_report(folders: Sequence[Path], *, over: str = "step", limit: int = 2000) -> Report:
    """A report on these RUNs.

    Args:
        over: what curves are drawn over, "step" or "tokens".
        limit: rollouts in the gallery, at most about.

    Raises:
        ValueError: an argument is not allowed, or a RUN cannot be drawn; the message names it.
    """
    if over not in AXES:
        raise ValueError(f"over={over!r} is not allowed: it must be one of {', '.join(AXES)}.")
    if limit < 1:
        raise ValueError(f"limit={limit!r} is not allowed: it must be a positive whole number.")
    return assemble(read_sources(folders), over=over, limit=limit)


def assemble(sources: Sequence[Source], *, over: str = "step", limit: int = 2000) -> Report:
    """A report on what was read; the arguments are those of `make_report`."""
    found = list(_find_rollouts(sources, limit))
    arms = group_by_seed([run for source in sources for run in source.runs])
    own = {source.folder: [*_areas(source.runs, over), *source.charts] for source in sources if source.title}
    curves, training = _training(arms, over, areas=not any(source.title and source.runs for source in sources))
    drawn = [*itertools.chain(*own.values()), *curves]
    notes = [note for source in sources for note in source.notes] + [note for _, one in found for note in one.notes]
    page = Page(
        title=_title(sources, arms),
        lead=[*map(visible, notes), *_of_gallery(found)],
        sections=[*(_section(source, own[source.folder]) for source in sources if source.title), *training],
        exhibits=next((rollouts.exhibits for _, rollouts in found if rollouts.exhibits), ()),
        gallery=_gallery(found),
        foot=[f"echorl {echorl.__version__}: echorl report " + visible(" ".join(str(one.folder) for one in sources))],
    )
    return Report(page=page, charts=drawn, clips=[one.exhibits for _, one in found if one.exhibits])


def _title(sources: Sequence[Source], arms: Sequence[Arm]) -> str:
    """Return the RUN's own name, or the folders' names; of several plain runs those of their arms."""
    if len(sources) == 1 and sources[0].name:
        return visible(sources[0].name)
    plain = len(sources) > 1 and not any(source.title for source in sources)
    names = [visible(arm.label) for arm in arms] if plain else [visible(name_of(source.folder)) for source in sources]
    return f"EchoRL: {'; '.join(names)}" if len(names) < 4 else f"EchoRL: {names[0]} and {len(names) - 1} others"


def _areas(runs: Sequence[TrainingRun], over: str) -> list[Drawn]:
    """Return how the groups of the first arm changed; [] where that was not logged."""
    areas = [group_areas(arm, over=over) for arm in group_by_seed(runs)[:1]]
    return [area for area in areas if area is not None]


def _training(arms: Sequence[Arm], over: str, *, areas: bool) -> tuple[list[Drawn], list[Section]]:
    if not arms:
        return [], []
    drawn: list[Drawn] = [*(_areas(arms[0].runs, over) if areas else []), *make_charts(arms, over=over)]
    section = Section(
        title="Training",
        lead=[BAND] if any(len(arm.runs) > 1 for arm in arms) else [],
        legend=[visible(arm.label) for arm in arms],
        figures=[charts.svg(chart) for chart in drawn],
        tables=[*groups_table(arms), *statistics_tables(arms), runs_table(arms)],
    )
    return drawn, [section]


def _section(source: Source, figures: Sequence[Drawn]) -> Section:
    return Section(
        title=source.title,
        lead=source.lead,
        findings=source.findings,
        figures=[charts.svg(chart) for chart in figures],
        tables=source.tables,
    )


def _find_rollouts(sources: Sequence[Source], limit: int) -> Iterator[tuple[str, Found]]:
    """(name, rollouts) of whatever has some; each gets an equal part of the limit."""
    places = [(run.rollouts, _name(run)) for source in sources for run in source.runs if run.rollouts.is_dir()]
    clips = [(source.clips, source.title) for source in sources if source.clips is not None]
    part = max(1, limit // max(1, len(places) + len(clips)))
    for folder, name in places:
        if (found := from_dumps(folder, part)).groups or found.notes:
            yield visible(name), found
    for path, name in clips:
        if (found := from_clips(path, part)).groups or found.notes:
            yield visible(name), found


def _name(run: TrainingRun) -> str:
    folder = run.folder.parent if run.folder.name == "policy" else run.folder
    return f"{run.arm}, seed {run.seed}" if run.arm else name_of(folder)


def _gallery(found: Sequence[tuple[str, Found]]) -> str:
    runs = [(name, one.groups) for name, one in found if one.groups]
    return gallery_json(runs) if runs else ""


def _of_gallery(found: Sequence[tuple[str, Found]]) -> list[str]:
    shown, total = (
        sum(values) for values in zip((0, 0), *((one.num_rollouts, one.total) for _, one in found), strict=True)
    )
    if shown == total:
        return []
    return [f"The gallery shows {shown:,} of {total:,} rollouts, evenly chosen; --rollouts N shows more."]

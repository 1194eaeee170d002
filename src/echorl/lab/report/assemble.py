"""A report from RUNs: a section for each RUN, one with the curves of all training runs, and the rollouts."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import echorl
from echorl.lab.report import charts
from echorl.lab.report.clip_picture import write_clips_png
from echorl.lab.report.curves import AXES, group_areas, groups_table, make_charts, runs_table, statistics_tables
from echorl.lab.report.gallery import Exhibit
from echorl.lab.report.page import Page, Section
from echorl.lab.report.sources import Source, name_of, read_sources
from echorl.lab.report.training import Arm, TrainingRun, group_by_seed
from echorl.lab.report.viewer import GalleryRun, from_clips, from_dumps, gallery_json
from echorl.support.visible import visible

BAND = (
    "A line is the mean of an arm's seeds, its band reaches from the lowest seed to the highest, and it ends where the "
    "shortest of its runs does. Rewards and other things measured in every step are smoothed over a tenth of the run."
)


@dataclass(frozen=True, kw_only=True)
class Report:
    """A page, and some EchoClips of each training run for pictures."""

    page: Page
    clips: Sequence[Sequence[Exhibit]] = ()

    @property
    def charts(self) -> list[charts.Drawn]:
        """All charts of the page, in its order."""
        return [chart for section in self.page.sections for chart in section.charts]

    def write_pngs(self, stem: Path) -> list[Path]:
        """Write STEM-TITLE.png for each chart, and STEM-clips.png for each run with EchoClips. Returns the files."""
        paths: list[Path] = []
        for chart in self.charts:
            paths.append(_unused(stem, slug(chart.title), paths))
            charts.write_png([chart], paths[-1])
        for exhibits in self.clips:
            paths.append(_unused(stem, "clips", paths))
            write_clips_png(exhibits, paths[-1])
        return paths


def _unused(stem: Path, name: str, used: Sequence[Path]) -> Path:
    """Return STEM-NAME.png, for the second of that name STEM-NAME-2.png, and so on."""
    endings = itertools.chain([""], (f"-{number}" for number in itertools.count(2)))
    paths = (stem.with_name(f"{stem.name}-{name}{ending}.png") for ending in endings)
    return next(path for path in paths if path not in used)


def slug(title: str) -> str:
    """Return a title as part of a file's name.

    >>> slug("Response length, tokens")
    'response-length-tokens'
    """
    return re.sub(r"\W+", "-", title.lower()).strip("-")[:60] or "chart"


def make_report(folders: Sequence[Path], *, over: str = "step", limit: int = 2000) -> Report:
    """Return a report on these RUNs.

    Args:
        over: the x axis of curves, "step" or "tokens".
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
    """Return a report on what was read from RUNs; the arguments are those of `make_report`."""
    rollouts = _read_rollouts(sources, limit)
    arms = group_by_seed([run for source in sources for run in source.runs])
    titled = [source for source in sources if source.title]
    sections = [replace(source, charts=[*_areas(source.runs, over), *source.charts]) for source in titled]
    training = [_training(arms, over, areas=not any(source.runs for source in titled))] if arms else []
    notes = [source.notes for source in sources] + [run.notes for _, run in rollouts]
    exhibits = [run.exhibits for _, run in rollouts if run.exhibits]
    page = Page(
        title=_title(sources, arms),
        lead=[*map(visible, itertools.chain(*notes)), *_gallery_notes([run for _, run in rollouts])],
        sections=[*sections, *training],
        exhibits=next(iter(exhibits), ()),
        gallery=gallery_json(shown) if (shown := [(name, run.groups) for name, run in rollouts if run.groups]) else "",
        foot=[f"echorl {echorl.__version__}: echorl report {visible(' '.join(str(each.folder) for each in sources))}"],
    )
    return Report(page=page, clips=exhibits)


def _title(sources: Sequence[Source], arms: Sequence[Arm]) -> str:
    """Return the name of a single RUN, or the folders' names; of several runs of a comparison their arms' names."""
    if len(sources) == 1 and sources[0].name:
        return visible(sources[0].name)
    compared = len(sources) > 1 and all(source.runs and not source.title for source in sources)
    compared = compared and all(run.arm for arm in arms for run in arm.runs)
    names = [arm.label for arm in arms] if compared else [name_of(source.folder) for source in sources]
    names = [visible(name) for name in names]
    return f"EchoRL: {'; '.join(names)}" if len(names) < 4 else f"EchoRL: {names[0]} and {len(names) - 1} others"


def _areas(runs: Sequence[TrainingRun], over: str) -> list[charts.Drawn]:
    """Return the shares of the first arm's groups by kind; [] where none was logged."""
    areas = [group_areas(arm, over=over) for arm in group_by_seed(runs)[:1]]
    return [area for area in areas if area is not None]


def _training(arms: Sequence[Arm], over: str, *, areas: bool) -> Section:
    return Section(
        title="Training",
        lead=[BAND] if any(len(arm.runs) > 1 for arm in arms) else [],
        legend=[visible(arm.label) for arm in arms],
        charts=[*(_areas(arms[0].runs, over) if areas else []), *make_charts(arms, over=over)],
        tables=[*groups_table(arms), *statistics_tables(arms), runs_table(arms)],
    )


def _read_rollouts(sources: Sequence[Source], limit: int) -> list[tuple[str, GalleryRun]]:
    """Return the name and the rollouts of each run that has some or a note on them, within equal parts of the limit."""
    dumps = [(_name(run), run.rollouts) for source in sources for run in source.runs if run.rollouts.is_dir()]
    clips = [(source.title, source.clips) for source in sources if source.clips is not None]
    share = max(1, limit // max(1, len(dumps) + len(clips)))
    rollouts = [(name, from_dumps(folder, share)) for name, folder in dumps]
    rollouts += [(name, from_clips(path, share)) for name, path in clips]
    return [(visible(name), run) for name, run in rollouts if run.groups or run.notes]


def _name(run: TrainingRun) -> str:
    folder = run.folder.parent if run.folder.name == "policy" else run.folder
    return f"{run.arm}, seed {run.seed}" if run.arm else name_of(folder)


def _gallery_notes(runs: Sequence[GalleryRun]) -> list[str]:
    shown, total = sum(run.num_rollouts for run in runs), sum(run.total for run in runs)
    if shown == total:
        return []
    return [f"The gallery shows {shown:,} of {total:,} rollouts, evenly chosen; --rollouts N shows more."]

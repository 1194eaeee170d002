"""A packed study in a report: its tables and charts, made from the runs in its file."""

from __future__ import annotations

from pathlib import Path

from echorl.lab.compare.packed import open_pack
from echorl.lab.compare.results import make_results
from echorl.lab.report.compared import of_results
from echorl.lab.report.sources import Source


def read_packed(path: Path) -> Source:
    """The tables and the differences drawn; there are no curves, since a pack holds no metrics.

    Raises:
        ValueError: there is no such file, it is damaged, or runs of its study are missing.
    """
    study = open_pack(path)
    assert study.pack is not None, "just read"
    return of_results(path, make_results(study, study.pack.methods))

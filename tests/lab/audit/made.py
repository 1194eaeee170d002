"""Results of an audit of a simulated log, with suspects."""

from __future__ import annotations

from typing import Any

import numpy as np

from echorl.lab.audit.evidence import Place
from echorl.lab.audit.export import Excerpt
from echorl.lab.audit.findings import SUSPECT_KINDS, Suspect, Suspects
from echorl.lab.audit.groups import GroupTable
from echorl.lab.audit.measure import measure
from tests.lab.audit.simulated import simulate


def long_log(num_prompts: int = 60, visits: int = 4) -> GroupTable:
    """Groups of 8 over 60 steps; a third of the prompts is nearly always solved."""
    rng = np.random.default_rng(0)
    return simulate(rng, np.concatenate([rng.beta(0.5, 0.5, num_prompts - 20), np.full(20, 0.99)]), visits)


def suspects_of(*whys: str) -> Suspects:
    """Suspects of the kind "mislabelled", with these reasons."""
    listed = [Suspect("mislabelled", number, why, 1.0, (Place(0, number + 1),)) for number, why in enumerate(whys)]
    return Suspects(tuple(listed), {kind: len(listed) * (kind == "mislabelled") for kind in SUSPECT_KINDS})


def results_of(
    groups: GroupTable, *whys: str, prompt: str = "1+1?", response: str = "It is 3.", **log: Any
) -> dict[str, Any]:
    """The results of an audit of these groups, and suspects with these reasons and these texts."""
    suspects = suspects_of(*whys)
    described = {
        "places": ["runs/a/completions"], "files": ["runs/a/completions/1.parquet"], "columns": {"prompt": "prompt"},
        "notes": [], **log,
    }  # fmt: skip
    excerpts = {place: Excerpt(prompt, response) for each in suspects.listed for place in each.places}
    return measure(groups, suspects, excerpts, described)

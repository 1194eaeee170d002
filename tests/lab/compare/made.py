"""A run of a study, finished by a stand-in for its training."""

from __future__ import annotations

import random

from echorl.lab.compare.plan import Run
from echorl.lab.compare.run import MARK, scores_key, scores_path
from echorl.lab.compare.study import Study
from echorl.support.files import write_json


def finish(study: Study, run: Run, tests: list[str], numbers: random.Random, diverged: str | None = None) -> None:
    folder, key = study.folder(run), study.key(run)
    folder.mkdir(parents=True)
    right = 1 if (run.arm, run.rate) == ("clips", 1e-5) else 3  # so that the higher rate is chosen
    value = {"updates": numbers.randint(1, 9), "rollout_tokens": 100, "minutes": numbers.random(), "diverged": diverged}
    write_json(folder / MARK, {"key": key, "value": value})
    for test in tests if diverged is None else ():
        scores = {"right": [right, numbers.randint(0, 4)], "samples": 4}
        scores |= {name: numbers.random() for name in ("length", "entropy", "blank_share", "truncated")}
        write_json(scores_path(folder, test), {"key": scores_key(key, study.comparison, test), "value": scores})

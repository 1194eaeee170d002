"""One part of the quickstart in a process of its own with one thread: train and score an arm, or score the start.

    python -m echorl.lab.quickstart.worker NAME FOLDER SETTINGS PARENT

Two processes of one thread use two cores fully, give the same numbers on every run, and don't mind other programs; one
process of two threads waits for both at every small matrix product, and crawls as soon as one core is busy.
"""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path
from typing import Any

from echorl.lab.jobs import end_with_parent
from echorl.lab.quickstart.arm_folder import MARK
from echorl.lab.quickstart.study import ARMS, Study
from echorl.models import POLICY
from echorl.support.files import cached, stored


def scores_path(name: str, output: Path) -> Path:
    """Where the scores of "start" or of an arm are kept."""
    return output / name / "scores.json" if name in ARMS else output / f"{name}.json"


def scores_of(name: str, output: Path, study: Study) -> Any:
    """The stored scores of "start" or of an arm; None if they are still to be made."""
    return stored(scores_path(name, output), study.key("scores", policy_of=name))


def result_of(arm: str, output: Path, study: Study) -> Any:
    """The stored result of an arm's training; None if it is still to be made."""
    return stored(output / arm / MARK, study.key("arm", coef=ARMS[arm]))


def work(name: str, output: Path, study: Study) -> None:
    """Make what is missing of `name`'s results."""
    if name in ARMS:
        from echorl.lab.quickstart.arm import train_arm

        train_arm(study, ARMS[name], output / name)
    policy = output / name / "policy" if name in ARMS else POLICY
    key = study.key("scores", policy_of=name)
    cached(scores_path(name, output), key, lambda: _score(policy, study))


def _score(policy: Path, study: Study) -> dict[str, Any]:
    from echorl.lab.quickstart.score import score
    from echorl.models.loading import load_policy

    return score(*load_policy(policy), study)


def main() -> None:
    name, folder, settings, parent = sys.argv[1:]
    end_with_parent(int(parent))
    warnings.filterwarnings("ignore", category=FutureWarning)

    import torch
    from transformers.utils import logging

    torch.set_num_threads(1)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    work(name, Path(folder), Study(**json.loads(settings)))


if __name__ == "__main__":
    main()

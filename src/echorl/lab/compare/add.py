"""One more arm in a stored study: a method is run under the study's protocol, and its rows join the stored tables."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from echorl.lab.compare.pack import ENDING, Pack, pack_path, read_pack
from echorl.lab.compare.packed import PackedStudy, pack_study
from echorl.lab.compare.plan import Comparison, Run
from echorl.lab.compare.run import MARK, run_key
from echorl.lab.compare.study import Study
from echorl.models.fingerprint import hash_file
from echorl.support.method_names import check_method_name

LOGGING = {"logging_steps": 1, "save_steps": 20, "save_total_limit": 1, "report_to": "none"}
"""Options of new runs that change no number, so that a pack does not hold them."""


@dataclass(frozen=True)
class Addition:
    """A method that is added to a packed study.

    Attributes:
        stored: the study, of whose runs none is made again for the tables.
        added: the method as the only arm, with the study's rates, seeds, budget and tests.
        repeated: one stored run of the reference, which shows how exactly this machine repeats the study.
    """

    stored: PackedStudy
    added: Study
    repeated: Study

    @property
    def arm(self) -> str:
        """The method's name in the tables."""
        return next(iter(self.added.comparison.arms))

    @property
    def comparison(self) -> Comparison:
        """The stored study's plan with the added arm, for the tables."""
        plan = self.stored.comparison
        references = {**plan.references, self.arm: self.repeat.arm}
        return replace(plan, arms={**plan.arms, **self.added.comparison.arms}, references=references)

    @property
    def repeat(self) -> Run:
        """The run of the reference that is repeated."""
        comparison = self.repeated.comparison
        return comparison.final(comparison.chosen({}))[0]


def add_method(
    stored: PackedStudy, method: str, options: Mapping[str, Any] | None, output_dir: Path | None
) -> Addition:
    """Return the addition of a method to a packed study.

    The new runs have the options of a stored run of plain GRPO, the reference, and its settings of the trainer, except
    those that the method sets itself. `echo_coef` is 0, unless the method sets another.

    Args:
        output_dir: folder of the new runs; by default `runs/STUDY-METHOD`. The repeated run is in `repeat` in it.

    Raises:
        ValueError: there is no such method, the study is not finished or has no arm of plain GRPO, it was made with a
            model or data that are not here, or `output_dir` is its own.
    """
    check_method_name(method, "--add")
    arm, run = _arm_name(stored, method, options or {}), _cheapest_run(stored)
    record = stored.file(run, MARK)
    assert record is not None, "the study is finished"
    _check_files(stored, record["key"])
    recipe = {**record["key"]["options"], **LOGGING}
    study = stored.path.name.removesuffix(ENDING)
    folder = str(output_dir or Path("runs", f"{study}-{method.rpartition(':')[2]}"))
    if pack_path(folder).resolve() == stored.path.resolve():
        raise ValueError(f"--output_dir {folder} is the folder of the study {stored.path} itself: name another one.")
    pack = read_pack(pack_path(folder)) if pack_path(folder).exists() else None
    plan = replace(stored.comparison, references={}, notes={}, output_dir=folder)
    at_rate: dict[str, Any] = {"grid_arm": None, "learning_rates": () if run.rate is None else (run.rate,)}
    repeated_arms = {run.arm: plan.arms[run.arm]}
    repeated = replace(plan, arms=repeated_arms, seeds=(run.seed,), output_dir=str(Path(folder, "repeat")), **at_rate)
    arms = {arm: _arm_options(method, options or {})}
    added = replace(plan, arms=arms, **(at_rate if plan.grid_arm else {}))
    shared = {name: value for name, value in recipe.items() if name not in ("method_options", "echo_coef")}
    from_reference = _settings_of_reference(method, options)
    return Addition(stored, Study(added, {**from_reference, **shared}, pack), Study(repeated, recipe, pack))


def _settings_of_reference(method: str, options: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return plain GRPO's settings of the trainer that the method does not set: without them TRL's defaults would."""
    from echorl.methods import method_settings

    settings = method_settings(method, options)
    return {name: value for name, value in method_settings("grpo").items() if name not in settings}


def settings_that_differ(method: str, options: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the trainer's fields that the method sets, and sets otherwise than plain GRPO."""
    from echorl.methods import method_settings

    reference = method_settings("grpo")
    settings = method_settings(method, options)
    return {name: value for name, value in settings.items() if name not in reference or reference[name] != value}


def pack_addition(addition: Addition, methods: Mapping[str, Mapping[str, Any]]) -> Pack:
    """Return a pack of the finished new runs and the repeated one, without writing it."""
    pack = pack_study(addition.added, methods)
    return replace(pack, runs={**pack.runs, **pack_study(addition.repeated, methods).runs})


def _arm_name(stored: PackedStudy, method: str, options: Mapping[str, Any]) -> str:
    """Return the method's name; of a class in a file the class's with the beginning of the file's SHA-256.

    Options add the beginning of a hash of theirs. So an edited rule is another arm, and one with other options, too.
    """
    path, colon, name = method.rpartition(":")
    arm = f"{name}-{hash_file(Path(path))[:8]}" if colon else name
    if options:
        arm += f"-{hashlib.sha256(json.dumps(options, sort_keys=True).encode()).hexdigest()[:4]}"
    if arm in stored.comparison.arms:
        raise ValueError(
            f"--add={method!r} is an arm of {stored.path} already: derive a class of another name from it."
        )
    return arm


def _arm_options(method: str, options: Mapping[str, Any]) -> dict[str, Any]:
    from echorl.methods import method_settings

    coefficient = {} if "echo_coef" in method_settings(method, options) else {"echo_coef": 0.0}
    return {"method": method, **({"method_options": dict(options)} if options else {}), **coefficient}


def _cheapest_run(stored: PackedStudy) -> Run:
    """Return the run of plain GRPO, of those that are compared, that took the least time."""
    states = stored.final_states(stored.comparison.chosen(stored.finished_grid()))
    plain = [
        arm
        for arm, method in stored.methods.items()
        if method.get("method") in (None, "grpo")
        and method.get("echo_coef") == 0
        and stored.comparison.arms[arm].keys() <= {"method", "echo_coef"}
        and stored.comparison.is_trained(arm)
        and all(state == "done" for run, state in states.items() if run.arm == arm)
    ]
    if not plain:
        raise ValueError(
            f"{stored.path} has no arm of plain GRPO (method grpo, echo_coef 0, no more) with results, with which an "
            "added arm is compared: give another study."
        )
    return min((run for run in states if run.arm == plain[0]), key=lambda run: stored.training(run).get("minutes", 0.0))


def _check_files(stored: PackedStudy, key: Mapping[str, Any]) -> None:
    """Check that the model and the data of the stored runs are here."""
    here, model = run_key(key["options"]), key["options"].get("model_name_or_path")
    if here["model"] != key["model"] or here["files"] != key["files"]:
        raise ValueError(
            f"{stored.path} was made with another model {str(model)!r} or other data files than there are in this "
            "working directory: go to the folder in which the study was made."
        )

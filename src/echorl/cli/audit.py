"""`echorl audit`: what a run loses on groups without a gradient, read from the logs that it already has."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from echorl.cli.parser import CommandOptions, part_of, required
from echorl.core.options import option
from echorl.lab.logs.places import log_place
from echorl.lab.options import Columns
from echorl.support.errors import Interrupted
from echorl.support.texts import LONGEST
from echorl.support.visible import visible

NEEDED = {"lab": ("scipy", "pyarrow", "filelock", "rich", "matplotlib", "jinja2")}


@dataclass(frozen=True, kw_only=True)
class AuditOptions(Columns, CommandOptions):
    """Say what a run loses on groups without a gradient, from its logs: no model, no GPU, no change to the run. Reads
    TRL's log_completions, verl's rollout_data_dir, and any table with a prompt and a reward; the run may still be going
    on. See docs/guides/audit.md.
    """

    log: tuple[Path, ...] = required("Files of rollouts, JSONL or Parquet, or folders of them.", positional=True)
    reward: str | None = option(None, "Column of the verifier's reward; default: by its name.")
    group: str | None = option(
        None, "Column that names a rollout's group; default: rollouts of equal prompts in a step are a group."
    )
    success_reward: float = option(
        1.0, "A rollout is right from this reward of the verifier on.", ge=-(10**6), le=10**6
    )
    output_dir: Path | None = option(None, "Folder of the results; default: runs/audit/NAME, of the first log.")
    json: bool = option(False, "Print the results as one JSON object, and nothing else.")
    fail_above: float | None = option(
        None,
        "Exit with 1 if a larger share of the groups than this, in the last fifth of the run, gave no gradient.",
        ge=0,
        le=1,
    )


def run(args: AuditOptions) -> int:
    """Run the command. Returns the exit code: 1 if the share without gradient is above `--fail_above`, else 0.

    Raises:
        UserError, ValueError: something that the user can fix.
        Interrupted: Ctrl-C.
    """
    from echorl.cli.bars import working_in
    from echorl.lab.audit.run import AuditPlan, audit

    plan = AuditPlan(places=args.log, columns=part_of(args, Columns), success_reward=args.success_reward)
    folder = args.output_dir or Path("runs/audit", _name(args.log[0]))
    try:
        with working_in(None) as bars:
            results = audit(folder, plan, bars)
    except Interrupted:
        raise Interrupted("stopped; the same command starts from the beginning.") from None
    if args.json:
        print(json.dumps(results))
    else:
        _show(results, folder)
    if args.fail_above is None:
        return 0
    print(_verdict(results, args.fail_above), file=sys.stderr)
    return int(_share(results) > args.fail_above)


def _share(results: Mapping[str, Any]) -> float:
    """Return the share of groups without gradient in the last fifth."""
    return results["losses"]["recent"]["groups"]["no_gradient"]["value"]


def _verdict(results: Mapping[str, Any], limit: float) -> str:
    """Return the share of groups without gradient beside `--fail_above`, and the exit code, in a sentence."""
    from echorl.lab.audit.summary import stretch

    code = int(_share(results) > limit)
    share, relation = f"{100 * _share(results):.4g} %", "more than" if code else "not more than"
    return f"{share} of groups {stretch(results)} gave no gradient, {relation} --fail_above {limit:g}: exit code {code}"


def _name(place: Path) -> str:
    """Return the name of a log's results: rows for rows.jsonl, my-run-completions for runs/my-run/completions.

    The folder's name is in front where it was given, since logs of several runs have one name. A run's folder has the
    name of its log.
    """
    log = log_place(place)
    path, is_named = Path(os.path.abspath(log)), log != place or len(place.parts) > 1
    names = [path.parent.name if is_named else "", path.name if log.is_dir() else path.stem]
    name = "".join(each if each.isprintable() else "_" for each in "-".join(filter(None, names)))
    return name.encode()[-LONGEST:].decode(errors="ignore")


def _show(results: Mapping[str, Any], folder: Path) -> None:
    """Print the sentences, what the log cannot tell, the shares by kind, the evidence on methods, and the files."""
    from echorl.cli.tables import print_paragraph, print_table
    from echorl.lab.audit.run import PAGE, SUSPECTS
    from echorl.lab.audit.summary import recent_rows, recent_title

    print_paragraph(" ".join(results["summary"]))
    print()
    print_table(recent_title(results), *recent_rows(results))
    print()
    for text in results["log"]["notes"]:
        print_paragraph(f"Note: {text}")
    for advice in results["advice"]:
        if advice["treatments"]:
            print_paragraph(advice["sentence"])
    if results["suspects"]["listed"]:
        print(f"suspects: {visible(str(folder / SUSPECTS))}")
    print(f"page: {visible(str(folder / PAGE))}")

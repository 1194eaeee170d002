"""`echorl`: the command line. Each command is a module of this package, imported when it is called."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence

COMMANDS = {
    "quickstart": "train a small policy with and without EchoRL on this machine's CPU and show what changed",
    "train": "train a model: echorl train --config recipe.yaml [--any_field value]",
    "sft": "supervised training on demonstrations, the warm start: echorl sft --config recipe.yaml",
    "compare": "run several arms on equal rollout tokens and compare them: echorl compare study.yaml",
    "eval": "score a model on benchmarks: echorl eval --model FOLDER --benchmarks aime24 math500",
    "mine": "find the EchoClips of stored rollouts: echorl mine rollouts.jsonl --model FOLDER",
    "analyze": "golden trajectories: echorl analyze entropy|deletion --model FOLDER --benchmark TASK",
    "probe": "ask whether EchoRL would help, without training: echorl probe --model FOLDER --benchmark quickstart",
    "report": "draw runs as one page, to be opened in a browser: echorl report RUN [RUN ...]",
    "env": "print versions and devices, for a bug report",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command. Returns the exit code: 0, 1 (a bug or a crash), 2 (the user can fix it), 130 (Ctrl-C)."""
    argv = list(sys.argv[1:] if argv is None else argv)
    if "--traceback" in argv:
        argv.remove("--traceback")
        os.environ["ECHORL_TRACEBACK"] = "1"
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal of ASCII alone, say, and a folder named runs/ü
    try:  # imports take a second, in which Ctrl-C comes, too
        from echorl.cli.dispatch import dispatch
        from echorl.support.errors import guard

        return guard(lambda: dispatch(argv))
    except KeyboardInterrupt:
        print("echorl: interrupted.", file=sys.stderr)
        return 130

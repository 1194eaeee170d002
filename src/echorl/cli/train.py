"""`echorl train`; TRL's parser reads its options."""

from __future__ import annotations

from collections.abc import Sequence


def run(argv: Sequence[str]) -> int:
    """Run `echorl train`. Returns 0; raises what `echorl.support.errors.guard` shows."""
    from echorl.train.run import run

    return run(argv)

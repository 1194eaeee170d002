"""`echorl sft`; TRL's parser reads its options."""

from __future__ import annotations

from collections.abc import Sequence


def run(argv: Sequence[str]) -> int:
    """Run `echorl sft`. Returns 0; raises what `echorl.support.errors.guard` shows."""
    from echorl.train.sft import run

    return run(argv)

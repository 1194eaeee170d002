"""Evidence that is kept of each prompt while a log is read."""

from __future__ import annotations

from echorl.lab.logs.rows import LoggedRollout


class PromptEvidence:
    def add(self, rollout: LoggedRollout, prompt: int, success: bool | None) -> None:
        """Take the next rollout of the log in."""

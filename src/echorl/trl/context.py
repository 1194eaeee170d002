"""`Context`: the run as the trainer's stations see it, at one moment."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from transformers import ProcessorMixin, TrainerState
from transformers.utils import logging

from echorl.core.communication import Communication
from echorl.core.statistics import GROUPS_WITH_GRADIENT, batch_metrics
from echorl.trl.batch import SampleAgain

logger = logging.get_logger(__name__)


class RunLog:
    """Metrics, table of completions and warnings of a run.

    Args:
        metrics: name -> values of the logging interval, a mapping that makes a list for a new name; TRL logs the means.
        completions: TRL's table of completions: columns of the rows of all processes.
        shows_warnings: whether this process prints warnings.

    Attributes:
        groups: the columns of `batch_metrics`, of all groups in the logging interval.
    """

    def __init__(
        self, metrics: dict[str, list[float]], completions: Mapping[str, Any], *, shows_warnings: bool = True
    ) -> None:
        self.metrics, self.completions, self.shows_warnings = metrics, completions, shows_warnings
        self.warned: set[str] = set()
        self.groups: list[list[Any]] = [[], [], [], []]

    def update(self, metrics: Mapping[str, float]) -> None:
        """Add a value for each name, the same on every process."""
        for name, value in metrics.items():
            self.metrics[name].append(float(value))

    def add_groups(self, columns: list[list[Any]]) -> None:
        """Add the columns of a batch's groups to those of the logging interval."""
        self.groups = [[*before, *column] for before, column in zip(self.groups, columns, strict=True)]

    def take_shares(self) -> dict[str, float]:
        """Return the shares of the groups and tokens in the logging interval, and begin the next; {} without a group.

        They are shares of all its groups, however these are spread over batches and rounds of sampling.
        """
        groups, self.groups = self.groups, [[], [], [], []]
        metrics = batch_metrics(*groups) if groups[0] else {}
        return {name: value for name, value in metrics.items() if name != GROUPS_WITH_GRADIENT}

    def replace_advantages(self, advantages: Tensor) -> None:
        """Replace the advantages that TRL logged last by those used, [N] of all processes."""
        logged = self.completions["advantages"]
        for _ in range(min(len(logged), len(advantages))):
            logged.pop()
        logged.extend(advantages.tolist())

    def warn_once(self, key: str, text: str) -> None:
        """Log a warning the first time `key` comes up in this run (resumed parts included)."""
        if key not in self.warned:
            self.warned.add(key)
            if self.shows_warnings:
                logger.warning(text)

    def state_dict(self) -> dict[str, Any]:
        return {"metrics": dict(self.metrics), "warned": sorted(self.warned), "groups": self.groups}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.metrics.update(state["metrics"])
        self.warned = set(state["warned"])
        self.groups = state["groups"]


def _no_policy(*args: Any, **kwargs: Any) -> Any:
    raise ValueError("Context has no policy to score or sample with: pass policy=PolicyCalls(score=, sample=).")


@dataclass(frozen=True, kw_only=True)
class PolicyCalls:
    """Calls of the policy within the making of a batch.

    Attributes:
        score: (ids, mask, number of last tokens, **images) -> (log-probs, entropies) of these tokens, in one forward.
        sample: a completion of each of some prompts.
    """

    score: Callable[..., tuple[Tensor, Tensor]] = _no_policy
    sample: SampleAgain = _no_policy


@dataclass(frozen=True, kw_only=True)
class Context:
    """The surroundings of a station. The trainer makes a new one for each generation batch and optimiser step.

    Attributes:
        args: the run's `EchoGRPOConfig`, as TRL has completed it.
        comm: the other processes.
        processor: the tokenizer, or the processor of a model with images.
        chat_template: the template of chat prompts, if it is not the tokenizer's.
        rows: the training rows.
        features: of "tools", "rollout_func", "router_loss", "deepspeed" and "fsdp" those that the run has.
        policy: calls of the policy.
        log: metrics and warnings.
        state: the Trainer's state, with the number of the optimiser step.
        draw: a number that differs from batch to batch, for random choices.
    """

    args: Any
    comm: Communication
    processor: Any
    log: RunLog
    state: TrainerState
    draw: int = 0
    rows: Any = None
    chat_template: str | None = None
    features: frozenset[str] = frozenset()
    policy: PolicyCalls = PolicyCalls()

    @property
    def tokenizer(self) -> Any:
        """The tokenizer; of a processor its tokenizer."""
        return self.processor.tokenizer if isinstance(self.processor, ProcessorMixin) else self.processor

    @property
    def step(self) -> int:
        """Optimiser steps so far."""
        return self.state.global_step

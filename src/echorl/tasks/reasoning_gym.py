"""Tasks from datasets of reasoning-gym: generated instances without end, scored by the dataset's own scorer."""

from __future__ import annotations

import dataclasses
import json
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from echorl.support.installed import check_installed
from echorl.tasks.base import DEFAULT_SIZE, SHARES, Task, TaskRow, Verifier, make_prompt, take_instances
from echorl.tasks.solutions import DEMONSTRATIONS
from echorl.tasks.verify.base import Verdict
from echorl.tasks.verify.gym import ReasoningGymGrader, check_scorer
from echorl.tasks.verify.rewards import make_reward_of_verdicts
from echorl.tasks.verify.worker_gym import encode

if TYPE_CHECKING:
    from reasoning_gym.dataset import ProceduralDataset

TEMPLATE = "{question}\n\nReason step by step, one step a line. End with the final answer alone after '####'."
MAX_CHUNKS = 20
"""Number of seeds that are tried before a split counts as exhausted."""


@dataclass(frozen=True, kw_only=True)
class ReasoningGym(Task):
    """Instances of one reasoning-gym dataset. A success is a score of exactly 1.0 (reward 1.0, else 0.0).

    A question's hash decides its split, so no question is in two of train, validation and test, for all sizes and
    seeds. The answer is the text after the last `####`, else the last `<answer>...</answer>`, else the last non-empty
    line. The score is 0.0 if the scorer raises an error, returns None or NaN, or takes over `timeout` seconds of CPU
    time. No answer is evaluated as code: `trust_scorers` has to be set for a dataset whose scorer is not on the list of
    safe ones. The columns are prompt, question, instance (JSON), and demonstration where there is a writer.
    """

    generator: str = "chain_sum"
    """Name of a reasoning-gym dataset."""
    config: Mapping[str, Any] = field(default_factory=dict)
    """Settings of the dataset, without seed and size."""
    harder: Mapping[str, Any] | None = None
    """Settings that the split "harder" changes; None for no such split."""
    template: str = TEMPLATE
    """The prompt, with `{question}` in it."""
    chat: bool = False
    """Make each prompt a user message instead of a string."""
    timeout: float = 5.0
    """Seconds of CPU time for one call of a scorer that runs in a worker process."""
    trust_scorers: bool = False
    """Run a scorer that is not on the list of safe ones as it is, on any text that the policy writes."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_name(self.generator)
        check_scorer(self.generator, trust_scorers=self.trust_scorers)
        for split in self.splits:
            _generate(self.generator, self._config(split), seed=0, size=1)

    @property
    def splits(self) -> tuple[str, ...]:
        """The names that `dataset` takes."""
        return tuple(split for split in SHARES if split != "harder" or self.harder is not None)

    @cached_property
    def verifier(self) -> Verifier:
        """The reward function for the column `instance`; None for rows of another generator."""
        return make_reward_of_verdicts(f"reasoning_gym_{self.generator}", "instance", self._judge)

    def rows(self, split: str, size: int | None, seed: int) -> list[TaskRow]:
        """Generated rows, distinct except for training rows; ValueError if there are too few distinct questions."""
        size, config = size or DEFAULT_SIZE, self._config(split)
        low, high = SHARES[split]
        entries = _entries(self.generator, config, name=f"{split} {seed}", chunk=int(size / (high - low)) + 100)
        taken = take_instances(((entry["question"], entry) for entry in entries), split, size)
        if len(taken) < size:
            raise ValueError(
                f"{self.generator!r} with {dict(config)} gave {len(taken)} distinct questions for the split {split!r}, "
                f"not {size}; ask for fewer rows or widen its config"
            )
        return [self._row(entry, f"{split} {seed} {i}", config) for i, entry in enumerate(taken)]

    def _config(self, split: str) -> Mapping[str, Any]:
        return {**self.config, **(self.harder or {})} if split == "harder" else self.config

    def _row(self, entry: dict[str, Any], seed: str, config: Mapping[str, Any]) -> TaskRow:
        question = entry["question"]
        row = {
            "prompt": make_prompt(question, template=self.template, chat=self.chat),
            "question": question,
            "instance": encode({**entry, "generator": self.generator, "config": dict(config)}),
        }
        if writer := DEMONSTRATIONS.get(self.generator):
            row["demonstration"] = writer(question, random.Random(seed))
        return row

    def _judge(self, rows: list[tuple[str, str]]) -> list[Verdict | None]:
        in_task = [json.loads(instance)["generator"] == self.generator for _, instance in rows]
        task_rows = [row for row, is_in_task in zip(rows, in_task, strict=True) if is_in_task]
        grader = ReasoningGymGrader(timeout=self.timeout, trust_scorers=self.trust_scorers)
        verdicts = iter(grader.grade([text for text, _ in task_rows], [instance for _, instance in task_rows]))
        return [_as_success(next(verdicts)) if is_in_task else None for is_in_task in in_task]


def _as_success(verdict: Verdict) -> Verdict:
    return Verdict(float(verdict.score == 1.0), verdict.reason)


def generators() -> Mapping[str, Any]:
    """Datasets of reasoning-gym by name; an empty mapping where reasoning-gym is not installed."""
    try:
        from reasoning_gym.factory import DATASETS
    except ImportError:
        return {}
    return DATASETS


def _check_name(generator: str) -> None:
    """Raise a ValueError for an unknown name."""
    check_installed(f"the reasoning-gym dataset {generator!r}", ("reasoning_gym",), "tasks")
    if generator not in generators():
        names = ", ".join(sorted(generators()))
        raise ValueError(f"unknown reasoning-gym dataset {generator!r}; choose one of {names}")


def _generate(generator: str, config: Mapping[str, Any], *, seed: int, size: int) -> ProceduralDataset:
    """A dataset of reasoning-gym; ValueError for an unknown key or value."""
    import reasoning_gym
    from reasoning_gym.factory import DATASETS

    settings = [f.name for f in dataclasses.fields(DATASETS[generator][1]) if f.name not in ("seed", "size")]
    for key in config:
        if key not in settings:
            raise ValueError(f"reasoning-gym's {generator!r} has no setting {key!r}; it has {', '.join(settings)}")
    try:
        return reasoning_gym.create_dataset(generator, seed=seed, size=size, **config)
    except (AssertionError, TypeError, ValueError) as error:
        raise ValueError(f"reasoning-gym's {generator!r} refuses the config {dict(config)}: {error}") from error


def _entries(generator: str, config: Mapping[str, Any], *, name: str, chunk: int) -> Iterator[dict[str, Any]]:
    """Entries from `MAX_CHUNKS` seeds that `name` determines, `chunk` of each."""
    seeds = random.Random(name)
    for _ in range(MAX_CHUNKS):
        dataset = _generate(generator, config, seed=seeds.randrange(2**31), size=chunk)
        for index in range(chunk):
            yield dataset[index]

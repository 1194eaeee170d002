"""A probe from start to end: sample, grade, take gradients a few prompts at a time, and sum up."""

from __future__ import annotations

import dataclasses
import json
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from echorl.core.steps import StepDelimiters
from echorl.lab.evaluate.benchmarks.layouts import short_hash
from echorl.lab.evaluate.checkpoint import Checkpoint
from echorl.lab.evaluate.plan import Work, seed_of
from echorl.lab.evaluate.sampling import Completions, ends_of, sample
from echorl.lab.jobs import Silent, View
from echorl.lab.probe.gradients import Gradients
from echorl.lab.probe.plan import Plan
from echorl.lab.probe.rules import Group, factor, make_group, weigh_all
from echorl.lab.probe.summary import Part, sum_up
from echorl.models.loading import tokenizer_of
from echorl.support.files import write_text
from echorl.support.folder import Parts, ResultFolder

if TYPE_CHECKING:
    from echorl.lab.evaluate.benchmarks import Item

RESULT = "probe.json"


def probe(
    folder: Path,
    work: Work,
    plan: Plan,
    checkpoint: Checkpoint,
    start: Callable[[], tuple[Any, Any]],
    view: View | None = None,
) -> dict[str, Any]:
    """Probe a checkpoint on a benchmark's items; what an earlier call with the same settings left in `folder` is used.

    For every rule and every kind of group the unbiased size of its mean gradient, where it points, and the most that it
    adds to the policy gradient, with jack-knife errors over prompts (docs/probe.md). Nothing is trained. A later call
    with more items samples only those that are new.

    Args:
        folder: for settings.json, projected gradients and probe.json.
        work: the items (`draw_items` draws some), `samples` rollouts of each, and where they are cut off.
        plan: the settings.
        checkpoint: writes the prompts.
        start: loads (model, processing class); called only if something is to be sampled. Every weight that has no
            gradient to give is frozen.
        view: shows progress.

    Returns:
        What probe.json holds.

    Raises:
        ValueError: fewer than 2 rollouts a prompt or 4 prompts, images, a tokenizer without newlines, no such
            parameters, or a folder that holds something else.

    >>> work = prepare(["quickstart"], checkpoint, Sampling(samples=8, max_new_tokens=80))[0]     # doctest: +SKIP
    >>> start = lambda: load_policy(checkpoint.path, "cpu")                                       # doctest: +SKIP
    >>> probe(Path("runs/probe/mine"), draw_items(work, 64), Plan(), checkpoint, start)["verdict"] # doctest: +SKIP
    """
    _check(work)
    folder, view = Path(folder), view or Silent()
    delimiters = StepDelimiters.from_tokenizer(checkpoint.processing_class)
    ResultFolder(folder, "probe", holds="gradients made").claim(_settings(work, plan, checkpoint))
    parts = Parts(folder / "parts", ".pt", lambda path, part: torch.save(part, path), _read_part)
    chunks = list(_chunks(work, plan))
    prober = _Prober(work, plan, checkpoint, delimiters, start)
    show, done = view.begin(f"{work.benchmark.name}: probing", len(work.items)), 0
    for chunk in chunks:
        parts.ensure(chunk.index, {"items": chunk.ids}, partial(prober.part, chunk))
        done += len(chunk.items)
        show(done)
    result = sum_up(lambda: (parts.load(chunk.index) for chunk in chunks), checkpoint.name, work, plan)
    write_text(folder / RESULT, json.dumps(result, indent=1) + "\n")  # the parts stay: prompts may be added
    return result


def _read_part(path: Path) -> Part:
    return torch.load(path, weights_only=True)


def draw_items(work: Work, count: int, seed: int = 0) -> Work:
    """The work with `count` of its items, in an order drawn with the seed: the first of many are the same as of few.

    Raises:
        ValueError: there are fewer.
    """
    if count > len(work.items):
        raise ValueError(f"{work.benchmark.name} has {len(work.items)} items, not {count}: ask for fewer prompts.")
    order = random.Random(seed).sample(range(len(work.items)), len(work.items))
    return dataclasses.replace(work, items=[work.items[i] for i in order[:count]])


def _check(work: Work) -> None:
    if work.samples < 2:
        raise ValueError(f"samples={work.samples} is not allowed: a baseline from the other rollouts needs 2 or more.")
    if len(work.items) < 4:
        raise ValueError(
            f"{len(work.items)} prompts are too few for a standard error: give 4 or more, better hundreds."
        )
    if any(item.images for item in work.items):
        raise ValueError(f"{work.benchmark.name} has images, which a probe does not read: take prompts of text.")


def _settings(work: Work, plan: Plan, checkpoint: Checkpoint) -> dict[str, Any]:
    """Return the settings that gradients depend on, which a second call must repeat; the number of prompts may grow."""
    own = {name: value for name, value in plan.settings().items() if name != "prompts_per_batch"}
    sampled = {"samples": work.samples, "max_new_tokens": work.max_new_tokens}
    return {"model": checkpoint.fingerprint(), "benchmark": work.benchmark.name, **sampled, **own}


@dataclass(frozen=True)
class _Chunk:
    """Items that are sampled together and stored in one file; `first` is the number of the first one."""

    index: int
    first: int
    items: Sequence[Item]

    @property
    def ids(self) -> list[str]:
        """Hash of the items' names and contents, since another file may use the same names."""
        return [f"{item.id} {short_hash(json.dumps([item.prompt, item.reference_answer]))}" for item in self.items]


def _chunks(work: Work, plan: Plan) -> Iterator[_Chunk]:
    size = max(1, plan.batch_size // (work.samples + plan.baseline_samples))
    for index, first in enumerate(range(0, len(work.items), size)):
        yield _Chunk(index, first, work.items[first : first + size])


class _Prober:
    """Makes parts; the model is loaded for the first one."""

    def __init__(
        self,
        work: Work,
        plan: Plan,
        checkpoint: Checkpoint,
        delimiters: StepDelimiters,
        start: Callable[[], tuple[Any, Any]],
    ) -> None:
        self.work, self.plan, self.checkpoint, self.delimiters = work, plan, checkpoint, delimiters
        self._start = start
        self.size = work.samples + plan.baseline_samples
        self.rules = plan.rules()

    @cached_property
    def loaded(self) -> tuple[Any, Any, Gradients]:
        """Model, processing class, and what reads gradients off the model."""
        model, processing_class = self._start()
        tokenizer = tokenizer_of(processing_class)
        if tokenizer.pad_token is None:  # of Llama 3, say; what follows a completion's end is not read
            tokenizer.pad_token = tokenizer.eos_token
        chosen = {name: getattr(self.plan, name) for name in ("parameters", "projection", "seed")}
        return model, processing_class, Gradients(model, **chosen)

    def part(self, chunk: _Chunk) -> Part:
        """Sample a chunk's prompts, grade the rollouts, and take every rule's gradient of each prompt."""
        completions = self._sample(chunk)
        success = self._grade(chunk, completions)
        prompts = self.checkpoint.token_ids(chunk.items)
        found = [
            self._prompt(chunk.first + i, prompts[i], completions.token_ids[i * self.size :][: self.size], success[i])
            for i in range(len(chunk.items))
        ]
        return {name: torch.stack([one[name] for one in found]) for name in found[0]}

    def _sample(self, chunk: _Chunk) -> Completions:
        model, processing_class, _ = self.loaded
        return sample(
            model,
            processing_class,
            [self.checkpoint.prompt(item) for item in chunk.items],
            group_size=self.size,
            max_new_tokens=self.work.max_new_tokens,
            temperature=self.plan.temperature,
            batch_size=max(self.plan.batch_size, self.size),
            seed=seed_of(self.plan.seed, self.work.benchmark.name, "probe", chunk.index),
        )

    def _grade(self, chunk: _Chunk, completions: Completions) -> torch.Tensor:
        """bool [prompts, rollouts]."""
        items = [item for item in chunk.items for _ in range(self.size)]
        texts = [self.checkpoint.opening(item) + text for item, text in zip(items, completions.texts, strict=True)]
        verdicts = self.work.benchmark.get_grader().grade(texts, [item.reference_answer for item in items])
        return torch.tensor([verdict.score >= 1.0 for verdict in verdicts]).view(-1, self.size)

    def _prompt(self, index: int, prompt: list[int], responses: list[list[int]], success: torch.Tensor) -> Part:
        gradients, temperature = self.loaded[2], self.plan.temperature
        count, limit, ends = self.work.samples, self.work.max_new_tokens, ends_of(*self.loaded[:2])
        own = responses[:count]
        group = self._group(index, own, success, *gradients.score(prompt, own, temperature))
        weights = weigh_all(group, self.plan.loss_type, self.rules)
        patterns, mix = factor(weights)
        return {
            "vectors": mix @ gradients.read(prompt, own, patterns, temperature),
            "acts": (weights != 0).flatten(1).any(1),
            "success": group.success,
            "lengths": group.lengths,
            "surprise": group.surprise,
            "cut_off": torch.tensor([len(one) >= limit and one[-1] not in ends for one in own]),
        }

    def _group(
        self, index: int, own: list[list[int]], success: torch.Tensor, logp: torch.Tensor, entropy: torch.Tensor
    ) -> Group:
        others = success[len(own) :]
        group = make_group(index, own, success[: len(own)], logp, entropy, self.delimiters, self.work.max_new_tokens)
        tracked = float(others.float().mean()) if len(others) else None
        return dataclasses.replace(group, tracked=tracked, seed=self.plan.seed)

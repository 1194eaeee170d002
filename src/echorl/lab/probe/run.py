"""`echorl probe` from start to end: sample, grade, take gradients a few prompts at a time, and sum up."""

from __future__ import annotations

import dataclasses
import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from echorl.core.refusals import refuse_if
from echorl.core.steps import StepDelimiters
from echorl.lab.evaluate.benchmarks.layouts import short_hash
from echorl.lab.evaluate.checkpoint import Checkpoint
from echorl.lab.evaluate.plan import Work, seed_of
from echorl.lab.evaluate.sampling import ends_of, sample
from echorl.lab.jobs import Silent, View
from echorl.lab.probe.gradients import Gradients
from echorl.lab.probe.plan import Plan
from echorl.lab.probe.rules import factor, make_group, weigh_all
from echorl.lab.probe.summary import Part, sum_up
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
    """Probe a checkpoint on a benchmark's items; parts that an earlier call with the same settings left are used.

    The result has for every rule and every kind of group the unbiased size of its mean gradient, where it points, and
    the most that it adds to the policy gradient, with jack-knife errors over prompts (docs/guides/probe.md). Nothing is
    trained. A later call with more items samples only the new ones.

    Args:
        folder: for settings.json, projected gradients and probe.json.
        work: the items (`draw_items` draws some), the number of rollouts of each, and their limit.
        plan: the settings.
        checkpoint: writes the prompts.
        start: loads (model, processing class); called only if a part is to be sampled. The model's weights without a
            gradient are frozen.
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
    parts = Parts(
        folder / "parts",
        ".pt",
        write=lambda path, part: torch.save(part, path),
        read=lambda path: torch.load(path, weights_only=True),
    )
    prober = _Prober(work, plan, checkpoint, delimiters, start)
    size = max(1, plan.batch_size // prober.group_size)
    chunks = [
        _Chunk(i, first, work.items[first : first + size]) for i, first in enumerate(range(0, len(work.items), size))
    ]
    advance = view.begin(f"{work.benchmark.name}: probing", len(work.items))
    for chunk in chunks:
        parts.ensure(chunk.index, {"items": chunk.ids}, partial(prober.part, chunk))
        advance(chunk.first + len(chunk.items))
    result = sum_up(lambda: (parts.load(chunk.index) for chunk in chunks), checkpoint.name, work, plan)
    write_text(folder / RESULT, json.dumps(result, indent=1) + "\n")  # the parts stay: prompts may be added
    return result


def draw_items(work: Work, count: int, seed: int = 0) -> Work:
    """Return the work with `count` of its items, the first of an order that the seed draws, so that more extend fewer.

    Raises:
        ValueError: it has fewer items.
    """
    if count > len(work.items):
        raise ValueError(f"{work.benchmark.name} has {len(work.items)} items, not {count}: ask for fewer prompts.")
    order = random.Random(seed).sample(range(len(work.items)), len(work.items))
    return dataclasses.replace(work, items=[work.items[i] for i in order[:count]])


def _check(work: Work) -> None:
    refuse_if(
        {
            f"samples={work.samples} is not allowed: a baseline from the other rollouts needs 2 or more.": (
                work.samples < 2
            ),
            f"{len(work.items)} prompts are too few for a standard error: give 4 or more, better hundreds.": (
                len(work.items) < 4
            ),
            f"{work.benchmark.name} has images, which a probe does not read: take prompts of text.": any(
                item.images for item in work.items
            ),
        }
    )


def _settings(work: Work, plan: Plan, checkpoint: Checkpoint) -> dict[str, Any]:
    """Return the settings that gradients depend on, which a second call must repeat; the number of prompts may grow."""
    return {
        "model": checkpoint.fingerprint(),
        "benchmark": work.benchmark.name,
        "samples": work.samples,
        "max_new_tokens": work.max_new_tokens,
        **{name: value for name, value in plan.settings().items() if name != "prompts_per_batch"},
    }


@dataclass(frozen=True)
class _Chunk:
    """Items that are sampled together and stored in one file; `first` is the number of the first one."""

    index: int
    first: int
    items: Sequence[Item]

    @property
    def ids(self) -> list[str]:
        """Names of the items with hashes of their contents, since another file may use the same names."""
        return [f"{item.id} {short_hash(json.dumps([item.prompt, item.reference_answer]))}" for item in self.items]


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
        self.group_size = work.samples + plan.baseline_samples
        self.rules = plan.rules()

    @cached_property
    def loaded(self) -> tuple[Any, Any, Gradients]:
        """The model, its processing class, and the reader of its gradients."""
        model, processing_class = self._start()
        plan = self.plan
        gradients = Gradients(model, parameters=plan.parameters, projection=plan.projection, seed=plan.seed)
        return model, processing_class, gradients

    def part(self, chunk: _Chunk) -> Part:
        """Sample a chunk's prompts, grade the rollouts, and take every rule's gradient of each prompt."""
        token_ids, success = self._sample(chunk)
        prompts = self.checkpoint.token_ids(chunk.items)
        rows = [
            self._probe_prompt(chunk.first + i, prompt, token_ids[i * self.group_size :][: self.group_size], success[i])
            for i, prompt in enumerate(prompts)
        ]
        return {name: torch.stack([row[name] for row in rows]) for name in rows[0]}

    def _sample(self, chunk: _Chunk) -> tuple[list[list[int]], torch.Tensor]:
        """Return the token ids of all rollouts, and their success, bool [prompts, rollouts]."""
        model, processing_class, _ = self.loaded
        completions = sample(
            model,
            processing_class,
            [self.checkpoint.prompt(item) for item in chunk.items],
            group_size=self.group_size,
            max_new_tokens=self.work.max_new_tokens,
            temperature=self.plan.temperature,
            batch_size=max(self.plan.batch_size, self.group_size),
            seed=seed_of(self.plan.seed, self.work.benchmark.name, "probe", chunk.index),
        )
        items = [item for item in chunk.items for _ in range(self.group_size)]
        texts = [self.checkpoint.opening(item) + text for item, text in zip(items, completions.texts, strict=True)]
        verdicts = self.work.benchmark.get_grader().grade(texts, [item.reference_answer for item in items])
        success = torch.tensor([verdict.score >= 1.0 for verdict in verdicts]).view(-1, self.group_size)
        return completions.token_ids, success

    def _probe_prompt(self, index: int, prompt: list[int], rollouts: list[list[int]], success: torch.Tensor) -> Part:
        """Return a prompt's row of each tensor of a part; the rollouts after the samples give the tracked baseline."""
        (model, processing_class, gradients), plan, limit = self.loaded, self.plan, self.work.max_new_tokens
        responses = rollouts[: self.work.samples]
        success, other_success = success.split([self.work.samples, plan.baseline_samples])
        logp, entropy = gradients.score(prompt, responses, plan.temperature)
        tracked = float(other_success.float().mean()) if len(other_success) else None
        settings = {"tracked": tracked, "seed": plan.seed}
        group = make_group(index, responses, success, logp, entropy, self.delimiters, limit, **settings)
        weights = weigh_all(group, plan.loss_type, self.rules)
        patterns, mix = factor(weights)
        ends = ends_of(model, processing_class)
        return {
            "vectors": mix @ gradients.read(prompt, responses, patterns, plan.temperature),
            "acts": (weights != 0).flatten(1).any(1),
            "success": success,
            "lengths": group.lengths,
            "surprise": group.surprise,
            "cut_off": torch.tensor([len(tokens) >= limit and tokens[-1] not in ends for tokens in responses]),
        }

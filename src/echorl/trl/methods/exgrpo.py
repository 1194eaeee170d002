"""ExGRPO's hooks: a buffer of right rollouts, one of which takes the place of a rollout of its prompt's next group."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

import torch
from datasets import IterableDataset
from torch import Tensor

from echorl.core.refusals import refuse_if
from echorl.core.rollouts import Rollouts
from echorl.methods.base import Method
from echorl.methods.exgrpo import draw_prompts
from echorl.trl.batch import Capture, Demonstration, Plan
from echorl.trl.context import Context
from echorl.trl.methods.base import Row, Sample
from echorl.trl.sampling.demonstrations import column_names
from echorl.trl.sampling.row_keys import COLUMNS, RowKeys, group_keys
from echorl.trl.sampling.stored import Text, mean_entropies
from echorl.trl.sampling.stream import PromptStream
from echorl.trl.sampling.traces import TracesHooks
from echorl.trl.sources import sampled_logps
from echorl.trl.verifiers import Verifiers


@dataclass
class Stored:
    """A prompt in the buffer.

    Attributes:
        prompt: its tokens.
        num_success: successes at its last visit, a replayed rollout among them.
        rollouts: right rollouts without repetitions, on the CPU: tokens (int32), and the log-probs (float32) under
            which they were sampled.
    """

    prompt: list[int]
    num_success: int = 0
    rollouts: list[tuple[Tensor, Tensor]] = field(default_factory=list)

    def add(self, ids: list[int], logps: list[float]) -> None:
        """Add a rollout, unless one with these tokens is there."""
        tokens = torch.tensor(ids, dtype=torch.int32)
        if not any(torch.equal(tokens, stored) for stored, _ in self.rollouts):
            self.rollouts.append((tokens, torch.tensor(logps)))


@dataclass(kw_only=True)
class ReplayPlan(Plan):
    """Attributes:
    logps: row -> the log-probs under which the rollout that is replayed there was sampled.
    storing: this process's rows whose rollouts are stored.
    num_success: successes of each group of all processes.
    """

    logps: dict[int, Tensor] = field(default_factory=dict)
    storing: list[int] = field(default_factory=list)
    num_success: list[int] = field(default_factory=list)


class ReplayHooks(TracesHooks):
    """Prompts of the buffer take the place of prompts of the data set; their last rollout is a stored one.

    Buffer and retired prompts are the same on every process. The replaced rollout counts in the sampled tokens.
    """

    def __init__(self, method: Method, context: Context, verifiers: Verifiers) -> None:
        super().__init__(method, context, verifiers)
        refuse_if(
            {
                "a training set without random access: load its rows as a Dataset": isinstance(
                    context.rows, IterableDataset
                ),
                "remove_unused_columns=True, without whose columns a row is not recognised: set it to False": (
                    context.args.remove_unused_columns
                ),
                "tools: a rollout that is replayed holds no tool calls": "tools" in context.features,
                "images: stored rollouts are scored without them": bool({*COLUMNS} & {*column_names(context.rows)}),
            },
            f"method={context.args.method!r} cannot be combined with {{}}.",
        )
        self.rows = RowKeys(context.rows, context.args.method)
        self.stream = PromptStream(len(context.rows), context.args.seed)
        self.stored: dict[int, Stored] = {}
        self.retired: set[int] = set()
        self.started = False
        self.num_batches = 0
        self.replays: dict[int, int] = {}  # group of the batch that is being made -> key

    def collect(self, rows: list[Row], sample: Sample, context: Context) -> dict[str, Any]:
        """Return the batch of these rows, of which some are replaced by rows of the buffer."""
        replaced = self._replaced(group_keys(rows, context), context)
        first_row, size = context.comm.rank * len(rows), context.args.num_generations
        rows = list(rows)
        for place, row in enumerate(rows):
            if (number := replaced.get((first_row + place) // size)) is not None:
                rows[place] = {key: value for key, value in context.rows[number].items() if key in row}
        return sample(rows).batch

    def _replaced(self, keys: list[int], context: Context) -> dict[int, int]:
        """Return group -> the number of the row in its place; draw the prompts to replay in `replays`."""
        num = int(self.method.ratio * len(keys))
        successes = {key: stored.num_success for key, stored in self.stored.items()}
        rng = random.Random(f"replay {context.args.seed} {self.num_batches}")
        self.num_batches += 1
        drawn = draw_prompts(successes, context.args.num_generations, num, rng)
        places = sorted(range(len(keys)), key=lambda group: keys[group] not in self.retired)  # retired ones first
        self.replays = dict(zip(places, drawn, strict=False))
        replaced = {group: self.rows.numbers[key] for group, key in self.replays.items()}
        if len(self.rows.numbers) - len(self.retired) > len(keys):  # else the same few prompts would fill each batch
            retired = [group for group in places[len(drawn) :] if keys[group] in self.retired]
            replaced |= {group: self._draw_unsolved() for group in retired}
        return replaced

    def _draw_unsolved(self) -> int:
        """Return the number of a row that is not retired."""
        while True:
            (number,) = self.stream.draw(1)
            if self.rows.keys[number] not in self.retired:
                return number

    def plan(self, rows: list[Row], context: Context) -> ReplayPlan:
        """Return the plan with the stored rollouts that replace the last ones of their groups."""
        plan = ReplayPlan(keys=group_keys(rows, context))
        rollouts = self._least_entropies(context)
        first_row, size = context.comm.rank * len(rows), context.args.num_generations
        for row in range(len(rows)):
            group, place = divmod(first_row + row, size)
            if group in self.replays and place == size - 1:
                tokens, plan.logps[row] = rollouts[self.replays[group]]
                ids = tokens.tolist()
                text = context.tokenizer.decode(ids, skip_special_tokens=True)
                plan.demonstrations[row] = Demonstration(text, ids)
        numbers = {"replayed": len(self.replays) / len(plan.keys), "buffer": len(self.stored)}
        numbers["retired"] = len(self.retired)
        context.log.update({f"method/{name}": number for name, number in numbers.items()})
        return plan

    def _least_entropies(self, context: Context) -> dict[int, tuple[Tensor, Tensor]]:
        """Return for each replayed prompt its rollout of lowest mean entropy under the present policy."""
        candidates = [(key, rollout) for key in self.replays.values() for rollout in self.stored[key].rollouts]
        texts = [Text(self.stored[key].prompt, ids.tolist()) for key, (ids, _) in candidates]
        least: dict[int, float] = {}
        chosen: dict[int, tuple[Tensor, Tensor]] = {}
        for (key, rollout), entropy in zip(candidates, mean_entropies(texts, context), strict=True):
            if key not in least or entropy < least[key]:
                least[key], chosen[key] = entropy, rollout
        return chosen

    def advantages(self, advantages: Tensor, rollouts: Rollouts, capture: Capture, context: Context) -> Tensor:
        """Return the advantages unchanged; retire solved prompts, and mark the rollouts to store."""
        if not self.method.ratio:
            return advantages
        plan: Any = capture.plan
        plan.num_success, num_verdicts = rollouts.num_success.tolist(), rollouts.num_verdicts.tolist()
        for key, num_success, number in zip(plan.keys, plan.num_success, num_verdicts, strict=True):
            if number and num_success == number:
                self.retired.add(key)
                self.stored.pop(key, None)
        if self.started:
            is_open = ~torch.tensor([key in self.retired for key in plan.keys], device=rollouts.success.device)
            is_stored = rollouts.success & rollouts.from_policy & is_open[rollouts.groups.index]
            plan.storing = (is_stored[rollouts.local] & rollouts.in_loss.any(1)).nonzero().flatten().tolist()
        share = float(rollouts.success.sum() / rollouts.has_verdict.sum().clamp(min=1))
        self.started = self.started or share > self.method.start
        return advantages

    def carried(self, out: dict[str, Any], rollouts: Rollouts, capture: Capture, context: Context) -> dict[str, Tensor]:
        """Return the traces' keys with the log-probs under which they were sampled; store this batch's rollouts."""
        plan: Any = capture.plan
        logps = torch.zeros(out["completion_ids"].shape, device=out["completion_ids"].device)
        for row, values in plan.logps.items():
            logps[row, : len(values)] = values.to(logps.device)
        self._store(out, plan, context)
        return {**super().carried(out, rollouts, capture, context), "trace_logps": logps}

    def _store(self, out: dict[str, Any], plan: ReplayPlan, context: Context) -> None:
        """Add the rollouts marked on all processes, and count each visited prompt's successes."""
        if self.started:
            marked = torch.zeros_like(out["completion_mask"][:, 0], dtype=torch.bool)
            marked[plan.storing] = True
            texts = [_text(out, row) for row in plan.storing]
            sampled = sampled_logps(out, marked, context)[marked].tolist()
            logps = [values[: len(text.ids)] for values, text in zip(sampled, texts, strict=True)]
            first_row, size = out["completion_ids"].shape[0] * context.comm.rank, context.args.num_generations
            keys = [plan.keys[(first_row + row) // size] for row in plan.storing]
            entries = list(zip(keys, texts, logps, strict=True))
            for key, text, values in context.comm.gather_objects(entries):
                self.stored.setdefault(key, Stored(text.prompt)).add(text.ids, values)
        for key, count in zip(plan.keys, plan.num_success, strict=False):
            if key in self.stored:
                self.stored[key].num_success = count

    def log_ratio(self, logps: Tensor, inputs: dict[str, Any]) -> Tensor:
        return logps - inputs["trace_logps"]

    def state_dict(self) -> dict[str, Any]:
        return {
            "rows": self.rows.fingerprint,
            "stored": {key: dict(vars(each)) for key, each in self.stored.items()},
            "retired": sorted(self.retired),
            "started": self.started,
            "num_batches": self.num_batches,
            "drawn": self.stream.drawn,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if state:
            self.rows.check(state["rows"])
            self.stored = {key: Stored(**each) for key, each in state["stored"].items()}
            for each in self.stored.values():  # a checkpoint is loaded to the device
                each.rollouts = [(ids.cpu(), logps.cpu()) for ids, logps in each.rollouts]
            self.retired, self.started = set(state["retired"]), state["started"]
            self.num_batches, self.stream.drawn = state["num_batches"], state["drawn"]


def _text(out: dict[str, Any], row: int) -> Text:
    """Return a row of TRL's batch without padding."""
    parts = ((out[f"{part}_ids"][row], out[f"{part}_mask"][row]) for part in ("prompt", "completion"))
    return Text(*(ids[mask.bool()].tolist() for ids, mask in parts))

"""The policy's own judgements of its right rollouts, sampled pair by pair."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from echorl.core.refusals import refuse_if
from echorl.methods.judging import Pair, count_wins, fill_question, read_judgement
from echorl.tasks.base import completion_text
from echorl.trl.batch import COMPLETION_IDS, COMPLETIONS, Generated, Plan, SampleAgain
from echorl.trl.context import Context
from echorl.trl.methods.base import Row
from echorl.trl.sampling.demonstrations import column_names
from echorl.trl.sampling.requests import RequestPlan, extra_tokens, share_of, solved_groups
from echorl.trl.verifiers import Verifiers

GREEDY = {"temperature": 1.0, "top_p": 1e-9}
"""Settings with which every engine takes the likeliest token; a temperature of 0 is refused by transformers."""


def check_judging(verifiers: Verifiers, context: Context) -> None:
    """Check that the policy can be asked about its rollouts.

    Raises:
        ValueError: a `rollout_func` samples, there are tools or images, or a verifier is a reward model.
    """
    images = [name for name in ("image", "images") if name in column_names(context.rows)]
    refuse_if(
        {
            "a rollout_func, which cannot be asked about rollouts": "rollout_func" in context.features,
            "tools: a judgement makes no tool calls": "tools" in context.features,
            f"the column {images[0]!r}: the question is text alone" if images else "": bool(images),
        },
        f"ranking='judgement' of method={context.args.method!r} cannot be combined with {{}}.",
    )
    verifiers.check_functions(context)


@dataclass(kw_only=True)
class JudgingPlan(Plan):
    """After the rollouts are sampled, the policy compares those of the groups that are all right.

    Attributes:
        rows: those of the data set, one for each rollout of this process.
        question: the text that asks for the better of two.
        scores: float [N], for all processes: the comparisons that a rollout won; NaN outside these groups.
    """

    rows: list[Row]
    question: str
    verifiers: Verifiers
    context: Context
    scores: Tensor = field(default_factory=lambda: torch.zeros(0))

    def replace(self, prompts: list[Any], generated: Generated, again: SampleAgain) -> list[int]:
        """Set the scores, and replace nothing; return the tokens of the judgements, one number a row."""
        size, comm = self.context.args.num_generations, self.context.comm
        self.scores = torch.full((len(prompts) * comm.num_ranks,), torch.nan)
        groups, _ = solved_groups(self.rows, generated, self.verifiers, self.context)
        if not groups:
            return []
        questions = self._questions(groups, prompts, generated)
        own, most = share_of(questions, comm), len(prompts)
        chunks = [own[first : first + most] for first in range(0, len(own), most)]
        sampled = [entry for chunk in chunks for entry in self._ask(chunk, again)]
        judgements = {pair: judgement for pair, judgement, _ in sampled}  # share_of can ask twice
        for row, wins in count_wins(judgements).items():
            self.scores[row] = wins
        num_read = sum(judgement is not None for judgement in judgements.values())
        self.context.log.update(
            {
                "method/judgements_read": num_read / len(judgements),
                "method/judgement_tokens": sum(number for *_, number in sampled) / len(sampled),
            }
        )
        return extra_tokens(((pair[0] // size, number) for pair, _, number in sampled), len(prompts), self.context)

    def _questions(self, groups: list[int], prompts: list[Any], generated: Generated) -> list[tuple[Pair, Any]]:
        """Return the pairs of rows of these groups with the prompts that ask about them, of all processes."""
        size = self.context.args.num_generations
        texts = self.context.comm.gather_objects(
            [(prompt, completion_text(text)) for prompt, text in zip(prompts, generated[COMPLETIONS], strict=True)]
        )
        pairs = [pair for g in groups for pair in itertools.combinations(range(g * size, (g + 1) * size), 2)]
        return [(pair, self._question(texts[pair[0]][0], *(texts[row][1] for row in pair))) for pair in pairs]

    def _question(self, prompt: Any, first: str, second: str) -> Any:
        text = fill_question(self.question, completion_text(prompt), first, second)
        return text if isinstance(prompt, str) else [{"role": "user", "content": text}]

    def _ask(self, questions: list[tuple[Pair, Any]], again: SampleAgain) -> list[tuple[Pair, int | None, int]]:
        """Return pair, judgement and tokens sampled of all processes' questions, given this one's."""
        plan = RequestPlan(prefixes=[[] for _ in questions], request=[])
        generated = again([prompt for _, prompt in questions], plan, **GREEDY)
        answers = zip(questions, generated[COMPLETIONS], generated[COMPLETION_IDS], strict=True)
        return self.context.comm.gather_objects(
            [(pair, read_judgement(completion_text(text)), len(ids)) for (pair, _), text, ids in answers]
        )

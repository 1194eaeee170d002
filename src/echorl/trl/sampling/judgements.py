"""The policy's own judgements of its successful rollouts, sampled pair by pair."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from echorl.core.refusals import refuse_if
from echorl.core.rollouts import Rollouts
from echorl.methods.judging import Pair, count_wins, fill_question, read_judgement
from echorl.tasks.base import completion_text
from echorl.tasks.verify.reading import after_thinking
from echorl.trl.batch import COMPLETION_IDS, COMPLETIONS, Capture, Plan
from echorl.trl.context import Context
from echorl.trl.sampling.demonstrations import column_names
from echorl.trl.sampling.requests import RequestPlan, extra_tokens, share_of

GREEDY = {"temperature": 1.0, "top_p": 1e-9}
"""Settings that leave the likeliest token alone; a temperature of 0 is refused by transformers."""

Answer = tuple[Pair, int | None, int]
"""A pair, its judgement (None: none could be read), and the number of tokens sampled."""


def check_judging(question: str, context: Context) -> None:
    """Check that the policy can be asked about its rollouts.

    Raises:
        ValueError: a `rollout_func` samples, there are tools or images, or vLLM's settings leave no room or no choice.
    """
    args, columns = context.args, column_names(context.rows)
    images = [name for name in ("image", "images") if name in columns]
    fixed = [name for name in GREEDY if name in (args.generation_kwargs or {})] if args.use_vllm else []
    room, needed = args.vllm_max_model_length, 3 * args.max_completion_length
    needed += len(context.tokenizer(question)["input_ids"])
    refuse_if(
        {
            "a rollout_func, which cannot be asked about rollouts": "rollout_func" in context.features,
            "tools: a judgement makes no tool calls": "tools" in context.features,
            f"the column {images[0]!r}: the question is text alone" if images else "": bool(images),
            f"generation_kwargs[{fixed[0]!r}], which vLLM would use for judgements, too" if fixed else "": bool(fixed),
            "vllm_structured_outputs_regex, to which judgements would be bound": (
                args.use_vllm and args.vllm_structured_outputs_regex is not None
            ),
            f"vllm_max_model_length={room}: a question holds two rollouts, and its answer is as long as one more "
            f"(set it to at least {needed} and the length of a prompt)": (
                args.use_vllm and room is not None and room < needed
            ),
        },
        f"ranking='judgement' of method={args.method!r} cannot be combined with {{}}.",
    )


@dataclass(kw_only=True)
class JudgingPlan(Plan):
    """The policy compares the rollouts of all-success groups, after they are scored.

    Attributes:
        method: `SaturatedLearning`.
        scores: float [N], of all processes' rollouts, as `judge` returns them.
    """

    method: Any
    context: Context
    scores: Tensor = field(default_factory=lambda: torch.zeros(0))

    def ask(self, rollouts: Rollouts, capture: Capture) -> list[int]:
        rows = self.method.ranked_rows(rollouts) & self.context.comm.gather(rollouts.in_loss.any(1))
        self.scores, num_sampled = judge(rows, self.method.judge_prompt, capture, self.context)
        return num_sampled


def judge(rows: Tensor, question: str, capture: Capture, context: Context) -> tuple[Tensor, list[int]]:
    """Let the policy compare these rollouts with the others of their group among them.

    It is asked in calls of the batch's size at most, so that memory is bounded.

    Args:
        rows: bool [N], of all processes' rollouts.

    Returns:
        float [N], the comparisons that a rollout won, NaN for other rows and for a group of which no judgement could be
        read; and, for each row of this process, the tokens that were sampled.
    """
    scores, size = torch.full_like(rows, torch.nan, dtype=torch.float32), context.args.num_generations
    texts = context.comm.gather_objects(list(zip(*capture.texts, strict=True)))
    by_group = itertools.groupby(rows.nonzero().flatten().tolist(), key=lambda row: row // size)
    pairs = [pair for _, group in by_group for pair in itertools.combinations(group, 2)]
    if not pairs:
        return scores, []
    share, batch_size = share_of(pairs, context.comm), len(capture.texts[0])
    chunks = [share[first : first + batch_size] for first in range(0, len(share), batch_size)]
    answers = [answer for chunk in chunks for answer in _ask(chunk, question, texts, context)]
    judgements = {pair: judgement for pair, judgement, _ in answers}  # `share_of` can ask twice
    _log(judgements, answers, context)
    is_read = {pair[0] // size for pair, judgement in judgements.items() if judgement is not None}
    for row, wins in count_wins(judgements).items():
        if row // size in is_read:
            scores[row] = wins
    sampled = ((pair[0] // size, num_tokens) for pair, _, num_tokens in answers)
    return scores, extra_tokens(sampled, batch_size, context)


def _log(judgements: dict[Pair, int | None], answers: list[Answer], context: Context) -> None:
    num_read = sum(judgement is not None for judgement in judgements.values())
    num_tokens = sum(number for *_, number in answers)
    context.log.update(
        {"method/judgements_read": num_read / len(judgements), "method/judgement_tokens": num_tokens / len(answers)}
    )
    if not num_read:
        context.log.warn_once(
            "no_judgement",
            f"the policy named no better rollout in any of a batch's {len(judgements)} comparisons, so none of its "
            "groups is ranked: read `method/judgements_read`, and change judge_prompt, or take ranking='entropy'.",
        )


def _ask(pairs: list[Pair], question: str, texts: list[tuple[Any, Any]], context: Context) -> list[Answer]:
    """Return the answers of all processes, given this one's pairs."""
    prompts = [
        make_question(question, texts[first][0], completion_text(texts[first][1]), completion_text(texts[second][1]))
        for first, second in pairs
    ]
    generated = context.policy.sample(prompts, RequestPlan(), **GREEDY)
    answers = zip(pairs, generated[COMPLETIONS], generated[COMPLETION_IDS], strict=True)
    return context.comm.gather_objects(
        [(pair, read_judgement(after_thinking(completion_text(text))), len(ids)) for pair, text, ids in answers]
    )


def make_question(question: str, prompt: Any, first: str, second: str) -> Any:
    """Return the question about two rollouts of a prompt: text, or for a chat its system messages and one of the user.

    Of a chat with several turns the problem is all of them.

    >>> make_question("{problem} {first} {second}", [{"role": "user", "content": "1+1?"}], "2", "two")
    [{'role': 'user', 'content': '1+1? 2 two'}]
    """
    if isinstance(prompt, str):
        return fill_question(question, prompt, first, second)
    system = [message for message in prompt if message["role"] == "system"]
    turns = [message for message in prompt if message["role"] != "system"]
    problem = "\n\n".join(f"{message['role']}: {completion_text([message])}" for message in turns)
    problem = completion_text(turns) if len(turns) == 1 else problem
    return [*system, {"role": "user", "content": fill_question(question, problem, first, second)}]

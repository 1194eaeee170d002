"""OpenR1-Math: competition problems with solutions by DeepSeek-R1, the training set of LUFFY's and EchoRL's papers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from echorl.support.errors import located
from echorl.tasks.base import Prompt, Task, TaskRow, Verifier, draw, in_validation
from echorl.tasks.demonstrations import demonstration_text
from echorl.tasks.rows import Location, Row, check_columns
from echorl.tasks.verify import GRADERS, make_reward

HUB_ID = "Elliott/Openr1-Math-46k-8192"
COLUMNS = ("prompt", "target", "reward_model")
VALIDATION_SHARE = 0.01
"""Share of the rows for the split "validation", by a hash of the question."""

SYSTEM = (
    "Your task is to follow a systematic, thorough reasoning process before providing the final solution. This "
    "involves analyzing, summarizing, exploring, reassessing, and refining your thought process through multiple "
    "iterations. Structure your response into two sections: Thought and Solution. In the Thought section, present "
    'your reasoning using the format: "<think>\n {thoughts} </think>\n". Each thought should include detailed '
    'analysis, brainstorming, verification, and refinement of ideas. After "</think>\n," in the Solution section, '
    "provide the final, logical, and accurate answer, clearly derived from the exploration in the Thought section. "
    "If applicable, include the answer in \\boxed{} for closed-form results like multiple choices or mathematical "
    "solutions."
)
"""The system message of LUFFY's training and evaluation data (MIT licence)."""


@dataclass(frozen=True, kw_only=True)
class OpenR1Math(Task):
    r"""OpenR1-Math (46k problems) from the hub, or from `data`: Parquet or JSONL in the hub's schema.

    "train" and "validation" are disjoint parts of the one file, by a hash of the question. A success is an answer that
    the math grader finds equal to the reference answer. Demonstrations keep their `<think>` part. The trainer limits
    their length. The columns are prompt, question, answer and demonstration.
    """

    data: str | None = None
    """Path of a file, or of a folder with openr1.parquet or train-*.parquet; None reads the hub's dataset."""
    template: str = "{question}"
    """Text of the user message, with `{question}` in it."""
    system: str = SYSTEM
    """The system message; "" for none. The system messages of the rows, which are the same text, are not used."""
    chat: bool = True
    """Make each prompt a list of messages; False makes it a string that begins with the system message."""

    SPLITS: ClassVar[tuple[str, ...]] = ("train", "validation")

    @cached_property
    def verifier(self) -> Verifier:
        """The reward function for the column `answer`, in LaTeX."""
        return make_reward(GRADERS["math"])

    def rows(self, split: str, size: int | None, seed: int) -> list[TaskRow]:
        """Rows of the file: the question in the user's message, the reference answer, and the solution."""
        place = self.data or HUB_ID
        rows = LOCATION.rows(self.data, dedicated=True)
        check_columns(rows[0], [COLUMNS], place)
        items = [_read(row, f"{place}, row {number}") for number, row in enumerate(rows)]
        in_split = [item for item in items if in_validation(item["question"], split, VALIDATION_SHARE)]
        drawn = draw(in_split, size, seed, place=f"OpenR1-Math's split {split!r}")
        return [{"prompt": self._prompt(item["question"]), **item} for item in drawn]

    def _prompt(self, question: str) -> Prompt:
        text = self.template.replace("{question}", question)
        if not self.chat:
            return f"{self.system}\n\n{text}" if self.system else text
        system = [{"role": "system", "content": self.system}] if self.system else []
        return [*system, {"role": "user", "content": text}]


LOCATION = Location(hub_id=HUB_ID, split="train", stems=("openr1", "openr1_math"))


def _read(row: Row, place: str) -> TaskRow:
    """Question, answer and demonstration of a row; ValueError if a message or the answer is missing."""
    try:
        question = [message["content"] for message in row["prompt"] if message["role"] == "user"][-1]
        answer = row["reward_model"]["ground_truth"]
    except (IndexError, KeyError, TypeError):
        question = answer = None
    if not isinstance(question, str) or not isinstance(answer, str):
        raise ValueError(
            f"{place} has no question or no answer; write the question as a user message in 'prompt', and the answer "
            "as a text under 'ground_truth' in 'reward_model'"
        )
    with located(place):
        return {"question": question, "answer": answer, "demonstration": demonstration_text(row["target"])}

r"""The paper's training sets as `echorl train` takes them, and the verifier of their answers.

openr1, openr1_text   Elliott/Openr1-Math-46k-8192: `prompt`, `target` (both messages), `reward_model.ground_truth`
geometry3k            hiyouga/geometry3k: `images`, `problem` (with "<image>"), `answer`
correct               math-verify on the last \boxed{...}, in a worker process with a time limit
"""

from __future__ import annotations

from typing import Any

from echorl.tasks import sandbox
from echorl.tasks.base import completion_text

INSTRUCTION = "Reason step by step, one step a line, and put the final answer in \\boxed{}."
SECONDS = 5.0
MAX_ANSWER_CHARS = 1000


def openr1(row: dict[str, Any]) -> dict[str, Any]:
    """`gold`; prompt and target are messages already."""
    return {"gold": row["reward_model"]["ground_truth"]}


def openr1_text(row: dict[str, Any]) -> dict[str, Any]:
    """`gold`, and the question as text, for a model without a chat template."""
    question = next(message["content"] for message in row["prompt"] if message["role"] == "user")
    return {**openr1(row), "prompt": f"Question: {question}\n{INSTRUCTION}\nAnswer: "}


def geometry3k(row: dict[str, Any]) -> dict[str, Any]:
    """`gold`, and the question as a message: the trainer puts the image before it."""
    question = row["problem"].replace("<image>", "").strip()
    return {"gold": row["answer"], "prompt": [{"role": "user", "content": f"{question}\n\n{INSTRUCTION}"}]}


def correct(completions: list, gold: list[str], **columns: Any) -> list[float]:
    """1.0 where the answer equals the gold one as mathematics, else 0.0."""
    answers = [last_box(completion_text(completion)) for completion in completions]
    asked = [i for i, answer in enumerate(answers) if answer and len(answer) <= MAX_ANSWER_CHARS]
    pairs = [(as_latex(gold[i]), as_latex(answers[i])) for i in asked]
    verdicts = dict(zip(asked, sandbox.call_each("math_verify", pairs, timeout=SECONDS), strict=True))
    return [float(verdicts.get(i) is True) for i in range(len(answers))]


def as_latex(answer: str) -> str:
    return answer if "$" in answer else f"${answer}$"


def last_box(text: str) -> str:
    r"""What the last \boxed{...} after </think> holds; "" without one that is closed.

    >>> last_box(r"<think>\boxed{1}</think> so \boxed{\frac{1}{2}}."), last_box(r"<think>\boxed{1}</think> so 1")
    ('\\frac{1}{2}', '')
    """
    _, box, rest = text.rpartition("</think>")[2].rpartition("\\boxed{")
    depth = 1 if box else 0
    for end, character in enumerate(rest):
        depth += (character == "{") - (character == "}")
        if box and not depth:
            return rest[:end].strip()
    return ""

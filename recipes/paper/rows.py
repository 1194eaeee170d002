r"""The paper's training sets as `echorl train` takes them, and the verifier of their answers.

openr1, openr1_text   Elliott/Openr1-Math-46k-8192: `prompt`, `target` (both messages), `reward_model.ground_truth`
geometry3k            hiyouga/geometry3k: `images`, `problem` (with "<image>"), `answer`
correct               math-verify on the last \boxed{...}, in a worker process with a time limit
"""

from __future__ import annotations

from typing import Any

from echorl.tasks.verify import GRADERS, make_reward

INSTRUCTION = "Reason step by step, one step a line, and put the final answer in \\boxed{}."


def openr1(row: dict[str, Any]) -> dict[str, Any]:
    """Return `reference_answer`; prompt and target are messages already."""
    return {"reference_answer": row["reward_model"]["ground_truth"]}


def openr1_text(row: dict[str, Any]) -> dict[str, Any]:
    """Return `reference_answer`, and the question as text, for a model without a chat template."""
    question = next(message["content"] for message in row["prompt"] if message["role"] == "user")
    return {**openr1(row), "prompt": f"Question: {question}\n{INSTRUCTION}\nAnswer: "}


def geometry3k(row: dict[str, Any]) -> dict[str, Any]:
    """Return `reference_answer`, and the question as a message, before which the trainer puts the image."""
    question = row["problem"].replace("<image>", "").strip()
    prompt = [{"role": "user", "content": f"{question}\n\n{INSTRUCTION}"}]
    return {"reference_answer": row["answer"], "prompt": prompt}


correct = make_reward(GRADERS["math"], column="reference_answer", name="correct")

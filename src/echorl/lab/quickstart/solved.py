"""Gradients of GRPO and EchoRL on prompts that a policy has solved, measured in a process of their own.

python -m echorl.lab.quickstart.solved FILE PROMPTS SAMPLES PARENT
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from echorl.lab.jobs import Job, View, end_with_parent, run_jobs
from echorl.models import POLICY
from echorl.models.fingerprint import hash_model
from echorl.support.files import cached, stored

COEF = 0.001
"""The paper's coefficient."""


def solved_finding(folder: Path, *, prompts: int, samples: int, view: View | None) -> str:
    """Return a sentence on the gradients of the shipped policy on solved prompts, which are measured once a folder."""
    path = folder / "gradients.json"
    if (norms := stored(path, _key(prompts, samples))) is None:
        job = Job(
            text="gradients on solved prompts",
            name="gradients on solved prompts",
            module="echorl.lab.quickstart.solved",
            arguments=(str(path), str(prompts), str(samples)),
            log=folder / "gradients.log",
        )
        run_jobs([job], parallel=1, view=view)
        norms = stored(path, _key(prompts, samples))
    if not norms["groups"]:
        return f"Before training none of {prompts} groups was all-success, so there are no gradients to compare."
    text = (
        f"On the {norms['groups']} of {prompts} groups whose rollouts all succeed before training, GRPO's gradient has "
        f"norm {norms['policy']:.2g} and EchoRL's {norms['echo']:.2g}"
    )
    return f"{text}: the gradient comes back." if norms["policy"] == 0 < norms["echo"] else f"{text}."


def _key(prompts: int, samples: int) -> dict[str, Any]:
    return {"policy": hash_model(str(POLICY)), "prompts": prompts, "samples": samples}


def measure(prompts: int, samples: int) -> dict[str, float]:
    """Sample validation prompts, and return the norms of both gradients on a batch of the all-success groups alone.

    Returns:
        {"groups": number of all-success groups, "policy": norm of GRPO's gradient, "echo": norm of that of EchoRL's
        term}; the norms are 0 without a group.
    """
    import torch

    from echorl.core.steps import StepDelimiters
    from echorl.lab.evaluate.sampling import judge, sample
    from echorl.lab.probe.gradients import Gradients
    from echorl.lab.probe.rules import RULES, factor, make_group, policy_loss
    from echorl.models.loading import load_policy
    from echorl.tasks import load_task
    from echorl.tasks.quickstart import MAX_NEW_TOKENS, TASK

    task = load_task(**TASK)
    rows = task.dataset("validation", size=prompts)
    model, tokenizer = load_policy(POLICY)
    completions = sample(model, tokenizer, rows["prompt"][:], group_size=samples, max_new_tokens=MAX_NEW_TOKENS)
    success = judge(task.verifier, completions, {"instance": rows["instance"][:]})
    solved = [i for i, group in enumerate(success) if all(group)]
    gradients, delimiters = Gradients(model, projection=0), StepDelimiters.from_tokenizer(tokenizer)
    total = torch.zeros(2, gradients.projection.width)
    for i in solved:
        prompt = tokenizer(rows["prompt"][i])["input_ids"]
        responses = completions.token_ids[i * samples : (i + 1) * samples]
        scores = gradients.score(prompt, responses, 1.0)
        group = make_group(i, responses, torch.tensor(success[i]), *scores, delimiters, MAX_NEW_TOKENS)
        patterns, mix = factor(torch.stack([policy_loss("grpo")(group), RULES["echo"].weigh(group)]))
        total += mix @ gradients.read(prompt, responses, patterns, 1.0)
    policy, echo = (total / max(1, len(solved))).double().norm(dim=1).tolist()
    return {"groups": len(solved), "policy": policy, "echo": COEF * echo}


def main() -> None:
    path, prompts, samples, parent = Path(sys.argv[1]), *map(int, sys.argv[2:])
    end_with_parent(parent)
    cached(path, _key(prompts, samples), lambda: measure(prompts, samples))


if __name__ == "__main__":
    main()

"""`compute_score`: verl's custom reward function, by the verifiers of `echorl.tasks`.

reward.custom_reward_function.path=pkg://echorl.verl.reward, name compute_score (verl's default).
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from functools import cache
from typing import Any

from echorl.tasks import TASKS, Verifier, load_task
from echorl.tasks.verify import GRADERS, Grader, Verdict
from echorl.tasks.verify.rewards import TIMEOUTS

SOURCES: Mapping[str, str] = {
    **dict.fromkeys(("aime", "aime25", "amc", "minerva", "olympiad_bench", "HuggingFaceH4/MATH-500"), "math"),
    **dict.fromkeys(("DigitalLearningGmbH/MATH-lighteval", "lighteval/MATH", "math_dapo"), "math"),
    **dict.fromkeys(("arc_c", "gpqa", "mmlu_pro"), "choice"),
    "openai/gsm8k": "number",
}
"""A row's data_source -> the grader for it, where it is neither a task nor a grader itself."""


def compute_score(
    data_source: str,
    solution_str: str,
    ground_truth: str,
    extra_info: Mapping[str, Any] | None = None,
    *,
    task: str | None = None,
    grader: str | None = None,
    reward_router_address: str | None = None,
    reward_model_tokenizer: Any = None,
    **options: Any,
) -> dict[str, float]:
    """Return the score of the response, from 0.0 to 1.0, with `acc` and `timeout`, which verl averages in a validation.

    `acc` is 1.0 for a success, else 0.0; `timeout` is 1.0 where the verifier took too long, and the score is 0.0 then.
    Called by verl's reward workers, from several threads at once.

    Args:
        data_source: the row's task, unless `task` or `grader` is given: a name in `echorl.tasks.TASKS`
            (`"reasoning_gym/chain_sum"` also names the generator), in `echorl.tasks.verify.GRADERS`, or in `SOURCES`.
        solution_str: the response's text.
        ground_truth: the row's `reward_model.ground_truth`: the grader's reference answer, which for a task is its
            column: `answer` of gsm8k and word_problems, `instance` of reasoning_gym.
        task, grader, options: from `+reward.custom_reward_function.reward_kwargs.*`; options are those of the task or
            the grader.
        extra_info, reward_router_address, reward_model_tokenizer: further arguments of verl's; not used.

    Raises:
        ValueError: there is no such task, grader or option, or the verifier knows nothing of this row.
    """
    name, _, generator = (task or data_source).partition("/")
    if grader is None and name in TASKS:
        if generator:
            options["generator"] = generator
        verdict = _ask_task(name, _as_text(options), solution_str, ground_truth)
    else:
        grader = grader or task or SOURCES.get(data_source, data_source)
        if grader not in GRADERS:
            raise ValueError(
                f"data_source={data_source!r} is no task or grader of echorl: set +reward.custom_reward_function."
                f"reward_kwargs.task to one of {', '.join(TASKS)}, or .grader to one of {', '.join(GRADERS)}."
            )
        verdict = _grader(grader, _as_text(options)).grade([solution_str], [ground_truth])[0]
    return {
        "score": verdict.score,
        "acc": float(verdict.score == 1.0),
        "timeout": float(verdict.reason == "timeout"),
    }


def _ask_task(name: str, options: str, text: str, reference_answer: str) -> Verdict:
    logged: dict[str, float] = {}
    columns = {"answer": [reference_answer], "instance": [reference_answer], "log_metric": logged.__setitem__}
    score = _verifier(name, options)(completions=[text], **columns)[0]
    if score is None:
        raise ValueError(
            f"the verifier of {name} has no verdict on a row whose ground truth begins {reference_answer[:80]!r}."
        )
    return Verdict(score, "timeout" if logged.get(TIMEOUTS) else "")


@cache
def _verifier(name: str, options: str) -> Verifier:
    return load_task(name, **json.loads(options)).verifier


@cache
def _grader(name: str, options: str) -> Grader:
    grader: Any = GRADERS[name]  # every grader is a dataclass
    values = json.loads(options)
    names = [field.name for field in dataclasses.fields(grader) if field.name != "pool"]
    for option in values:
        if option not in names:
            raise ValueError(f"the grader {name!r} has no option {option!r}; it has {', '.join(names) or 'none'}")
    return dataclasses.replace(grader, **values)


def _as_text(options: Mapping[str, Any]) -> str:
    """Return the options as JSON; Hydra's containers become objects and lists."""
    return json.dumps(
        options, sort_keys=True, default=lambda value: (dict if isinstance(value, Mapping) else list)(value)
    )

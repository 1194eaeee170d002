"""`compute_score`: verl's custom reward function, by the verifiers of `echorl.tasks`.

reward.custom_reward_function.path=pkg://echorl.verl.reward, name compute_score (verl's default).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from echorl.tasks import TASKS, Verifier, load_task


def compute_score(
    data_source: str,
    solution_str: str,
    ground_truth: str,
    extra_info: Mapping[str, Any] | None = None,
    *,
    task: str | None = None,
    reward_router_address: str | None = None,
    reward_model_tokenizer: Any = None,
    **options: Any,
) -> dict[str, float]:
    """1.0 where the task's verifier accepts the response, else 0.0, as `score` and as `acc`.

    Called by verl's reward workers, from several threads at once.

    Args:
        data_source: the row's task, unless `task` names it: a name in `echorl.tasks.TASKS`;
            `"reasoning_gym/chain_sum"` also names the generator.
        solution_str: the response's text.
        ground_truth: the row's `reward_model.ground_truth`, which is the task's own column: `answer` of gsm8k and
            word_problems, `instance` of reasoning_gym.
        task, options: from `+reward.custom_reward_function.reward_kwargs.*`; options are the task's.
        extra_info, reward_router_address, reward_model_tokenizer: what verl passes besides; not used.

    Raises:
        ValueError: there is no such task or option, or the verifier knows nothing of this row.
    """
    name, _, generator = (task or data_source).partition("/")
    if name not in TASKS:
        raise ValueError(
            f"data_source={data_source!r} is no task of echorl: set "
            f"+reward.custom_reward_function.reward_kwargs.task to one of {', '.join(TASKS)}."
        )
    if generator:
        options["generator"] = generator
    found = _verifier(name, json.dumps(_plain(options), sort_keys=True))(
        completions=[solution_str], answer=[ground_truth], instance=[ground_truth]
    )[0]
    if found is None:
        raise ValueError(f"the verifier of {name} has no verdict on a row of data_source={data_source!r}.")
    return {"score": found, "acc": found}


@cache
def _verifier(name: str, options: str) -> Verifier:
    return load_task(name, **json.loads(options)).verifier


def _plain(value: Any) -> Any:
    """Hydra's containers as Python's."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(item) for item in value]
    return value

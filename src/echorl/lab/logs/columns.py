"""The table of column names of stored rollouts, and which columns of a training log are read as what."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from echorl.lab.options import Columns
from echorl.support.texts import finite_number

PROMPTS = ("prompt", "question", "input", "problem", "query", "instruction")
RESPONSES = (
    "response completion output solution generation generated_text model_output model_response".split()
)  # fmt: skip
SOLUTION = "solution"
"""Of a training log a response only if it differs within a group; else a reference answer."""
ANSWER = "answer"
"""A reference answer, unless a response is needed and no other column has the name of one."""
TOTALS = ("reward", "score", "total_reward")
VERDICTS = ("label", "correct", "is_correct", "accuracy", "acc", "success", "solved", "verified", "passed")
REWARDS = ("reward", "score", *VERDICTS, "total_reward")
ADVANTAGES = ("advantage", "advantages")
GROUPS = ("group", "group_id")
PROMPT_IDS = ("prompt_id", "problem_id", "question_id", "example_id")
EPOCH = "epoch"
STEPS = ("step", "global_step", "gen_step", "training_step", "train_step")
LENGTHS = (
    "completion_length response_length num_tokens completion_tokens response_tokens num_output_tokens "
    "output_tokens step_ids completion_ids response_ids output_ids token_ids tokens length"
).split()
"""Numbers of response tokens, or lists with an entry for each. In TRL's log `length` may be a reward function."""
TRUNCATED = ("truncated", "is_truncated", "clipped", "overlong")
STOP_REASONS = ("finish_reason", "stop_reason", "stop_condition")
CUT_OFF = ("length", "max_tokens", "max_length", "max_new_tokens", "max_completion_length", "truncated")
"""Stop reasons of a response that ended at the limit of length."""
REFERENCE_ANSWERS = (
    "reference_answer ground_truth gts gold gold_answer expected_answer target answer solution".split()
)  # fmt: skip
FROM_POLICY = ("written_by_policy",)
KIND, ECHO_SUCCESS = "echo/kind", "echo_success"
"""Of EchoRL in TRL's log, and in verl's."""
NOT_REWARDS = {
    *PROMPTS, *RESPONSES, *ADVANTAGES, *GROUPS, *PROMPT_IDS, *STEPS, *LENGTHS[:-1], *TRUNCATED, *STOP_REASONS,
    *REFERENCE_ANSWERS, *FROM_POLICY, EPOCH, "id", "index", "seed", "kind", "num_turns", "turns", "entropy",
    "temperature", "clip_end", "clip_step", "clip_entropy",
}  # fmt: skip
OF_A_VERIFIER = re.compile("accuracy|correct|math|verif|solved|success|exact_?match|(^|_)(acc|em|passed)(_|$)", re.I)
NO_VERDICT = re.compile("rate$|answer|level|(^|_)(num|count|mean|avg|id|idx|index|time|tokens)(_|$)", re.I)
"""Of columns that describe the prompt, or more than one rollout."""
VERL_KEY = re.compile(r"_\d+_\d+$")
"""Session and turn, at the end of what verl writes as a rollout's `uid`; the rest names the group."""
NOT_OF_A_VERIFIER = re.compile("format|length|overlong|repetition|cosine|language|tag", re.I)


def list_names(names: Iterable[str]) -> str:
    return ", ".join(map(repr, names)) or "(none)"


def first_of(names: Iterable[str], row: Mapping[str, Any]) -> str | None:
    """Return the first of the names that a row has."""
    return next((name for name in names if name in row), None)


@dataclass(frozen=True, kw_only=True)
class LogColumns:
    """Columns of a training log. None: the log has no such column.

    Attributes:
        prompt, response, advantage, step, length, truncated, stop_reason, reference_answer: single columns.
        reward: the verifier's.
        rewards: all rewards, the verifier's among them.
        compared: the rewards whose sum the advantages are made of.
        group: names the group within its step, or the prompt.
        group_is_sure: rollouts of a step with the same value are one group, not several of one prompt.
        from_policy: false for a text in the place of a rollout that the policy did not sample.
        kind: of EchoRL's logs, the kind of the rollout's group; null in an evaluation.
        epoch: tells visits of a prompt apart; only where there is no step.
        rolling: the log holds the last generation batch at each of its steps, as TRL's does, so that one may repeat.
        guess: how the verifier's column was chosen, where another could be meant.
    """

    prompt: str | None
    response: str | None
    reward: str
    rewards: tuple[str, ...]
    compared: tuple[str, ...]
    advantage: str | None
    group: str | None
    group_is_sure: bool
    step: str | None
    length: str | None
    truncated: str | None
    stop_reason: str | None
    reference_answer: str | None
    from_policy: str | None
    kind: str | None
    epoch: str | None
    rolling: bool
    guess: str | None = None

    @property
    def read_as(self) -> dict[str, str]:
        """Names of the columns, by what they were read as, in words."""
        named = {
            "prompt": self.prompt, "response": self.response, "verifier's reward": self.reward, "group": self.group,
            "step": self.step, "epoch": self.epoch, "advantage": self.advantage, "length": self.length,
            "truncation": self.truncated or self.stop_reason, "reference answer": self.reference_answer,
        }  # fmt: skip
        other_rewards = ", ".join(name for name in self.rewards if name != self.reward)
        return {name: column for name, column in {**named, "other rewards": other_rewards}.items() if column}

    def __str__(self) -> str:
        return ", ".join(f"{name} {column!r}" for name, column in self.read_as.items())

    @property
    def names(self) -> list[str]:
        """All columns that are read, each once."""
        single = (self.prompt, self.response, self.reward, self.advantage, self.group, self.step, self.length)
        rest = (self.truncated, self.stop_reason, self.reference_answer, self.from_policy, self.kind, self.epoch)
        return list(dict.fromkeys(name for name in (*single, *rest, *self.rewards) if name))


def find_log_columns(row: Mapping[str, Any], columns: Columns) -> LogColumns:
    """Return the columns of a training log from each column's first value that is not null, and the user's names.

    Raises:
        ValueError: the log has no prompt and no group, or the verifier's reward is open; the message says what to name.
    """
    for name in filter(None, (columns.prompt, columns.response, columns.reward, columns.group)):
        if name not in row:
            raise ValueError(f"there is no column {name!r} among {list_names(row)}: name another one.")
    prompt = columns.prompt or first_of(PROMPTS, row)
    response = columns.response or first_of((name for name in RESPONSES if name not in (prompt, SOLUTION)), row)
    group = columns.group or _group(row)
    if not (prompt or group):
        raise ValueError(
            f"there is neither a prompt nor a group among the columns {list_names(row)}: name one with --prompt or "
            "--group."
        )
    advantage = first_of(ADVANTAGES, row)
    step = first_of(STEPS, row)
    as_trl = {"prompt", "completion"} <= row.keys() and advantage is not None
    reward, rewards, compared, guess = _rewards(row, columns.reward, named_by_function=as_trl)
    return LogColumns(
        prompt=prompt,
        response=response,
        reward=reward,
        rewards=rewards,
        compared=compared,
        advantage=advantage,
        group=group,
        group_is_sure=_is_sure(group, columns, has_step=step is not None),
        step=step,
        length=next((name for name in LENGTHS if name not in rewards and _is_length(row.get(name))), None),
        truncated=first_of(TRUNCATED, row),
        stop_reason=first_of(STOP_REASONS, row),
        reference_answer=first_of((name for name in REFERENCE_ANSWERS if name not in (prompt, response, reward)), row),
        from_policy=first_of(FROM_POLICY, row),
        kind=first_of(("kind", KIND) if first_of(FROM_POLICY, row) else (KIND,), row),
        epoch=EPOCH if step is None and EPOCH in row else None,
        rolling=as_trl and step is not None,
        guess=guess,
    )


def _group(row: Mapping[str, Any]) -> str | None:
    if {"input", "output", "score", "uid"} <= row.keys() and VERL_KEY.search(str(row["uid"])):
        return "uid"
    return first_of((*GROUPS, *PROMPT_IDS), row)


def _is_sure(group: str | None, columns: Columns, has_step: bool) -> bool:
    """Return whether rollouts with one value are one group: numbers may begin again at each step."""
    unique = has_step or group in ("uid", columns.group)
    return group is not None and group not in PROMPT_IDS and unique


def _rewards(
    row: Mapping[str, Any], named: str | None, named_by_function: bool
) -> tuple[str, tuple[str, ...], tuple[str, ...], str | None]:
    """Return the verifier's column, all rewards, those that are compared, and how the verifier's was chosen."""
    rewards = _rewards_of_functions(row) if named_by_function else _rewards_by_name(row)
    total = None if named_by_function else first_of(TOTALS, dict.fromkeys(rewards))
    of_echorl = ("success", ECHO_SUCCESS) if first_of(FROM_POLICY, row) else (ECHO_SUCCESS,)
    named = named or first_of(of_echorl, row)
    reward, guess = (named, None) if named else _verifier(row, rewards, total)
    rewards = list(dict.fromkeys([*rewards, reward]))
    return reward, tuple(rewards), (total,) if total else tuple(rewards), guess


def _rewards_of_functions(row: Mapping[str, Any]) -> list[str]:
    """Return the columns that may be rewards, named after their functions; text only where no column has numbers."""
    functions = [name for name in row if name not in NOT_REWARDS and not name.startswith(("echo/", "__"))]
    numbers = [name for name in functions if row[name] is None or isinstance(row[name], (int, float))]
    if all(row[name] is None for name in numbers):
        numbers += [name for name in functions if row[name] is not None and finite_number(row[name]) is not None]
    return numbers


def _rewards_by_name(row: Mapping[str, Any]) -> list[str]:
    """Return the columns of numbers with a reward's name; where none has numbers, the first with a known name."""
    named = [name for name in row if name in REWARDS or re.search("reward|score", name, re.I) or _is_verdict(name)]
    numbers = [name for name in named if _may_be_number(row[name])]
    first = first_of(REWARDS, row)
    return numbers or ([first] if first else [])


def _is_of_a_verifier(name: str) -> bool:
    return bool(OF_A_VERIFIER.search(name)) and not NOT_OF_A_VERIFIER.search(name)


def _is_verdict(name: str) -> bool:
    """Return whether a column that is not called a reward is one by a verifier's name; "math" may name a subject."""
    is_another = name in NOT_REWARDS or NO_VERDICT.search(name)
    return not is_another and _is_of_a_verifier(re.sub("math", "", name, flags=re.I))


def _is_length(value: Any) -> bool:
    return isinstance(value, (int, float, list))


def _may_be_number(value: Any) -> bool:
    return value is None or isinstance(value, float) or finite_number(value) is not None


def _verifier(row: Mapping[str, Any], rewards: list[str], total: str | None) -> tuple[str, str | None]:
    if not rewards:
        raise ValueError(f"there is no reward among the columns {list_names(row)}: name it with --reward.")
    if len(rewards) == 1 and not NOT_OF_A_VERIFIER.search(rewards[0]):
        return rewards[0], None
    fitting = [name for name in rewards if _is_of_a_verifier(name)]
    if len(fitting) == 1:
        other_rewards = list_names(name for name in rewards if name != fitting[0])
        return fitting[0], f"{fitting[0]!r} is read as the verifier's reward, by its name, beside {other_rewards}"
    if not fitting and total:
        return total, f"{total!r} is read as the verifier's reward, since no other column has a verifier's name"
    if len(rewards) == 1:
        raise ValueError(f"the only reward, {rewards[0]!r}, has no verifier's name: name the verifier's with --reward.")
    raise ValueError(
        f"each of the columns {list_names(fitting or rewards)} may be the verifier's reward: name it with --reward."
    )


def is_missing(value: Any) -> bool:
    """Return whether a value is null, or NaN, which TRL and ms-swift write where a function gave no reward."""
    return value is None or (isinstance(value, float) and math.isnan(value))

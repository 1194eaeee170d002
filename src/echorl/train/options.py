"""Options of `echorl train` and `echorl sft` that name the data, and the check that they fit together."""

from __future__ import annotations

from dataclasses import dataclass

from echorl.core.config import EchoConfig
from echorl.core.options import argument, options_of
from echorl.support.errors import UserError
from echorl.support.texts import parse_mapping
from echorl.tasks import TASKS

NAMES = ("quickstart", *TASKS)
"""The tasks that `task` can name."""

ECHO_OPTIONS = (
    *(f"echo_{each.name}" for each in options_of(EchoConfig) if each.name != "max_completion_length"),
    *"echo_success_reward_func echo_rollouts_every echo_entropy_from share_prompts".split(),
    *"method method_options max_rollout_tokens".split(),
)
"""The fields that `EchoGRPOConfig` adds to TRL's, which can be known without importing TRL."""


@dataclass
class DataArguments:
    """Options that name the rows of a training, and the option that allows to replace an earlier run."""

    task: str | None = argument(None, f"A task of echorl, which brings its own verifier: {', '.join(NAMES)}.")
    task_options: dict | str | None = argument(
        None,
        "The task's options, a mapping such as {generator: chain_sum, config: {max_terms: 4}} (JSON on the command "
        "line); with 'quickstart' they change single settings of it.",
    )
    train_size: int | None = argument(
        None, "Rows to train on, of the split 'train' of a task or of the hub's data set; default: the task's."
    )
    eval_size: int | None = argument(
        None, "Rows to evaluate on, of the split 'validation', if eval_strategy asks for it; default: the task's."
    )
    train_file: str | None = argument(
        None,
        "Instead of a task: a JSONL file, one object with a 'prompt' (text or chat messages) a line. All columns reach "
        "the reward functions; none may be called 'prompts', 'completions' or 'trainer_state', which TRL gives them. "
        "Images: docs/guides/multimodal.md.",
    )
    eval_file: str | None = argument(None, "A file like train_file, to evaluate on.")
    dataset_name: str | None = argument(None, "Instead of a task: a data set of the Hugging Face hub, with a 'prompt'.")
    row_func: str | None = argument(
        None,
        "For rows of train_file or dataset_name that have another form: a function from a row to the columns that it "
        "adds or replaces, such as 'prompt': module.function or file.py:function.",
    )
    overwrite_output_dir: bool = argument(False, "Delete the files that an earlier run left in output_dir.")

    def __post_init__(self) -> None:
        self.task_options = parse_mapping("task_options", self.task_options, '{"chat": true}')
        given = [name for name in ("task", "train_file", "dataset_name") if getattr(self, name)]
        if len(given) != 1:
            raise UserError(
                f"{' and '.join(given) or 'nothing'} given to train on: set exactly one of task, train_file and "
                "dataset_name."
            )
        if self.task and self.row_func:
            raise UserError(
                f"row_func={self.row_func!r} cannot be combined with task={self.task!r}, which makes its own rows: "
                "leave one out."
            )


@dataclass
class TrainArguments(DataArguments):
    """Options that name the rows and the reward functions of RL."""

    reward_funcs: list[str] | None = argument(
        None,
        "Reward functions besides the task's verifier: module.function, file.py:function, or the name of one in "
        "trl.rewards. They get completions and the columns and return a list of numbers or None. An infinite reward "
        "or an exception ends the training; NaN counts as None.",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.task is None and not self.reward_funcs:
            place = "train_file" if self.train_file else "dataset_name"
            raise UserError(f"{place} has no verifier: name at least one function in reward_funcs.")

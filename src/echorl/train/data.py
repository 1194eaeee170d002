"""The rows and the reward functions of a run."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import inspect
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from echorl.support.errors import UserError, as_user_error, is_for_the_user, one_line, where
from echorl.support.texts import is_text, parse_json
from echorl.tasks.base import as_numbers
from echorl.train.options import NAMES, TrainArguments

if TYPE_CHECKING:
    from datasets import Dataset

    from echorl.tasks import Task


TAKEN = ("prompts", "completions", "trainer_state", "log_extra", "log_metric", "environments")
"""Names under which reward functions are given something else than a column."""


def make_task(own: TrainArguments, **changes: Any) -> Task | None:
    """The task that the options name, with `changes`; the quickstart's settings can be overridden one by one."""
    from echorl.tasks import load_task
    from echorl.tasks.quickstart import TASK

    if own.task is None:
        return None
    _check_name(own.task)
    start = TASK if own.task == "quickstart" else {"name": own.task}
    assert isinstance(own.task_options, dict)  # the dataclass has read a text
    options = {**start, **own.task_options, **changes}
    with as_user_error(ImportError, doing=f"task {own.task!r} needs a package (pip install 'echorl[tasks]')"):
        return load_task(**options)


def _check_name(task: str) -> None:
    from echorl.tasks.reasoning_gym import generators

    if task in NAMES:
        return
    if task in generators():
        fix = f"write task: reasoning_gym, task_options: {{generator: {task}}}"
        raise UserError(f"unknown task {task!r}, a dataset of reasoning-gym: {fix}.")
    raise UserError(f"unknown task {task!r}; choose one of {', '.join(NAMES)}.")


def make_dataset(own: TrainArguments, task: Task | None, part: str) -> Dataset:
    """The rows of `part`, "train" or "eval"; they have a `prompt`."""
    size, split, file = (getattr(own, f"{part}_{what}") for what in ("size", "split", "file"))
    if task is not None:
        return task.dataset(split, size=size)
    if own.train_file is not None:
        if file is None:
            raise UserError("eval_strategy asks for an evaluation: name its rows in eval_file.")
        rows, place = read_rows(file), file
    else:
        assert own.dataset_name is not None  # the dataclass lets one of the three pass
        rows, place = _from_hub(own.dataset_name, own.dataset_config, split), f"{own.dataset_name}, {split}"
    rows = rows if size is None else rows.select(range(min(size, len(rows))))
    rows = rows if own.row_func is None else _change(rows, own.row_func, place)
    if "prompt" not in rows.column_names:
        raise UserError(
            f"{place}: no column 'prompt' (there are: {', '.join(rows.column_names)}); add one, or row_func."
        )
    _check_prompts(rows, place, own.train_file and file)
    if isinstance(own, TrainArguments):
        _check_columns(rows.column_names, place)
    return rows


def _check_prompts(rows: Dataset, place: str, file: str | None) -> None:
    for index, prompt in enumerate(rows["prompt"]):
        if (problem := _problem(prompt)) is not None:
            where = f"{place}, row {index + 1}" if file is None else f"{file}, line {_lines(file)[index]}"
            raise UserError(f"{where}: the prompt {problem}; write text, or a list of chat messages.")


def _problem(prompt: Any) -> str | None:
    """Return the reason why a row's prompt cannot be sampled from; None for a good one."""
    if isinstance(prompt, str):
        return None
    if prompt is None:
        return "is null"
    if not (isinstance(prompt, list) and all(isinstance(m, dict) and isinstance(m.get("role"), str) for m in prompt)):
        return "is neither text nor a list of chat messages"
    if not prompt:
        return "is an empty list"
    parts = [part for message in prompt for part in _parts(message.get("content"))]
    good = all(isinstance(part, dict) and isinstance(part.get("type"), str) for part in parts)
    if not good or any(part["type"] == "text" and not isinstance(part.get("text"), str) for part in parts):
        return "has a message whose content is neither text nor a list of parts with a type"
    return None


def _parts(content: Any) -> list[Any]:
    """The parts of a message's content; of text (or none) no part, of anything else one that is not allowed."""
    return content if isinstance(content, list) else [] if content is None or isinstance(content, str) else [content]


def _check_columns(names: list[str], place: str) -> None:
    for name in names:
        if name in TAKEN:
            raise UserError(
                f"{place}: the column {name!r} has the name of something that TRL itself gives to reward functions: "
                "rename it, or leave it out."
            )


def _change(rows: Dataset, name: str, place: str) -> Dataset:
    """The rows with what the function of that name makes of each."""
    function = find_function(name, "row_func", home="builtins")

    def change(row: dict[str, Any]) -> dict[str, Any]:
        try:
            changed = function(row)
        except (Exception, SystemExit) as error:
            problem = f"raised {type(error).__name__}: {error} {where(error)}"
            raise UserError(f"row_func {name!r} {problem}: make it fit {place}.") from error
        if not isinstance(changed, dict):
            raise UserError(f"row_func {name!r} returned a {type(changed).__name__}: return a dict of columns.")
        return changed

    return rows.map(change)


def read_rows(file: str | Path) -> Dataset:
    """The objects of a JSONL file, one a line; paths in `image` and `images` are from the file's folder."""
    from datasets import Dataset, Image, List

    path = Path(file)
    if not path.is_file():
        raise UserError(f"no file {file}: give a JSONL file with a 'prompt' in every line.")
    rows = [
        _find_images(_read_row(line, f"{file}, line {number}"), path.parent, f"{file}, line {number}")
        for number, line in _numbered(path)
    ]
    if not rows:
        raise UserError(f"{file} holds no rows: give a JSONL file with a 'prompt' in every line.")
    with as_user_error(Exception, doing=f"{file}: its rows do not fit one table"):
        names = dict.fromkeys(name for row in rows for name in row)  # from_list takes those of the first row
        found = Dataset.from_dict({name: [row.get(name) for row in rows] for name in names})
        for name, kind in (("image", Image()), ("images", List(Image()))):
            found = found.cast_column(name, kind) if name in found.column_names else found
        return found


def _numbered(path: Path) -> list[tuple[int, bytes]]:
    """The lines of a file that are not blank, with their numbers."""
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): give another file.") from None
    return [(number, line) for number, line in enumerate(lines, 1) if line.strip()]


def _lines(file: str) -> list[int]:
    return [number for number, _ in _numbered(Path(file))]


def _read_row(line: bytes, place: str) -> dict[str, Any]:
    try:
        row = parse_json(line)
    except ValueError as error:
        raise UserError(f"{place}: not JSON ({one_line(error)}); each line is one object with a 'prompt'.") from None
    if not isinstance(row, dict):
        raise UserError(f"{place}: not an object; each line is one object with a 'prompt'.")
    if b"\\u" in line and not is_text(json.dumps(row, ensure_ascii=False)):
        raise UserError(f"{place}: a text holds half of a character (a lone surrogate): remove it.")
    return row


def _find_images(row: dict[str, Any], folder: Path, place: str) -> dict[str, Any]:
    """The row with whole paths in `image` (a path or null) and `images` (a list of paths)."""
    given = {"images": row.get("images"), "image": None if row.get("image") is None else [row["image"]]}
    paths = {name: _image_paths(name, value, folder, place) for name, value in given.items() if value is not None}
    return {**row, **{name: value if name == "images" else value[0] for name, value in paths.items()}}


def _image_paths(name: str, paths: Any, folder: Path, place: str) -> list[str]:
    if not isinstance(paths, list) or not all(isinstance(path, str) for path in paths):
        raise UserError(f"{place}: {name!r} is not made of paths; 'images' is a list of image files, 'image' is one.")
    for path in paths:
        if not (folder / path).is_file():
            raise UserError(f"{place}: no image file {path} in {folder}; paths are taken from the folder of the rows.")
    return [str(folder / path) for path in paths]


def _from_hub(name: str, config: str | None, split: str) -> Dataset:
    from datasets import load_dataset

    with as_user_error(Exception, doing=f"dataset_name={name!r} (configuration {config}, split {split}) didn't load"):
        return load_dataset(name, config, split=split)


def reward_functions(own: TrainArguments, task: Task | None) -> list[Callable]:
    """The task's verifier, then `reward_funcs`, each with a sentence for what goes wrong inside."""
    found = [task.verifier] if task is not None else []
    found += [find_function(name, "reward_funcs", home="trl.rewards") for name in own.reward_funcs or []]
    return [_guarded_coroutine(f) if inspect.iscoroutinefunction(f) else _guarded(f) for f in found]


def find_function(name: str, option: str, *, home: str) -> Callable:
    """The function that `option` names: module.function, file.py:function, or one of the module `home`."""
    place, _, function = name.rpartition(":") if ":" in name else name.rpartition(".")
    sys.path.insert(0, os.getcwd())
    try:
        module = _module(place or home)
    except (Exception, SystemExit) as error:
        raise UserError(f"{option}: {name!r} cannot be imported ({type(error).__name__}: {error}).") from error
    finally:
        sys.path.remove(os.getcwd())
    if not callable(getattr(module, function, None)):
        there = ", ".join(sorted(n for n, f in vars(module).items() if inspect.isfunction(f) and n[0] != "_"))
        raise UserError(f"{option}: {name!r} does not exist; {module.__name__} has: {there or 'no function'}.")
    return getattr(module, function)


def _module(place: str) -> Any:
    if not place.endswith(".py"):
        return importlib.import_module(place)
    if not Path(place).is_file():
        raise FileNotFoundError(f"no file {place}")
    spec = importlib.util.spec_from_file_location(Path(place).stem, place)
    assert spec is not None  # as of every path to a .py file
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _guarded(function: Callable) -> Callable:
    name = getattr(function, "__name__", type(function).__name__)

    @functools.wraps(function)
    def call(*args: Any, **columns: Any) -> list[float | None]:
        """The function's rewards; `UserError` where it raises or gives another number of them than completions."""
        try:
            rewards = function(*args, **columns)
        except (Exception, SystemExit) as error:
            raise _raised(name, error) from error
        return _numbers(name, rewards, len(columns["completions"]))

    call.__name__ = name
    return call


def _guarded_coroutine(function: Callable) -> Callable:
    """As `_guarded`; its SystemExit would end the event loop, and the training would wait for ever."""
    name = function.__name__

    @functools.wraps(function)
    async def call(*args: Any, **columns: Any) -> list[float | None]:
        try:
            rewards = await function(*args, **columns)
        except (Exception, SystemExit) as error:
            raise _raised(name, error) from error
        return _numbers(name, rewards, len(columns["completions"]))

    return call


def _numbers(name: str, rewards: Any, wanted: int) -> list[float | None]:
    """Return the rewards of a reward function, a number or None for each of the `wanted` completions."""
    if not isinstance(rewards, (list, tuple)) or len(rewards) != wanted:
        got = f"{len(rewards)} values" if isinstance(rewards, (list, tuple)) else f"a {type(rewards).__name__}"
        raise UserError(f"reward function {name!r} returned {got} for {wanted} completions: return a list of {wanted}.")
    try:
        return as_numbers(rewards)
    except ValueError as error:
        raise UserError(f"reward function {name!r}: {error}; return a number or None for every completion.") from None


def _raised(name: str, error: BaseException) -> BaseException:
    """The sentence for a reward function's error; the error itself where that is one already."""
    if isinstance(error, ImportError) and is_for_the_user(error):
        return error
    return UserError(
        f"reward function {name!r} raised {type(error).__name__}: {error} {where(error)}: make it return a number or "
        "None for every text."
    )

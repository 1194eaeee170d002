"""The rows and the reward functions of a run."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import inspect
import itertools
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from echorl.support.errors import UserError, as_user_error, is_for_the_user, one_line, where
from echorl.support.installed import install_command
from echorl.support.texts import is_text, parse_json
from echorl.tasks.base import as_numbers
from echorl.train.options import NAMES, DataArguments, TrainArguments

if TYPE_CHECKING:
    from datasets import Dataset

    from echorl.tasks import Task

RESERVED = ("prompts", "completions", "trainer_state", "log_extra", "log_metric", "environments")
"""Names under which TRL gives reward functions something else than a column."""


def make_task(data: DataArguments, **changes: Any) -> Task | None:
    """Return the task that the options name, with `changes` of its options; None without a task."""
    assert isinstance(data.task_options, dict)  # the dataclass has parsed a text
    return None if data.task is None else find_task(data.task, {**data.task_options, **changes})


def find_task(name: str, options: Mapping[str, Any]) -> Task:
    """Return the task of this name, "quickstart" among them, with these options."""
    from echorl.tasks import load_task
    from echorl.tasks.quickstart import TASK
    from echorl.tasks.reasoning_gym import generators

    if name not in NAMES:
        fix = f"choose one of {', '.join(NAMES)}"
        if name in generators():
            fix = f"reasoning-gym has it, so write task: reasoning_gym, task_options: {{generator: {name}}}"
        raise UserError(f"unknown task {name!r}: {fix}.")
    settings = TASK if name == "quickstart" else {"name": name}
    with as_user_error(ImportError, doing=f"task {name!r} needs a package ({install_command('tasks')})"):
        return load_task(**{**settings, **options})


def make_dataset(data: DataArguments, task: Task | None, part: Literal["train", "eval"]) -> Dataset:
    """Return the rows to train or to evaluate on; they have a `prompt`."""
    split, size, file = (
        ("train", data.train_size, data.train_file)
        if part == "train"
        else ("validation", data.eval_size, data.eval_file)
    )
    if task is not None:
        return task.dataset(split, size=size)
    if data.dataset_name is not None:
        rows, place = _from_hub(data.dataset_name, split), f"{data.dataset_name}, {split}"
    elif file is not None:
        rows, place = read_rows(file), file
    else:
        raise UserError("eval_strategy asks for an evaluation: name its rows in eval_file.")
    if size is not None:
        rows = rows.select(range(min(size, len(rows))))
    if data.row_func is not None:
        rows = _change(rows, data.row_func, place)
    if "prompt" not in rows.column_names:
        raise _no_prompt(place, rows.column_names)
    _check_prompts(rows["prompt"], place, file)
    reserved = [name for name in rows.column_names if name in RESERVED]
    if reserved and isinstance(data, TrainArguments):
        raise UserError(
            f"{place}: the column {reserved[0]!r} has the name of something that TRL itself gives to reward functions: "
            "rename it, or leave it out."
        )
    return rows


def _check_prompts(prompts: Iterable[Any], place: str, file: str | None) -> None:
    for index, prompt in enumerate(prompts):
        if problem := _problem(prompt):
            row = f"line {list(_lines(file))[index][0]}" if place == file else f"row {index + 1}"
            raise UserError(f"{place}, {row}: the prompt {problem}; write text, or a list of chat messages.")


def _no_prompt(place: str, names: Sequence[str]) -> UserError:
    return UserError(f"{place}: no column 'prompt' among {', '.join(names)}; add one, or row_func.")


def check_first_row(file: str | Path, row_func: str | None) -> None:
    """Refuse a file whose first row is no object, or has no `prompt` and no `row_func` that could add one."""
    for row in itertools.islice(_rows_of(file), 1):
        if row_func is None and "prompt" not in row:
            raise _no_prompt(str(file), list(row))


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
    if not all(_is_content(message.get("content")) for message in prompt):
        return "has a message whose content is neither text nor a list of parts with a type"
    return None


def _is_content(content: Any) -> bool:
    """Return whether a message can have this content: text, none, or parts with a type, those of text with a text."""
    if content is None or isinstance(content, str):
        return True
    return isinstance(content, list) and all(
        isinstance(part, dict)
        and isinstance(part.get("type"), str)
        and (part["type"] != "text" or isinstance(part.get("text"), str))
        for part in content
    )


def _change(rows: Dataset, name: str, place: str) -> Dataset:
    """Return the rows with the columns that the function of this name adds or replaces."""
    function = find_function(name, "row_func", home="builtins")

    def change(row: dict[str, Any]) -> dict[str, Any]:
        with _user_code(f"row_func {name!r}", f"make it fit {place}"):
            changed = function(row)
        if not isinstance(changed, dict):
            raise UserError(f"row_func {name!r} returned a {type(changed).__name__}: return a dict of columns.")
        return changed

    return rows.map(change)


def read_rows(file: str | Path) -> Dataset:
    """Return the objects of a JSONL file, one a line; paths in `image` and `images` are from the file's folder."""
    from datasets import Dataset, Image, List

    rows = list(_rows_of(file))
    if not rows:
        raise UserError(f"{file} holds no rows: give a JSONL file with a 'prompt' in every line.")
    with as_user_error(Exception, doing=f"{file}: its rows do not fit one table"):
        names = dict.fromkeys(name for row in rows for name in row)  # from_list takes those of the first row
        table = Dataset.from_dict({name: [row.get(name) for row in rows] for name in names})
        for name, kind in (("image", Image()), ("images", List(Image()))):
            table = table.cast_column(name, kind) if name in names else table
        return table


def _rows_of(file: str | Path) -> Iterator[dict[str, Any]]:
    for number, line in _lines(file):
        yield _read_row(line, f"{file}, line {number}", Path(file).parent)


def _lines(file: str | Path) -> Iterator[tuple[int, bytes]]:
    """Yield the lines of a file that are not blank, with their numbers."""
    if not Path(file).is_file():
        raise UserError(f"no file {file}: give a JSONL file with a 'prompt' in every line.")
    with as_user_error(OSError, doing=f"{file} cannot be read"), open(file, "rb") as lines:
        yield from ((number, line) for number, line in enumerate(lines, 1) if line.strip())


def _read_row(line: bytes, place: str, folder: Path) -> dict[str, Any]:
    """Return the object in a line, with whole paths in `image` (a path or null) and `images` (a list of paths)."""
    try:
        row = parse_json(line)
    except ValueError as error:
        raise UserError(f"{place}: not JSON ({one_line(error)}); each line is one object with a 'prompt'.") from None
    if not isinstance(row, dict):
        raise UserError(f"{place}: not an object; each line is one object with a 'prompt'.")
    if b"\\u" in line and not is_text(json.dumps(row, ensure_ascii=False)):
        raise UserError(f"{place}: a text holds half of a character (a lone surrogate): remove it.")
    if row.get("image") is not None:
        [row["image"]] = _image_paths("image", [row["image"]], folder, place)
    if row.get("images") is not None:
        row["images"] = _image_paths("images", row["images"], folder, place)
    return row


def _image_paths(name: str, paths: Any, folder: Path, place: str) -> list[str]:
    if not isinstance(paths, list) or not all(isinstance(path, str) for path in paths):
        raise UserError(f"{place}: {name!r} is not made of paths; 'images' is a list of image files, 'image' is one.")
    for path in paths:
        if not (folder / path).is_file():
            raise UserError(f"{place}: no image file {path} in {folder}; paths are taken from the folder of the rows.")
    return [str(folder / path) for path in paths]


def _from_hub(name: str, split: str) -> Dataset:
    from datasets import load_dataset

    with as_user_error(Exception, doing=f"dataset_name={name!r} (split {split}) cannot be loaded"):
        return load_dataset(name, split=split)


def reward_functions(data: TrainArguments, task: Task | None) -> list[Callable]:
    """Return the task's verifier, then `reward_funcs`, each with a sentence for errors inside."""
    functions: list[Callable] = [task.verifier] if task is not None else []
    functions += [find_function(name, "reward_funcs", home="trl.rewards") for name in data.reward_funcs or []]
    return [_guarded(function) for function in functions]


def find_function(name: str, option: str, *, home: str) -> Callable:
    """Return the function that `option` names: module.function, file.py:function, or one of the module `home`."""
    place, _, function = name.rpartition(":") if ":" in name else name.rpartition(".")
    sys.path.insert(0, os.getcwd())
    try:
        module = _module(place or home)
    except (Exception, SystemExit) as error:
        raise UserError(f"{option}: {name!r} cannot be imported ({type(error).__name__}: {error}).") from error
    finally:
        sys.path.remove(os.getcwd())
    if not callable(getattr(module, function, None)):
        names = ", ".join(sorted(n for n, f in vars(module).items() if inspect.isfunction(f) and n[0] != "_"))
        raise UserError(f"{option}: {name!r} does not exist; {module.__name__} has: {names or 'no function'}.")
    return getattr(module, function)


def _module(place: str) -> Any:
    if not place.endswith(".py"):
        return importlib.import_module(place)
    if not Path(place).is_file():
        raise FileNotFoundError(f"no file {place}")
    return _module_of(Path(place).resolve())


@functools.cache  # the early check and the run share the module, so that its code runs once
def _module_of(file: Path) -> Any:
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None  # since the name ends in .py
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@contextmanager
def _user_code(function: str, advice: str) -> Iterator[None]:
    """Turn an error of a user's function into a `UserError`; a missing package's sentence stays as it is.

    SystemExit counts as an error: in a coroutine it would end the event loop, and the training would wait for ever.
    """
    try:
        yield
    except (Exception, SystemExit) as error:
        if isinstance(error, ImportError) and is_for_the_user(error):
            raise
        raise UserError(f"{function} raised {type(error).__name__}: {error}{where(error)}: {advice}.") from error


def _guarded(function: Callable) -> Callable:
    """Return the reward function with a `UserError` where it raises, or does not return a number a completion."""
    name = getattr(function, "__name__", type(function).__name__)

    def guard(columns: Iterable[str]) -> AbstractContextManager[None]:
        taken = f"it is called with {', '.join(columns)}: take them or **kwargs"
        return _user_code(f"reward function {name!r}", f"{taken}, and return a number or None for every text")

    @functools.wraps(function)
    def call(*args: Any, **columns: Any) -> list[float | None]:
        with guard(columns):
            rewards = function(*args, **columns)
        return _numbers(name, rewards, len(columns["completions"]))

    @functools.wraps(function)
    async def call_coroutine(*args: Any, **columns: Any) -> list[float | None]:
        with guard(columns):
            rewards = await function(*args, **columns)
        return _numbers(name, rewards, len(columns["completions"]))

    guarded = call_coroutine if inspect.iscoroutinefunction(function) else call
    guarded.__name__ = name
    return guarded


def _numbers(name: str, rewards: Any, count: int) -> list[float | None]:
    """Return the rewards of a reward function, a number or None for each of `count` completions."""
    if not isinstance(rewards, (list, tuple)) or len(rewards) != count:
        returned = f"{len(rewards)} values" if isinstance(rewards, (list, tuple)) else f"a {type(rewards).__name__}"
        raise UserError(
            f"reward function {name!r} returned {returned} for {count} completions: return a list of {count}."
        )
    try:
        return as_numbers(rewards)
    except ValueError as error:
        raise UserError(f"reward function {name!r}: {error}; return a number or None for every completion.") from None

"""`python -m echorl.verl.prepare TASK FOLDER`: a task of echorl as Parquet files in verl's layout, without verl."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from echorl.tasks import load_task

if TYPE_CHECKING:
    from datasets import Dataset


def to_verl(dataset: Dataset, data_source: str, split: str) -> Dataset:
    """Return a task's rows with verl's columns: `data_source`, `prompt`, `reward_model`, `extra_info` (and `images`).

    A prompt that is plain text becomes a user's message: verl applies the chat template to every prompt.
    """
    from datasets import Dataset, Features, Image, List, Value

    text = Value("string")
    features: dict[str, Any] = {
        "data_source": text,
        "prompt": [{"role": text, "content": text}],
        "reward_model": {"style": text, "ground_truth": text},
        "extra_info": {"split": text, "index": Value("int64")},
    }
    if "images" in dataset.column_names:
        features["images"] = List(Image())
        dataset = dataset.cast_column("images", List(Image(decode=False)))
    rows = [_row(row, data_source, {"split": split, "index": index}) for index, row in enumerate(dataset)]
    return Dataset.from_list(rows, features=Features(features))


def _row(row: dict[str, Any], data_source: str, extra_info: dict[str, Any]) -> dict[str, Any]:
    prompt = row["prompt"] if isinstance(row["prompt"], list) else [{"role": "user", "content": row["prompt"]}]
    images = row.get("images") or []
    if images:  # verl puts them where the text says so
        *before, last = prompt
        prompt = [*before, {**last, "content": "<image>" * len(images) + last["content"]}]
    truth = row["instance"] if "instance" in row else row["answer"]
    example = {"data_source": data_source, "prompt": prompt, "extra_info": extra_info}
    example["reward_model"] = {"style": "rule", "ground_truth": truth}
    return {**example, "images": images} if "images" in row else example


def prepare(task: str, folder: str, *, size: int | None = None, options: dict[str, Any] | None = None) -> list[Path]:
    """Write each split of the task to `folder`/SPLIT.parquet and return the files.

    Args:
        task: a name in `echorl.tasks.TASKS`; `"reasoning_gym/chain_sum"` also names the generator. It is the rows'
            `data_source`, by which `echorl.verl.reward` finds the verifier.
        size: rows of each split; all of them, or the task's default, if not given.
        options: the task's.

    Raises:
        ValueError: there is no such task or option, or the data cannot be read.
    """
    name, _, generator = task.partition("/")
    loaded = load_task(name, **(options or {}) | ({"generator": generator} if generator else {}))
    files = []
    for split in loaded.splits:
        files.append(Path(folder, f"{split}.parquet"))
        files[-1].parent.mkdir(parents=True, exist_ok=True)
        to_verl(loaded.dataset(split, size=size), task, split).to_parquet(files[-1])
    return files


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the files and print their paths; a wrong option ends in a sentence and exit code 2."""
    parser = argparse.ArgumentParser(prog="python -m echorl.verl.prepare", description=__doc__)
    parser.add_argument("task", help="openr1_math, geometry3k, gsm8k, reasoning_gym/chain_sum, ...")
    parser.add_argument("folder", help="where SPLIT.parquet goes, one file a split")
    parser.add_argument("--size", type=int, help="rows of each split")
    parser.add_argument("--options", type=json.loads, default={}, help='the task\'s, as JSON: \'{"data": "file"}\'')
    args = parser.parse_args(arguments)
    try:
        files = prepare(args.task, args.folder, size=args.size, options=args.options)
    except ValueError as error:
        parser.error(str(error))
    for file in files:
        print(file)


if __name__ == "__main__":
    main()

"""`echo_clips_logged`: a few EchoClips as a table in TensorBoard (the real one), W&B and Trackio."""

import copy
import html
import re
from itertools import chain
from types import SimpleNamespace

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugin_util import markdown_to_safe_html

from echorl.trl import live
from echorl.trl.live import LONGEST, LiveClips, choose, shown
from tests.trl.scripted import by_number, dapo
from tests.trl.tiny import all_right, build, make_dataset, run, settings

TAG = "train/echo/clips/text_summary"
HOSTILE = (
    '<script>alert(1)</script> ![x](http://example.org/x.png) [y](http://z) **b** `c` | d |\n# e\n<td>&lt;\x1b[31m"'
)


def events(folder):
    (place,) = {path.parent for path in folder.rglob("events.out.tfevents.*")}
    found = EventAccumulator(str(place), size_guidance={"tensors": 0})
    found.Reload()
    return found


def tables(folder):
    """Step -> what TensorBoard's page shows: rows of cells, as text."""
    found = events(folder).Tensors(TAG)
    return {event.step: cells(event.tensor_proto.string_val[0].decode()) for event in found}


def cells(markdown):
    page = markdown_to_safe_html(markdown)
    assert set(re.findall(r"<(\w+)", page)) <= {"table", "thead", "tbody", "tr", "th", "td", "br"}
    rows = re.findall(r"<tr>(.*?)</tr>", page, re.DOTALL)
    texts = [re.findall(r"<t[hd]>(.*?)</t[hd]>", row, re.DOTALL) for row in rows]
    return [[html.unescape(text.replace("<br>", "\n")).strip() for text in row] for row in texts]


def as_dicts(table):
    return [dict(zip(table[0], row, strict=True)) for row in table[1:]]


def test_tensorboard_shows_clips_and_metrics_at_each_logging(tmp_path):
    run(tmp_path, all_right, report_to="tensorboard", echo_clips_logged=3, max_steps=2, echo_rollouts_every=1)
    assert {"train/echo/clips/all_success", "train/echo/nll"} <= set(events(tmp_path).Tags()["scalars"])
    found = tables(tmp_path)
    assert [(step, len(table) - 1) for step, table in found.items()] == [(1, 3), (2, 3)]
    for step, table in found.items():
        dumped = dumped_clips(tmp_path, step - 1)
        assert [clip_of(row) for row in as_dicts(table)] == dumped[:3]


def clip_of(row):
    texts = tuple(row[name] for name in ("prompt", "before the step", "hardest step"))
    return (*texts, float(row["entropy"]), int(row["tokens"]))


def dumped_clips(folder, step):
    """The same of a dump of all rollouts, which has been tested by itself."""
    import pyarrow.parquet as pq

    rows = pq.read_table(folder / "rollouts" / f"step-{step:06d}-process-0.parquet").to_pylist()
    found = []
    for row in rows:
        if row["clip_end"]:
            start = row["step_ids"].index(row["clip_step"])
            parts = (row["tokens"][:start], row["tokens"][start : row["clip_end"]])
            texts = (row["prompt"], *("".join(part) for part in parts))
            texts = tuple(text.strip() for text in texts)
            found.append((*texts, round(row["clip_entropy"], 4), row["clip_end"]))
    return found


def test_with_evaluations_clips_are_shown_there_only(tmp_path):
    evaluating = dict(eval_strategy="steps", eval_steps=2, eval_dataset=make_dataset(4), per_device_eval_batch_size=4)
    run(tmp_path, all_right, report_to="tensorboard", echo_clips_logged=1, max_steps=4, **evaluating)
    assert list(tables(tmp_path)) == [2, 4]


def test_a_batch_is_shown_once_and_without_clips_nothing_is(tmp_path):
    run(tmp_path / "twice", all_right, report_to="tensorboard", echo_clips_logged=1, num_iterations=2, max_steps=4)
    assert list(tables(tmp_path / "twice")) == [1, 3]
    run(tmp_path / "off", all_right, report_to="tensorboard", echo_clips_logged=1, echo_coef=0.0)
    assert TAG not in events(tmp_path / "off").Tags()["tensors"]


def test_what_a_rollout_holds_is_shown_and_does_nothing(tmp_path):
    dataset = make_dataset().map(lambda _: {"prompt": HOSTILE})
    run(tmp_path, all_right, report_to="tensorboard", echo_clips_logged=2, max_steps=1, dataset=dataset)
    for row in as_dicts(tables(tmp_path)[1]):
        assert row["prompt"] == HOSTILE.replace("\x1b", "␛")


class Tracker:
    """Stands for the modules of W&B and Trackio, as far as TRL's and EchoRL's tables use them."""

    run = object()

    def __init__(self, name):
        self.__name__, self.logged = name, []

    def Table(self, dataframe):
        return SimpleNamespace(rows=dataframe.to_dict("records"))

    def log(self, values):
        self.logged.append(values)


def train_with_fakes(trainer, monkeypatch):
    """Only EchoRL's tables see them: TRL would look for the real ones."""
    fakes = {name: Tracker(name) for name in ("wandb", "trackio")}
    monkeypatch.setattr(live, "importlib", SimpleNamespace(import_module=fakes.__getitem__))
    args, show = copy.copy(trainer.args), LiveClips._show
    args.report_to = list(fakes)
    monkeypatch.setattr(LiveClips, "_show", lambda self, _, state: show(self, args, state))
    trainer.train()
    return [fake.logged for fake in fakes.values()]


def test_wandb_and_trackio_get_a_table(tmp_path, monkeypatch):
    trainer = build(tmp_path, all_right, report_to="tensorboard", echo_clips_logged=2)
    wandb, trackio = train_with_fakes(trainer, monkeypatch)
    assert [values["train/global_step"] for values in wandb] == [1, 2]
    for logged, tensorboard in zip(wandb, tables(tmp_path).values(), strict=True):
        rows = logged["train/echo/clips"].rows
        assert [[str(value).strip() for value in row.values()] for row in rows] == tensorboard[1:]
    assert [v["train/echo/clips"].rows for v in trackio] == [v["train/echo/clips"].rows for v in wandb]


def test_rounds_of_dynamic_sampling_add_up(tmp_path, monkeypatch):
    mined = []
    keep = LiveClips.keep
    monkeypatch.setattr(LiveClips, "keep", lambda self, batch: mined.append(len(batch.clips)) or keep(self, batch))
    changes = {**dapo(), "max_steps": 1, "report_to": "tensorboard", "echo_clips_logged": 100}
    trainer = build(tmp_path, by_number, **changes)
    wandb, _ = train_with_fakes(trainer, monkeypatch)
    assert len(mined) > 1
    assert len(wandb[0]["train/echo/clips"].rows) == sum(mined)


def test_the_real_wandb_offline(tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    run(tmp_path, all_right, report_to="wandb", echo_clips_logged=1, max_steps=1)
    (table,) = tmp_path.rglob("clips*.table.json")
    assert "hardest step" in table.read_text()


# -- which rows, and how much of them


def test_kinds_take_turns():
    rows = [{"kind": kind, "n": n} for n, kind in enumerate(["mixed", "mixed", "mixed", "all_success", "all_success"])]
    assert [row["n"] for row in choose(rows, 4)] == [3, 0, 4, 1]
    assert [row["n"] for row in choose(rows[:3], 2)] == [0, 1]
    assert choose([], 4) == []


def test_the_first_rows_of_parts_give_the_choice_of_the_whole():
    """Each process keeps the first few of each kind: no other can be chosen."""
    rows = [{"kind": "mixed" if n % 3 else "all_success", "n": n} for n in range(24)]
    parts = [rows[:5], rows[5:9], rows[9:]]
    kept = chain.from_iterable(
        [r for r in part if r["kind"] == k][:4] for part in parts for k in ("mixed", "all_success")
    )
    assert choose(sorted(kept, key=lambda row: row["n"]), 4) == choose(rows, 4)


def test_long_texts_lose_their_middle():
    text = "a" * LONGEST + "b" * LONGEST
    assert shown(text) == f"{'a' * (LONGEST // 2)} [... {LONGEST} characters ...] {'b' * (LONGEST // 2)}"
    assert shown(text[:LONGEST]) == text[:LONGEST]


def test_nowhere_to_go_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"echo_clips_logged=2 has nowhere to go with report_to=\[\]: name wandb"):
        settings(tmp_path, echo_clips_logged=2)

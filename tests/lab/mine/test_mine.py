"""`mine` on small files: the clips are the core's, groups may be scattered, a killed run goes on, memory stays flat."""

from __future__ import annotations

import json
import random
import subprocess
import sys

import pyarrow.parquet as pq
import pytest
import torch

from echorl import StepDelimiters, mine_echo_clips, segment_steps
from echorl.core.config import EchoConfig
from echorl.core.entropy import logp_and_entropy
from echorl.lab.mine import run as module
from echorl.lab.mine.summary import _cell, _spread, headline, table_rows
from echorl.models.loading import load_policy
from tests.lab.conftest import rows, run, write


def clips_of(folder):
    return [json.loads(line) for line in (folder / "clips.jsonl").open(encoding="utf-8")]


def without_place(clips):
    gone = ("group", "file", "line", "others", "entropy")  # the last is rounded, and differs in the last bits
    return sorted(json.dumps({k: v for k, v in clip.items() if k not in gone}) for clip in clips)


def reference(model_folder, values, config):
    """The clips of all rows at once, each scored by a forward of its own: (row, step, end) and step entropies."""
    model, tokenizer = load_policy(model_folder)
    ids, entropies = [], []
    for row in values:
        prompt = tokenizer(row["prompt"])["input_ids"]
        response = [*tokenizer(row["response"], add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
        with torch.no_grad():
            logits = model(torch.tensor([prompt + response])).logits[0, len(prompt) - 1 : -1]
        ids.append(torch.tensor(response))
        entropies.append(logp_and_entropy(logits, ids[-1])[1])
    pad = torch.nn.utils.rnn.pad_sequence
    mask = pad([torch.ones(len(i)) for i in ids], batch_first=True)
    steps = segment_steps(pad(ids, batch_first=True), mask, StepDelimiters.from_tokenizer(tokenizer))
    success = torch.tensor([row["reward"] >= 1 for row in values])
    names = {row["prompt"]: i for i, row in enumerate(values)}
    group = torch.tensor([names[row["prompt"]] for row in values])
    clips = mine_echo_clips(pad(entropies, batch_first=True), steps, success, group, config)
    columns = (clips.rollout, clips.step, clips.end)
    return list(zip(*(column.tolist() for column in columns), strict=True)), clips.entropy


@pytest.mark.parametrize(
    "config", [EchoConfig(), EchoConfig(scope="degenerate", top_k=2), EchoConfig(clip_per="rollout", min_step_tokens=4)]
)
def test_clips_are_those_of_the_core_on_all_rows_at_once(tmp_path, model, config):
    values = rows(40)
    run(tmp_path / "out", [write(tmp_path / "a.jsonl", values)], model, echo=config, batch_size=8, tokens_at_once=64)
    found = clips_of(tmp_path / "out")
    expected, entropy = reference(model, values, config)
    assert [(clip["line"] - 1, clip["step"], clip["clip_tokens"]) for clip in found] == expected
    torch.testing.assert_close(torch.tensor([clip["step_entropy"] for clip in found]), entropy, rtol=0, atol=1e-5)
    for clip in found:
        assert clip["response"].startswith(clip["clip"])
        assert clip["clip"].endswith(clip["step_text"])


def test_the_quantile_is_that_of_the_steps_of_successes_as_in_a_trainer(tmp_path, model):
    values = rows(40)
    file = write(tmp_path / "a.jsonl", values)
    run(tmp_path / "all", [file], model, echo=EchoConfig(clip_per="rollout", top_k=100))
    entropies = torch.tensor([clip["step_entropy"] for clip in clips_of(tmp_path / "all")])
    run(tmp_path / "out", [file], model, echo=EchoConfig(clip_per="rollout", entropy_quantile=0.7))
    clips = clips_of(tmp_path / "out")
    threshold = entropies.kthvalue(round(0.7 * len(entropies))).values
    assert min(clip["step_entropy"] for clip in clips) == pytest.approx(float(threshold), abs=1e-6)
    assert sum(clip["candidates"] for clip in {clip["group"]: clip for clip in clips}.values()) == (
        (entropies >= threshold).sum()
    )


def test_the_rank_is_the_place_by_entropy(tmp_path, model):
    """The control picks the lowest, which ranks last but for ties; with a clip a rollout ranks follow the entropies."""
    file = write(tmp_path / "a.jsonl", rows(40))
    run(tmp_path / "low", [file], model, echo=EchoConfig(select="min_entropy"))
    lowest = clips_of(tmp_path / "low")
    assert all(other["entropy"] >= clip["step_entropy"] for clip in lowest for other in clip["others"])
    assert any(clip["rank"] == clip["candidates"] > 1 for clip in lowest)
    run(tmp_path / "each", [file], model, echo=EchoConfig(clip_per="rollout"))
    groups = {}
    for clip in clips_of(tmp_path / "each"):
        groups.setdefault(clip["group"], []).append(clip)
    assert any(len(clips) > 1 for clips in groups.values())
    for clips in groups.values():
        by_entropy = sorted(clips, key=lambda clip: -clip["step_entropy"])
        assert by_entropy[0]["rank"] == 1
        ranks = [clip["rank"] for clip in by_entropy]
        assert ranks == sorted(set(ranks))


def test_groups_need_not_stand_together(tmp_path, model):
    values = rows(40)
    scattered = random.Random(1).sample(values, len(values))
    run(tmp_path / "one", [write(tmp_path / "a.jsonl", values)], model, echo=EchoConfig(clip_per="rollout"))
    other = write(tmp_path / "b.jsonl", scattered[:15]), write(tmp_path / "c.jsonl", scattered[15:])
    found = run(tmp_path / "two", other, model, echo=EchoConfig(clip_per="rollout"), batch_size=4)
    assert found["all"]["groups"] == 10

    def rounded(folder):
        clips = [{**clip, "step_entropy": 0, "other_entropy": 0} for clip in clips_of(folder)]
        return without_place(clips)

    assert rounded(tmp_path / "one") == rounded(tmp_path / "two")


def test_numbers_of_the_summary(tmp_path, model):
    right, wrong = {"reward": 1, "response": "1+\n2+\n3\n"}, {"reward": 0, "response": "4\n"}
    groups = [[right, right], [right, wrong], [wrong, wrong], [right]]
    values = [{"prompt": f"{i}=?\n", **row} for i, group in enumerate(groups) for row in group]
    found = run(tmp_path / "out", [write(tmp_path / "a.jsonl", values)], model)
    assert {kind: row["groups"] for kind, row in found.items()} == {
        "all": 4, "mixed": 1, "all_success": 2, "all_fail": 1
    }  # fmt: skip
    assert (found["all"]["groups_of_one"], found["all"]["degenerate"]) == (1, 0.75)
    assert (found["mixed"]["steps"]["mean"], found["all_fail"]["steps"]["q90"]) == (2, 1)
    assert found["all_fail"]["clips"] == {"count": 0}
    clips = clips_of(tmp_path / "out")
    assert [(clip["kind"], clip["group_size"], clip["successes"]) for clip in clips] == [
        ("all_success", 2, 2), ("mixed", 2, 1), ("all_success", 1, 1)
    ]  # fmt: skip
    ends = [clip["clip_tokens"] / clip["response_tokens"] for clip in clips]
    assert found["all"]["clips"]["relative_end"]["mean"] == pytest.approx(sum(ends) / 3)
    # Newlines and the end token are blank: 4 of 9 tokens in a right rollout, 2 of 3 in a wrong one.
    assert found["all"]["blank_share"] == pytest.approx((4 * 4 + 3 * 2) / (4 * 9 + 3 * 3))
    assert [clip["rank"] for clip in clips] == [1, 1, 1]
    assert [clip["candidates"] for clip in clips] == [6, 3, 3]
    for clip in clips:
        assert all(other["entropy"] <= clip["step_entropy"] for other in clip["others"])


def test_a_rollout_too_long_for_the_model_gives_no_clip(tmp_path, model):
    long = {"prompt": "1=?\n", "response": "1+\n" * 100, "reward": 1}
    short = {"prompt": "1=?\n", "response": "1+\n2\n", "reward": 0}
    found = run(tmp_path / "out", [write(tmp_path / "a.jsonl", [long, short])], model)
    assert (found["all"]["too_long"], found["mixed"]["clips"]) == (1, {"count": 0})
    found = run(tmp_path / "none", [write(tmp_path / "b.jsonl", [long, long])], model)
    assert (found["all"]["too_long"], found["all"]["steps"]) == (2, None)


def test_parquet_out_holds_the_same(tmp_path, model):
    path = write(tmp_path / "a.jsonl", rows(24))
    run(tmp_path / "one", [path], model)
    run(tmp_path / "two", [path], model, format="parquet")
    table = pq.read_table(tmp_path / "two" / "clips.parquet").to_pylist()
    lists = ("others", "tokens", "entropy", "step_ids")
    read = [{**row, **{name: json.loads(row[name]) for name in lists}} for row in table]
    assert read == clips_of(tmp_path / "one")


def test_a_clip_s_row_holds_its_rollout_token_by_token(tmp_path, model):
    run(tmp_path / "out", [write(tmp_path / "a.jsonl", rows(24))], model)
    clips = clips_of(tmp_path / "out")
    assert clips
    for clip in clips:
        inside = [h for h, step in zip(clip["entropy"], clip["step_ids"], strict=True) if step == clip["step"]]
        assert sum(inside) / len(inside) == pytest.approx(clip["step_entropy"], abs=1e-4)
        assert len(clip["tokens"]) == len(clip["entropy"]) == clip["response_tokens"]
        assert sum(step <= clip["step"] for step in clip["step_ids"]) == clip["clip_tokens"]
        assert "".join(clip["tokens"][:-1]) == clip["response"]


def test_killed_anywhere_and_called_again_gives_the_undisturbed_output(tmp_path, model, monkeypatch):
    path = write(tmp_path / "a.jsonl", rows(40))
    run(tmp_path / "whole", [path], model, batch_size=8)
    real, made, stops = module._make_part, [], [0, 2, 3, 100]  # parts made in all when a run is stopped

    def make_part(*settings):
        if len(made) == stops[0]:
            raise KeyboardInterrupt
        made.append(settings[-2])
        return real(*settings)

    monkeypatch.setattr(module, "_make_part", make_part)
    while len(stops) > 1:
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "out", [path], model, batch_size=8)
        del stops[0]
    (tmp_path / "out" / "parts" / "000001.json").write_text('{"key": {')  # as a full disk would leave it
    run(tmp_path / "out", [path], model, batch_size=8)
    assert made == [0, 1, 2, 1, 3, 4]
    for name in ("clips.jsonl", "summary.json"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    run(tmp_path / "out", [path], model, batch_size=8)
    assert len(made) == 6
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "clips.jsonl",
        "settings.json",
        "summary.json",
    ]


@pytest.mark.parametrize("change", [dict(temperature=0.5), dict(echo=EchoConfig(top_k=2)), dict(batch_size=8)])
def test_other_settings_need_another_folder(tmp_path, model, change):
    path = write(tmp_path / "a.jsonl", rows(8))
    run(tmp_path / "out", [path], model)
    with pytest.raises(ValueError, match=r"made with other settings \(.*give another output_dir"):
        run(tmp_path / "out", [path], model, **change)
    write(path, rows(8, seed=1))
    with pytest.raises(ValueError, match=r"made with other settings \(rollouts"):
        run(tmp_path / "out", [path], model)


MEASURE = """
import resource, sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from tests.lab.conftest import rows, run, write
folder, model, count = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
with (folder / "a.jsonl").open("w") as file:
    import json
    for start in range(0, count, 1000):
        for row in rows(1000, seed=start):
            file.write(json.dumps({**row, "prompt": f"{start}+" + row["prompt"]}) + chr(10))
found = run(folder / "out", [folder / "a.jsonl"], model)
print(found["all"]["rollouts"], found["all"]["groups"], resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


def measure(folder, model, count):
    folder.mkdir()
    command = [sys.executable, "-c", MEASURE, str(folder), str(model), str(count)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    rollouts, groups, peak = map(int, done.stdout.split())
    assert (rollouts, groups) == (count, count // 4)
    return peak


@pytest.mark.slow
def test_memory_stays_flat_between_1000_and_16000_rollouts(tmp_path, model):
    few, many = measure(tmp_path / "few", model, 1000), measure(tmp_path / "many", model, 16_000)
    print(f"peak memory: {few} MB with 1,000 rollouts, {many} MB with 16,000")
    assert many - few < 13  # the input alone has 1.6 MB, its rows as Python objects 16


def test_clips_that_have_no_other_step(tmp_path, model):
    """Then there is no mean of the other steps, and the table has a dash."""
    values = [{"prompt": "1 + 1 = ?", "response": "2", "reward": 1}]
    summary = run(tmp_path / "out", [write(tmp_path / "a.jsonl", values)], model)
    assert summary["all"]["clips"]["other_steps_entropy"] is None
    cells = {text: values for text, *values in table_rows(summary)}
    assert cells["entropy of the other steps (mean, nats)"] == ["-", "-"]
    assert cells["clips"] == ["1", "1"]
    assert summary["all"]["steps"]["values"] == [1.0]
    assert cells["steps a rollout (10 50 90 %)"] == ["[1]", "[1]"]


def test_few_values_are_shown_and_many_as_quantiles():
    few, many = _spread([3, 1, 3]), _spread(range(5))
    assert few["values"] == [1.0, 3.0, 3.0]
    assert "values" not in many
    assert _cell({"steps": few}, "steps") == "[1, 3, 3]"
    assert _cell({"steps": many}, "steps") == "0 2 4"


def test_rewards_that_are_unusual_for_a_verifier(tmp_path, model):
    values = [{**row, "reward": index % 3 + 1} for index, row in enumerate(rows(12))]
    summary = run(tmp_path / "out", [write(tmp_path / "a.jsonl", values)], model)
    assert headline(summary)[1].startswith("The verifier's column has 3 different rewards, and only 67% of them are 1 ")


def test_rollouts_without_a_verdict_are_neither_right_nor_wrong(tmp_path, model):
    """They keep no group from being all-success, and a group of them is unscored."""
    values = rows(12)
    for row, reward in zip(values, [1, 1, 1, None, None, None, None, None, 0, 0, 0, None], strict=True):
        row["reward"] = reward
    echo = EchoConfig(scope="degenerate")
    summary = run(tmp_path / "out", [write(tmp_path / "a.jsonl", values)], model, echo=echo)
    kinds = {kind: row["groups"] for kind, row in summary.items()}
    assert kinds == {"all": 3, "all_success": 1, "all_fail": 1, "unscored": 1}
    assert summary["unscored"]["step_entropy_wrong"] is None
    assert [clip["line"] <= 3 for clip in clips_of(tmp_path / "out")] == [True]
    assert table_rows(summary)

"""Tasks of echorl as Parquet files that verl's own dataset reads, and that the reward function scores."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("verl", reason="verl is not installed: run `make test-verl`")

from datasets import Dataset, Features, Image, List, Value

from echorl.verl.prepare import main, prepare
from echorl.verl.reward import compute_score
from tests.pictures import picture


def openr1(folder, count=300):
    """Rows in the hub's schema; so many that both splits have some."""
    rows = [
        {
            "prompt": [{"role": "system", "content": "Think."}, {"role": "user", "content": f"What is {i}+{i}?"}],
            "target": [{"role": "assistant", "content": f"<think>\n{2 * i}\n</think>\n\\boxed{{{2 * i}}}"}],
            "reward_model": {"ground_truth": str(2 * i), "style": "rule"},
        }
        for i in range(count)
    ]
    Dataset.from_list(rows).to_parquet(folder / "openr1.parquet")
    return folder / "openr1.parquet"


def geometry(folder):
    kinds = Features({"images": List(Image()), "problem": Value("string"), "answer": Value("string")})
    rows = [{"images": [{"bytes": picture(9, (28, 28)), "path": None}], "problem": "<image>Find x.", "answer": "3"}]
    Dataset.from_list(rows, features=kinds).to_parquet(folder / "geometry.parquet")
    return folder / "geometry.parquet"


def test_openr1_math(tmp_path, capsys):
    data = openr1(tmp_path)
    main(["openr1_math", str(tmp_path / "out"), "--options", json.dumps({"data": str(data)})])
    files = capsys.readouterr().out.split()
    assert files == [str(tmp_path / "out" / f"{split}.parquet") for split in ("train", "validation")]
    rows = Dataset.from_parquet(files[0])
    assert set(rows.column_names) == {"data_source", "prompt", "reward_model", "extra_info"}
    assert [message["role"] for message in rows[0]["prompt"]] == ["system", "user"]
    question, truth = rows[5]["prompt"][1]["content"], rows[5]["reward_model"]["ground_truth"]
    assert question == f"What is {int(truth) // 2}+{int(truth) // 2}?"
    assert rows[5]["extra_info"] == {"split": "train", "index": 5}
    assert compute_score(rows[5]["data_source"], f"</think> so \\boxed{{{truth}}}", truth)["acc"] == 1.0
    assert compute_score(rows[5]["data_source"], "</think> so \\boxed{1}", truth)["acc"] == 0.0


def test_geometry3k_as_verl_s_dataset_reads_it(tmp_path):
    from omegaconf import OmegaConf
    from verl.utils.dataset.rl_dataset import RLHFDataset

    data = geometry(tmp_path)
    train = prepare("geometry3k", str(tmp_path / "out"), options={"data": str(data)})[0]
    config = OmegaConf.create({"filter_overlong_prompts": False, "cache_dir": str(tmp_path / "cache")})
    row = RLHFDataset(str(train), tokenizer=None, config=config, processor=object())[0]
    image, text = row["raw_prompt"][0]["content"]
    assert (image["type"], image["image"].size) == ("image", (28, 28))
    assert text["text"].startswith("Find x.")
    truth = row["reward_model"]["ground_truth"]
    assert compute_score(row["data_source"], "so \\boxed{3}", truth)["acc"] == 1.0


def test_a_prompt_of_plain_text_becomes_a_message(tmp_path):
    pytest.importorskip("reasoning_gym")
    train = prepare("reasoning_gym/chain_sum", str(tmp_path), size=2)[0]
    row = Dataset.from_parquet(str(train))[0]
    assert row["data_source"] == "reasoning_gym/chain_sum"
    assert [message["role"] for message in row["prompt"]] == ["user"]
    assert isinstance(json.loads(row["reward_model"]["ground_truth"]), dict)


def test_an_unknown_task_is_one_sentence(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["openr1", str(tmp_path)])
    assert "error: unknown task 'openr1'; choose one of" in capsys.readouterr().err

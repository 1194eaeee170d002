"""The paper's runs: all 40 compositions parse, and each model's class builds its trainer with each method, tiny.

Models, tokenizers and rows are made here, in the form that the recipes expect; vLLM is off. Not covered: the models'
real tokenizers and chat templates, and of Qwen2.5-VL's processor the video part (tests/trl/tiny_vision.py).
"""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from datasets import Dataset
from transformers import AutoProcessor, LlamaForCausalLM

from echorl.cli import main
from echorl.support.errors import UserError
from echorl.train.data import find_function
from echorl.train.parsing import parse
from echorl.train.recipe import read_recipes
from echorl.train.run import TRAIN, _make_trainer
from echorl.trl.metrics_file import read_metrics
from tests.tiny import random_model
from tests.trl import tiny, tiny_vision

ROOT = Path(__file__).resolve().parents[2]
PAPER = ROOT / "recipes" / "paper"
MODELS = {
    "qwen2.5-1.5b": ("Qwen/Qwen2.5-1.5B", "Qwen2ForCausalLM"),
    "qwen2.5-7b": ("Qwen/Qwen2.5-7B", "Qwen2ForCausalLM"),
    "qwen2.5-math-7b": ("Elliott/Qwen2.5-Math-7B-16k-think", "Qwen2ForCausalLM"),
    "llama-3.1-8b": ("meta-llama/Llama-3.1-8B", "LlamaForCausalLM"),
    "qwen2.5-vl-7b": ("Qwen/Qwen2.5-VL-7B-Instruct", "Qwen2_5_VLForConditionalGeneration"),
}
METHODS = {"grpo": "dr_grpo", "dapo": "dapo", "luffy": "luffy", "uft": "uft"}
CPU = "--use_vllm false --use_cpu true --bf16 false --activation_checkpointing false --vllm_enable_sleep_mode false"
TRACE = "<think>\n1+1=2\n</think>\nso \\boxed{2}"
CHAT = "{% for m in messages %}{{ m.content }}\n{% endfor %}"


def composed(model: str, method: str, echo: bool = False):
    files = [PAPER / "base.yaml", PAPER / "methods" / f"{method}.yaml", PAPER / "models" / f"{model}.yaml"]
    return read_recipes([*files, *([PAPER / "echorl.yaml"] if echo else [])])


def test_there_are_no_other_files():
    assert {p.stem for p in (PAPER / "models").glob("*.yaml")} == set(MODELS)
    assert {p.stem for p in (PAPER / "methods").glob("*.yaml")} == set(METHODS)


@pytest.mark.parametrize("echo", [False, True], ids=["without", "echorl"])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("model", MODELS)
def test_every_composition_parses(model, method, echo):
    settings = parse(TRAIN, composed(model, method, echo), CPU.split())
    args = settings.training
    assert settings.model.model_name_or_path == MODELS[model][0]
    assert (args.method, args.echo_coef) == (METHODS[method], 0.001 if echo else 0.0)
    assert args.output_dir.startswith(f"runs/base-{method}")
    assert args.output_dir.endswith(f"{model}{'-echorl' if echo else ''}")


def test_the_settings_of_the_authors_script():
    """128 prompts x 8 a generation batch on 8 GPUs, mini-batches of 64 prompts, and the rest of METHODS' list."""
    args = parse(TRAIN, composed("qwen2.5-math-7b", "grpo"), CPU.split()).training
    rollouts = 8 * args.per_device_train_batch_size
    assert rollouts * args.steps_per_generation == 128 * args.num_generations
    assert rollouts * args.gradient_accumulation_steps == 64 * args.num_generations
    assert (args.temperature, args.learning_rate, args.beta, args.entropy_coef) == (1.0, 1e-6, 0.0, 0.001)
    assert (args.loss_type, args.scale_rewards, args.max_completion_length) == ("dr_grpo", "none", 8192)


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("dapo", dict(loss_type="dapo", epsilon_high=0.28, beta=0.0, entropy_coef=0.0)),
        ("luffy", dict(loss_type="dr_grpo", beta=0.0, entropy_coef=0.001, vllm_max_model_length=9216)),
        ("uft", dict(loss_type="grpo", beta=0.001, entropy_coef=0.001, vllm_max_model_length=17408)),
    ],
)
def test_the_settings_of_a_method(method, expected):
    args = parse(TRAIN, composed("qwen2.5-7b", method), CPU.split()).training
    assert {name: getattr(args, name) for name in expected} == expected


def test_vllm_is_on():
    assert read_recipes([PAPER / "base.yaml"]).options["use_vllm"] is True


# -- trainers -----------------------------------------------------------------------------------------------------


def openr1() -> Dataset:
    """The columns of Elliott/Openr1-Math-46k-8192."""
    row = {
        "data_source": "math",
        "prompt": [{"content": "Think.", "role": "system"}, {"content": "1+1=?", "role": "user"}],
        "target": [{"content": TRACE, "role": "assistant"}],
        "ability": "math",
        "reward_model": {"ground_truth": "2", "style": "rule"},
        "extra_info": {"index": 0, "split": "default"},
    }
    return Dataset.from_list([row] * 16)


def geometry3k(**columns) -> Dataset:
    """The columns of hiyouga/geometry3k that the recipe reads."""
    return tiny_vision.make_rows(problem="<image>1+1=?", answer="2", **columns)


def make_llama() -> LlamaForCausalLM:
    return random_model(LlamaForCausalLM, max_position_embeddings=2048)


@pytest.fixture(scope="session")
def folders(tmp_path_factory):
    """A tiny model of each class in a folder; Llama's tokenizer has no chat template, as the base model's."""
    root = tmp_path_factory.mktemp("paper")
    makers = {"Qwen2ForCausalLM": (tiny.make_model, CHAT), "LlamaForCausalLM": (make_llama, None)}
    for name, (make, template) in makers.items():
        make().save_pretrained(root / name)
        tokenizer = tiny.make_tokenizer()
        tokenizer.chat_template = template
        tokenizer.save_pretrained(root / name)
    tiny_vision.make_model().save_pretrained(root / "Qwen2_5_VLForConditionalGeneration")
    return root


@pytest.fixture
def make(folders, monkeypatch, tmp_path):
    """Builds the trainer of a composition at CPU size, on these rows."""

    def make(model: str, method: str, rows: Dataset):
        vision = model == "qwen2.5-vl-7b"
        monkeypatch.setattr("echorl.train.data._from_hub", lambda name, split: rows)
        if vision:
            monkeypatch.setattr(AutoProcessor, "from_pretrained", lambda *a, **k: tiny_vision.make_processor())
        folder = str(folders / MODELS[model][1])
        monkeypatch.chdir(ROOT)  # where the recipes say to run them
        more = [
            *CPU.split(),
            "--model_name_or_path",
            folder,
            "--output_dir",
            str(tmp_path),
            "--max_completion_length",
            "32",
        ]
        return _make_trainer(parse(TRAIN, composed(model, method, echo=True), more), folder)

    return make


@pytest.mark.parametrize(("model", "method"), itertools.product(MODELS, METHODS))
def test_the_trainer_is_built_by_the_real_class(make, model, method):
    rows = geometry3k(demonstration="1+1=2") if model == "qwen2.5-vl-7b" else openr1()
    trainer = make(model, method, rows)
    assert type(trainer.model).__name__ == MODELS[model][1]
    assert trainer.args.method == METHODS[method]
    assert trainer.echo.coef == 0.001
    row = trainer.train_dataset[0]
    assert isinstance(row["prompt"], str) == (model == "llama-3.1-8b")
    assert row["reference_answer"] == "2"
    assert trainer.reward_func_names[0] == "correct"
    assert trainer.stations.verifiers.columns == [0]


def test_openr1s_target_is_a_trace(make):
    """A list of messages; the verifier reads what follows </think>."""
    trainer = make("qwen2.5-7b", "luffy", openr1())
    plan = trainer.stations.hooks.plan([trainer.train_dataset[0]] * 8, trainer.context)
    text, ids = plan.demonstrations[7]
    assert text == TRACE
    assert ids[-1] == trainer._tokenizer.eos_token_id


def test_one_of_them_runs(make, folders, tmp_path, monkeypatch):
    """A step of LUFFY with EchoRL by the command line: the traces are verified and used."""
    monkeypatch.setattr("echorl.train.data._from_hub", lambda name, split: openr1())
    monkeypatch.chdir(ROOT)
    parts = ["base.yaml", "methods/luffy.yaml", "models/qwen2.5-7b.yaml", "echorl.yaml"]
    size = "--max_steps 1 --steps_per_generation 4 --gradient_accumulation_steps 4 --max_completion_length 32"
    folder = ["--model_name_or_path", str(folders / "Qwen2ForCausalLM"), "--output_dir", str(tmp_path)]
    assert (
        main(["train", "--config", *(str(PAPER / part) for part in parts), *CPU.split(), *size.split(), *folder]) == 0
    )
    line = read_metrics(tmp_path / "metrics.jsonl")[0]
    assert line["method/trace_used"] == 1.0
    assert line["rewards/correct/mean"] == pytest.approx(1 / 8)


@pytest.mark.parametrize("method", ["luffy", "uft"])
def test_geometry3k_itself_has_no_demonstrations(make, method):
    with pytest.raises((UserError, ValueError), match="learns from demonstrations: add a column 'demonstration'"):
        make("qwen2.5-vl-7b", method, geometry3k())


# -- rows.py ------------------------------------------------------------------------------------------------------


def function(name: str):
    return find_function(f"{PAPER / 'rows.py'}:{name}", "row_func", home="builtins")


def test_the_verifier():
    texts = [r"\boxed{0.5}", r"\boxed{\frac12}", r"\boxed{2}", "1/2", r"\boxed{%s}" % ("9" * 2000)]
    answers = [r"\frac{1}{2}", "$0.5$", "1", r"\frac{1}{2}", "1"]
    correct = function("correct")
    assert correct(completions=texts, reference_answer=answers) == [1.0, 1.0, 0.0, 0.0, 0.0]
    messages = [[{"role": "assistant", "content": r"\boxed{2 \sqrt { 221 }}"}]]
    assert correct(completions=messages, reference_answer=[r"2 \sqrt { 221 }"]) == [1.0]
    assert correct(completions=[], reference_answer=[]) == []

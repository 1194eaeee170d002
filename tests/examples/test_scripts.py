"""Every script of examples/ that needs a CPU alone, run as its header says: what it prints and what it leaves."""

from __future__ import annotations

import ast
import importlib
import json
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from echorl import StepDelimiters
from echorl.lab.report.assemble import make_report
from echorl.models import POLICY
from echorl.trl.metrics_file import read_metrics
from tests.processes import start

EXAMPLES = Path(__file__).parents[2] / "examples"


def run_here(code: str, folder: Path, log: Path) -> None:
    """Run a script, or the cells of a notebook, in a process that has the libraries in place."""
    os.environ.update(HF_HUB_OFFLINE="1", CUDA_VISIBLE_DEVICES="", OMP_NUM_THREADS="1", MPLBACKEND="Agg")
    os.chdir(folder)
    sys.path.insert(0, str(EXAMPLES))
    sys.stdout = sys.stderr = log.open("a", buffering=1)
    if code.endswith(".py"):
        runpy.run_path(code, run_name="__main__")
    else:
        exec(compile(cells(Path(code)), code, "exec"), {"__name__": "__main__"})


def cells(notebook: Path) -> str:
    """Return the code of a notebook's cells, in order."""
    stored = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    return "\n".join("".join(cell["source"]) for cell in stored if cell["cell_type"] == "code")


def output_of(name: str, folder: Path) -> str:
    log = folder / "log"
    process = start(run_here, str(EXAMPLES / name), folder, log)
    process.join()
    text = log.read_text(encoding="utf-8")
    assert process.exitcode == 0, text[-3000:]
    return text


def test_a_trl_script_as_pasted_and_its_report(tmp_path):
    env = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    env["TRANSFORMERS_VERBOSITY"] = "error"  # then transformers prints the metrics without its bar
    script = [sys.executable, str(EXAMPLES / "trl_cpu.py")]
    done = subprocess.run(script, cwd=tmp_path, env=env, capture_output=True, text=True, check=True)
    text, run = done.stdout, tmp_path / "runs" / "trl-cpu"
    assert re.findall(r"^step (\d)/4  reward \d", text, re.MULTILINE) == list("1234")
    assert "Warning" not in done.stderr
    assert "{" not in text + done.stderr
    assert "Where the rollouts went:" in text
    assert re.search(r"^mixed +\d+", text, re.MULTILINE)
    assert "The run as a page: echorl report runs/trl-cpu" in text
    lines = read_metrics(run / "metrics.jsonl")
    assert [line["step"] for line in lines] == [1, 2, 3, 4]
    assert all(line["echo/entropy_source/recorder"] == 1 for line in lines)
    assert sum(line.get("echo/clips/mixed", 0) + line.get("echo/clips/all_success", 0) for line in lines) > 0
    dumps = sorted(path.name for path in (run / "rollouts").iterdir())
    assert dumps == [f"step-{step:06d}-process-0.parquet" for step in (1, 2, 3, 4)]

    page = make_report([run]).page
    assert page.title == "EchoRL: trl-cpu"
    assert [section.title for section in page.sections] == ["Training"]
    assert {exhibit.training_step for exhibit in page.exhibits} <= {1, 2, 3, 4}
    assert len(json.loads(page.gallery)["groups"]) == 16


def test_one_file(tmp_path):
    text = output_of("one_file_trl.py", tmp_path)
    assert re.findall(r"^step (\d): loss -?\d\.\d+, reward \d\.\d\d, [1-4] clips$", text, re.MULTILINE) == list("1234")
    assert "Warning" not in text
    assert "{" not in text


def test_a_loop_in_plain_pytorch(tmp_path):
    text = output_of("own_loop.py", tmp_path)
    assert re.findall(r"^update (\d): right 0?\.?\d+", text, re.MULTILINE) == list("123456")
    assert re.search(r"an EchoClip, whose last step has \d\.\d\d nats a token:\n\S+=\d", text)


def test_a_micro_batch_that_the_loop_loses_is_refused(monkeypatch):
    """Without the receipt the clips of the rows that are lost would be missing from the loss, and nobody would know."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    loop = importlib.import_module("own_loop")
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_pretrained(POLICY)
    tokenizer = AutoTokenizer.from_pretrained(POLICY, padding_side="left")
    parts = model, tokenizer, StepDelimiters.from_tokenizer(tokenizer), torch.optim.SGD(model.parameters(), lr=1e-4)
    rows = loop.make_rows(loop.PROMPTS)
    _, clips, _ = loop.update(*parts, rows)
    assert len(clips)
    monkeypatch.setattr(torch, "randperm", lambda number: torch.arange(number - loop.MICRO_BATCH, number))
    monkeypatch.setattr(loop, "right_sum", lambda texts, answers: [float(n < 8) for n in range(len(texts))])
    with pytest.raises(RuntimeError, match="was mined"):
        loop.update(*parts, rows)


def test_a_method_of_one_s_own(tmp_path):
    text = output_of("my_method.py", tmp_path)
    assert "{'loss'" not in text
    count = re.search(r"^(\d+) all-success groups had an advantage of \{'bonus': 0.2\}", text, re.MULTILINE)
    assert count is not None
    lines = read_metrics(tmp_path / "runs" / "my-method" / "metrics.jsonl")
    assert int(count[1]) == round(4 * sum(line["echo/groups/all_success"] for line in lines))


def test_the_method_is_that_of_the_docs():
    page = (EXAMPLES.parent / "docs" / "guides" / "own-method.md").read_text(encoding="utf-8")
    shown, stored = re.search(r"```python\n(.*?)```", page, re.DOTALL)[1], (EXAMPLES / "my_method.py").read_text()
    rules = [
        [ast.dump(node) for node in ast.parse(text).body if isinstance(node, ast.ClassDef)] for text in (shown, stored)
    ]
    assert rules[0] == rules[1]


def test_the_notebook(tmp_path):
    text = output_of("echorl.ipynb", tmp_path)
    assert "8 of 8 right" in text
    assert re.search(r"all right: '.*=\d+", text)
    assert re.search(r"the all-right one: +GRPO's gradient 0\.000, the echo's 0\.[0-9]*[1-9]", text)


def test_the_notebook_is_stored_with_small_outputs():
    path = EXAMPLES / "echorl.ipynb"
    assert path.stat().st_size < 100_000
    stored = json.loads(path.read_text(encoding="utf-8"))["cells"]
    outputs = [output for cell in stored for output in cell.get("outputs", [])]
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 2
    assert not any(output["output_type"] == "error" or output.get("name") == "stderr" for output in outputs)


@pytest.mark.parametrize(("name", "most"), [("one_file_trl.py", 200), ("own_loop.py", 150)])
def test_what_is_to_be_read_is_short(name, most):
    assert len((EXAMPLES / name).read_text(encoding="utf-8").splitlines()) <= most


TABLE = (EXAMPLES / "README.md").read_text(encoding="utf-8")
SCRIPTS = re.findall(r"^\| \[(\S+\.py)\]\(\1\)", TABLE, re.MULTILINE)
"""Those that are run by themselves; other files are named in the row of the example that they belong to."""


def test_the_table_names_every_example():
    assert set(re.findall(r"\[(\S+)\]\(\1\)", TABLE)) == {
        path.name for path in EXAMPLES.iterdir() if path.suffix in (".py", ".sh", ".ipynb", ".yaml")
    }


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_header_says_how_to_run_it(name):
    header = ast.get_docstring(ast.parse((EXAMPLES / name).read_text(encoding="utf-8")))
    assert f"    python examples/{name}" in header
    assert 4 <= len(header.splitlines()) <= 9

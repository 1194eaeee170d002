"""`echorl audit`: the terminal, the files, exit codes, JSON, one sentence for what it can't use, and nothing heavy."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from echorl.cli import audit as command
from echorl.cli import main
from tests.lab.conftest import write
from tests.lab.report.test_page import HOSTILE, Elements

HEAVY = ("torch", "transformers", "trl", "datasets", "matplotlib", "pandas", "sympy")
SCRIPT = f"""
import sys
from echorl.cli import main
try:
    code = main(sys.argv[1:])
except SystemExit as error:
    code = error.code
print(code, [name for name in {HEAVY} if name in sys.modules], file=sys.stderr)
"""


def log_rows(steps: int = 5, text: str = "") -> list[dict]:
    """A log of 4 groups of 4 a step: one all right, one all wrong, two mixed."""
    return [
        {
            "step": step,
            "prompt": f"{text}{step}.{group}",
            "completion": f"{text} the answer is {sample}",
            "accuracy": float((sample < 2, group == 1, sample < 1, group == 1)[group]),
            "answer": "7",
        }
        for step in range(steps)
        for group in range(4)
        for sample in range(4)
    ]


@pytest.fixture
def log(tmp_path) -> Path:
    return write(tmp_path / "log.jsonl", log_rows())


@pytest.fixture
def drawn(monkeypatch):
    """The page is not drawn: that takes a second, and tests of the page draw it."""
    monkeypatch.setattr("echorl.lab.audit.run._draw", lambda results, path: path.write_text("drawn"))


def test_the_terminal_and_the_files(log, drawn, capsys):
    assert main(["audit", "log.jsonl"]) == 0
    lines = capsys.readouterr().out.splitlines()
    text = " ".join(lines)
    assert text.startswith("In this log 50 % of groups, ")
    assert "gave no gradient: 25 % all right, 25 % all wrong." in text
    assert lines[-1] == "page: runs/audit/log/page.html"
    assert all(len(line) <= 80 for line in lines)
    names = {path.name for path in Path("runs/audit/log").iterdir()}
    assert names >= {"audit.json", "suspects.jsonl", "page.html", "settings.json"}


def test_json_is_all_of_the_output(log, drawn, capsys):
    assert main(["audit", "log.jsonl", "--json"]) == 0
    captured = capsys.readouterr()
    results = json.loads(captured.out, parse_constant=lambda name: pytest.fail(name))
    assert results == json.loads(Path("runs/audit/log/audit.json").read_text())
    assert results["losses"]["recent"]["groups"]["no_gradient"]["value"] == 0.5
    assert captured.err.splitlines() == ["reading the log", "measuring groups", "drawing the page"]


def test_a_bound_that_no_reward_reaches_is_told(log, drawn, capsys):
    assert main(["audit", "log.jsonl", "--success_reward", "2"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert text.count("--success_reward") == text.count("No reward in 'accuracy' reaches 2: the largest is 1.") == 1
    assert "In another 50 % the verifier says the same of all rollouts" in text


@pytest.mark.parametrize(("limit", "code", "relation"), [("0.5", 0, "not more than"), ("0.49", 1, "more than")])
def test_fail_above(log, drawn, capsys, limit, code, relation):
    assert main(["audit", "log.jsonl", "--fail-above", limit]) == code
    captured = capsys.readouterr()
    assert "page: " in captured.out
    assert captured.err.endswith(
        f"50 % of groups in this log gave no gradient, {relation} --fail_above {limit}: exit code {code}\n"
    )


@pytest.mark.parametrize(
    ("steps", "words"), [(1, "The log has one step: there is no"), (5, "The log has 20 groups: there is no"), (20, "")]
)
def test_a_log_that_is_too_short_for_a_curve_is_told(log, drawn, capsys, steps, words):
    write(log, log_rows(steps))
    assert main(["audit", "log.jsonl"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert f"Note: {words}" in text
    assert ("no curve over the run" in text) is bool(words)


def test_what_no_study_measured_is_not_in_the_terminal(tmp_path, drawn, capsys):
    rows = [{**row, "completion": "\\boxed{8}"} for row in log_rows() if row["prompt"][-1] in "03"]
    write(tmp_path / "log.jsonl", [{**row, "accuracy": float(row["prompt"][-1] == "0")} for row in rows])
    assert main(["audit", "log.jsonl"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "look mislabelled" in text
    assert "No study of ours" not in text
    advice = json.loads(Path("runs/audit/log/audit.json").read_text())["advice"]
    assert any(each["sentence"].startswith("No study of ours") for each in advice)


def test_a_log_that_grew_is_audited_again(log, drawn, capsys):
    for steps in (5, 10):
        write(log, log_rows(steps))
        assert main(["audit", "log.jsonl", "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["losses"]["whole"]["num_groups"] == 4 * steps


def test_a_folder_of_another_log_is_left_alone(log, drawn, fails, tmp_path):
    assert main(["audit", "log.jsonl", "--output_dir", "out"]) == 0
    before = Path("out/audit.json").read_bytes()
    write(tmp_path / "other.jsonl", log_rows(1))
    fails(["audit", "other.jsonl", "--output_dir", "out"], "out holds results with other settings (log [")
    assert Path("out/audit.json").read_bytes() == before
    Path("mine").mkdir()
    Path("mine/thesis.txt").touch()
    fails(["audit", "log.jsonl", "--output_dir", "mine"], "did not write (thesis.txt)")
    fails(["audit", "log.jsonl", "--output_dir", "mine/thesis.txt"], "mine/thesis.txt", "is a file")


def test_the_folder_of_a_run_stands_for_its_completions(drawn, capsys, tmp_path):
    (tmp_path / "run/completions").mkdir(parents=True)
    write(tmp_path / "run/completions/1.jsonl", log_rows())
    for place in ("run", "run/completions"):  # the second one replaces the first one's results
        assert main(["audit", place]) == 0
        assert capsys.readouterr().out.endswith("page: runs/audit/run-completions/page.html\n")


@pytest.mark.parametrize(
    ("rows", "argv", "words"),
    [
        ([], ["log.jsonl"], "empty"),
        ([{"step": 1}], ["log.jsonl"], "--prompt"),
        ([{"prompt": "a", "completion": "b"}], ["log.jsonl"], "--reward"),
        ([{"prompt": "a", "one": 1.0, "reward": "good"}], ["log.jsonl"], "log.jsonl, line 1: "),
        (log_rows()[::4], ["log.jsonl"], "no prompt has two rollouts in one step"),
        (log_rows(), ["nowhere.jsonl"], "there is no such file"),
        (log_rows(), ["log.jsonl", "--reward", "acuracy"], "acuracy"),
        (log_rows(), ["log.jsonl", "--fail-above", "50"], "--fail_above=50.0 is not allowed"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_wrong_input_is_one_sentence(fails, tmp_path, rows, argv, words):
    write(tmp_path / "log.jsonl", rows)
    fails(["audit", *argv], words)
    assert not Path("runs/audit/log/audit.json").exists()


def test_ctrl_c_is_one_sentence(log, monkeypatch, capsys):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("echorl.lab.audit.run.read_log", interrupt)
    assert main(["audit", "log.jsonl"]) == 130
    assert capsys.readouterr().err.endswith("\nechorl: stopped; the same command starts from the beginning.\n")


def test_text_of_the_log_is_inert_on_the_page_and_in_the_terminal(tmp_path, capsys):
    text = HOSTILE + "\x1b[2J\u202e"
    write(tmp_path / "log.jsonl", [{**row, "completion": f"{text} \\boxed{{8}}"} for row in log_rows(3, text)])
    assert main(["audit", "log.jsonl"]) == 0
    assert "\x1b" not in capsys.readouterr().out
    page = Path("runs/audit/log/page.html").read_text()
    elements = Elements(page)
    assert "script" not in elements.tags
    assert "img" not in elements.tags
    assert "<script>alert(1)" in elements.text
    assert "\x1b" not in page
    assert "\u202e" not in page


@pytest.mark.parametrize("words", [["--help"], ["nowhere.jsonl"], ["broken.jsonl"]])
def test_nothing_heavy_is_imported(tmp_path, words):
    """matplotlib only when the page is drawn, torch never."""
    write(tmp_path / "broken.jsonl", [{"prompt": "a", "reward": [1]}])
    done = subprocess.run([sys.executable, "-c", SCRIPT, "audit", *words], capture_output=True, text=True, check=True)
    code = 0 if words == ["--help"] else 2
    assert done.stderr.splitlines()[-1] == f"{code} []"


def test_an_audit_imports_no_torch(log):
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, "audit", "log.jsonl"], capture_output=True, text=True, check=True
    )
    assert done.stderr.splitlines()[-1] == "0 ['matplotlib']"


@pytest.mark.parametrize(
    ("place", "name"),
    [
        ("runs/my-run/completions", "my-run-completions"),
        ("runs/my-run/completions.jsonl", "my-run-completions"),
        ("dumps/", "dumps"),
        ("a/dumps", "a-dumps"),
        ("b/c/../dumps", "b-dumps"),
        ("data/rows.jsonl", "data-rows"),
        ("dumps/v1.5", "dumps-v1.5"),
        ("\x1b[31m\udcff.jsonl", "_[31m_"),
        (f"{'a' * 200}/{'b' * 200}", f"{'a' * 54}-{'b' * 200}"),
    ],
)
def test_the_name_of_the_results(tmp_path, place, name):
    path = Path(place)
    (path.parent if path.suffix == ".jsonl" else path).mkdir(parents=True, exist_ok=True)
    assert command._name(path) == name


def test_a_link_is_audited_twice(drawn, tmp_path):
    """As /dev/stdin, which is a link to another pipe in each process."""
    for number in (1, 2):
        Path("stdin.jsonl").unlink(missing_ok=True)
        Path("stdin.jsonl").symlink_to(write(tmp_path / f"pipe-{number}", log_rows()))
        assert main(["audit", "stdin.jsonl"]) == 0


def test_a_refused_log_leaves_no_folder(fails, tmp_path):
    write(tmp_path / "log.jsonl", [{"prompt": "a", "reward": "good"}])
    fails(["audit", "log.jsonl"], "log.jsonl, line 1: ")
    assert not Path("runs").exists()


def test_a_number_with_too_many_digits_is_told_in_our_words(fails, tmp_path):
    (tmp_path / "log.jsonl").write_text('{"prompt": "a", "reward": ' + "1" * 5000 + "}\n")
    fails(["audit", "log.jsonl"], "(a number has more than 4,300 digits)")


@pytest.mark.parametrize("name", ["\x1b[31m.jsonl", "\udcff.jsonl"])
def test_names_of_files_are_visible_in_the_terminal(drawn, capsys, tmp_path, name):
    folder = tmp_path / "run\x1b[31m"
    folder.mkdir()
    write(folder / name, log_rows())
    assert main(["audit", str(folder), "--output_dir", "out\x1b[31m"]) == 0
    assert "\x1b" not in capsys.readouterr().out
    write(folder / name, [{"prompt": "a"}])
    assert main(["audit", str(folder)]) == 2
    assert "\x1b" not in capsys.readouterr().err

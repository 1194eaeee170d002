"""Every file that a command reads, damaged: the answer is a right result, or one sentence and nothing written."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from echorl.cli import main
from echorl.lab.report import assemble, charts
from echorl.lab.report.assemble import make_report
from echorl.lab.report.page import Page
from echorl.models.loading import load_policy
from echorl.support.errors import is_for_the_user
from echorl.support.folder import Parts
from tests.cli import damage
from tests.lab.audit.made import results_of
from tests.lab.audit.simulated import group_table
from tests.lab.conftest import rows, run, save_model, write
from tests.lab.evaluate.fakes import run as evaluate
from tests.lab.evaluate.fakes import work
from tests.lab.logs.written import parquet
from tests.lab.probe import bandit
from tests.lab.report import made

FEW = ("step", "reward", "grad_norm", "echo/groups/mixed", "echo/tokens/mixed", "echo/rollout_tokens")


def thin(folder: Path) -> Path:
    """The folder with fewer metrics in its logs: a chart takes a while to draw."""
    for path in folder.rglob("metrics.jsonl"):
        lines = [json.loads(line) for line in path.read_text().splitlines()][:3]
        write(path, [{name: line[name] for name in FEW if name in line} for line in lines])
    return folder


def make_study(folder: Path) -> Path:
    """A finished comparison with notes."""
    made.make_comparison(folder)
    results = json.loads((folder / "results.json").read_text())
    table = {"title": "Advice", "head": ["case", "advice"], "rows": [["always", "tune the rate"]], "note": ""}
    notes = {"arms": {"echorl": {"costs": "none"}}, "note": "One task.", "tables": [table]}
    more = {"seeds": [0, 1], "averages": [], "diverged": [], "notes": notes}
    made.write_json(folder / "results.json", {**results, **more})
    return folder


def make_run(folder: Path) -> Path:
    made.make_run(folder)
    made.dump(folder, made.group_rows(0, 1))
    return folder


def make_audit(folder: Path) -> None:
    """An audit of one step, so that a share stands in few places."""
    folder.mkdir()
    audit = results_of(group_table([8, 3, 8, 0]), "8 of 8 rollouts answer '7'.")
    whole = {**audit["losses"]["whole"], "lengths": None}
    audit["losses"] = {**audit["losses"], "whole": whole, "recent": whole, "curve": [], "batch": None}
    audit["sizes"]["shares"] = audit["sizes"]["shares"][3:6]
    audit["advice"] = [{**each, "treatments": []} for each in audit["advice"]]
    made.write_json(folder / "audit.json", audit)


@pytest.fixture(scope="session")
def scorer(tmp_path_factory) -> Path:
    return save_model(tmp_path_factory.mktemp("scorer"))


@pytest.fixture(scope="session")
def folders(tmp_path_factory, scorer) -> Path:
    """A folder of each kind."""
    here = tmp_path_factory.mktemp("folders")
    make_run(here / "run")
    made.make_probe(here / "probe")
    made.make_analysis(here / "analysis")
    make_study(here / "study")
    made.make_comparison(here / "unfinished", finished=False)
    made.make_evaluation(here / "eval")
    made.make_one_seed(here / "one_seed")
    file = write(here / "rows.jsonl", rows(8))
    make_audit(here / "audit")
    run(here / "mined", [file], scorer)
    run(here / "mined_parquet", [file], scorer, format="parquet")
    return thin(here)


RUN, GRID = "echorl/rate-1e-05/seed-0", "echorl/rate-1e-05/seed-1000"
FILES = {
    "run": ["metrics.jsonl", "config.yaml", "rollouts/step-000001-process-0.parquet"],
    "probe": ["probe.json"],
    "analysis": ["deletion.json"],
    "study": ["results.json", f"{RUN}/run.json", f"{RUN}/policy/metrics.jsonl"],
    "unfinished": [f"{GRID}/run.json", f"{GRID}/scores-validation.json"],
    "audit": ["audit.json"],
    "eval": ["results.json"],
    "one_seed": ["results.json"],
    "mined": ["summary.json", "clips.jsonl"],
    "mined_parquet": ["clips.parquet"],
}
PAIRS = [(folder, file) for folder, files in FILES.items() for file in files]


def everything(folder: Path) -> dict[str, int]:
    """All files but locks, with their sizes."""
    return {str(path): path.stat().st_size for path in folder.rglob("*") if path.is_file() and path.name != ".lock"}


def answers(argv: list[str], capsys, place: str) -> None:
    """`echorl` ends well, or with one sentence and nothing written."""
    before = everything(Path())
    status = main(argv)
    said = capsys.readouterr().err
    assert status in (0, 2), f"{place}: {said}"
    if status == 2:
        assert "Traceback" not in said
        assert said.splitlines()[-1].startswith("echorl: error: "), place
        assert len(said) < 1500, place
        assert everything(Path()) == before, place


@pytest.mark.parametrize(("name", "file"), PAIRS)
def test_a_report_on_damaged_folders(tmp_path, folders, capsys, monkeypatch, name, file):
    if not file.endswith((".json", "metrics.jsonl")):  # the others hold no number that a chart shows
        monkeypatch.setattr(charts, "svg", lambda chart: f"<svg>{chart.title}</svg>")
    for way, damage_it in damage.ways(folders / name / file).items():
        place = f"{name}/{file}: {way}"
        shutil.rmtree("here", ignore_errors=True)
        shutil.copytree(folders / name, "here")
        damage_it(Path("here", file))
        answers(["report", "here", "--output", "page.html"], capsys, place)


SWAPS = (None, ..., [], {}, "text", 1e308)


def check_page(page: Page) -> None:
    """What its template takes for granted: all is text, and rows are as long as the head."""
    sections = page.sections
    tables = [table for section in sections for table in section.tables]
    texts = [page.title, *page.lead, *(text for s in sections for text in (s.title, *s.lead, *s.findings, *s.legend))]
    texts += [text for table in tables for row in ([table.title, table.note], table.head, *table.rows) for text in row]
    assert all(isinstance(text, str) for text in texts)
    assert all(table.head and len(row) == len(table.head) for table in tables for row in table.rows)


@pytest.mark.parametrize(("name", "file"), [(name, file) for name, file in PAIRS if file.endswith(".json")])
def test_each_part_of_a_file_may_be_another(tmp_path, folders, monkeypatch, name, file):
    """Without drawing."""
    for module in (charts, assemble.charts):
        monkeypatch.setattr(module, "svg", lambda chart: f"<svg>{chart.title}</svg>")
    shutil.copytree(folders / name, "here")
    value = json.loads((folders / name / file).read_text())
    for place in damage.nodes(value):
        for new in SWAPS:
            Path("here", file).write_text(json.dumps(damage.replaced(value, place, new)))
            try:
                check_page(make_report([Path("here")]).page)
            except Exception as error:
                if not (is_for_the_user(error) and "here" in str(error)):
                    raise AssertionError(f"{place} as {new!r}") from error


VERL = {"input": "1=?\n", "output": "1+a\n2", "score": 1.0, "step": 5}
TRL = {"step": 5, "prompt": "1=?\n", "completion": "1+a\n2", "is_right": 1.0, "advantage": 0.3}
MESSAGES = {"prompt": [{"role": "user", "content": "1"}], "response": "1+a\n2", "reward": 1.0}
RECIPE = {"model_name_or_path": "nowhere", "train_file": "rows.jsonl", "reward_funcs": ["len"], "env": {"A": "b"}}
STUDY = {"recipe": "recipe.yaml", "arms": {"a": {"echo_coef": 0.0}, "b": {"echo_coef": 0.1}}, "rollout_tokens": 200}


def rows_files(here: Path) -> None:
    write(here / "rows.jsonl", rows(2))
    write(here / "verl.jsonl", [VERL, VERL])
    write(here / "chat.jsonl", [MESSAGES])
    parquet(here / "trl.parquet", TRL, TRL)
    parquet(here / "chat.parquet", MESSAGES)
    write(here / "solved.jsonl", [{"prompt": "1=?\n", "demonstration": "1", "answer": "1"}])


def recipe_files(here: Path) -> None:
    for name, values in (("recipe", {**RECIPE, "num_generations": 2}), ("study", STUDY)):
        (here / f"{name}.yaml").write_text(yaml.safe_dump(values))


def evaluations(here: Path) -> None:
    for name in ("a", "b"):
        evaluate(here / name, work(name="mmlu_pro", size=2))


READ = [
    *((rows_files, file, ["mine", file, "--model", "MODEL", "--output_dir", "out", "--device", "cpu"])
      for file in ("rows.jsonl", "verl.jsonl", "chat.jsonl", "trl.parquet", "chat.parquet")),
    (rows_files, "solved.jsonl",
     ["analyze", "entropy", "--file", "solved.jsonl", "--grader", "number", "--model", "nowhere"]),
    (recipe_files, "recipe.yaml", ["train", "--config", "recipe.yaml"]),
    (recipe_files, "recipe.yaml", ["compare", "study.yaml", "--dry_run"]),
    (recipe_files, "study.yaml", ["compare", "study.yaml", "--dry_run"]),
    (evaluations, "a/samples/mmlu_pro.parquet", ["eval", "--compare", "a", "b"]),
    (evaluations, "a/settings.json", ["eval", "--compare", "a", "b"]),
    (evaluations, "a/samples/mmlu_pro.parquet", ["eval", "--grade", "a"]),
    (evaluations, "a/settings.json", ["eval", "--grade", "a"]),
]  # fmt: skip


@pytest.mark.parametrize(("make", "file", "argv"), READ, ids=lambda value: value if isinstance(value, str) else "")
def test_damaged_files_of_the_other_commands(tmp_path, scorer, capsys, make, file, argv):
    source = tmp_path / "source"
    source.mkdir()
    make(source)
    for way, damage_it in damage.ways(source / file).items():
        here = Path("here")
        shutil.rmtree(here, ignore_errors=True)
        shutil.copytree(source, here)
        damage_it(here / file)
        with contextlib.chdir(here):
            answers([str(scorer) if word == "MODEL" else word for word in argv], capsys, f"{' '.join(argv)}: {way}")


@pytest.fixture(scope="module")
def resumes(tmp_path_factory, scorer) -> dict[str, Callable[[Path], dict]]:
    """Name -> a command that goes on in a folder and returns its result."""
    file = write(tmp_path_factory.mktemp("rows") / "rows.jsonl", rows(8))
    model = load_policy(scorer)[0]
    checkpoint = bandit.make_checkpoint(tmp_path_factory.mktemp("bandit"))
    work_of_probe = bandit.make_work(5, 2)
    return {
        "mine": lambda folder: run(folder, [file], scorer, lambda: model, batch_size=4),
        "probe": lambda folder: bandit.run(folder, checkpoint, bandit.Bandit(0.5), work_of_probe, batch_size=4),
    }


def stopped(command: Callable[[Path], dict], folder: Path, monkeypatch) -> Path:
    """Return the folder of a command that was stopped before it summed up."""
    with monkeypatch.context() as patch:
        patch.setattr(Parts, "load", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            command(folder)
    return folder


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("mine", "settings.json"), ("mine", "parts/000001.json"), ("mine", "parts/000001.key.json"),
        ("probe", "settings.json"), ("probe", "parts/000001.pt"), ("probe", "parts/000001.key.json"),
    ],
)  # fmt: skip
def test_what_a_stopped_command_left_may_be_damaged(tmp_path, monkeypatch, resumes, name, file):
    """It is made again, or refused in one sentence that names the folder."""
    command, whole = resumes[name], resumes[name](tmp_path / "whole")
    left = stopped(command, tmp_path / "left", monkeypatch)
    for way, damage_it in damage.ways(left / file).items():
        here = Path("here")
        shutil.rmtree(here, ignore_errors=True)
        shutil.copytree(left, here)
        damage_it(here / file)
        try:
            problem = "" if command(here) == whole else "another result"
        except ValueError as error:
            problem = "" if str(error).startswith("here") else str(error)
        assert not problem, way

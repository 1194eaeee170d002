"""`echorl report`: where the page goes, notes, pictures, the browser, and one sentence for what it can't use."""

from __future__ import annotations

from pathlib import Path

import pytest

from echorl.cli import main
from echorl.core.config import EchoConfig
from echorl.support.folder import ResultFolder
from tests.lab.conftest import rows, run, save_model, write
from tests.lab.report import made


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_page_of_a_run_that_goes_on(here, capsys):
    made.make_run(here / "a", num_steps=2)
    with (here / "a/metrics.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"step": 7')
    made.dump(here / "a", made.group_rows(0, 0))
    assert main(["report", "a"]) == 0
    note, page = capsys.readouterr().out.splitlines()
    assert "half written" in note
    assert page == "runs/report/a.html"
    html = Path(page).read_text(encoding="utf-8")
    assert note in html.replace("&#39;", "'")
    assert 'id="gallery-data"' in html


def test_pictures_and_a_limit(here, capsys):
    made.make_probe(here / "probe")
    made.make_run(here / "a", num_steps=2)
    made.dump(here / "a", made.group_rows(0, 0) + made.group_rows(0, 1))
    call = [
        "report",
        "probe",
        "a/metrics.jsonl",
        "--output",
        "out/page.html",
        "--png",
        "--rollouts",
        "4",
        "--over",
        "tokens",
    ]
    assert main(call) == 0
    note, *paths = capsys.readouterr().out.splitlines()
    assert note == "The gallery shows 4 of 8 rollouts, evenly chosen; --rollouts N shows more."
    assert paths[0] == "out/page.html"
    assert all(Path(path).stat().st_size for path in paths)
    charts = {"out/page-cosine-with-the-gradient-of-pass-1.png", "out/page-all-success-groups.png"}
    assert {*charts, "out/page-clips.png"} < set(paths)


def test_what_mine_leaves(here, capsys):
    run(here / "mined", [write(here / "rows.jsonl", rows(24))], save_model(here / "model"), echo=EchoConfig())
    assert main(["report", "mined"]) == 0
    html = Path("runs/report/mined.html").read_text(encoding="utf-8")
    assert "24 rollouts in 6 groups" in html
    assert "rows.jsonl:" in html
    ResultFolder(here / "mined", "mine").check_owner()  # the page is not among mine's files


@pytest.mark.parametrize("name", ["completions/1.parquet", "trainer_state.json"])
def test_a_run_of_trl_alone_is_sent_to_audit(here, fails, name):
    (here / "plain" / name).parent.mkdir(parents=True)
    (here / "plain" / name).touch()
    fails(["report", "plain"], "plain is a run of TRL's own trainer, without metrics.jsonl: `echorl audit plain` reads")


def test_a_run_with_completions_and_no_dumps_says_what_reads_them(here, capsys):
    made.make_run(here / "a", num_steps=2)
    (here / "a/completions").mkdir()
    assert main(["report", "a"]) == 0
    note, page = capsys.readouterr().out.splitlines()
    assert note == (
        "a has no rollouts/ for a gallery: `echo_rollouts_every` keeps them; `echorl audit a` reads the completions."
    )
    assert "`echorl audit a`" in Path(page).read_text(encoding="utf-8").replace("<code>", "`").replace("</code>", "`")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere"], "nowhere: there is no such folder"),
        (["a", "--output", "a.png"], "--output a.png is not the name of a page: let it end in .html."),
        (["a", "--rollouts", "0"], "--rollouts=0 is not allowed"),
        (["a", "--output", "file/page.html"], "--output file/page.html cannot be written"),
    ],
)
def test_errors_are_one_sentence(here, capsys, words, message):
    made.make_probe(here / "a")
    (here / "file").touch()
    assert main(["report", *words]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"echorl: error: {message}")


def test_pages_of_one_name_in_two_folders_stand_beside_each_other(here, capsys):
    for folder in ("runs/a", "runs/eval/a"):
        made.make_run(here / folder, num_steps=2)
        assert main(["report", folder]) == 0
    assert capsys.readouterr().out.split() == ["runs/report/a.html", "runs/report/eval-a.html"]


def test_a_folder_of_runs_and_a_file_that_is_no_result(here, fails):
    made.make_run(here / "some" / "b", num_steps=2)
    made.make_run(here / "some" / "a", num_steps=2)
    fails(["report", "some"], "some is a folder of others: name one or several of them, such as some/a.")
    (here / "lone").mkdir()
    (here / "lone" / "own.py").touch()
    fails(["report", "lone/own.py"], f"{here / 'lone'} is not the folder of an echorl command")


def test_a_page_destroys_no_file_beside_it(tmp_path):
    run = made.make_run(tmp_path / "run")
    page, kept = tmp_path / "mypage.html", tmp_path / "mypage.tmp"
    kept.write_text("mine")
    page.symlink_to(kept)  # as a scratch file that something else was put in the place of
    assert main(["report", str(run), "--output", str(page)]) == 0
    assert kept.read_text() == "mine"
    assert "<title>EchoRL: run" in page.read_text()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mypage.html", "mypage.tmp", "run"]


def test_a_packed_study(tmp_path, fails):
    page = tmp_path / "page.html"
    pack = Path(__file__).parents[2] / "benchmarks/studies/chain_sum-uft-2e-4.jsonl.gz"
    assert main(["report", str(pack), "--output", str(page)]) == 0
    text = page.read_text(encoding="utf-8")
    assert "Comparison: chain_sum-uft-2e-4" in text
    assert "pass@1, out-of-distribution" in text
    (tmp_path / "cut.jsonl.gz").write_bytes(pack.read_bytes()[:5000])
    fails(["report", str(tmp_path / "cut.jsonl.gz")], "cut.jsonl.gz is damaged (after ")

"""The row of docs/studies/bench.md: the guide's rule, added to the stored study by `echorl compare --add`."""

from __future__ import annotations

import re
from pathlib import Path

from benchmarks.rivals import STORED
from echorl.lab.compare.add import add_method
from echorl.lab.compare.added_rows import added_results, compare_repeat
from echorl.lab.compare.packed import open_pack
from echorl.lab.report.verdicts import verdict_table
from tests.benchmarks.test_rivals import NO_BOOTSTRAP

ROOT = Path(__file__).parents[2]
GUIDE, PAGE = (
    (ROOT / "docs" / path).read_text(encoding="utf-8") for path in ("guides/own-method.md", "studies/bench.md")
)


def test_the_page_has_the_row_that_the_packed_runs_of_the_guide_s_rule_give(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("echorl.lab.compare.table.paired_runs", lambda *_: NO_BOOTSTRAP)
    Path("my_rule.py").write_text(re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)[0])
    stored = open_pack(ROOT / STORED / "chain_sum.jsonl.gz")
    addition = add_method(stored, "my_rule.py:SolvedBonus", None, ROOT / STORED / "chain_sum-SolvedBonus")
    repeat = compare_repeat(addition)
    results = added_results(addition, {}, repeat)
    assert repeat["identical"]
    row = verdict_table(results).rows[-1]
    assert f"| `{row[0]}` − {row[1]} | {row[-2]} | {row[-1]} |" in PAGE

"""Run the blocks of a page as a reader who pastes one after another, in a folder that has recipes/ and the like."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import IO, Any

import torch

from tests.docs.blocks import ROOT, Block, blocks

NUMBER = re.compile(r"[-+]?\d+(?:[.,]\d+)*(?:e[-+]\d+)?")
OFFLINE = {"HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1", "ECHORL_TRACEBACK": "1"}


def run_page(page: Path, folder: Path, log: Path) -> None:
    """Run the marked blocks of a page in a process that is clean and may be changed; messages go to the file `log`."""
    log.touch()
    printed = log.with_suffix(".stdout")
    sys.stdout, sys.stderr = _stream(1, printed), _stream(2, log)
    os.chdir(folder)
    for name in ("recipes", "examples", "benchmarks"):
        if (ROOT / name).exists():
            (folder / name).symlink_to(ROOT / name)
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    os.environ.update(OFFLINE, PATH=path, PYTHONPATH=str(ROOT / "src"))
    torch.set_num_threads(1)
    sys.path.insert(0, str(folder))
    namespace: dict[str, Any] = {"__name__": "__main__"}
    for block in (block for block in blocks(page) if block.runs):
        print(f"--- {block}", file=sys.stderr)
        assert block.mark is not None
        if block.mark["prints"]:
            compare(block, printed)
        else:
            printed.write_text("")
            run_block(block, namespace)


def compare(block: Block, printed: Path) -> None:
    """Fail unless the block is what was printed, or what its command prints."""
    assert block.mark is not None
    if command := block.mark["command"]:
        printed.write_text("")
        subprocess.run(["bash", "-euo", "pipefail", "-c", command], check=True)
    got = printed.read_text(encoding="utf-8")
    shown, printed_text = (NUMBER.sub("7", text) if block.mark["varies"] else text for text in (block.text, got))
    assert is_same(shown, printed_text), f"{block} shows\n{block.text}\nand not\n{got}"


def is_same(shown: str, printed: str) -> bool:
    """Return whether texts are the same but for white space, where `...` stands for any text, or for none."""
    parts = (" ".join(part.split()) for part in re.split(r"\s*\.\.\.\s*", shown))
    return re.fullmatch(".*?".join(map(re.escape, parts)), " ".join(printed.split()), re.DOTALL) is not None


def run_block(block: Block, namespace: dict[str, Any]) -> None:
    """Run a block, or write it to the file that its mark names."""
    assert block.mark is not None
    if block.mark["file"]:
        Path(block.mark["file"]).write_text(block.text, encoding="utf-8")
    elif block.language == "python":  # a traceback then shows the page's lines
        exec(compile("\n" * block.line + block.text, block.page, "exec"), namespace)
    else:
        text = commands(block.text) if block.language == "console" else block.text
        subprocess.run(["bash", "-euo", "pipefail", "-c", text], check=True)


def commands(text: str) -> str:
    """Return the lines of a console that begin with `$ `, and those that continue them after a backslash."""
    lines, continues = [], False
    for line in text.splitlines():
        if continues or line.startswith("$ "):
            lines.append(line if continues else line[2:])
            continues = line.endswith("\\")
    return "\n".join(lines)


def _stream(number: int, path: Path) -> IO[str]:
    stream = path.open("a", buffering=1, encoding="utf-8")  # appends: the file is emptied between blocks
    os.dup2(stream.fileno(), number)
    return stream

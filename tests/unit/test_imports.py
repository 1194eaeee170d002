from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import echorl

PACKAGE = Path(echorl.__file__).parent
HEAVY = ("transformers", "trl", "verl", "datasets", "matplotlib")
# Who may import whom; `axolotl` will stand on `trl`, no other adapter on another.
ROOMS = {
    "core": set(),
    "support": set(),
    "methods": {"core"},
    "tasks": {"support"},
    "models": {"support"},
    "trl": {"core", "support", "methods", "tasks"},
    "verl": {"core", "support", "methods", "tasks"},
    "train": {"core", "support", "methods", "tasks", "models", "trl"},
    "lab": {"core", "support", "methods", "tasks", "models", "trl", "train"},
    "cli": {"core", "support", "methods", "tasks", "models", "trl", "train", "lab"},
}


def imports(path: Path) -> Iterator[str]:
    """Full names of what a file imports anywhere, also in functions."""
    package = path.relative_to(PACKAGE.parent).parent.parts
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            module = ".".join(filter(None, [base, node.module]))
            yield from (f"{module}.{alias.name}" for alias in node.names)


def files_with_imports() -> list[tuple[str, str, str]]:
    """(part of the package, file, imported name); the package's own top-level files are part ''."""
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        inside = path.relative_to(PACKAGE)
        part = inside.parts[0] if len(inside.parts) > 1 else ""
        found += [(part, str(inside), name) for name in imports(path)]
    return found


ALL = files_with_imports()


def top(name: str) -> str:
    return name.split(".")[0]


def part_of(name: str) -> str:
    """`core` of `echorl.core.steps`; '' of anything that is not ours."""
    return name.split(".")[1] if name.startswith("echorl.") else ""


def test_the_walk_sees_the_package() -> None:
    assert ("core", "core/mining.py", "echorl.core.steps.row_blocks") in ALL
    assert any(part == "trl" and top(name) == "trl" for part, _, name in ALL)


def test_core_imports_torch_and_itself_only() -> None:
    allowed = {"torch", *sys.stdlib_module_names}
    wrong = [
        (file, name)
        for part, file, name in ALL
        if part == "core" and top(name) not in allowed and not name.startswith("echorl.core.")
    ]
    assert wrong == []


@pytest.mark.parametrize("library", ["trl", "verl"])
def test_only_its_adapter_imports_a_training_library(library: str) -> None:
    assert [(file, name) for part, file, name in ALL if top(name) == library and part != library] == []


def test_nothing_but_cli_imports_cli() -> None:
    assert [
        (file, name) for part, file, name in ALL if part_of(name) == "cli" and part != "cli" and file != "__main__.py"
    ] == []


def test_nothing_imports_recipes_or_benchmarks_or_tests() -> None:
    assert [(file, name) for _, file, name in ALL if top(name) in {"recipes", "benchmarks", "tests"}] == []


def test_every_file_lies_in_a_room() -> None:
    assert {part for part, _, _ in ALL} == {"", *ROOMS}
    assert {path.name for path in PACKAGE.glob("*.py")} == {"__init__.py", "__main__.py"}


@pytest.mark.parametrize("part", ROOMS)
def test_the_direction_of_imports(part: str) -> None:
    allowed = {"", part, *ROOMS[part]}
    assert [(file, name) for here, file, name in ALL if here == part and part_of(name) not in allowed] == []


def test_importing_the_core_and_the_methods_loads_nothing_heavy() -> None:
    code = f"import sys, echorl, echorl.methods; print([name for name in {HEAVY} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"

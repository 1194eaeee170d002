from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import echorl

PACKAGE = Path(echorl.__file__).parent
HEAVY = ("transformers", "trl", "axolotl", "verl", "swift", "datasets", "matplotlib")
# Who may import whom; `axolotl` stands on `trl`, no other adapter on another.
ROOMS = {
    "core": set(),
    "support": set(),
    "methods": {"core"},
    "tasks": {"support"},
    "models": {"support"},
    "trl": {"core", "support", "methods", "tasks"},
    "axolotl": {"core", "trl"},
    "verl": {"core", "support", "methods", "tasks"},
    "swift": {"core", "support"},
    "train": {"core", "support", "methods", "tasks", "models", "trl"},
    "lab": {"core", "support", "methods", "tasks", "models", "trl", "train"},
    "cli": {"core", "support", "methods", "tasks", "models", "trl", "train", "lab"},
}


def imported_names(path: Path, nodes: Iterator[ast.AST]) -> Iterator[str]:
    """Full names of what the statements among `nodes` import into the file `path`."""
    package = path.relative_to(PACKAGE.parent).parent.parts
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            module = ".".join(filter(None, [base, node.module]))
            yield from (f"{module}.{alias.name}" for alias in node.names)


def imports(path: Path) -> Iterator[str]:
    """Full names of what a file imports anywhere, also in functions."""
    return imported_names(path, ast.walk(ast.parse(path.read_text(encoding="utf-8"))))


def nodes_when_imported(tree: ast.AST) -> Iterator[ast.AST]:
    """The nodes that run while a module is imported: no bodies of functions, nothing under TYPE_CHECKING."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.If) and ast.unparse(node.test) in {"TYPE_CHECKING", "typing.TYPE_CHECKING"}:
            yield from (descendant for branch in node.orelse for descendant in [branch, *nodes_when_imported(branch)])
            continue
        yield node
        yield from nodes_when_imported(node)


def graph_of_imports(root: Path) -> dict[str, set[str]]:
    """The modules of the package at `root` and, for each, the modules of it that its import loads by name."""
    paths = {}
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root.parent).with_suffix("").parts
        paths[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    graph = {}
    for module, path in paths.items():
        names = imported_names(path, nodes_when_imported(ast.parse(path.read_text(encoding="utf-8"))))
        targets = {name if name in paths else name.rpartition(".")[0] for name in names}
        graph[module] = (targets & paths.keys()) - {module}
    return graph


def circle(graph: dict[str, set[str]]) -> list[str]:
    """A circle of modules that import each other, or nothing."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return error.args[1]
    return []


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


@pytest.mark.parametrize("library", ["trl", "axolotl", "verl", "swift"])
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


def test_no_circle_of_imports() -> None:
    assert circle(graph_of_imports(PACKAGE)) == []


@pytest.mark.parametrize(
    ("second", "expected"),
    [
        ("import echorl.first", True),
        ("from echorl.first import name", True),
        ("class Late:\n    from echorl import first", True),
        ("if TYPE_CHECKING:\n    pass\nelse:\n    from echorl import first", True),
        ("if TYPE_CHECKING:\n    from echorl import first", False),
        ("def late():\n    from echorl import first", False),
        ("import echorl.third", False),
    ],
)
def test_a_circle_is_seen(second: str, expected: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "echorl"
    root.mkdir()
    files = {"__init__": "", "first": "from echorl import second", "second": second, "third": ""}
    for name, text in files.items():
        (root / f"{name}.py").write_text(text)
    monkeypatch.setattr(sys.modules[__name__], "PACKAGE", root)
    assert bool(circle(graph_of_imports(root))) == expected

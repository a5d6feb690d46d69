# SPDX-License-Identifier: Apache-2.0
"""The layers are folders, and imports point inward (docs/design.md, The layers).

Each library is imported in one place, and files and functions stay small.
"""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2] / "ocibridge"
MODULES = {
    ".".join(("ocibridge", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(
        ".__init__"
    ): path
    for path in ROOT.rglob("*.py")
}
# The folders from which each folder may import. All may import the files at the top level.
ALLOWED = {
    "": set(),
    "bus": {"bus"},
    "access": {"access"},
    "config": {"config", "access", "systemd"},
    "systemd": {"systemd"},
    "mirror": {"mirror"},
    "bridge": {"bridge", "mirror", "config"},
    "dobby": {"dobby", "mirror", "bus", "config", "systemd"},
    "api": {"api", "bridge", "mirror", "bus", "access", "config", "systemd"},
}
# The files at the top level that compose the program may import from every folder.
COMPOSITION = {
    "ocibridge.__main__",
    "ocibridge.cli",
    "ocibridge.daemon",
    "ocibridge.event_log",
    "ocibridge.event_router",
}
MAX_LINES = 350
MAX_FUNCTION_LINES = 40
MAX_FILES = 14
# The only modules that may import these libraries.
DOORS = {
    "sdbus": {"ocibridge.bus.connection", "ocibridge.bus.pump", "ocibridge.bus.sd_bus"},
    "systemd": {"ocibridge.systemd.notify"},
    "yaml": {"ocibridge.config.yaml_text"},
}


def imports_of(path: Path) -> set[str]:
    """The full names of the modules that a file imports."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            module = node.module or ""
            found |= {
                f"{module}.{a.name}" if f"{module}.{a.name}" in MODULES else module
                for a in node.names
            }
    return found


def folder_of(module: str) -> str:
    words = module.split(".")
    return words[1] if len(words) > 2 or module in {f"ocibridge.{name}" for name in ALLOWED} else ""


@pytest.mark.parametrize("module", sorted(MODULES))
def test_imports_point_inward(module: str) -> None:
    if module in COMPOSITION:
        return
    ours = {name for name in imports_of(MODULES[module]) if name.startswith("ocibridge")}
    assert not ours & COMPOSITION, f"{module} imports what puts it together: {ours & COMPOSITION}"
    folders = {folder_of(name) for name in ours} - {""}
    assert folders <= ALLOWED[folder_of(module)], (
        f"{module} imports from {folders - ALLOWED[folder_of(module)]}"
    )


@pytest.mark.parametrize("module", sorted(MODULES))
def test_each_library_has_one_door(module: str) -> None:
    for name in imports_of(MODULES[module]):
        doors = DOORS.get(name.split(".")[0])
        assert doors is None or module in doors, f"{module} imports {name}"


@pytest.mark.parametrize("module", sorted(MODULES))
def test_files_and_functions_stay_small(module: str) -> None:
    text = MODULES[module].read_text()
    assert len(text.splitlines()) <= MAX_LINES
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert (node.end_lineno or 0) - node.lineno < MAX_FUNCTION_LINES, (
                f"{module}.{node.name}"
            )


def test_the_top_level_is_seen_at_once() -> None:
    entries = [entry for entry in ROOT.iterdir() if entry.name != "__pycache__"]
    files = sorted(entry.name for entry in entries if entry.is_file())
    assert len(files) <= MAX_FILES, files
    assert {entry.name for entry in entries if entry.is_dir()} == set(ALLOWED) - {""}


def test_the_vocabulary_has_an_order() -> None:
    """No cycles: each file may only import those before it."""
    order = ["names", "errors", "text", "model", "files", "tasks"]
    for name in order:
        known = {
            other.rpartition(".")[2]
            for other in imports_of(MODULES[f"ocibridge.{name}"])
            if other.startswith("ocibridge.")
        }
        assert known <= set(order[: order.index(name)]), name

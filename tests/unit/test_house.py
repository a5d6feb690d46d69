"""The house: imports point inward, each library has one door, files stay small (design 13)."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2] / "ocibridge"
MODULES = {
    ".".join(("ocibridge", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__"): path for path in ROOT.rglob("*.py")
}
VOCABULARY = {
    "members",
    "message_ids",
    "problems",
    "names",
    "errors",
    "model",
    "exits",
    "events",
    "observations",
    "config",
    "files",
    "settings",
    "tasks",
}
CORE = {
    "annotations", "arguments", "bridge", "bundles", "changes", "deadline", "ends", "history", "info", "json_text", "lookup", "memory",
    "mirror", "order", "picture", "plans", "port", "readers", "starts", "states", "stops", "waits",
}  # fmt: skip
MOST_LINES = 350
# The one module of ours through which each of these is reached.
DOORS = {"sdbus": {"ocibridge.bus"}, "systemd": {"ocibridge.notify"}, "yaml": {"ocibridge.config"}}


def imports_of(path: Path) -> set[str]:
    """The modules that a file imports, in full."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            module = node.module or ""
            found |= {f"{module}.{a.name}" if f"{module}.{a.name}" in MODULES else module for a in node.names}
    return found


def layer_of(module: str) -> str:
    word = module.removeprefix("ocibridge").strip(".").split(".")[0]
    if word in VOCABULARY or word == "":
        return "vocabulary"
    return "core" if word in CORE else word


# Who may know whom. What is not named here has no layer, and the test says so.
ALLOWED = {
    "vocabulary": {"vocabulary"},
    "core": {"core", "vocabulary"},
    "bus": {"vocabulary"},
    "owners": {"vocabulary", "bus"},
    "journal": {"vocabulary", "journal_socket"},
    "journal_socket": {"vocabulary"},
    "notify": {"vocabulary"},
    "chronicle": {"vocabulary"},
    "soon": {"vocabulary"},
    "signals": {"vocabulary"},
    "config_files": {"vocabulary"},
    "reload": {"vocabulary", "journal"},
    "dobby": {"dobby", "core", "vocabulary", "bus", "owners"},
    "api": {"api", "core", "vocabulary", "bus", "owners", "journal"},
    "daemon": {"api", "dobby", "core", "vocabulary", "bus", "owners", "journal", "notify", "chronicle", "soon", "reload", "signals"},
    "cli": {"daemon", "journal", "config_files", "vocabulary"},
    "entry": {"cli", "signals"},
    "__main__": {"entry"},
}


@pytest.mark.parametrize("module", sorted(MODULES))
def test_imports_point_inward(module: str) -> None:
    ours = {layer_of(name) for name in imports_of(MODULES[module]) if name.startswith("ocibridge")}
    assert ours <= ALLOWED[layer_of(module)], f"{module} knows {ours - ALLOWED[layer_of(module)]}"


@pytest.mark.parametrize("module", sorted(MODULES))
def test_each_library_has_one_door(module: str) -> None:
    for name in imports_of(MODULES[module]):
        doors = DOORS.get(name.split(".")[0])
        assert doors is None or module in doors, f"{module} imports {name}"


@pytest.mark.parametrize("module", sorted(MODULES))
def test_files_stay_small(module: str) -> None:
    assert len(MODULES[module].read_text().splitlines()) <= MOST_LINES


def test_vocabulary_does_not_go_round() -> None:
    order = ["names", "errors", "model", "exits", "events", "observations"]
    for name in order:
        known = {layer.rpartition(".")[2] for layer in imports_of(MODULES[f"ocibridge.{name}"]) if layer.startswith("ocibridge.")}
        assert known <= set(order[: order.index(name)]), name

# SPDX-License-Identifier: Apache-2.0
"""The rules on what crashes Dobby and what it refuses, on parsed JSON."""

import json
from pathlib import Path
from typing import Any

import pytest

from ocibridge.bridge import bundle_rules

ROOT = Path(__file__).parents[3]
PLUGINS: dict[str, Any] = {"logging": {"required": False, "data": {}}}
SOUND: dict[str, Any] = {
    "ociVersion": "1.0.2-dobby",
    "process": {},
    "linux": {"resources": {"devices": []}},
    "rdkPlugins": PLUGINS,
}
CONVERTED = SOUND | {"ociVersion": "1.0.2", "hostname": "app"}


def crash(config: dict[str, Any], *, socket: bool = False) -> str | None:
    return bundle_rules.crash_at_start(config, with_socket=socket)


@pytest.mark.parametrize(
    "config",
    [
        SOUND,
        CONVERTED,
        SOUND | {"hooks": None, "mounts": None},
        SOUND | {"hooks": [], "mounts": {}},
    ],
)
def test_nothing_to_say(config: dict[str, Any]) -> None:
    assert crash(config, socket=True) is None


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (
            {key: value for key, value in SOUND.items() if key != "process"},
            "process is missing: it must be an object",
        ),
        (SOUND | {"process": None}, "process is null: it must be an object"),
        (SOUND | {"process": "x"}, "process is of the wrong type: it must be an object"),
        (
            {key: value for key, value in SOUND.items() if key != "linux"},
            "linux is missing: it must be an object with the member resources",
        ),
        (SOUND | {"linux": None}, "linux is null: it must be an object with the member resources"),
        (SOUND | {"linux": {}}, "linux is empty: it must be an object with the member resources"),
        (SOUND | {"linux": []}, "linux is empty: it must be an object with the member resources"),
        (
            SOUND | {"linux": {"devices": []}},
            "linux.resources is missing: it must be an object with at least one member",
        ),
        (
            SOUND | {"linux": {"resources": None}},
            "linux.resources is null: it must be an object with at least one member",
        ),
        (
            SOUND | {"linux": {"resources": {}}},
            "linux.resources is empty: it must be an object with at least one member",
        ),
        (
            SOUND | {"linux": {"resources": [1]}},
            "linux.resources is of the wrong type: it must be an object with at least one member",
        ),
        (
            SOUND | {"rdkPlugins": {"networking": {"required": True, "data": {}}}},
            "rdkPlugins.networking.data is empty, and networking is required",
        ),
        (
            {**CONVERTED, "hostname": None},
            "hostname is null, but rdkPlugins and ociVersion 1.0.2 are present",
        ),
    ],
)
def test_what_kills_dobby_is_named(config: dict[str, Any], said: str) -> None:
    assert crash(config) == said


@pytest.mark.parametrize("name", ["createRuntime", "createContainer", "poststart", "poststop"])
@pytest.mark.parametrize("hook", [{}, {"path": "/x"}, {"args": None}, {"args": []}, {"args": "x"}])
def test_a_hook_without_args_in_a_converted_bundle(name: str, hook: dict[str, Any]) -> None:
    hooks = {"hooks": {name: [{"args": ["a"]}, hook]}}
    assert "no args" in (crash(CONVERTED | hooks) or "")
    assert crash(SOUND | hooks) is None
    # Without rdkPlugins it is plain OCI, which Dobby does not rewrite.
    assert crash(CONVERTED | {"rdkPlugins": None} | hooks) is None


@pytest.mark.parametrize("name", ["prestart", "startContainer"])
def test_hooks_that_dobby_does_not_look_at(name: str) -> None:
    assert crash(CONVERTED | {"hooks": {name: [{"path": "/x"}]}}) is None


def test_a_mount_without_a_source_matters_with_a_socket_alone() -> None:
    config = SOUND | {"mounts": [{"source": "a"}, {"destination": "/b"}]}
    assert crash(config) is None
    assert (
        crash(config, socket=True) == "mounts[1].source is missing, and a westerosSocket is given"
    )


def test_networking_that_is_not_required_or_has_data() -> None:
    harmless: list[Any] = [
        {"required": False, "data": {}},
        {"required": True, "data": {"type": "nat"}},
        {},
        None,
        [],
    ]
    for networking in harmless:
        assert crash(SOUND | {"rdkPlugins": {"networking": networking}}) is None


@pytest.mark.parametrize(
    ("spec", "safe"),
    [
        ({}, False),
        ({"network": "open"}, True),
        ({"network": ""}, False),
        ({"network": None, "console": None, "rdkPlugins": None}, False),
        ({"console": {"path": "/x"}}, True),
        ({"console": {}}, False),
        ({"rdkPlugins": PLUGINS}, True),
        ({"rdkPlugins": {}}, False),
        ({"rdkPlugins": {}, "network": "nat"}, True),
        ({"rdkPlugins": {"logging": "x"}, "network": "nat"}, False),
        ({"plugins": [{"name": "x", "data": {}}]}, True),
        ({"plugins": []}, False),
    ],
)
def test_specs_after_which_an_info_is_safe(spec: dict[str, Any], safe: bool) -> None:
    assert bundle_rules.spec_has_plugins(spec) is safe


def launched(path: str) -> dict[str, Any]:
    """A config.json as Dobby rewrites it."""
    hook = {
        "path": "/usr/bin/DobbyPluginLauncher",
        "args": ["DobbyPluginLauncher", "-h", "poststop", "-c", path, "-vv"],
    }
    return CONVERTED | {"hooks": {"poststop": [{"args": ["other", "-c", "/x"]}, hook]}}


def test_a_bundle_that_was_moved() -> None:
    assert bundle_rules.refusal_of_bundle(launched("/b/config.json"), "/b") is None
    assert bundle_rules.refusal_of_bundle(launched("/b//config.json"), "/b/") is None
    assert "moved or copied" in (
        bundle_rules.refusal_of_bundle(launched("/a/config.json"), "/b") or ""
    )
    assert bundle_rules.refusal_of_bundle(SOUND, "/b") is None
    for odd in (
        [],
        ["DobbyPluginLauncher", "-c"],
        ["DobbyPluginLauncher", "-c", 1],
        ["DobbyPluginLauncher"],
        None,
    ):
        assert (
            bundle_rules.refusal_of_bundle(
                CONVERTED | {"hooks": {"poststop": [{"args": odd}, 1]}}, "/b"
            )
            is None
        )


@pytest.mark.parametrize(
    ("user", "refused"),
    [({"uid": 0}, True), ({"uid": 1}, False), ({"uid": False}, False), (None, False), (0, False)],
)
def test_root_in_a_spec(user: Any, refused: bool) -> None:
    assert (bundle_rules.refusal_of_spec({"user": user}) is not None) is refused


@pytest.mark.parametrize(
    "path", sorted((ROOT / "examples" / "bundles").iterdir()), ids=lambda p: str(p.name)
)
def test_the_examples_would_run(path: Path) -> None:
    config = json.loads((path / "config.json").read_text())
    assert crash(config, socket=True) is None
    assert bundle_rules.has_plugins(config) is (path.name != "no-plugins")
    assert not bundle_rules.is_converted(config)


def test_the_example_of_a_spec_would_run() -> None:
    spec = json.loads((ROOT / "examples" / "spec.json").read_text())
    assert bundle_rules.spec_has_plugins(spec)
    assert bundle_rules.refusal_of_spec(spec) is None

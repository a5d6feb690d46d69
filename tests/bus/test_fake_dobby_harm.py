# SPDX-License-Identifier: Apache-2.0
"""The fake Dobby reproduces how harmless-looking requests harm Dobby itself or the host."""
# ruff: noqa: S108 - /tmp is where Dobby's mount tunnels are

import json
from pathlib import Path
from typing import Any

import pytest

from ocibridge.bus.connection import ErrorReply
from tests.bus.conftest import StartDobby
from tests.fake_dobby.bundles import SPEC, complete_config, make_bundle
from tests.fake_dobby.client import Client

GONE = "disconnected from message bus without replying"


async def mount(
    client: Client, source: str, *flags: str, target: str = "/mnt", data: str = ""
) -> bool:
    done: bool = (await client.dobby("Mount", "issass", 734, source, target, list(flags), data))[0]
    return done


@pytest.mark.parametrize(
    "source",
    ["/", "//", "/tmp", "/tmp/.hostmnttunnel-app", "/tmp/.hostmnttunnel-app/tmpdir/x", "/usr/.."],
)
async def test_a_mount_of_what_the_tunnel_is_in_removes_the_box(
    dobby: Client, tmp_path: Path, source: str
) -> None:
    await dobby.start_at_dobby(make_bundle(tmp_path, "sleep"))
    assert (await dobby.report())["box_is_gone"] is False
    assert await mount(dobby, source, "bind") is False
    assert (await dobby.report())["box_is_gone"] is True


@pytest.mark.parametrize("busy", ["held open", "mounted below"])
async def test_a_busy_mount_stays_and_the_next_failing_one_removes_it(
    client: Client, start_dobby: StartDobby, tmp_path: Path, busy: str
) -> None:
    await client.listen()
    mountinfo, source = tmp_path / "mountinfo", tmp_path / "source"
    source.mkdir()
    mountinfo.write_text(
        f"36 35 8:1 / {source}/disk rw - ext4 /dev/sda rw\n" if busy == "mounted below" else ""
    )
    start_dobby(mountinfo=str(mountinfo))
    await client.until_signal("Ready")
    await client.start_at_dobby(make_bundle(tmp_path, "sleep"))
    if busy == "held open":
        await client.control("HeldOpen", "s", str(source))
    assert await mount(client, str(source), "rbind") is True
    assert "/tmp/.hostmnttunnel-app/tmpdir" in mountinfo.read_text()
    assert await mount(client, str(tmp_path), "bind", target="/two") is True
    assert (await client.report())["box_is_gone"] is False
    assert await mount(client, str(source), "bind", target="/three", data="bad") is False
    assert (await client.report())["box_is_gone"] is True


LINUX = complete_config()["linux"]
HOOK = {"path": "/usr/bin/true"}
CONVERTED = {"ociVersion": "1.0.2", "hostname": "app"}
DEADLY: list[tuple[str, dict[str, Any], str]] = [
    ("process missing", {"process": None}, ""),
    ("linux missing", {"linux": None}, ""),
    ("linux empty", {"linux": {}}, ""),
    ("resources missing", {"linux": {"namespaces": []}}, ""),
    ("resources null", {"linux": {"resources": None}}, ""),
    ("resources empty", {"linux": {"resources": {}}}, ""),
    ("networking without data", {"rdkPlugins": {"networking": {"required": True, "data": {}}}}, ""),
    ("a source missing, with a socket", {"mounts": [{"destination": "/x"}]}, "/tmp/wayland-0"),
    ("converted, a hook without args", CONVERTED | {"hooks": {"poststop": [HOOK]}}, ""),
    ("converted, no hostname", {"ociVersion": "1.0.2", "hostname": None}, ""),
]


@pytest.mark.parametrize(
    ("changes", "socket"), [case[1:] for case in DEADLY], ids=[case[0] for case in DEADLY]
)
async def test_a_start_that_kills_it(
    dobby: Client, tmp_path: Path, changes: dict[str, Any], socket: str
) -> None:
    with pytest.raises(ErrorReply, match=GONE):
        await dobby.start_at_dobby(make_bundle(tmp_path, "deadly", changes=changes), socket=socket)


@pytest.mark.parametrize(
    "changes", [{"mounts": [{"destination": "/x"}]}, {"hooks": {"poststop": [HOOK]}}]
)
async def test_what_kills_it_only_together_with_something_else(
    dobby: Client, tmp_path: Path, changes: dict[str, Any]
) -> None:
    assert await dobby.start_at_dobby(make_bundle(tmp_path, "odd", changes=changes)) == 734


@pytest.mark.parametrize("plugins", [{"nosuch": {"required": False, "data": {}}}, {"logging": "x"}])
async def test_the_first_start_drops_plugins_and_the_second_is_deadly(
    dobby: Client, tmp_path: Path, plugins: dict[str, Any]
) -> None:
    bundle = make_bundle(tmp_path, "odd", changes={"rdkPlugins": plugins})
    first = await dobby.start_at_dobby(bundle, "first")
    assert (await dobby.dobby("GetInfo", "i", first))[0].startswith("{")
    assert json.loads((bundle / "config.json").read_text())["rdkPlugins"] == {}
    second = await dobby.start_at_dobby(bundle, "second")
    with pytest.raises(ErrorReply, match=GONE):
        await dobby.dobby("GetInfo", "i", second)


async def test_a_bundle_that_was_moved_after_its_first_start_is_refused(
    dobby: Client, tmp_path: Path
) -> None:
    bundle = make_bundle(tmp_path, "sleep")
    assert [await dobby.start_at_dobby(bundle, name) for name in ("a", "b")] == [734, 879]
    moved = bundle.rename(tmp_path / "moved")
    assert await dobby.start_at_dobby(moved, "c") == -1


async def test_it_recovers_a_damaged_config(dobby: Client, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path, "sleep")
    (bundle / "config.json").rename(bundle / "config-dobby.json")
    assert await dobby.start_at_dobby(bundle) == -1
    (bundle / "config.json").write_text('{"ociVersion": "1.0')
    assert await dobby.start_at_dobby(bundle) == 734
    assert (await dobby.dobby("GetInfo", "i", 734))[0].startswith("{")


async def test_specs_that_are_refused_or_deadly(dobby: Client) -> None:
    root = SPEC | {"user": {"uid": 0, "gid": 0}}
    assert await dobby.dobby("StartFromSpec", "ssah", "root", json.dumps(root), []) == (-1,)
    bare = {key: value for key, value in SPEC.items() if key not in {"network", "console"}}
    (descriptor,) = await dobby.dobby("StartFromSpec", "ssah", "bare", json.dumps(bare), [])
    with pytest.raises(ErrorReply, match=GONE):
        await dobby.dobby("GetInfo", "i", descriptor)


async def test_what_it_leaves_kills_its_successors(
    client: Client, start_dobby: StartDobby, tmp_path: Path
) -> None:
    """Under systemd it restarts in a loop until its state directory is removed."""
    await client.listen()
    remains = tmp_path / "remains"
    start_dobby(remains=str(remains))
    await client.until_signal("Ready")
    descriptor = await client.start_at_dobby(make_bundle(tmp_path, "plain", plugins=False))
    with pytest.raises(ErrorReply, match=GONE):
        await client.dobby("GetInfo", "i", descriptor)
    assert start_dobby(remains=str(remains)).child.wait(10) == -9
    remains.unlink()
    start_dobby(remains=str(remains))
    await client.until_heard(2, "Ready")

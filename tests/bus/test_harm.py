# SPDX-License-Identifier: Apache-2.0
"""Requests that would harm Dobby or the host are refused.

The fake Dobby reproduces the harm.
"""
# ruff: noqa: S108 - /tmp is where Dobby's mount tunnels are

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ocibridge.bridge import mounts
from tests.bus.conftest import StartBridge, StartDobby
from tests.bus.test_fake_dobby_harm import CONVERTED, DEADLY, HOOK
from tests.fake_dobby.bundles import SPEC, complete_config, make_bundle
from tests.fake_dobby.client import Client
from tests.fake_dobby.processes import Process

CALLS_THAT_MAY_KILL: list[tuple[Any, ...]] = [
    ("getContainerInfo", "s", "app"),
    ("annotate", "sss", "app", "k", "v"),
    ("removeAnnotation", "ss", "app", "k"),
]


async def mount(
    client: Client, source: str, *flags: str, target: str = "/mnt", data: str = ""
) -> tuple[str, str]:
    return await client.refused(
        "mount", "sssass", "app", source, target, list(flags or ("bind",)), data
    )


async def check_unharmed(client: Client, calls: int = 0) -> None:
    report = await client.report()
    assert (report["box_is_gone"], report["calls"].get("Mount", 0)) == (False, calls)


# Mounts.


@pytest.mark.parametrize(
    "source",
    [
        "/", "//", "/.", "/usr/..", "/proc/self/root", "/proc/self/root/tmp", "/tmp", "/tmp/",
        "//tmp", "/tmp/../tmp/.", "{link}",
        "/tmp/.hostmnttunnel-app", "/tmp/.hostmnttunnel-app/tmpdir",
        "/tmp/.hostmnttunnel-app/tmpdir/x", "/proc", "/proc/self/fd",
        "/sys/fs", "/dev", "/dev/shm", "/no/such", "{file}",
    ],
)  # fmt: skip
@pytest.mark.parametrize("flag", ["bind", "rbind"])
async def test_a_source_that_would_remove_the_box(
    app: Client, tmp_path: Path, source: str, flag: str
) -> None:
    (tmp_path / "link").symlink_to("/")
    (tmp_path / "file").touch()
    source = source.format(link=tmp_path / "link", file=tmp_path / "file")
    name, said = await mount(app, source, flag)
    await check_unharmed(app)
    assert (name, f"source {json.dumps(source)}" in said) == ("InvalidArgs", True), said


@pytest.fixture
async def faked(
    client: Client,
    start_dobby: StartDobby,
    start_bridge: StartBridge,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Client:
    """Like `app`, but Dobby and ocibridge read the file `mountinfo` instead of the host's."""
    file = tmp_path / "mountinfo"
    file.write_text("")
    monkeypatch.setattr(mounts, "THIS_HOST", mounts.THIS_HOST._replace(mountinfo=str(file)))
    start_dobby(mountinfo=str(file))
    await start_bridge()
    await client.until_property("DobbyAvailable", wanted=True)
    await client.start("app", make_bundle(tmp_path, "sleep"))
    (tmp_path / "source").mkdir()
    return client


async def test_a_source_with_a_mount_below_it(faked: Client, tmp_path: Path) -> None:
    source = tmp_path / "source"
    (tmp_path / "mountinfo").write_text(
        f"36 35 8:1 / {source}/a\\040disk rw shared:1 - ext4 /dev/sda rw\n"
    )
    name, said = await mount(faked, str(source), "rbind")
    await check_unharmed(faked)
    assert (name, f'"{source}/a disk"' in said) == ("InvalidArgs", True), said
    await faked.oci("mount", "sssass", "app", str(source), "/mnt", ["bind"], "")


async def test_a_mount_that_was_left_behind_stops_all_others(faked: Client, tmp_path: Path) -> None:
    source = tmp_path / "source"
    await faked.control("HeldOpen", "s", str(source))
    await faked.oci("mount", "sssass", "app", str(source), "/mnt", ["bind"], "")
    for target in ("/two", "/three"):
        name, said = await mount(faked, str(source), target=target, data="bad")
        assert (name, '"/tmp/.hostmnttunnel-app/tmpdir"' in said) == ("DobbyRefused", True), said
    await check_unharmed(faked, calls=1)
    (tmp_path / "mountinfo").write_text("")
    await faked.oci("mount", "sssass", "app", str(source), "/two", ["bind"], "")


async def test_what_is_mounted_is_the_resolved_path(
    oci: Client, app: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A symbolic link that is changed to point to / after the check has no effect."""
    del oci
    sent: list[str] = []
    (tmp_path / "source").mkdir()
    (tmp_path / "link").symlink_to("source")
    call = type(app.bus).call

    def heard(bus: Any, *arguments: Any) -> Any:
        sent.extend(
            a
            for a in arguments
            if arguments[3] == "Mount" and isinstance(a, str) and a.startswith(str(tmp_path))
        )
        return call(bus, *arguments)

    monkeypatch.setattr(type(app.bus), "call", heard)
    await app.oci("mount", "sssass", "app", f"{tmp_path}/./link/", "/mnt", ["bind"], "")
    assert sent == [str(tmp_path / "source")]


# Starts.


@pytest.mark.parametrize(
    ("changes", "socket"), [case[1:] for case in DEADLY], ids=[case[0] for case in DEADLY]
)
async def test_a_start_that_would_kill_dobby(
    oci: Client, dobby_process: Process, tmp_path: Path, changes: dict[str, Any], socket: str
) -> None:
    bundle = make_bundle(tmp_path, "deadly", changes=changes)
    name, said = await oci.refused("startContainer", "ssssas", "app", str(bundle), "", socket, [])
    assert dobby_process.child.poll() is None
    assert (name, "config.json: " in said, "crash" in said) == ("InvalidArgs", True, True), said
    assert "StartFromBundle" not in (await oci.report())["calls"]


@pytest.mark.parametrize(
    "changes", [{"mounts": [{"destination": "/x"}]}, {"hooks": {"poststop": [HOOK]}}, CONVERTED]
)
async def test_a_start_that_only_looks_like_it(
    oci: Client, tmp_path: Path, changes: dict[str, Any]
) -> None:
    await oci.start("app", make_bundle(tmp_path, "odd", changes=changes))
    assert (await oci.oci("getContainerInfo", "s", "app"))["id"] == ("s", "app")


async def test_a_damaged_config_beside_an_intact_one_is_dobbys_to_recover(
    oci: Client, tmp_path: Path
) -> None:
    bundle = make_bundle(tmp_path, "sleep")
    (bundle / "config-dobby.json").write_text((bundle / "config.json").read_text())
    (bundle / "config.json").write_text('{"ociVersion": "1.0')
    await oci.start("app", bundle)
    assert (await oci.oci("getContainerInfo", "s", "app"))["id"] == ("s", "app")


# Requests that would kill Dobby after a start.


async def check_refused(client: Client, process: Process) -> None:
    """Calls that read a container's plugins are refused, and Dobby survives."""
    for call in CALLS_THAT_MAY_KILL:
        name, said = await client.refused(*call)
        assert (name, "crash Dobby" in said) == ("NotSupported", True), (call, name, said)
    assert process.child.poll() is None


@pytest.mark.parametrize("plugins", [{}, {"logging": "x"}, {"logging": None}, []])
async def test_plugins_that_are_none(
    oci: Client, dobby_process: Process, tmp_path: Path, plugins: Any
) -> None:
    await oci.start("app", make_bundle(tmp_path, "odd", changes={"rdkPlugins": plugins}))
    await check_refused(oci, dobby_process)


async def test_the_second_start_of_a_bundle_whose_plugins_dobby_dropped(
    oci: Client, dobby_process: Process, tmp_path: Path
) -> None:
    bundle = make_bundle(
        tmp_path, "odd", changes={"rdkPlugins": {"nosuch": {"required": False, "data": {}}}}
    )
    await oci.start("app", bundle)
    assert (await oci.oci("getContainerInfo", "s", "app"))["id"] == ("s", "app")
    await oci.oci("stopContainer", "sb", "app", True)
    await oci.start("app", bundle)
    await check_refused(oci, dobby_process)


@pytest.mark.parametrize(
    "changes",
    [{}, {"rdkPlugins": {}}, {"rdkPlugins": {"logging": "x"}}, {"network": None, "console": None}],
)
async def test_a_spec_without_plugins(
    oci: Client, dobby_process: Process, changes: dict[str, Any]
) -> None:
    spec = {
        key: value for key, value in SPEC.items() if key not in {"network", "console"}
    } | changes
    await oci.oci("startContainerFromDobbySpec", "sss", "app", json.dumps(spec), "")
    await check_refused(oci, dobby_process)


@pytest.mark.parametrize("member", ["network", "console", "rdkPlugins"])
async def test_a_spec_with_any_plugin(oci: Client, member: str) -> None:
    spec = {key: value for key, value in SPEC.items() if key not in {"network", "console"}}
    spec[member] = (SPEC | {"rdkPlugins": complete_config()["rdkPlugins"]})[member]
    await oci.oci("startContainerFromDobbySpec", "sss", "app", json.dumps(spec), "")
    assert (await oci.oci("getContainerInfo", "s", "app"))["id"] == ("s", "app")


@pytest.fixture
def hidden(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], None]:
    """Hides a directory from ocibridge, which runs in this process. The fake Dobby sees it."""
    listdir = os.listdir

    def hide(hidden: Path) -> None:
        def refusing(path: Any) -> list[str]:
            if str(path) == str(hidden):
                raise PermissionError(13, "Permission denied")
            return listdir(path)

        monkeypatch.setattr(os, "listdir", refusing)

    return hide


async def test_a_bundle_of_ours_that_we_could_not_read(
    client: Client,
    start_dobby: StartDobby,
    start_bridge: StartBridge,
    tmp_path: Path,
    hidden: Callable[[Path], None],
) -> None:
    """It may have no plugins.

    Then GetInfo would kill Dobby, and every later Dobby. Holds after our own restart too.
    """
    process = start_dobby(remains=str(tmp_path / "remains"))
    first = await start_bridge()
    await client.until_property("DobbyAvailable", wanted=True)
    bundle = make_bundle(tmp_path, "plain", plugins=False)
    hidden(bundle)
    await client.start("app", bundle)
    await check_refused(client, process)
    first.stop()
    await client.until_owned("org.rdk.OCIContainer", owned=False)
    await start_bridge()
    await check_refused(client, process)
    assert not (tmp_path / "remains").exists()


# Why Dobby may have refused a start.


async def test_a_moved_bundle_is_named_as_the_cause(oci: Client, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path, "sleep")
    await oci.start("app", bundle)
    moved = str(bundle.rename(tmp_path / "moved"))
    name, said = await oci.refused("startContainer", "ssssas", "other", moved, "", "", [])
    assert (
        name,
        "likely causes: the bundle was moved or copied after its first start" in said,
    ) == ("DobbyRefused", True), said


async def test_root_in_a_spec_is_named_as_the_cause(oci: Client) -> None:
    spec = json.dumps(SPEC | {"user": {"uid": 0, "gid": 0}})
    name, said = await oci.refused("startContainerFromDobbySpec", "sss", "app", spec, "")
    assert (name, "likely causes: its user.uid is 0" in said) == ("DobbyRefused", True), said

# SPDX-License-Identifier: Apache-2.0
"""The daemon's own rules on a bus that allows everybody everything (docs/design.md, Access).

The callers are connections of other users.
"""

import asyncio
import grp
import json
import os
import pwd
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
import structlog

from ocibridge.access.identity import identity_of
from ocibridge.api import callers, refusals
from ocibridge.bus.connection import Bus, ErrorReply
from ocibridge.bus.pump import Pump
from ocibridge.config.schema import Config, checked
from ocibridge.daemon import Daemon
from ocibridge.model import Identity
from ocibridge.names import (
    JSON_RPC_INTERFACE,
    LOG_CONTROL,
    LOG_CONTROL_PATH,
    OBJECT_PATH,
    PROPERTIES,
)
from ocibridge.systemd.message_ids import MessageId
from tests.bus.conftest import StartBridge
from tests.fake_dobby.bundles import make_bundle
from tests.fake_dobby.client import BOUND, Client
from tests.fake_dobby.processes import Process

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="only root can act as other users")

# Users and a group that every Debian has; dbus-daemon accepts no others.
LAUNCHER, STRANGER = (pwd.getpwnam(name).pw_uid for name in ("games", "news"))
APPS = grp.getgrnam("audio").gr_gid
MINE, OTHERS = "com.example.a", "com.other.b"
Connect = Callable[..., Awaitable[Client]]


@contextmanager
def acting_as(uid: int, groups: list[int]) -> Iterator[None]:
    """Connect to the bus in the block: it takes the effective user and groups."""
    before = os.getgroups()
    os.setgroups(groups)
    os.setegid(uid)
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(before)


@pytest.fixture
async def connect(address: str) -> AsyncIterator[Connect]:
    """Makes connections of users, who may have supplementary groups."""
    made: list[Bus] = []

    async def open_as(uid: int, *groups: int) -> Client:
        with acting_as(uid, list(groups)):
            made.append(await Bus.open(address))
        return Client(made[-1])

    yield open_as
    for bus in made:
        bus.close()


def access(*rules: dict[str, Any]) -> dict[str, Any]:
    return {"access": checked({"access": list(rules)}, "f").access}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The directory of the launcher's bundles; another one beside it."""
    for name in ("apps", "apps-evil"):
        make_bundle(tmp_path / name, "sleep")
    return tmp_path / "apps"


@pytest.fixture
async def daemon(
    start_bridge: StartBridge, dobby_process: Process, client: Client, folder: Path
) -> Daemon:
    """An ocibridge with a rule for the launcher, and two containers; one is the launcher's."""
    assert dobby_process.child.poll() is None
    role = {"methods": ["control"], "containers": ["com.example.*"], "bundles": [str(folder)]}
    daemon: Daemon = await start_bridge(**access({"user": LAUNCHER} | role))
    await client.until_property("DobbyAvailable", wanted=True)
    for container_id in (MINE, OTHERS):
        await client.start(container_id, folder / "sleep")
    return daemon


@pytest.fixture
async def launcher(daemon: Daemon, connect: Connect) -> Client:
    assert daemon
    return await connect(LAUNCHER)


@pytest.fixture
async def stranger(daemon: Daemon, connect: Connect) -> Client:
    assert daemon
    return await connect(STRANGER)


CALLS: list[tuple[str, str, tuple[Any, ...]]] = [
    ("getContainerInfo", "s", ()),
    ("startContainer", "ssssas", ("/b", "", "", [])),
    ("startContainerFromDobbySpec", "sss", ("{}", "")),
    ("stopContainer", "sb", (True,)),
    ("pauseContainer", "s", ()),
    ("resumeContainer", "s", ()),
    ("execCommand", "sss", ("", "ls")),
    ("executeCommand", "sss", ("", "ls")),
    ("hibernateContainer", "ss", ("",)),
    ("wakeupContainer", "s", ()),
    ("annotate", "sss", ("k", "v")),
    ("removeAnnotation", "ss", ("k",)),
    ("mount", "sssass", ("/usr", "/mnt", ["bind"], "")),
    ("unmount", "ss", ("/mnt",)),
]
ON_CONTAINER = {
    "getContainerInfo": "getInfo", "stopContainer": "stop", "pauseContainer": "pause",
    "resumeContainer": "resume", "execCommand": "exec", "hibernateContainer": "hibernate",
    "wakeupContainer": "wakeup", "annotate": "annotate", "removeAnnotation": "removeAnnotation",
    "mount": "mount", "unmount": "unmount",
}  # fmt: skip


async def calls_of_dobby(client: Client) -> dict[str, int]:
    """Those that are no questions of ours."""
    calls: dict[str, int] = (await client.report())["calls"]
    return {name: count for name, count in calls.items() if name not in {"List", "GetState"}}


async def outcome(work: Awaitable[Any]) -> str:
    """The last part of the error's name, or "done"."""
    try:
        await work
    except ErrorReply as error:
        return error.name.rpartition(".")[2]
    return "done"


async def test_a_stranger_changes_nothing(client: Client, stranger: Client) -> None:
    """Nor reads what costs Dobby a call each time."""
    before = await calls_of_dobby(client)
    for member, signature, rest in CALLS:
        for text in (MINE, "734", "no-such", "x" * 200, ""):
            name, said = await stranger.refused(member, signature, text, *rest)
            assert name == "AccessDenied", (member, text, said)
            assert said.startswith(member)
            assert f"uid {STRANGER}" in said
        if member in ON_CONTAINER:
            work = stranger.on(MINE, ON_CONTAINER[member], signature[1:], *rest)
            assert await outcome(work) == "AccessDenied"
    assert await calls_of_dobby(client) == before
    assert await client.oci("listContainers") == [(734, MINE), (879, OTHERS)]


async def test_a_stranger_reads(stranger: Client) -> None:
    assert len(await stranger.oci("listContainers")) == 2
    assert await stranger.oci("getContainerState", "s", MINE) == (MINE, "Running")
    assert await stranger.oci("waitForState", "sst", MINE, "Running", 0) == "Running"
    assert await stranger.on(MINE, "waitForState", "st", "Running", 0) == "Running"
    assert await outcome(stranger.oci("getLastExit", "s", MINE)) == "NoSuchContainer"
    assert await stranger.property("ContainerCount") == 2
    assert len(await stranger.objects()) == 2


async def test_the_text_names_all_and_the_rule(stranger: Client) -> None:
    _, said = await stranger.refused("stopContainer", "sb", "734", False)
    assert said == (
        f'stopContainer of "{MINE}": not done: no rule allows it to user "news" (uid {STRANGER}); '
        "it needs one under access in ocibridge.yaml(5), such as "
        f'{{user: news, methods: [stopContainer], containers: ["{MINE}"]}}'
    )


@pytest.mark.parametrize("member", ["pauseContainer", "stopContainer", "getContainerInfo"])
@pytest.mark.parametrize("by", ["id", "descriptor", "object"])
async def test_a_launcher_controls_its_containers(
    client: Client, launcher: Client, member: str, by: str
) -> None:
    """And no others, however they are named."""
    (signature, rest) = next((s, r) for m, s, r in CALLS if m == member)
    before = await calls_of_dobby(client)
    for container_id, descriptor, expected in (
        (OTHERS, "879", "AccessDenied"),
        (MINE, "734", "done"),
    ):
        if by == "object":
            work = launcher.on(container_id, ON_CONTAINER[member], signature[1:], *rest)
        else:
            text = container_id if by == "id" else descriptor
            work = launcher.oci(member, signature, text, *rest)
        assert await outcome(work) == expected
        if expected == "AccessDenied":
            assert await calls_of_dobby(client) == before


@pytest.mark.parametrize("member", ["execCommand", "executeCommand", "mount", "unmount"])
async def test_control_is_not_all(client: Client, launcher: Client, member: str) -> None:
    (signature, rest) = next((s, r) for m, s, r in CALLS if m == member)
    before = await calls_of_dobby(client)
    assert (await launcher.refused(member, signature, MINE, *rest))[0] == "AccessDenied"
    assert await calls_of_dobby(client) == before


async def test_an_id_or_a_descriptor_to_come(
    client: Client, daemon: Daemon, connect: Connect, folder: Path
) -> None:
    """A pattern that fits a descriptor does not fit its container."""
    assert daemon
    daemon._settings.now = msgspec.structs.replace(
        daemon._settings.now,
        **access({"user": LAUNCHER, "methods": ["*"], "containers": ["com.example.*", "1*"]}),
    )
    launcher = await connect(LAUNCHER)
    # The next descriptor, of a container that the mirror does not know, since others start it.
    for text in ("439", "com.other.c"):
        assert await outcome(launcher.oci("stopContainer", "sb", text, True)) == "AccessDenied"
    assert await client.start_at_dobby(folder / "sleep", "com.other.c") == 439
    assert await outcome(launcher.oci("stopContainer", "sb", "439", True)) == "AccessDenied"
    assert await outcome(launcher.oci("stopContainer", "sb", "com.example.z", True)) == (
        "NoSuchContainer"
    )
    assert (await calls_of_dobby(client)).get("Stop", 0) == 0


async def test_bundles(client: Client, launcher: Client, folder: Path) -> None:
    """What is below the directory is started, by its resolved path."""
    (folder / "in").symlink_to(folder / "sleep")
    (folder / "out").symlink_to(folder.parent / "apps-evil")
    (folder / "outside").symlink_to(folder.parent / "apps-evil" / "sleep")
    (folder / "loop").symlink_to(folder / "loop")
    before = await calls_of_dobby(client)
    for path in (
        f"{folder}-evil/sleep", f"{folder}/../apps-evil/sleep", f"{folder}/outside",
        f"{folder}/out/sleep", str(folder), f"{folder}/", f"{folder}/.", f"{folder}/loop", "/",
        f"{folder}/nosuch", "sleep", "", "./sleep", f"{folder}/sleep/../..",
    ):  # fmt: skip
        name, said = await launcher.refused("startContainer", "ssssas", "com.example.n", path,
            "", "", [])  # fmt: skip
        assert (name, "bundlePath" in said) == ("AccessDenied", True), (path, said)
    assert await calls_of_dobby(client) == before
    assert (await launcher.refused("startContainer", "ssssas", "com.other.n",
        str(folder / "sleep"), "", "", []))[0] == "AccessDenied"  # fmt: skip
    for number, path in enumerate(("sleep", "in", "sleep/", "in/../sleep", "./in/.")):
        await launcher.start(f"com.example.n{number}", Path(f"{folder}/{path}"))
        objects = await client.objects()
        (found,) = [o for o in objects.values() if o["Id"] == f"com.example.n{number}"]
        assert found["BundlePath"] == str(folder / "sleep")
    await launcher.oci("startContainer", "ssssas", "com.example.m", f"{folder}/in", "", "", [])
    assert (await client.report())["bundles"][-1] == str(folder / "sleep")


async def test_the_directory_of_a_rule_may_be_a_link(
    client: Client, daemon: Daemon, connect: Connect, folder: Path
) -> None:
    link = folder.parent / "link"
    link.symlink_to(folder)
    role = {"user": LAUNCHER, "methods": ["control"], "bundles": [str(link)]}
    daemon._settings.now = msgspec.structs.replace(daemon._settings.now, **access(role))
    launcher = await connect(LAUNCHER)
    await launcher.start("x", link / "sleep")
    assert len(await client.oci("listContainers")) == 3


async def test_a_batch_is_judged_request_by_request(client: Client, launcher: Client) -> None:
    requests = [
        ("getContainerState", {"containerId": OTHERS}),
        ("stopContainer", {"containerId": OTHERS}),
        ("pauseContainer", {"containerId": MINE}),
        ("executeCommand", {"containerId": MINE, "command": "ls"}),
        ("stopContainer", {"containerId": "879", "force": True}),
        ("mount", {}),
        ("pauseContainer", {}),
    ]
    batch = [
        {"jsonrpc": "2.0", "id": number, "method": f"org.rdk.OCIContainer.1.{m}", "params": p}
        for number, (m, p) in enumerate(requests)
    ]
    (text,) = await launcher.call(
        "org.rdk.OCIContainer", OBJECT_PATH, JSON_RPC_INTERFACE, "invoke", "s", json.dumps(batch)
    )
    found = [
        answer["error"]["data"]["error"].rpartition(".")[2] if "error" in answer else "done"
        for answer in json.loads(text)
    ]
    denied = "AccessDenied"
    # Parameters that are missing are told only to those who may call the method.
    assert found == ["done", denied, "done", denied, denied, denied, "InvalidArgs"]
    calls = await calls_of_dobby(client)
    assert (calls.get("Stop", 0), calls.get("Exec", 0), calls.get("Mount", 0)) == (0, 0, 0)


@pytest.mark.parametrize(
    ("whom", "groups", "expected"),
    [
        ({"group": APPS}, [APPS], "done"),
        ({"group": APPS}, [], "AccessDenied"),
        ({"group": "audio"}, [APPS], "done"),
        ({"group": STRANGER}, [], "done"),  # its primary group
        ({"user": APPS}, [APPS], "AccessDenied"),
    ],
)
async def test_groups(
    daemon: Daemon,
    connect: Connect,
    whom: dict[str, Any],
    groups: list[int],
    expected: str,
) -> None:
    daemon._settings.now = msgspec.structs.replace(
        daemon._settings.now, **access(whom | {"methods": ["control"]})
    )
    stranger = await connect(STRANGER, *groups)
    assert await outcome(stranger.oci("pauseContainer", "s", MINE)) == expected


async def test_names_and_a_bus_without_groups(
    daemon: Daemon, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An old bus does not give the groups. Then they are looked up by the user."""
    monkeypatch.setattr(callers, "GROUPS_KEY", "NoSuchKey")
    looked_up: list[int] = []

    def look_up(uid: int, gids: object) -> Any:
        looked_up.append(uid)
        assert gids is None
        return Identity(uid, "name", ((APPS, "apps"),))

    monkeypatch.setattr(callers, "identity_of", look_up)
    for rule in ({"group": "apps"}, {"user": "name"}):
        daemon._settings.now = msgspec.structs.replace(
            daemon._settings.now, **access(rule | {"methods": ["*"]})
        )
        stranger = await connect(STRANGER)
        for member in ("pauseContainer", "resumeContainer"):
            assert await outcome(stranger.oci(member, "s", MINE)) == "done"
    assert looked_up == [STRANGER, STRANGER]  # once a connection


async def test_a_look_up_that_fails(
    daemon: Daemon, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The caller is told, and the next call tries again."""
    assert daemon
    original = identity_of

    def fail(*_: Any) -> Any:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(callers, "identity_of", fail)
    launcher = await connect(LAUNCHER)
    name, text = await launcher.refused("pauseContainer", "s", MINE)
    assert name == "LimitsExceeded"
    assert f"uid {LAUNCHER} cannot be looked up now: Input/output error" in text
    assert await outcome(launcher.oci("getContainerState", "s", MINE)) == "done"
    monkeypatch.setattr(callers, "identity_of", original)
    assert await outcome(launcher.oci("pauseContainer", "s", MINE)) == "done"


async def test_a_look_up_that_hangs_delays_no_read(
    client: Client, daemon: Daemon, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert daemon
    released = threading.Event()
    original = identity_of

    def hang(*arguments: Any) -> Any:
        released.wait(BOUND)
        return original(*arguments)

    monkeypatch.setattr(callers, "identity_of", hang)
    launcher = await connect(LAUNCHER)
    change = asyncio.create_task(outcome(launcher.oci("pauseContainer", "s", MINE)))
    for member in ("getContainerState", "getContainerState"):
        assert await outcome(launcher.oci(member, "s", MINE)) == "done"
    assert await outcome(client.oci("annotate", "sss", MINE, "k", "v")) == "done"  # root's
    assert not change.done()
    released.set()
    assert await change == "done"


async def test_a_reload_takes_effect_for_open_connections(
    daemon: Daemon, launcher: Client, stranger: Client
) -> None:
    assert await outcome(launcher.oci("pauseContainer", "s", MINE)) == "done"
    assert await outcome(stranger.oci("resumeContainer", "s", MINE)) == "AccessDenied"
    rules = access({"user": STRANGER, "methods": ["resumeContainer"]})
    daemon._settings.take(msgspec.structs.replace(Config(), **rules))
    assert await outcome(launcher.oci("resumeContainer", "s", MINE)) == "AccessDenied"
    assert await outcome(stranger.oci("resumeContainer", "s", MINE)) == "done"


# The journal.


async def test_one_entry_for_many(
    stranger: Client, launcher: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refusals, "PERIOD_SECONDS", 1.0)
    with structlog.testing.capture_logs() as logged:
        for _ in range(20):
            await stranger.refused("stopContainer", "sb", MINE, True)
        await stranger.refused("pauseContainer", "s", OTHERS)
        await launcher.refused("stopContainer", "sb", OTHERS, True)
        async with asyncio.timeout(BOUND):
            while sum(entry.get("REFUSED_CALLS", 0) for entry in logged) < 22:
                await launcher.property("Version")
    entries = [entry for entry in logged if entry.get("MESSAGE_ID") == MessageId.ACCESS_DENIED]
    found = [(e["CALLER_UID"], e["METHOD"]) for e in entries]
    assert len([f for f in found if f == (STRANGER, "stopContainer")]) <= 4
    assert {*found} == {
        (STRANGER, "stopContainer"), (STRANGER, "pauseContainer"), (LAUNCHER, "stopContainer"),
    }  # fmt: skip
    first = entries[0]
    assert first["ERROR_NAME"] == "org.freedesktop.DBus.Error.AccessDenied"
    assert first["ACCESS_RULE"] == (
        f'{{user: news, methods: [stopContainer], containers: ["{MINE}"]}}'
    )
    assert (first["REFUSED_CALLS"], first["CONTAINER_ID"], first["DESCRIPTOR"]) == (1, MINE, 734)
    assert not [e for e in logged if e.get("METHOD") and "REFUSED_CALLS" not in e]


async def test_a_flood_of_new_connections_does_not_fill_the_journal(
    daemon: Daemon, connect: Connect
) -> None:
    """A burst before it is known who calls: beyond limits.per_caller as well."""
    assert daemon
    with structlog.testing.capture_logs() as logged:
        for _ in range(3):
            stranger = await connect(STRANGER)
            results = await asyncio.gather(
                *(outcome(stranger.oci("stopContainer", "sb", MINE, True)) for _ in range(200))
            )
            assert set(results) == {"AccessDenied", "LimitsExceeded"}
    assert len([entry for entry in logged if entry.get("METHOD")]) == 1


async def test_what_is_left_is_logged_at_the_end(
    start_bridge: StartBridge, dobby_process: Process, client: Client, connect: Connect
) -> None:
    assert dobby_process.child.poll() is None
    daemon: Daemon = await start_bridge()
    stranger = await connect(STRANGER)
    with structlog.testing.capture_logs() as logged:
        for _ in range(5):
            await stranger.refused("stopContainer", "sb", MINE, True)
        daemon.stop()
        await client.until_owned("org.rdk.OCIContainer", owned=False)
        (task,) = [task for task in asyncio.all_tasks() if task.get_name() == "daemon"]
        await asyncio.wait([task], timeout=BOUND)
    assert [entry["REFUSED_CALLS"] for entry in logged if "REFUSED_CALLS" in entry] == [1, 4]


# LogControl1.


@pytest.mark.parametrize(("name", "value"), [("LogLevel", "err"), ("LogLevel", "loud"),
    ("LogTarget", "console")])  # fmt: skip
async def test_only_root_writes_the_log_level(
    client: Client, stranger: Client, name: str, value: str
) -> None:
    """A user without right is told so before anything of the value, and logged like a call."""

    async def put(caller: Client) -> str:
        return await outcome(
            caller.call(
                "org.rdk.OCIContainer", LOG_CONTROL_PATH, PROPERTIES, "Set", "ssv", LOG_CONTROL,
                name, ("s", value),
            )
        )  # fmt: skip

    before = await get_log_control(client)
    with structlog.testing.capture_logs() as logged:
        for _ in range(3):
            assert await put(stranger) == "AccessDenied"
        assert await get_log_control(client) == before
        async with asyncio.timeout(BOUND):
            while not logged:
                await client.property("Version")
    (entry,) = logged
    assert entry["MESSAGE_ID"] == MessageId.ACCESS_DENIED
    assert entry["CALLER_UID"] == STRANGER
    assert await put(client) == ("InvalidArgs" if value == "loud" else "done")


async def get_log_control(client: Client) -> Any:
    (found,) = await client.call(
        "org.rdk.OCIContainer", LOG_CONTROL_PATH, PROPERTIES, "GetAll", "s", LOG_CONTROL
    )
    return found


async def test_sd_bus_itself_refuses_writers_without_right(
    monkeypatch: pytest.MonkeyPatch, start_bridge: StartBridge, connect: Connect
) -> None:
    """Also where python-sdbus is another version than the one that is known."""
    monkeypatch.setattr(Pump, "attach", lambda _: None)
    await start_bridge()
    stranger = await connect(STRANGER)
    with pytest.raises(ErrorReply, match="AccessDenied: Access to"):
        await stranger.call(
            "org.rdk.OCIContainer", LOG_CONTROL_PATH, PROPERTIES, "Set", "ssv", LOG_CONTROL,
            "LogLevel", ("s", "err"),
        )  # fmt: skip
    assert (await get_log_control(stranger))["LogLevel"] == ("s", "debug")


async def test_a_refused_read_is_logged_with_the_id_of_its_container(
    client: Client, daemon: Daemon, launcher: Client, tmp_path: Path
) -> None:
    """Also where the caller gave the descriptor, for which the judgement put the container."""
    assert daemon
    descriptor = await client.start("com.example.p", make_bundle(tmp_path, "p", plugins=False))
    with structlog.testing.capture_logs() as logged:
        assert (await launcher.refused("getContainerInfo", "s", str(descriptor)))[0] == (
            "NotSupported"
        )
        await launcher.property("Version")  # by now the former call has been logged
    (entry,) = [entry for entry in logged if entry.get("METHOD") == "getContainerInfo"]
    assert (entry["CONTAINER_ID"], entry["DESCRIPTOR"]) == ("com.example.p", descriptor)


async def test_a_refused_call_keeps_no_memory(stranger: Client, daemon: Daemon) -> None:
    """The last refused call of a period is kept for the journal, but not its megabytes."""
    for _ in range(2):
        await stranger.refused("stopContainer", "sb", "x" * (1 << 20), True)
    kept = [tally.last for tally in daemon._refusals._tallies.values()]
    (entry,) = [entry for entry in kept if entry is not None]
    text, fields = entry()
    assert len(text) < 2000
    assert all(len(str(value)) <= 400 for value in fields.values())
    call: Any = entry.func.__self__  # type: ignore[attr-defined]
    assert (call.arguments, len(call.subject)) == ((), 256)

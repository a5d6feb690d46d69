# SPDX-License-Identifier: Apache-2.0
"""The methods: what each does and what it refuses (docs/design.md, The verbs)."""

import asyncio
import os
from pathlib import Path

import pytest

from tests.bus.conftest import StartBridge, StartDobby
from tests.fake_dobby.bundles import make_bundle
from tests.fake_dobby.client import Client

SPEC = '{"version": "1.1", "args": ["sleep", "99"], "memLimit": 41943040}'


async def test_start_has_announced_the_container_before_it_returns(
    oci: Client, tmp_path: Path
) -> None:
    descriptor = await oci.start("app", make_bundle(tmp_path, "sleep"))

    assert descriptor == 734
    assert oci.heard("onContainerStarted") == [("onContainerStarted", 734, "app")]
    assert await oci.oci("listContainers") == [(734, "app")]
    assert await oci.oci("getContainerState", "s", "app") == ("app", "Running")
    assert await oci.property("ContainerCount") == 1


async def test_a_descriptor_does_where_an_id_does(oci: Client, tmp_path: Path) -> None:
    await oci.start("app", make_bundle(tmp_path, "sleep"))

    assert await oci.oci("getContainerState", "s", "734") == ("app", "Running")
    for text in ("0734", " 734", "+734", "735", "", "App"):
        name, said = await oci.refused("getContainerState", "s", text)
        assert (name, text in said) == ("NoSuchContainer", True)


async def test_a_known_id_exists_already(oci: Client, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path, "sleep")
    await oci.start("app", bundle)

    name, said = await oci.refused("startContainer", "ssssas", "app", str(bundle), "", "", [])
    assert name == "ContainerExists"
    assert "Running" in said
    assert "734" in said
    assert len(oci.heard("onContainerStarted")) == 1


async def test_of_two_starts_at_once_the_second_is_refused(oci: Client, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path, "sleep")
    first = asyncio.create_task(oci.start("app", bundle))
    second = asyncio.create_task(
        oci.refused("startContainer", "ssssas", "app", str(bundle), "", "", [])
    )

    assert (await second)[0] == "ContainerExists"
    assert await first == 734
    assert (await oci.report())["calls"]["StartFromBundle"] == 1


async def test_what_dobby_must_not_see_is_refused_before(oci: Client, tmp_path: Path) -> None:
    good = str(make_bundle(tmp_path, "sleep"))
    no_config = tmp_path / "no-config"
    no_config.mkdir()
    broken = make_bundle(tmp_path, "broken")
    (broken / "config.json").write_text("{")
    for arguments, named in [
        (("-a", good, "", "", []), "containerId"),
        ((".a", good, "", "", []), "containerId"),
        (("12", good, "", "", []), "containerId"),
        (("a..b", good, "", "", []), "containerId"),
        (("", good, "", "", []), "containerId"),
        (("a" * 129, good, "", "", []), "containerId"),
        (("app", "bundles/sleep", "", "", []), "bundlePath"),
        (("app", "", "", "", []), "bundlePath"),
        (("app", good + "/config.json", "", "", []), "bundlePath"),
        (("app", str(no_config), "", "", []), "bundlePath"),
        (("app", str(broken), "", "", []), "bundlePath"),
        (("app", good, "x" + " x" * 63, "", []), "command"),
        (("app", good, "", "wayland-0", []), "westerosSocket"),
        (("app", good, "", "", ["A"]), "envvar"),
        (("app", good, "", "", ["=A"]), "envvar"),
    ]:
        name, said = await oci.refused("startContainer", "ssssas", *arguments)
        assert (name, named in said) == ("InvalidArgs", True), arguments
    assert "StartFromBundle" not in (await oci.report())["calls"]


@pytest.mark.parametrize("slash", ["", "/"])
async def test_an_encrypted_bundle_is_not_started_as_if_it_were_plain(
    oci: Client, tmp_path: Path, slash: str
) -> None:
    bundle = make_bundle(tmp_path, "secret")
    for name in ("rootfs.img", "config.json.jwt"):
        (bundle / name).touch()

    assert (await oci.refused("startContainer", "ssssas", "app", f"{bundle}{slash}", "", "", []))[
        0
    ] == "NotSupported"


async def test_a_start_that_dobby_refuses_says_why_it_may_be(oci: Client, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path, "create-fails", fail="failing")

    name, said = await oci.refused("startContainer", "ssssas", "app", str(bundle), "", "", [])
    assert name == "DobbyRefused"
    assert "app" in said
    assert "journalctl -u dobby" in said
    assert oci.heard("onContainerStarted", "onContainerStopped") == []
    assert await oci.refused("getContainerState", "s", "app") != ("app", "Starting")


async def test_a_bundle_that_we_cannot_see_is_left_to_dobby(oci: Client) -> None:
    assert (await oci.refused("startContainer", "ssssas", "app", "/no/such/bundle", "", "", []))[
        0
    ] == "DobbyRefused"
    assert (await oci.report())["calls"]["StartFromBundle"] == 1


async def test_an_instant_exit_is_started_and_stopped_once(oci: Client, tmp_path: Path) -> None:
    await oci.start("brief", make_bundle(tmp_path, "exits-at-once", exit="0 1"))
    await oci.until_signal("onContainerStopped", 734)

    assert oci.heard("onContainerStarted", "onContainerStopped") == [
        ("onContainerStarted", 734, "brief"),
        ("onContainerStopped", 734, "brief"),
    ]
    assert await oci.oci("listContainers") == []


async def test_a_spec_as_text_and_as_a_file(oci: Client, tmp_path: Path) -> None:
    file = tmp_path / "spec.json"
    file.write_text(SPEC)

    assert await oci.oci("startContainerFromDobbySpec", "sss", "text", SPEC, "") == 734
    assert await oci.oci("startContainerFromDobbySpec", "sss", "file", str(file), "") == 879


async def test_what_is_no_spec(oci: Client, tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    array = tmp_path / "array.json"
    array.write_text("[]")
    for spec in [
        "",
        "{",
        '{"a": NaN}',
        '{"a":' * 9000,
        "[]",
        "null",
        "spec.json",
        str(tmp_path),
        str(fifo),
        str(tmp_path / "none"),
        str(array),
        "/dev/zero",
    ]:
        name, said = await oci.refused("startContainerFromDobbySpec", "sss", "app", spec, "")
        assert (name, "dobbySpec" in said) == ("InvalidArgs", True), spec
    assert "StartFromSpec" not in (await oci.report())["calls"]


async def test_stop_returns_when_the_container_is_gone(oci: Client, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path, "sleep")
    await oci.start("app", bundle)
    await oci.oci("stopContainer", "sb", "app", False)

    assert oci.heard("onContainerStopped") == [("onContainerStopped", 734, "app")]
    assert await oci.oci("listContainers") == []
    assert await oci.property("ContainerCount") == 0
    assert (await oci.refused("stopContainer", "sb", "app", False))[0] == "NoSuchContainer"
    assert await oci.start("app", bundle) == 879


async def test_a_second_stop_joins_the_first(oci: Client, tmp_path: Path) -> None:
    await oci.start("app", make_bundle(tmp_path, "ignores-SIGTERM", term="ignored"))
    await asyncio.gather(*(oci.oci("stopContainer", "sb", "app", False) for _ in range(5)))

    assert (await oci.report())["calls"]["Stop"] == 1


async def test_a_stop_with_force_does_not_join_one_without(
    client: Client, start_dobby: StartDobby, start_bridge: StartBridge, tmp_path: Path
) -> None:
    start_dobby(
        durations={"Reap": 500}
    )  # so that the graceful stop still finds it paused when it looks for the reason
    await start_bridge()
    await client.until_property("DobbyAvailable", wanted=True)
    oci = client
    await oci.start("app", make_bundle(tmp_path, "sleep"))
    await oci.oci("pauseContainer", "s", "app")
    gentle = asyncio.create_task(oci.refused("stopContainer", "sb", "app", False))
    forced = asyncio.create_task(oci.oci("stopContainer", "sb", "app", True))

    name, said = await gentle
    assert name == "WrongState"
    assert "force" in said
    await forced
    assert await oci.oci("listContainers") == []


async def test_a_container_that_ends_during_our_query_is_stopped(
    oci: Client, tmp_path: Path
) -> None:
    await oci.start("slow", make_bundle(tmp_path, "ignores-SIGTERM", term="ignored"))
    stop = asyncio.create_task(oci.oci("stopContainer", "sb", "slow", False))
    await oci.until_dobby_has("Stop")
    await oci.control("Exits", "si", "slow", 0)

    await stop
    assert oci.heard("onContainerStopped") == [("onContainerStopped", 734, "slow")]


async def test_a_container_that_ends_before_dobby_comes_to_our_stop(
    oci: Client, tmp_path: Path
) -> None:
    await oci.start("app", make_bundle(tmp_path, "sleep"))
    slow = asyncio.create_task(oci.start("slow", make_bundle(tmp_path, "slow-start", start="1500")))
    await oci.until_dobby_has("StartFromBundle", 2)
    stop = asyncio.create_task(oci.oci("stopContainer", "sb", "app", False))
    await oci.until_dobby_has("Stop")
    await oci.control("Exits", "si", "app", 0)

    await stop
    assert not slow.done()
    await slow


async def test_a_pause_that_a_resume_follows_succeeds(oci: Client, tmp_path: Path) -> None:
    await oci.start("app", make_bundle(tmp_path, "sleep"))
    await oci.oci("pauseContainer", "s", "app")
    await oci.oci("resumeContainer", "s", "app")
    both = oci.oci("pauseContainer", "s", "app"), oci.oci("resumeContainer", "s", "app")
    assert list(await asyncio.gather(*both)) == [None, None]


async def test_pause_and_resume(oci: Client, tmp_path: Path) -> None:
    await oci.start("app", make_bundle(tmp_path, "sleep"))
    await oci.oci("pauseContainer", "s", "app")
    assert await oci.oci("getContainerState", "s", "app") == ("app", "Paused")
    name, said = await oci.refused("pauseContainer", "s", "app")
    assert (name, "Paused" in said) == ("WrongState", True)
    assert (await oci.refused("execCommand", "sss", "app", "", "true"))[0] == "WrongState"

    await oci.oci("resumeContainer", "s", "app")
    assert await oci.oci("getContainerState", "s", "app") == ("app", "Running")
    name, said = await oci.refused("resumeContainer", "s", "app")
    assert (name, "Running" in said) == ("WrongState", True)


async def test_a_success_without_effect_is_refused(oci: Client, tmp_path: Path) -> None:
    await oci.start("app", make_bundle(tmp_path, "sleep"))
    await oci.control("StateBecomes", "si", "app", 5)
    await oci.control("AnswersInstead", "sss", "Pause", "b", "[true]")

    name, said = await oci.refused("pauseContainer", "s", "app")
    assert (name, "not Paused" in said) == ("DobbyRefused", True)


@pytest.mark.parametrize("member", ["execCommand", "executeCommand"])
async def test_exec_under_both_names(oci: Client, tmp_path: Path, member: str) -> None:
    await oci.start("app", make_bundle(tmp_path, "sleep"))

    assert await oci.oci(member, "sss", "app", "--cwd=/tmp", "touch x") is None
    assert (await oci.refused(member, "sss", "app", "--bogus", "touch x"))[0] == "DobbyRefused"
    for command in ("", "  ", "x" + " x" * 63):
        assert (await oci.refused(member, "sss", "app", "", command))[0] == "InvalidArgs"
    assert (await oci.refused(member, "sss", "nosuch", "", "true"))[0] == "NoSuchContainer"


async def test_info_is_dobbys_json_as_values(oci: Client, tmp_path: Path) -> None:
    await oci.start("app", make_bundle(tmp_path, "sleep"))
    info = await oci.oci("getContainerInfo", "s", "app")

    assert info["state"] == ("s", "Running")
    assert info["pids"][0] == "at"
    assert info["memory"][1]["user"][1]["limit"] == ("t", 9223372036854771712)
    assert info["processes"][1][0] == ("a{sv}", {
        "cmdline": ("s", "/usr/libexec/DobbyInit sleep 3600 "),
        "executable": ("s", "/usr/libexec/DobbyInit"),
        "nsPid": ("t", 1),
        "pid": ("t", 7734),
    })  # fmt: skip


async def test_info_that_would_kill_dobby_is_refused(oci: Client, tmp_path: Path) -> None:
    await oci.start("plain", make_bundle(tmp_path, "plain-oci", plugins=False))

    name, said = await oci.refused("getContainerInfo", "s", "plain")
    assert name == "NotSupported"
    assert "plain-oci" in said
    assert await oci.oci("getContainerState", "s", "plain") == ("plain", "Running")


@pytest.mark.parametrize(
    ("signature", "body", "named"),
    [
        ("b", "[true]", '"b"'),
        ("s", '[""]', "empty"),
        ("s", '["{"]', "JSON"),
        ("s", '["[]"]', "object"),
        ("s", '["{\\"a\\": NaN}"]', "JSON"),
    ],
)
async def test_info_that_is_no_answer(
    oci: Client, tmp_path: Path, signature: str, body: str, named: str
) -> None:
    await oci.start("app", make_bundle(tmp_path, "sleep"))
    await oci.control("AnswersInstead", "sss", "GetInfo", signature, body)

    name, said = await oci.refused("getContainerInfo", "s", "app")
    assert (name, named in said) == ("DobbyRefused", True), said


async def test_a_string_of_more_than_one_mebibyte(oci: Client) -> None:
    name, said = await oci.refused("getContainerState", "s", "é" * (1 << 19) + "x")
    assert (name, "containerId" in said, len(said) < 200) == ("InvalidArgs", True, True)

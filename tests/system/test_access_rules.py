# SPDX-License-Identifier: Apache-2.0
"""Ways round a rule, each tried (docs/design.md, Access).

The user "launcher" may control containers com.example.*, and start bundles below /opt/apps.
"""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ocibridge.systemd.message_ids import MessageId
from tests.system.conftest import CALL, Box
from tests.system.rights import (
    LAUNCHER_RULE,
    MANAGER,
    PATH,
    PROGRAM,
    RULES,
    configure,
    outcomes,
    report,
    snapshot,
)

CONTAINER = f"{MANAGER}.Container"
OWN, OWN_PATH = "com.example.app", f"{PATH}/container/com_2eexample_2eapp"
THEIRS, THEIR_PATH = "org.example.app", f"{PATH}/container/org_2eexample_2eapp"
APP = "/opt/apps/app"
Background = Callable[..., Any]
Call = tuple[Any, ...]


@pytest.fixture
def launcher(box: Box) -> Box:
    """The box with the rules, and nobody's containers."""
    configure(box, RULES)
    return box


@pytest.fixture
def descriptors(launcher: Box) -> tuple[str, str]:
    """A container of the launcher's, and another's."""
    return str(launcher.start(OWN, APP)), str(launcher.start(THEIRS))


def refused(box: Box, *calls: Call) -> None:
    """All are refused for lack of right, and Dobby hears nothing."""
    before, _ = snapshot(box)
    found = outcomes(box, "launcher", *calls)
    wrong = [(c, f) for c, f in zip(calls, found, strict=True) if f[0] != "ocibridge"]
    assert (wrong, snapshot(box)[0]) == ([], before)


def done(box: Box, *calls: Call) -> None:
    found = outcomes(box, "launcher", *calls)
    assert [(c, f) for c, f in zip(calls, found, strict=True) if f[0] != "done"] == []


def start(container_id: str, bundle: str) -> Call:
    return ("startContainer", "ssssas", container_id, bundle, "", "", [])


def test_a_descriptor(launcher: Box, descriptors: tuple[str, str]) -> None:
    """It stands for its container, and is judged by that one's id."""
    own, theirs = descriptors
    done(launcher, ("pauseContainer", "s", own), ("resumeContainer", "s", own))
    refused(
        launcher,
        ("pauseContainer", "s", theirs),
        ("stopContainer", "sb", theirs, True),
        ("annotate", "sss", theirs, "key", "value"),
    )
    same = (f"0{theirs}", f"+{theirs}", f" {theirs}", f"{theirs}.0", hex(int(theirs)))
    refused(launcher, *(("pauseContainer", "s", text) for text in same))


def test_what_is_to_come(launcher: Box, background: Background) -> None:
    """A text that names no container is judged as it stands, and never by what comes later.

    The next descriptor is known, because each Dobby counts alike. Patterns for numbers do not help.
    """
    configure(launcher, RULES.replace("'com.example.*'", "'com.example.*', '[0-9]*', '?*'"))
    first = launcher.start("first")
    launcher.oci("stopContainer sb first true")
    launcher.run("systemctl restart dobby")  # which begins with the same descriptor
    launcher.until("DobbyStatus", "ready")
    refused(launcher, ("pauseContainer", "s", str(first)))
    slow = background(f'{CALL} startContainer ssssas {THEIRS} /opt/bundles/slow-start "" "" 0')
    while "Starting" not in launcher.tried(f"{CALL} getContainerState s {THEIRS}").stdout:
        assert slow.poll() is None
    refused(launcher, ("pauseContainer", "s", str(first)))
    assert slow.communicate(timeout=60)[0] == f"i {first}\n"
    configure(launcher, RULES)
    refused(launcher, ("pauseContainer", "s", str(first)), ("pauseContainer", "s", THEIRS))


def test_an_id_that_is_another_s_when_it_comes(launcher: Box) -> None:
    """Judged by the id alone: whoever starts com.example.x, it is the launcher's to control."""
    assert outcomes(launcher, "launcher", ("pauseContainer", "s", OWN))[0][0] == "NoSuchContainer"
    refused(launcher, ("pauseContainer", "s", THEIRS))
    launcher.start(OWN)
    done(launcher, ("pauseContainer", "s", OWN))


@pytest.mark.usefixtures("descriptors")
def test_commands(launcher: Box) -> None:
    """Not a part of "control"; by name they are allowed under both names."""
    calls = (
        ("execCommand", "sss", OWN, "", "true"),
        ("executeCommand", "sss", OWN, "", "true"),
        (OWN_PATH, CONTAINER, "exec", "ss", "", "true"),
    )
    refused(launcher, *calls)
    configure(launcher, RULES.replace("[control]", "[control, executeCommand]"))
    done(launcher, *calls)
    refused(
        launcher,
        ("execCommand", "sss", THEIRS, "", "true"),
        (THEIR_PATH, CONTAINER, "exec", "ss", "", "true"),
        ("mount", "sssass", OWN, "/opt", "/mnt/x", ["bind"], ""),
        ("startContainerFromDobbySpec", "sss", f"{OWN}.spec", "{}", ""),
    )


@pytest.mark.usefixtures("descriptors")
def test_objects(launcher: Box) -> None:
    """A container object's methods are the manager's."""
    control = (
        ("pause", ""),
        ("resume", ""),
        ("annotate", "ss", "key", "value"),
        ("removeAnnotation", "s", "key"),
        ("getInfo", ""),
        ("stop", "b", True),
    )
    refused(launcher, *((THEIR_PATH, CONTAINER, *call) for call in control))
    done(launcher, *((OWN_PATH, CONTAINER, *call) for call in control))


def test_a_batch(launcher: Box, descriptors: tuple[str, str]) -> None:
    """Each request is judged by itself; what is allowed is done."""
    requests = [
        ("pauseContainer", {"containerId": OWN}),
        ("pauseContainer", {"containerId": THEIRS}),
        ("resumeContainer", {"containerId": descriptors[0]}),
        ("stopContainer", {"containerId": descriptors[1], "force": True}),
        ("executeCommand", {"containerId": OWN, "command": "true"}),
        ("getContainerState", {"containerId": THEIRS}),
        ("startContainer", {"containerId": f"{OWN}.2", "bundlePath": APP}),
        ("startContainer", {"containerId": f"{OWN}.3", "bundlePath": "/opt/bundles/sleep"}),
    ]
    batch = [
        {"jsonrpc": "2.0", "id": n, "method": f"org.rdk.OCIContainer.1.{method}", "params": params}
        for n, (method, params) in enumerate(requests)
    ]
    # Answered by nobody, and judged nonetheless.
    batch.append({key: value for key, value in batch[1].items() if key != "id"})
    before = report(launcher)["calls"]
    ((outcome, (text,)),) = outcomes(
        launcher, "launcher", (PATH, f"{MANAGER}.JsonRpc", "invoke", "s", json.dumps(batch))
    )
    assert outcome == "done"
    answers = [
        answer["error"]["data"]["error"] if "error" in answer else answer["result"]["success"]
        for answer in json.loads(text)
    ]
    no = "org.freedesktop.DBus.Error.AccessDenied"
    assert answers == [True, no, True, no, no, True, True, no]
    after = report(launcher)["calls"]
    assert {
        method: after.get(method, 0) - before.get(method, 0)
        for method in ("Pause", "Resume", "Stop", "Exec", "StartFromBundle")
    } == {"Pause": 1, "Resume": 1, "Stop": 0, "Exec": 0, "StartFromBundle": 1}


LINKS = """
ln -s /opt/bundles/sleep /opt/apps/out
ln -s ../bundles /opt/apps/outside
ln -s /opt/apps/app /opt/apps/current
ln -s more /opt/apps/inside
ln -s loop /opt/apps/loop
ln -s /opt/apps /opt/link
cp /opt/apps/app/config.json /opt/apps
"""


@pytest.fixture
def links(launcher: Box) -> Iterator[None]:
    """A root file system for /opt/apps as well, so that it could be started."""
    launcher.run(f"set -e; mkdir -p /opt/apps/rootfs; {LINKS}")
    yield
    launcher.run("find /opt -maxdepth 2 -type l -delete; rm -r /opt/apps/config.json")


@pytest.mark.usefixtures("links")
def test_bundles_elsewhere(launcher: Box) -> None:
    """Whatever resolves to a place that is not below /opt/apps is refused."""
    refused(
        launcher,
        *(
            start(OWN, path)
            for path in (
                "/opt/bundles/sleep",
                "/opt/apps/out",  # a link as the last component
                "/opt/apps/out/",
                "/opt/apps/out/.",
                "/opt/apps/outside/sleep",  # a link in the middle
                "/opt/apps/inside/../../bundles/sleep",
                "/opt/apps/../bundles/sleep",
                "/opt/apps/outside/../bundles/sleep",
                "/opt/apps-evil/app",  # the same beginning
                "/opt/apps/../apps-evil/app",
                "/opt/apps",  # the directory itself
                "/opt/apps/",
                "/opt/apps/.",
                "/opt/apps/app/..",
                "/opt/link",
                "/opt/apps/loop",
                "/opt/apps/none",
                "/proc/self/cwd/opt/bundles/sleep",
                "opt/apps/app",
                "",
            )
        ),
        start(THEIRS, APP),  # the bundle is right, the id is not
        start("com.example", APP),
    )
    assert report(launcher)["bundles"] == []


@pytest.mark.usefixtures("links")
def test_bundles_below_the_directory(launcher: Box) -> None:
    """They are started, whatever leads there, and Dobby gets the resolved path."""
    paths = {
        APP: APP,
        f"{APP}/": APP,
        "/opt/apps/more/app": "/opt/apps/more/app",
        "/opt/apps/current": APP,
        "/opt/apps/inside/app": "/opt/apps/more/app",
        "/opt/link/app": APP,
        "/opt/bundles/../apps//app": APP,
    }
    done(launcher, *(start(f"{OWN}.{n}", path) for n, path in enumerate(paths)))
    assert report(launcher)["bundles"] == list(paths.values())


def test_a_reload(launcher: Box, background: Background) -> None:
    """New rules count for connections that are open already."""
    launcher.start(THEIRS)
    everything = LAUNCHER_RULE.replace("'com.example.*'", "'*'")
    steps = (
        (f"access: [{everything}]", "done"),
        (RULES, "ocibridge"),
        ("access: []", "ocibridge"),
        (f"access: [{everything.replace('launcher', 'caller')}]", "ocibridge"),
        ("access: [{group: ocibridge-callers, methods: [resumeContainer]}]", "ocibridge"),
        ("access: [{group: ocibridge-callers, methods: [pauseContainer]}]", "WrongState"),
    )
    process = background(f"{PROGRAM} again {THEIRS} {len(steps)}", "launcher")
    assert process.stdout.readline() == "ocibridge\n"
    for rules, outcome in steps:
        configure(launcher, rules)
        launcher.run("busctl emit /org/example org.example.Again Now")
        assert (rules, process.stdout.readline()) == (rules, f"{outcome}\n")


def test_the_journal(launcher: Box) -> None:
    """The first refused call of a user and a method is logged at once, the others as a number."""
    launcher.start(THEIRS)
    since = launcher.cursor()
    pause: Call = ("pauseContainer", "s", THEIRS)
    mount: Call = ("mount", "sssass", OWN, "", "", [], "")
    refused(launcher, *[pause] * 20, *[mount] * 5)
    assert outcomes(launcher, "caller", ("pauseContainer", "s", THEIRS))[0][0] == "ocibridge"
    launcher.run("systemctl stop ocibridge")  # which logs what has been counted
    match = f"MESSAGE_ID={MessageId.ACCESS_DENIED}"
    entries = launcher.journal(since, match)
    uid = {user: launcher.run(f"id -u {user}") for user in ("launcher", "caller")}
    assert sorted(
        (entry["CALLER_UID"], entry["METHOD"], entry["REFUSED_CALLS"]) for entry in entries
    ) == sorted(
        [
            (uid["launcher"], "pauseContainer", "1"),
            (uid["launcher"], "pauseContainer", "19"),
            (uid["launcher"], "mount", "1"),
            (uid["launcher"], "mount", "4"),
            (uid["caller"], "pauseContainer", "1"),
        ]
    )
    for entry in entries:
        assert entry["ERROR_NAME"] == "org.freedesktop.DBus.Error.AccessDenied"
        assert f"methods: [{entry['METHOD']}]" in entry["ACCESS_RULE"]
        assert entry["PRIORITY"] == "4"
    assert launcher.journal(since, "METHOD=pauseContainer") == [
        entry for entry in entries if entry["METHOD"] == "pauseContainer"
    ]  # no other entries
    explained = launcher.run(f"journalctl -q -x --cursor='{since}' {match}")
    assert "ocibridge --check-access" in explained

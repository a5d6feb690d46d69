# SPDX-License-Identifier: Apache-2.0
"""Calls that a user tries, run in the box as that user, to see who stops which.

access.py try ID [DESTINATION]   call every member, with arguments that change something; `ID` and
                                 `ID.object` are containers, and `ID.new` and `ID.spec` are started
access.py calls JSON             make the calls of a list of [path, interface, method, signature,
                                 arguments], one after the other
access.py reach                  call Dobby, and request the names of ocibridge and of Dobby
access.py again ID TIMES         pause the container, and again at so many signals of the interface
                                 org.example.Again

Prints JSON. An outcome is "done", "bus" (the bus refused the call), "ocibridge" (ocibridge refused
it for lack of right), or the last word of another error's name.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

from gi.repository import Gio, GLib

from tests.fake_dobby.bundles import SPEC

NAME = "org.rdk.OCIContainer"
DOBBY = "org.rdk.dobby"
DOBBY_PATH = "/org/rdk/dobby"
NAME_OF_BUS = "org.freedesktop.DBus"
MANAGER = "org.rdk.OCIContainer1"
JSON_RPC = f"{MANAGER}.JsonRpc"
PROPERTIES = "org.freedesktop.DBus.Properties"
LOG_CONTROL = "org.freedesktop.LogControl1"
PATH = "/org/rdk/OCIContainer"
LOG_PATH = "/org/freedesktop/LogControl1"
INTERFACES = Path("/usr/share/dbus-1/interfaces")
MILLISECONDS = 20_000
# RequestName(): how the name is requested, and what came of it.
REPLACE_EXISTING, DO_NOT_QUEUE = 2, 4
OWNED = {1: "owned", 3: "taken", 4: "owned"}

bus = Gio.bus_get_sync(Gio.BusType.SYSTEM, None)


def call(
    path: str, interface: str | None, member: str, body: GLib.Variant | None, to: str
) -> tuple[str, Any]:
    """The outcome, and the result or the error's text. Nothing is started by the call."""
    message = Gio.DBusMessage.new_method_call(to, path, interface, member)
    message.set_flags(Gio.DBusMessageFlags.NO_AUTO_START)
    if body is not None:
        message.set_body(body)
    reply, _ = bus.send_message_with_reply_sync(
        message, Gio.DBusSendMessageFlags.NONE, MILLISECONDS, None
    )
    answer = reply.get_body()
    content = None if answer is None else answer.unpack()
    if reply.get_message_type() != Gio.DBusMessageType.ERROR:
        return "done", content
    outcome = reply.get_error_name().rpartition(".")[2]
    if outcome == "AccessDenied":
        outcome = "bus" if reply.get_sender() == NAME_OF_BUS else "ocibridge"
    return outcome, content[0] if content else ""


def body_of(signature: str, arguments: Any) -> GLib.Variant | None:
    return GLib.Variant(f"({signature})", tuple(arguments)) if signature else None


def escaped(container_id: str) -> str:
    """The path of its object. Its characters are those of ids in these tests."""
    for character in ".-":
        container_id = container_id.replace(character, f"_{ord(character):02x}")
    return f"{PATH}/container/{container_id}"


def request(container_id: str) -> str:
    method = f"{NAME}.1.annotate"
    params = {"containerId": container_id, "key": "k", "value": "v"}
    return json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})


class Trial:
    """Each call is one that would change something, if it got through."""

    def __init__(self, container_id: str, destination: str) -> None:
        self._id = container_id
        self._to = destination
        self.found: dict[str, str] = {}

    def run(self) -> None:
        """The calls that end a container come last."""
        self._standard()
        self._interface(f"{MANAGER}.Container", escaped(f"{self._id}.object"))
        self._json_rpc()
        self._interface(MANAGER, PATH)

    def _try(
        self, name: str, path: str, interface: str | None, member: str, signature: str, *given: Any
    ) -> None:
        self.found[name], _ = call(path, interface, member, body_of(signature, given), self._to)

    def _interface(self, interface: str, path: str) -> None:
        """All methods that the interface's XML names."""
        methods = ET.parse(INTERFACES / f"{interface}.xml").iter("method")
        by_name = {str(method.get("name")): method for method in methods}
        for name in sorted(by_name, key=lambda name: name.startswith("stop")):
            arguments = [a for a in by_name[name].iter("arg") if a.get("direction") == "in"]
            signature = "".join(a.get("type", "") for a in arguments)
            given = (self._argument(name, a.get("name", "")) for a in arguments)
            self._try(f"{interface}.{name}", path, interface, name, signature, *given)

    def _argument(self, method: str, name: str) -> Any:
        started = {"startContainer": ".new", "startContainerFromDobbySpec": ".spec"}
        values: dict[str, Any] = {
            "containerId": self._id + started.get(method, ""),
            "bundlePath": "/opt/bundles/sleep",
            "dobbySpec": json.dumps(SPEC),
            "command": "" if method in started else "true",
            "envvar": ["NAME=value"],
            "force": True,
            "key": "key",
            "value": "value",
            "source": "/opt",
            "target": "/mnt/x",
            "flags": ["bind"],
            "state": "Running",
            "timeoutUsec": 1_000_000,
        }
        return values.get(name, "")

    def _json_rpc(self) -> None:
        outcome, content = call(
            PATH, JSON_RPC, "invoke", body_of("s", [request(self._id)]), self._to
        )
        if outcome == "done":
            outcome = outcome_of(json.loads(content[0]))
        self.found[f"{JSON_RPC}.invoke"] = outcome

    def _standard(self) -> None:
        for name, interface in {
            "Introspect": "org.freedesktop.DBus.Introspectable",
            "Ping": "org.freedesktop.DBus.Peer",
            "GetMachineId": "org.freedesktop.DBus.Peer",
            "GetManagedObjects": "org.freedesktop.DBus.ObjectManager",
        }.items():
            self._try(name, PATH, interface, name, "")
        self._try("GetAll", PATH, PROPERTIES, "GetAll", "s", MANAGER)
        self._try("GetAll LogControl1", LOG_PATH, PROPERTIES, "GetAll", "s", LOG_CONTROL)
        for name in ("Version", "DobbyAvailable", "DobbyStatus", "ContainerCount"):
            self._try(f"Get {name}", PATH, PROPERTIES, "Get", "ss", MANAGER, name)
        for name, path, interface, value in (
            ("DobbyStatus", PATH, MANAGER, "absent"),
            ("LogLevel", LOG_PATH, LOG_CONTROL, "debug"),
            ("LogTarget", LOG_PATH, LOG_CONTROL, "journal"),
        ):
            given = (interface, name, GLib.Variant("s", value))
            self._try(f"Set {name}", path, PROPERTIES, "Set", "ssv", *given)
        self._try("another interface", PATH, "org.example.Nothing", "pauseContainer", "s", self._id)
        self._try("no interface", PATH, None, "pauseContainer", "s", self._id)
        owner, content = call(
            "/", NAME_OF_BUS, "GetNameOwner", body_of("s", [self._to]), NAME_OF_BUS
        )
        to = content[0] if owner == "done" else self._to
        annotation = body_of("sss", [self._id, "k", "v"])
        self.found["by the unique name"], _ = call(PATH, MANAGER, "annotate", annotation, to)


def outcome_of(answer: dict[str, Any]) -> str:
    """Of a JSON-RPC request of the dialect with versions."""
    if "result" in answer:
        return "done"
    error = answer["error"].get("data", {}).get("error", "code " + str(answer["error"]["code"]))
    return "ocibridge" if error.endswith(".AccessDenied") else str(error.rpartition(".")[2])


def try_all(container_id: str, destination: str = NAME) -> None:
    trial = Trial(container_id, destination)
    trial.run()
    print(json.dumps(trial.found))


def make(calls: str) -> None:
    found = [
        call(path, interface, member, body_of(signature, arguments), NAME)
        for path, interface, member, signature, arguments in json.loads(calls)
    ]
    print(json.dumps(found))


def reach() -> None:
    found = {"call Dobby": call(DOBBY_PATH, f"{DOBBY}.admin1", "Ping", None, DOBBY)[0]}
    # The fake Dobby would let itself be replaced.
    for whose, name, flags in (
        ("ocibridge", NAME, REPLACE_EXISTING | DO_NOT_QUEUE),
        ("Dobby", DOBBY, DO_NOT_QUEUE),
    ):
        body = body_of("su", [name, flags])
        outcome, content = call("/", NAME_OF_BUS, "RequestName", body, NAME_OF_BUS)
        found[f"own {whose}"] = OWNED[content[0]] if outcome == "done" else outcome
    print(json.dumps(found))


def again(container_id: str, times: str) -> None:
    """All calls are made by one connection."""
    loop, made = GLib.MainLoop(), 0

    def pause(*_: Any) -> None:
        nonlocal made
        outcome, _text = call(PATH, MANAGER, "pauseContainer", body_of("s", [container_id]), NAME)
        print(outcome, flush=True)
        made += 1
        if made > int(times):
            loop.quit()

    # The bus handles the match before the first call.
    bus.signal_subscribe(
        None, "org.example.Again", None, None, None, Gio.DBusSignalFlags.NONE, pause
    )
    pause()
    loop.run()


if __name__ == "__main__":
    what, *arguments = sys.argv[1:]
    commands: dict[str, Callable[..., None]] = {
        "try": try_all,
        "calls": make,
        "reach": reach,
        "again": again,
    }
    commands[what](*arguments)

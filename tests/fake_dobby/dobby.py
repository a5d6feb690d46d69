# SPDX-License-Identifier: Apache-2.0
"""A fake Dobby: a python-dbusmock template (`python3 -m dbusmock --template dobby.py`).

dbusmock behaves well: it introspects, answers Properties, checks signatures, and takes any number
of calls. The real Dobby does none of that, and ocibridge is tested against its traps. So a message
filter in front of dbusmock answers for Dobby's object, byte for byte as captured from the real one
(docs/dobby-captures/README.md). dbusmock provides the process, the bus name, the parameters of the
template, and the Mock interface with the control methods at the end of this file.

Parameters: `ready_ms` (null: never), `durations` {word: ms}, `legacy` (default true: it has
StartFromSpec), `hibernation` (default false), `libdbus` (default false: the build without systemd;
docs/dobby.md, Builds), `rewrites` (default true: it converts config.json in place, as Dobby does),
`mountinfo` (a file that it uses as /proc/self/mountinfo), `remains` (a file: if it dies with a
container without plugins, every later one dies at its start).
"""

import json
import os
import signal
import time
from collections import Counter, deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dbus
import dbus.lowlevel
import dbus.service
from gi.repository import GLib

from tests.fake_dobby.bundle_model import Crash
from tests.fake_dobby.dobby_model import DobbyModel, Work
from tests.fake_dobby.mount_model import MountModel

BUS_NAME = "org.rdk.dobby"
MAIN_OBJ = "/org/rdk/dobby"
MAIN_IFACE = "org.rdk.dobby.ctrl1"
SYSTEM_BUS = False
MOCK_IFACE = "org.freedesktop.DBus.Mock"

REPLY_SLOTS = 49
ERROR = "org.freedesktop.DBus.Error."
FAILURES = {
    "Start": -1,
    "StartFromBundle": -1,
    "StartFromSpec": -1,
    "GetState": -1,
    "GetInfo": True,
}
SIGNATURES = {
    "List": None, "GetState": ["i"], "GetInfo": ["i"], "Stop": ["ib"], "Pause": ["i"],
    "Resume": ["i"], "Exec": ["iss"],
    "StartFromBundle": ["ssah", "ssahssas", "ssahssasuu"], "StartFromSpec": ["ssah", "ssahssas"],
    "Hibernate": ["is"], "Wakeup": ["i"],
    "Mount": ["issass"], "Unmount": ["is"], "Annotate": ["iss"], "RemoveAnnotation": ["is"],
    "Start": ["ssah", "ssahssas"],
}  # fmt: skip
REPLY_SIGNATURES = {
    "List": "aias",
    "GetInfo": "s",
    "GetState": "i",
    "Start": "i",
    "StartFromBundle": "i",
    "StartFromSpec": "i",
}
ADMIN = {"Ping", "Shutdown", "SetLogLevel", "SetLogMethod"}


class Wire:
    """Receives each call to Dobby's object, and answers as Dobby would."""

    def __init__(self, connection: Any, parameters: Any) -> None:
        self.connection = connection
        self.libdbus = parameters.get("libdbus", False)
        self.model = DobbyModel(self.emit, later, durations=parameters.get("durations", {}))
        self.model.hibernation = parameters.get("hibernation", False)
        self.model.rewrites = parameters.get("rewrites", True)
        self.model.mounts = MountModel(parameters.get("mountinfo", ""))
        self.remains = Path(parameters["remains"]) if "remains" in parameters else None
        legacy = parameters.get("legacy", True)
        self.members = set(SIGNATURES) - (set() if legacy else {"StartFromSpec"})
        self.aliases = {"Start": "StartFromSpec" if legacy else "StartFromBundle"}
        self.ready = False
        self.leaked = 0
        self.open = 0
        self.most_open = 0
        self.queue: deque[tuple[Any, str]] = deque()
        self.busy = False
        self.calls: Counter[str] = Counter()
        self.unknown: list[str] = []
        self.bundles: list[str] = []
        self.instead: dict[str, tuple[str, tuple[Any, ...]]] = {}
        self.mute = False
        self.loses: set[str] = set()
        connection.add_message_filter(self.received)
        if self.remains is not None and self.remains.exists():
            later(
                30, self.die
            )  # the networking plugin crashes on the leftover container: never Ready
        elif parameters.get("ready_ms", 1) is not None:
            later(parameters.get("ready_ms", 1), self.say_ready)

    def say_ready(self) -> None:
        self.ready = True
        self.emit("Ready", interface="org.rdk.dobby.admin1")

    def die(self) -> None:
        """A null pointer. The next Dobby finds its containers in the state directory."""
        if self.remains is not None and any(
            not c.has_plugins for c in self.model.containers.values()
        ):
            self.remains.touch()
        os.kill(os.getpid(), signal.SIGKILL)

    def emit(self, member: Any, *body: Any, interface: str = MAIN_IFACE) -> None:
        message = dbus.lowlevel.SignalMessage(MAIN_OBJ, interface, member)
        message.append(*body, signature={3: "isi", 2: "is", 0: ""}[len(body)])
        self.connection.send_message(message)

    def received(self, _connection: Any, message: Any) -> Any:
        if (
            message.get_type() != dbus.lowlevel.MESSAGE_TYPE_METHOD_CALL
            or message.get_path() != MAIN_OBJ
        ):
            return dbus.lowlevel.HANDLER_RESULT_NOT_YET_HANDLED
        if message.get_interface() == MOCK_IFACE:
            return dbus.lowlevel.HANDLER_RESULT_NOT_YET_HANDLED
        self.dispatch(message, message.get_interface(), message.get_member())
        return dbus.lowlevel.HANDLER_RESULT_HANDLED

    def dispatch(self, message: Any, interface: Any, member: Any) -> None:
        self.calls[member] += 1
        known = (interface == MAIN_IFACE and member in self.members) or (
            interface == "org.rdk.dobby.admin1" and member in ADMIN
        )
        if not self.ready or (self.libdbus and not known):
            self.refuse_unready(message, interface, member)
        elif interface is None or (not self.libdbus and self.leaked + self.open >= REPLY_SLOTS):
            self.error(
                message,
                "UnknownMethod",
                f"Unknown method {member} or interface {interface or '(null)'}.",
            )
        elif not known:
            self.leaked += 1
            self.unknown.append(f"{interface}.{member}")
            self.error(message, "UnknownMethod", f"No handler for method {interface}.{member}")
        else:
            self.open += 1
            self.most_open = max(self.most_open, self.open)
            self.accept(message, interface, member)

    def refuse_unready(self, message: Any, interface: Any, member: Any) -> None:
        if self.libdbus:
            signature = message.get_signature()
            self.error(
                message,
                "UnknownMethod",
                f'Method "{member}" with signature "{signature}" on interface "{interface}" '
                "doesn't exist\n",
            )
        else:
            self.error(message, "UnknownObject", f"Unknown object '{MAIN_OBJ}'.")

    def accept(self, message: Any, interface: Any, member: Any) -> None:
        if "(" in message.get_signature():
            while True:  # a struct makes it loop for ever, and it answers no call any more
                time.sleep(3600)
        if interface == "org.rdk.dobby.admin1":
            self.admin(message, member)
            return
        if member == "StartFromBundle":
            self.bundles += [str(a) for a in message.get_args_list()[1:2]]
        self.queue.append((message, member))
        if not self.busy:
            self.work()

    def admin(self, message: Any, member: Any) -> None:
        arguments = message.get_args_list()
        if member in {"Ping", "Shutdown"}:
            self.reply(message, "", ())
            if member == "Shutdown":
                later(47, lambda: os._exit(0))
        else:
            fits = {"SetLogLevel": ["i"], "SetLogMethod": ["uh", "ui", "us"]}
            good = message.get_signature() in fits[member] and not (
                member == "SetLogMethod" and arguments[0] > 3
            )
            self.reply(message, "b", (good,))

    # The one work queue.

    def work(self) -> None:
        if not self.queue or self.busy:
            return
        self.busy = True
        message, member = self.queue.popleft()
        fitting = SIGNATURES[member]
        # Arguments of types it does not know are skipped (docs/dobby.md, Wrong arguments).
        signature = "".join(c for c in message.get_signature() if c not in "dgv")
        if fitting is not None and signature not in fitting:
            todo = Work(lambda: (FAILURES.get(member, False),))
        else:
            known_types = (dbus.Double, dbus.Signature)
            arguments = [
                plain(a)
                for a in message.get_args_list()
                if not isinstance(a, known_types) and not getattr(a, "variant_level", 0)
            ]
            todo = getattr(self.model, self.aliases.get(member, member))(
                *(arguments if fitting is not None else ())
            )
        if todo.milliseconds:
            later(todo.milliseconds, lambda: self.finish(message, member, todo))
        else:
            self.finish(message, member, todo)

    def finish(self, message: Any, member: Any, todo: Any) -> None:
        try:
            body = todo.finish()
        except Crash:
            self.die()
        if member in self.instead:
            signature, body = self.instead.pop(member)
        else:
            signature = "b" if isinstance(body[0], bool) else REPLY_SIGNATURES[member]
        self.reply(message, signature, body)
        if body not in ((-1,), (False,)):
            todo.after()
        later(todo.hold, self.next)

    def next(self) -> None:
        self.busy = False
        self.work()

    # Answers.

    def reply(self, message: Any, signature: Any, body: Any) -> None:
        self.open -= 1
        if self.mute or message.get_no_reply() or message.get_member() in self.loses:
            self.loses.discard(message.get_member())
            return
        answer = dbus.lowlevel.MethodReturnMessage(message)
        if signature:
            answer.append(*body, signature=signature)
        self.connection.send_message(answer)

    def error(self, message: Any, name: Any, text: Any) -> None:
        self.connection.send_message(dbus.lowlevel.ErrorMessage(message, ERROR + name, text))


def later(milliseconds: float, action: Callable[[], None]) -> None:
    def due() -> bool:
        action()
        return False  # runs once

    if milliseconds:
        GLib.timeout_add(max(1, round(milliseconds)), due)
    else:
        GLib.idle_add(due)


def plain(value: Any) -> Any:
    if isinstance(value, dbus.Boolean):
        return bool(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, str):
        return str(value)
    return list(value)


def load(mock: Any, parameters: Any) -> None:
    mock.wire = Wire(mock.connection, json.loads(json.dumps(parameters)))


# Control methods for tests, on the Mock interface. They take no reply slot.


@dbus.service.method(MOCK_IFACE, in_signature="si", out_signature="")
def Exits(self: Any, container_id: str, status: int) -> None:
    """The process of the container ends with that wait status."""
    self.wire.model.reap(self.wire.model.containers[container_id], status)


@dbus.service.method(MOCK_IFACE, in_signature="s", out_signature="")
def Vanishes(self: Any, container_id: str) -> None:
    """The container is gone, and no signal reports it (docs/dobby.md, Signals and their order)."""
    del self.wire.model.containers[container_id]


@dbus.service.method(MOCK_IFACE, in_signature="si", out_signature="")
def StateBecomes(self: Any, container_id: str, state: int) -> None:
    """Another client paused, resumed or hibernated it."""
    self.wire.model.containers[container_id].state = int(state)


@dbus.service.method(MOCK_IFACE, in_signature="sss", out_signature="")
def AnswersInstead(self: Any, member: str, signature: str, body: str) -> None:
    """Replace the next reply to `member`: its signature, and its body as a JSON array."""
    self.wire.instead[str(member)] = (str(signature), tuple(json.loads(body)))


@dbus.service.method(MOCK_IFACE, in_signature="", out_signature="")
def BecomesReady(self: Any) -> None:
    """Finish a start that `ready_ms` null left unfinished."""
    self.wire.say_ready()


@dbus.service.method(MOCK_IFACE, in_signature="", out_signature="")
def Dies(_self: Any) -> None:
    """SIGKILL, just after the reply to this call."""
    later(1, lambda: os.kill(os.getpid(), signal.SIGKILL))


@dbus.service.method(MOCK_IFACE, in_signature="sss", out_signature="")
def Says(self: Any, member: str, signature: str, body: str) -> None:
    """Send that ctrl1 signal: its signature, and its body as a JSON array."""
    message = dbus.lowlevel.SignalMessage(MAIN_OBJ, MAIN_IFACE, member)
    message.append(*json.loads(body), signature=signature)
    self.wire.connection.send_message(message)


@dbus.service.method(MOCK_IFACE, in_signature="b", out_signature="")
def Mute(self: Any, mute: bool) -> None:
    """Answer nothing any more."""
    self.wire.mute = bool(mute)


@dbus.service.method(MOCK_IFACE, in_signature="i", out_signature="")
def Leak(self: Any, slots: int) -> None:
    """Set how many reply slots unknown calls have used up."""
    self.wire.leaked = int(slots)


@dbus.service.method(MOCK_IFACE, in_signature="s", out_signature="")
def HeldOpen(self: Any, source: str) -> None:
    """A program holds a file in that directory open, so a mount of it is busy at clean-up."""
    self.wire.model.mounts.held_open.add(str(source))


@dbus.service.method(MOCK_IFACE, in_signature="", out_signature="s")
def Report(self: Any) -> str:
    """What has happened so far, as JSON.

    `box_is_gone`: the real Dobby would have removed the files of the host.
    """
    w = self.wire
    report = {
        "leaked": w.leaked,
        "open": w.open,
        "most_open": w.most_open,
        "calls": w.calls,
        "unknown": w.unknown,
        "bundles": w.bundles,
    }
    return json.dumps(report | {"box_is_gone": w.model.mounts.box_is_gone})


@dbus.service.method(MOCK_IFACE, in_signature="i", out_signature="")
def StartsByOthers(self: Any, count: int) -> None:
    """Another client of Dobby has started so many containers: c0, c1, …"""
    for number in range(count):
        self.wire.model.start(
            f"c{number}", {}, has_plugins=True, spec=None, kind="StartFromBundle"
        ).finish()


@dbus.service.method(MOCK_IFACE, in_signature="i", out_signature="")
def StoppedBySystemd(self: Any, milliseconds: int) -> None:
    """`systemctl stop dobby`: TERM to the whole cgroup.

    The containers die first. Dobby reports each, and exits after that many milliseconds.
    """
    for container in list(self.wire.model.containers.values()):
        self.wire.model.reap(container, signal.SIGTERM, requested=True)
    later(milliseconds, lambda: os._exit(0))


@dbus.service.method(MOCK_IFACE, in_signature="s", out_signature="")
def Loses(self: Any, member: str) -> None:
    """Do not send the next reply to `member`."""
    self.wire.loses.add(str(member))

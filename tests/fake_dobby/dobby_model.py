# SPDX-License-Identifier: Apache-2.0
"""Dobby 3.19.1 as captured, without the bus: containers, descriptors, replies (docs/dobby.md).

Each method returns `Work`: how long it holds Dobby's one work queue, and what happens then. No
container really runs, so `fake.*` annotations in a bundle's config.json give its behaviour.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.fake_dobby.bundle_model import (
    Crash,
    Refused,
    load_bundle,
    load_spec,
    spec_survives_info,
    survives_info,
)
from tests.fake_dobby.mount_model import MountModel

if TYPE_CHECKING:
    from collections.abc import Callable

RUNNING, PAUSED, HIBERNATING, HIBERNATED, AWAKENING = 2, 4, 5, 6, 7
STATE_WORDS = {
    RUNNING: "running",
    PAUSED: "paused",
    HIBERNATING: "hibernating",
    HIBERNATED: "hibernated",
    AWAKENING: "awakening",
}
SIGKILL, SIGTERM = 9, 15

# Milliseconds for which the work queue is held: medians of the Debug build (docs/dobby.md,
# Latencies).
DURATIONS = {
    "StartFromBundle": 120, "StartFromSpec": 140, "refusal": 1, "failing": 95, "hanging": 5526,
    "Stop": 10, "StopForced": 6,
    "TermIgnored": 560, "Reap": 30, "Pause": 4, "Resume": 4, "Exec": 22, "ExecRefused": 6,
    "GetInfo": 1,
}  # fmt: skip

ID_RULE = re.compile(r"[A-Za-z0-9._-]{1,128}", re.ASCII)


@dataclass
class Work:
    """Hold the queue for `milliseconds`, then reply with what `finish` returns.

    `after` runs once the reply is sent. `hold`: milliseconds for which the queue is held after it.
    """

    finish: Callable[[], tuple[Any, ...]]
    milliseconds: float = 0
    after: Callable[[], None] = lambda: None
    hold: float = 0


@dataclass
class Container:
    id: str
    descriptor: int
    hints: dict[str, str]
    has_plugins: bool
    spec: dict[str, Any] | None = None
    state: int = RUNNING
    annotations: dict[str, str] = field(default_factory=dict)
    mounts: set[str] = field(default_factory=lambda: {"/proc"})
    dying: bool = False


class DobbyModel:
    """The state of one Dobby process.

    `signal(member, *body)` sends a signal, `later(ms, action)` calls `action` after a delay.
    """

    def __init__(
        self,
        signal: Callable[..., None],
        later: Callable[[float, Callable[[], None]], None],
        *,
        durations: dict[str, float],
    ) -> None:
        self.signal = signal
        self.later = later
        self.durations = DURATIONS | durations
        self.containers: dict[str, Container] = {}
        self.register = 0x1BC
        self.hibernation = False
        self.rewrites = True
        self.mounts = MountModel()

    # Descriptors come from a 10-bit shift register, so each run of Dobby uses the same sequence.

    def next_descriptor(self) -> int:
        while True:
            bit = (self.register ^ (self.register >> 3)) & 1
            self.register = self.register >> 1 | bit << 9
            if self.register not in {c.descriptor for c in self.containers.values()}:
                return self.register

    def by_descriptor(self, descriptor: int) -> Container | None:
        return next((c for c in self.containers.values() if c.descriptor == descriptor), None)

    # ctrl1.

    def List(self) -> Work:
        def finish() -> tuple[Any, ...]:
            listed = sorted(self.containers.values(), key=lambda c: c.id.encode())
            return [c.descriptor for c in listed], [c.id for c in listed]

        return Work(finish)

    def GetState(self, descriptor: int) -> Work:
        def finish() -> tuple[Any, ...]:
            container = self.by_descriptor(descriptor)
            return (container.state if container else 0,)

        return Work(finish)

    def GetInfo(self, descriptor: int) -> Work:
        def finish() -> tuple[Any, ...]:
            container = self.by_descriptor(descriptor)
            return (self.info(self.surviving(container)) if container else "",)

        return Work(finish, self.durations["GetInfo"])

    def StartFromBundle(self, container_id: str, path: str, *rest: Any) -> Work:
        command, socket = (rest[1], rest[2]) if len(rest) > 2 else ("", "")
        if container_id.startswith("-"):
            return Work(lambda: (-1,), self.durations["failing"])  # crun takes it for an option
        if not self.may_start(container_id):
            return self.refused()
        try:
            config = load_bundle(path, container_id, socket=bool(socket), rewrites=self.rewrites)
        except Refused as refusal:
            return self.fails("failing") if refusal.late else self.refused()
        except Crash:
            return Work(self.crash, self.durations["refusal"])
        hints = self.hints_of(config)
        if command == "no-such-binary":
            hints["exit"] = "256 25"
        is_plain = config.get("ociVersion") == "1.0.2" and "rdkPlugins" not in config
        if len(container_id) > 64 and not is_plain:  # it becomes the host name
            return self.fails("failing")
        return self.start(
            container_id,
            hints,
            has_plugins=survives_info(config),
            spec=None,
            kind="StartFromBundle",
        )

    def StartFromSpec(self, container_id: str, text: str, *_: Any) -> Work:
        try:
            spec = load_spec(text)
        except Refused:
            return self.refused()
        if not self.may_start(container_id):
            return self.refused()
        if len(container_id) > 64:
            return self.fails("failing")
        return self.start(
            container_id,
            self.hints_of(spec),
            has_plugins=spec_survives_info(spec),
            spec=spec,
            kind="StartFromSpec",
        )

    def hints_of(self, config: dict[str, Any]) -> dict[str, str]:
        annotations = config.get("annotations")
        given = annotations.items() if isinstance(annotations, dict) else ()
        return {name.removeprefix("fake."): value for name, value in given}

    def crash(self) -> tuple[Any, ...]:
        raise Crash

    def refused(self) -> Work:
        return Work(lambda: (-1,), self.durations["refusal"])

    def fails(self, kind: str) -> Work:
        """Fail after Dobby's own checks. The descriptor is used up."""
        self.next_descriptor()
        return Work(lambda: (-1,), self.durations[kind])

    def may_start(self, container_id: str) -> bool:
        letters = any(c.isalpha() for c in container_id)
        return (
            bool(ID_RULE.fullmatch(container_id))
            and ".." not in container_id
            and letters
            and container_id not in self.containers
        )

    def start(
        self,
        container_id: str,
        hints: dict[str, str],
        *,
        has_plugins: bool,
        spec: dict[str, Any] | None,
        kind: str,
    ) -> Work:
        if container_id.startswith("."):
            hints = {"fail": "failing"}
        if "fail" in hints:
            return self.fails(hints["fail"])

        def finish() -> tuple[Any, ...]:
            container = Container(container_id, self.next_descriptor(), hints, has_plugins, spec)
            self.containers[container_id] = container
            self.signal("Started", container.descriptor, container.id)
            return (container.descriptor,)

        def after() -> None:
            container = self.containers[container_id]
            if "exit" in hints:
                status, delay = hints["exit"].split()
                self.later(float(delay), lambda: self.reap(container, int(status)))

        return Work(finish, float(hints.get("start", self.durations[kind])), after)

    def Stop(self, descriptor: int, force: bool) -> Work:
        container = self.by_descriptor(descriptor)
        if container is None or (container.state == PAUSED and not force):
            return Work(lambda: (False,))
        if container.dying:
            return Work(
                lambda: (False,), self.durations["Reap"] + 2
            )  # waits for the reaping, then finds no container
        term = container.hints.get("term", "")
        ignored = not force and term == "ignored"
        kind = "StopForced" if force else "TermIgnored" if ignored or term == "frozen" else "Stop"
        status = SIGKILL if force or ignored else SIGTERM

        def finish() -> tuple[Any, ...]:
            return (self.containers.get(container.id) is container,)

        def after() -> None:
            if term != "frozen":
                container.dying = True
                self.later(
                    self.durations["Reap"], lambda: self.reap(container, status, requested=True)
                )

        # A graceful stop holds the queue until the container is reaped, so GetState then returns 0.
        # After a forced stop it still returns 2.
        return Work(
            finish,
            self.durations[kind],
            after,
            hold=0 if force or term == "frozen" else self.durations["Reap"] + 1,
        )

    def reap(self, container: Container, status: int, *, requested: bool = False) -> None:
        """The process has ended.

        Its entry is removed before the two signals, or Dobby restarts it (docs/dobby.md,
        restartOnCrash).
        """
        if self.containers.get(container.id) is not container:
            return
        restarts = (
            bool(container.spec and container.spec.get("restartOnCrash"))
            and status != 0
            and not requested
        )
        if restarts:
            self.signal("Started", container.descriptor, container.id)
            self.signal("Started", container.descriptor, container.id)
        else:
            del self.containers[container.id]
        self.signal("StoppedWithStatus", container.descriptor, container.id, status)
        self.signal("Stopped", container.descriptor, container.id)

    def Pause(self, descriptor: int) -> Work:
        return self.change(descriptor, RUNNING, PAUSED, "Pause")

    def Resume(self, descriptor: int) -> Work:
        return self.change(descriptor, PAUSED, RUNNING, "Resume")

    def change(self, descriptor: int, before: int, after: int, kind: str) -> Work:
        def finish() -> tuple[Any, ...]:
            container = self.by_descriptor(descriptor)
            if container is None or container.state != before:
                return (False,)
            container.state = after
            return (True,)

        known = self.by_descriptor(descriptor) is not None
        return Work(finish, self.durations[kind] if known else 0)

    def Exec(self, descriptor: int, options: str, command: str) -> Work:
        container = self.by_descriptor(descriptor)
        if container is None or container.state != RUNNING:
            return Work(lambda: (False,))
        known = all(
            word.startswith(("--user", "--env", "--cwd", "-t")) or not word.startswith("-")
            for word in options.split(" ")
        )
        # Words that are not options are taken for the container's id. Blanks alone are refused
        # (docs/dobby.md, Exec).
        accepted = options == "" or (known and options.strip() != "" and options.startswith("-"))
        del command
        return Work(lambda: (accepted,), self.durations["Exec" if accepted else "ExecRefused"])

    def Annotate(self, descriptor: int, key: str, value: str) -> Work:
        def finish() -> tuple[Any, ...]:
            container = self.by_descriptor(descriptor)
            if container is None:
                return (False,)
            self.surviving(container).annotations[key] = value
            return (True,)

        return Work(finish)

    def RemoveAnnotation(self, descriptor: int, key: str) -> Work:
        def finish() -> tuple[Any, ...]:
            container = self.by_descriptor(descriptor)
            return (
                container is not None
                and self.surviving(container).annotations.pop(key, None) is not None,
            )

        return Work(finish)

    def Hibernate(self, descriptor: int, _options: str) -> Work:
        """Without memcr it returns true and does nothing (docs/dobby.md, Hibernate and Wakeup)."""

        def finish() -> tuple[Any, ...]:
            container = self.by_descriptor(descriptor)
            if container is None or container.state != RUNNING:
                return (False,)
            if self.hibernation:
                container.state = HIBERNATING
                if container.hints.get("memcr") == "fails":  # back to running, without a signal
                    self.later(60, lambda: self.settle(container, HIBERNATING, RUNNING, ""))
                elif container.hints.get("memcr") != "hangs":
                    self.later(
                        60, lambda: self.settle(container, HIBERNATING, HIBERNATED, "Hibernated")
                    )
            return (True,)

        return Work(finish)

    def Wakeup(self, descriptor: int) -> Work:
        def finish() -> tuple[Any, ...]:
            container = self.by_descriptor(descriptor)
            if container is None or container.state not in {HIBERNATED, HIBERNATING}:
                return (False,)
            container.state = AWAKENING
            self.later(60, lambda: self.settle(container, AWAKENING, RUNNING, "Awoken"))
            return (True,)

        return Work(finish)

    def settle(self, container: Container, before: int, after: int, signal: str) -> None:
        if self.containers.get(container.id) is container and container.state == before:
            container.state = after
            if signal:
                self.signal(signal, container.descriptor, container.id)

    def Mount(self, descriptor: int, source: str, target: str, flags: list[str], data: str) -> Work:
        def finish() -> tuple[Any, ...]:
            container = self.by_descriptor(descriptor)
            if (
                container is None
                or target in container.mounts
                or not {"bind", "rbind"} & set(flags)
            ):
                return (False,)
            if not self.mounts.mount(container.id, source, flags, fails=data == "bad"):
                return (False,)
            container.mounts.add(target)
            return (True,)

        return Work(finish, 4)

    def Unmount(self, descriptor: int, target: str) -> Work:
        def finish() -> tuple[Any, ...]:
            container = self.by_descriptor(descriptor)
            if container is None or target not in container.mounts:
                return (False,)
            container.mounts.remove(target)
            return (True,)

        return Work(finish, 3)

    # GetInfo.

    def surviving(self, container: Container) -> Container:
        if not container.has_plugins:
            raise Crash
        return container

    def info(self, container: Container) -> str:
        if "info" in container.hints:
            return container.hints["info"]
        pid = 7000 + container.descriptor
        info: dict[str, Any] = {
            "cpu": {"usage": {"percpu": [4802444, 20545390], "total": 25347834}},
            "id": container.id,
            "memory": {
                "user": {
                    "failcnt": 0,
                    "limit": 9223372036854771712,
                    "max": 1613824,
                    "usage": 733184,
                }
            },
            "pids": [pid, pid + 9],
            "processes": [
                {
                    "cmdline": "/usr/libexec/DobbyInit sleep 3600 ",
                    "executable": "/usr/libexec/DobbyInit",
                    "nsPid": 1,
                    "pid": pid,
                },
                {
                    "cmdline": "sleep 3600 ",
                    "executable": "/bin/busybox",
                    "nsPid": 5,
                    "pid": pid + 9,
                },
            ],
            "state": STATE_WORDS[container.state],
            "timestamp": 2434505516621,
        }
        if container.annotations:
            info["annotations"] = container.annotations
        return json.dumps(info, indent=1, sort_keys=True)

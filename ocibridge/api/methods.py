# SPDX-License-Identifier: Apache-2.0
"""Every method that we serve, declared once, for the manager and for the container objects.

Names, order and types of the arguments are the plugin document's (docs/design.md, The interface).
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from ocibridge.api import values
from ocibridge.bridge.bridge import Bridge
from ocibridge.bridge.info import Info
from ocibridge.bridge.validation import MAX_STRING_BYTES
from ocibridge.model import Exit, SubState

CONTAINER_ID = "containerId"

Operation = Callable[..., Awaitable[Any]]
OutArguments = tuple[Any, ...]


def no_result(_: Any) -> OutArguments:
    """No out argument."""
    return ()


def one_result(result: Any) -> OutArguments:
    """The result is the one out argument."""
    return (result,)


@dataclass(frozen=True)
class MethodSpec:
    """One method: its names, its arguments and results with their D-Bus types, its operation.

    `name`: on the manager. `on_container`: on a container's object, without the containerId; "" if
    it is not there. `operation` gets the in arguments; called on a container's object, it gets the
    container itself in the place of the containerId. `to_dbus` converts its result to the out
    arguments. `mutating`: each call is logged, with who asked; only trusted callers may make one.
    `needs_caller`: the operation gets the Caller as its last argument. `long_running`: a call may
    take for ever, and ends when its caller leaves. `creates`: the container does not exist yet.
    `judged_as`: the method of the manager that the key `access` knows it as; "" if every local user
    may call it. `max_bytes`: of a string argument.
    """

    name: str
    operation: Operation
    arguments: Mapping[str, str] = field(default_factory=dict)
    results: Mapping[str, str] = field(default_factory=dict)
    to_dbus: Callable[[Any], OutArguments] = no_result
    on_container: str = ""
    mutating: bool = False
    needs_caller: bool = False
    long_running: bool = False
    creates: bool = False
    judged_as: str = ""
    max_bytes: int = MAX_STRING_BYTES

    @cached_property
    def signature(self) -> str:
        """Of the in arguments."""
        return "".join(self.arguments.values())

    @cached_property
    def result_signature(self) -> str:
        """Of the out arguments."""
        return "".join(self.results.values())

    @cached_property
    def reads_only(self) -> bool:
        """It changes nothing and does not act for its caller."""
        return not (self.mutating or self.needs_caller)

    @cached_property
    def is_open_to_all(self) -> bool:
        """It is done without knowing who asks."""
        return self.reads_only and not self.judged_as

    def for_container(self) -> "MethodSpec":
        """As the container objects have it."""
        rest = {name: kind for name, kind in self.arguments.items() if name != CONTAINER_ID}
        return replace(self, name=self.on_container, arguments=rest)


def method_specs(bridge: Bridge) -> tuple[MethodSpec, ...]:
    """All methods of the manager, in the order in which introspection shows them."""
    wait = MethodSpec(
        "waitForState",
        bridge.wait_for_state,
        {CONTAINER_ID: "s", "state": "s", "timeoutUsec": "t"},
        {"state": "s"},
        one_result,
        on_container="waitForState",
        long_running=True,
    )
    return (*_of_the_manager(bridge), *_reading_one(bridge), *_changing_one(bridge), wait)


def _of_the_manager(bridge: Bridge) -> tuple[MethodSpec, ...]:
    """Methods that need no running container."""
    container = {CONTAINER_ID: "s"}
    bundle = {"bundlePath": "s", "command": "s", "westerosSocket": "s", "envvar": "as"}
    spec = {"dobbySpec": "s", "command": "s"}
    return (
        MethodSpec(
            "listContainers", bridge.list_containers, {}, {"containers": "a(is)"}, one_result
        ),
        MethodSpec(
            "startContainer",
            bridge.start_from_bundle,
            container | bundle,
            {"descriptor": "i"},
            one_result,
            mutating=True,
            creates=True,
            judged_as="startContainer",
        ),
        MethodSpec(
            "startContainerFromDobbySpec",
            bridge.start_from_spec,
            container | spec,
            {"descriptor": "i"},
            one_result,
            mutating=True,
            creates=True,
            judged_as="startContainerFromDobbySpec",
        ),
        MethodSpec("getLastExit", bridge.last_exit, container, {"exit": "a{sv}"}, _exit),
    )


def _reading_one(bridge: Bridge) -> tuple[MethodSpec, ...]:
    """Methods that read the state of one container."""
    container = {CONTAINER_ID: "s"}
    return (
        MethodSpec(
            "getContainerState",
            bridge.container_state,
            container,
            {CONTAINER_ID: "s", "state": "s"},
            _state,
        ),
        MethodSpec(
            "getContainerInfo",
            bridge.container_info,
            container,
            {"info": "a{sv}"},
            _info,
            on_container="getInfo",
            judged_as="getContainerInfo",
        ),
    )


def _changing_one(bridge: Bridge) -> tuple[MethodSpec, ...]:
    """Methods that change one container. Each succeeds or raises: none has a result."""

    def spec(
        name: str, on_container: str, operation: Operation, more: dict[str, str] | None = None
    ) -> MethodSpec:
        arguments = {CONTAINER_ID: "s"} | (more or {})
        return MethodSpec(
            name, operation, arguments, on_container=on_container, mutating=True, judged_as=name
        )

    exec_arguments = {"options": "s", "command": "s"}
    mount_arguments = {"source": "s", "target": "s", "flags": "as", "data": "s"}
    annotation = {"key": "s", "value": "s"}
    return (
        replace(
            spec("stopContainer", "stop", bridge.stop_container, {"force": "b"}), needs_caller=True
        ),
        spec("pauseContainer", "pause", bridge.pause_container),
        spec("resumeContainer", "resume", bridge.resume_container),
        # The document calls it execCommand, the plugin's code executeCommand.
        spec("execCommand", "exec", bridge.exec_command, exec_arguments),
        spec("executeCommand", "", bridge.exec_command, exec_arguments),
        spec("hibernateContainer", "hibernate", bridge.hibernate_container, {"options": "s"}),
        spec("wakeupContainer", "wakeup", bridge.wakeup_container),
        spec("annotate", "annotate", bridge.annotate, annotation),
        spec("removeAnnotation", "removeAnnotation", bridge.remove_annotation, {"key": "s"}),
        spec("mount", "mount", bridge.mount, mount_arguments),
        spec("unmount", "unmount", bridge.unmount, {"target": "s"}),
    )


def _exit(record: Exit) -> OutArguments:
    return (values.exit_record(record),)


def _info(info: Info) -> OutArguments:
    return (values.dictionary(info.value),)


def _state(found: tuple[str, SubState]) -> OutArguments:
    container_id, substate = found
    return container_id, substate.state

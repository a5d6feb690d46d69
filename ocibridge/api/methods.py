"""The methods that are about one container, spelled once: on the manager they take its id, on its own object they do not.

Names, order and types of the arguments are the document's (design 3, 5). A verb without a name on one of the two is not there.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from ocibridge.api import values
from ocibridge.api.call import Member, Run, itself, nothing
from ocibridge.bridge.bridge import Bridge
from ocibridge.bridge.info import Info
from ocibridge.model import Container


@dataclass(frozen=True, slots=True)
class Verb:
    """`on_manager` and `on_container` are its names there; the rest is as with `Member`.

    `run` is an operation of the bridge, whose first argument says which container.
    """

    on_manager: str
    on_container: str
    signature: str
    arguments: tuple[str, ...]
    run: Run
    result_signature: str = ""
    results: tuple[str, ...] = ()
    to_dbus: Callable[[Any], tuple[Any, ...]] = nothing
    changes: bool = True
    needs_caller: bool = False
    waits: bool = False

    def manager_member(self) -> Member:
        """As the manager has it."""
        return self._member(
            self.on_manager, "s" + self.signature, ("containerId", *self.arguments), self.run
        )

    def container_member(self, container: Container) -> Member:
        """As the object of that container has it."""
        return self._member(
            self.on_container,
            self.signature,
            self.arguments,
            partial(self.run, container),
            container,
        )

    def _member(
        self,
        name: str,
        signature: str,
        arguments: tuple[str, ...],
        run: Run,
        container: Container | None = None,
    ) -> Member:
        return Member(
            name,
            signature,
            arguments,
            self.result_signature,
            self.results,
            run,
            self.to_dbus,
            changes=self.changes,
            needs_caller=self.needs_caller,
            waits=self.waits,
            container=container,
        )


def verbs(bridge: Bridge) -> tuple[Verb, ...]:
    """All of them, in the order in which they are shown."""
    info = Verb(
        "getContainerInfo",
        "getInfo",
        "",
        (),
        bridge.container_info,
        "a{sv}",
        ("info",),
        _info,
        changes=False,
    )
    command = ("options", "command")
    return (
        Verb(
            "getContainerState",
            "",
            "",
            (),
            bridge.container_state,
            "ss",
            ("containerId", "state"),
            _state,
            changes=False,
        ),
        info,
        Verb("stopContainer", "stop", "b", ("force",), bridge.stop_container, needs_caller=True),
        Verb("pauseContainer", "pause", "", (), bridge.pause_container),
        Verb("resumeContainer", "resume", "", (), bridge.resume_container),
        # The document says execCommand, the plugin's code executeCommand: both are the one method.
        Verb("execCommand", "exec", "ss", command, bridge.exec_command),
        Verb("executeCommand", "", "ss", command, bridge.exec_command),
        Verb("hibernateContainer", "hibernate", "s", ("options",), bridge.hibernate_container),
        Verb("wakeupContainer", "wakeup", "", (), bridge.wakeup_container),
        Verb("annotate", "annotate", "ss", ("key", "value"), bridge.annotate),
        Verb("removeAnnotation", "removeAnnotation", "s", ("key",), bridge.remove_annotation),
        Verb("mount", "mount", "ssass", ("source", "target", "flags", "data"), bridge.mount),
        Verb("unmount", "unmount", "s", ("target",), bridge.unmount),
        Verb(
            "waitForState",
            "waitForState",
            "st",
            ("state", "timeoutUsec"),
            bridge.wait_for_state,
            "s",
            ("state",),
            itself,
            changes=False,
            waits=True,
        ),
    )


def _info(info: Info) -> tuple[Any, ...]:
    return (values.dictionary(info.value),)


def _state(found: tuple[str, Any]) -> tuple[Any, ...]:
    return found

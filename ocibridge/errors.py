# SPDX-License-Identifier: Apache-2.0
"""The closed list of errors that a caller can get (docs/design.md, Errors).

One class for each D-Bus error name. The text is for people: it names the container, what was
tried, and what to do. Errors of Dobby and of Python never reach the bus except through these.
"""

from typing import ClassVar

from ocibridge.names import ERROR_PREFIX, STANDARD_ERROR_PREFIX


class BridgeError(Exception):
    """A refusal. `dbus_name`: the D-Bus error name. `text`: the error message."""

    dbus_name: ClassVar[str]

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


class NoSuchContainer(BridgeError):
    """Dobby was asked, and has no container of that id or descriptor."""

    dbus_name = f"{ERROR_PREFIX}.NoSuchContainer"


class ContainerExists(BridgeError):
    """A start of an id that exists, or is being started."""

    dbus_name = f"{ERROR_PREFIX}.ContainerExists"


class WrongState(BridgeError):
    """The container's present state, which the text names, does not allow the operation."""

    dbus_name = f"{ERROR_PREFIX}.WrongState"


class DobbyUnavailable(BridgeError):
    """Dobby is absent, starting, deaf or stalled: nothing can be known or done through it."""

    dbus_name = f"{ERROR_PREFIX}.DobbyUnavailable"


class DobbyRefused(BridgeError):
    """Dobby refused without a reason that can be found out, or sent an invalid reply."""

    dbus_name = f"{ERROR_PREFIX}.DobbyRefused"


class Timeout(BridgeError):
    """No answer in time. The operation may still happen, unless the text says it was not sent."""

    dbus_name = f"{ERROR_PREFIX}.Timeout"


class NeverSent(Timeout):
    """The call timed out in our queue: it was not sent to Dobby, and never will be."""


class InvalidArgs(BridgeError):
    """An argument that is never valid; the text names it."""

    dbus_name = f"{STANDARD_ERROR_PREFIX}.InvalidArgs"


class NotSupported(BridgeError):
    """The present Dobby cannot do it, or would crash."""

    dbus_name = f"{STANDARD_ERROR_PREFIX}.NotSupported"


class LimitsExceeded(BridgeError):
    """Too much is in flight or queued."""

    dbus_name = f"{STANDARD_ERROR_PREFIX}.LimitsExceeded"


class AccessDenied(BridgeError):
    """No rule allows the call, or the caller could not be identified.

    What the bus's policy refuses never reaches us. `rule`: one that would allow the call.
    """

    dbus_name = f"{STANDARD_ERROR_PREFIX}.AccessDenied"

    def __init__(self, text: str, rule: str = "") -> None:
        super().__init__(text)
        self.rule = rule


class Failed(BridgeError):
    """A bug of ours. Its traceback is in the journal."""

    dbus_name = f"{STANDARD_ERROR_PREFIX}.Failed"

"""The closed list of errors that a caller can get (design 8).

One class a D-Bus error name; the text is for people: it names the container, what was tried, and what to do.
What Dobby or Python says never reaches the bus by itself: it is told through one of these.
"""

from typing import ClassVar

from ocibridge.names import ERROR_PREFIX, STANDARD_ERROR_PREFIX


class BridgeError(Exception):
    """A refusal. `dbus_name` is the D-Bus error name, `text` what the caller reads."""

    dbus_name: ClassVar[str]

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


class NoSuchContainer(BridgeError):
    """Dobby was asked, and has no container of that id or descriptor."""

    dbus_name = f"{ERROR_PREFIX}.NoSuchContainer"


class ContainerExists(BridgeError):
    """A start of an id that is there already, or is being started."""

    dbus_name = f"{ERROR_PREFIX}.ContainerExists"


class WrongState(BridgeError):
    """The container's present state, which the text names, does not allow the operation."""

    dbus_name = f"{ERROR_PREFIX}.WrongState"


class DobbyUnavailable(BridgeError):
    """Dobby is absent, starting, deaf or stalled: nothing can be known or done through it."""

    dbus_name = f"{ERROR_PREFIX}.DobbyUnavailable"


class DobbyRefused(BridgeError):
    """Dobby said no, or something that is no answer, and nothing that can be asked explains it."""

    dbus_name = f"{ERROR_PREFIX}.DobbyRefused"


class Timeout(BridgeError):
    """No answer in time. What was asked may still happen, unless the text says that it was never sent."""

    dbus_name = f"{ERROR_PREFIX}.Timeout"


class NeverSent(Timeout):
    """Its time was over before Dobby's turn for it came: it has not happened, and never will."""


class InvalidArgs(BridgeError):
    """An argument that can never be right; the text names it."""

    dbus_name = f"{STANDARD_ERROR_PREFIX}.InvalidArgs"


class NotSupported(BridgeError):
    """The Dobby that is there cannot do it, or would not survive it."""

    dbus_name = f"{STANDARD_ERROR_PREFIX}.NotSupported"


class LimitsExceeded(BridgeError):
    """Too much is waiting for Dobby already."""

    dbus_name = f"{STANDARD_ERROR_PREFIX}.LimitsExceeded"


class AccessDenied(BridgeError):
    """Nobody can say who asks; what the bus's policy refuses never reaches us."""

    dbus_name = f"{STANDARD_ERROR_PREFIX}.AccessDenied"


class Failed(BridgeError):
    """What nobody foresaw: a bug of ours, whose traceback is in the journal."""

    dbus_name = f"{STANDARD_ERROR_PREFIX}.Failed"

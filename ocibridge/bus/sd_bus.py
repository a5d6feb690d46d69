# SPDX-License-Identifier: Apache-2.0
"""sd-bus by ctypes, for what python-sdbus does not offer (docs/sdbus.md, Driving the connection).

python-sdbus's shared object exports the symbols of sd-bus, or the libsystemd that it is linked to
does. The pointers to sd-bus's objects are read from python-sdbus's own structs. `library` checks
that version, structs and symbols are the known ones; if not, nothing here reads any memory.
"""

import ctypes
from functools import cache
from pathlib import Path
from typing import Any, Final

from sdbus import sd_bus_internals as sd

# The version of python-sdbus whose structs (sd_bus_internals.h) are declared below.
KNOWN_VERSION: Final = "0.14.3"
PYTHON_HEAD_BYTES: Final = object.__basicsize__

HANDLED: Final = 1
NOT_HANDLED: Final = 0
# sd_bus_message_handler_t: (message, userdata, error) → HANDLED or NOT_HANDLED.
Handler = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)

# The functions in use: result type and argument types.
SYMBOLS: Final[dict[str, tuple[Any, list[Any]]]] = {
    "sd_bus_process": (ctypes.c_int, [ctypes.c_void_p, ctypes.c_void_p]),
    "sd_bus_get_events": (ctypes.c_int, [ctypes.c_void_p]),
    "sd_bus_get_fd": (ctypes.c_int, [ctypes.c_void_p]),
    "sd_bus_add_match_async": (
        ctypes.c_int,
        [
            ctypes.c_void_p,
            ctypes.POINTER(ctypes.c_void_p),
            ctypes.c_char_p,
            Handler,
            Handler,
            ctypes.c_void_p,
        ],
    ),
    "sd_bus_is_trusted": (ctypes.c_int, [ctypes.c_void_p]),
    "sd_bus_query_sender_privilege": (ctypes.c_int, [ctypes.c_void_p, ctypes.c_int]),
    "sd_bus_message_get_expect_reply": (ctypes.c_int, [ctypes.c_void_p]),
    "sd_bus_message_get_sender": (ctypes.c_char_p, [ctypes.c_void_p]),
    "sd_bus_message_get_path": (ctypes.c_char_p, [ctypes.c_void_p]),
    "sd_bus_message_get_signature": (ctypes.c_char_p, [ctypes.c_void_p, ctypes.c_int]),
    "sd_bus_message_has_signature": (ctypes.c_int, [ctypes.c_void_p, ctypes.c_char_p]),
    "sd_bus_message_read_basic": (
        ctypes.c_int,
        [ctypes.c_void_p, ctypes.c_char, ctypes.POINTER(ctypes.c_char_p)],
    ),
    "sd_bus_message_enter_container": (
        ctypes.c_int,
        [ctypes.c_void_p, ctypes.c_char, ctypes.c_char_p],
    ),
    "sd_bus_message_rewind": (ctypes.c_int, [ctypes.c_void_p, ctypes.c_int]),
    "sd_bus_reply_method_error": (ctypes.c_int, [ctypes.c_void_p, ctypes.c_void_p]),
}


class Error(ctypes.Structure):
    """sd_bus_error."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("message", ctypes.c_char_p),
        ("need_free", ctypes.c_int),
    )


class ConnectionStruct(ctypes.Structure):
    """python-sdbus's SdBusObject without Python's object head.

    `watched`: the poll(2) events for which the loop watches the socket.
    """

    _fields_ = (
        ("bus", ctypes.c_void_p),
        ("fd", ctypes.c_void_p),
        ("loop", ctypes.c_void_p),
        ("timer_fd_object", ctypes.c_void_p),
        ("watched", ctypes.c_int),
        ("timer_fd", ctypes.c_int),
    )


class MessageStruct(ctypes.Structure):
    """python-sdbus's SdBusMessageObject without Python's object head."""

    _fields_ = (("message", ctypes.c_void_p),)


@cache
def library() -> ctypes.PyDLL | None:
    """The shared object through which sd-bus is reached; None if python-sdbus is not the known one.

    PyDLL keeps Python's lock during the calls: the callbacks are Python functions, whose exceptions
    are raised here.
    """
    if not (_is_known_version() and _has_known_structs()):
        return None
    shared_object = ctypes.PyDLL(sd.__file__)
    for name, (result, arguments) in SYMBOLS.items():
        try:
            function = getattr(shared_object, name)
        except AttributeError:
            return None
        function.restype, function.argtypes = result, arguments
    return shared_object


def _is_known_version() -> bool:
    """Read from the name of the installation's metadata: importlib.metadata takes 10 ms."""
    site = Path(sd.__file__).parents[1]
    return any(
        site.joinpath(f"sdbus-{KNOWN_VERSION}.{kind}").exists()
        for kind in ("dist-info", "egg-info")
    )


def _has_known_structs() -> bool:
    layouts = ((sd.SdBus, ConnectionStruct), (sd.SdBusMessage, MessageStruct))
    return all(
        kind.__basicsize__ == PYTHON_HEAD_BYTES + ctypes.sizeof(struct) for kind, struct in layouts
    )


def struct_of(connection: sd.SdBus) -> ConnectionStruct:
    """The struct of a connection, in place. Only for use with a `library` that is not None."""
    return ConnectionStruct.from_address(id(connection) + PYTHON_HEAD_BYTES)


def signature_of(message: sd.SdBusMessage) -> str | None:
    """The D-Bus signature of a message's body; None if python-sdbus is not the known one."""
    sd_bus = library()
    if sd_bus is None:
        return None
    struct = MessageStruct.from_address(id(message) + PYTHON_HEAD_BYTES)
    signature: bytes | None = sd_bus.sd_bus_message_get_signature(struct.message, 1)  # 1: complete
    return None if signature is None else signature.decode()

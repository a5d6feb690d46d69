"""The one place that touches python-sdbus (reference: sdbus-facts.md).

Its low-level classes are used, not its decorated ones: they give the boundary every message and every reply, they keep
the order of signals and replies, and they cost less. Their maintainer calls them glue that will change, so the
version is pinned and nobody else imports them.
"""

import asyncio
import ctypes
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, Final

import structlog
from sdbus import sd_bus_internals as sd

from ocibridge.bus.interface import Interface, Property
from ocibridge.bus.pump import Pump
from ocibridge.names import DRIVER, DRIVER_PATH, LOCAL_INTERFACE, PROPERTIES, STANDARD_ERROR_PREFIX

log = structlog.get_logger()

Message = sd.SdBusMessage
Served = sd.SdBusInterface

# A peer may answer with "org.python.Error.SystemError" and sdbus would raise just that here. With the map empty,
# every error reply arrives as its name and its text.
sd.DBUS_ERROR_TO_EXCEPTION.clear()

NO_TIMEOUT: Final = 2**64 - 1  # timeouts are ours: a late reply must still be seen
OPEN_SECONDS: Final = 5.0
# The version whose message object is known: a PyObject header, then a pointer to libsystemd's message.
KNOWN_SDBUS: Final = "0.14.3"
POINTER_BYTES = ctypes.sizeof(ctypes.c_void_p)
RELEASED: Final = 1


class BusUnavailable(Exception):
    """No bus, or none that answers."""


class NameTaken(Exception):
    """Our bus name belongs to somebody else, or the bus does not let us have it."""


class PropertyRefused(Exception):
    """A property's value is refused: InvalidArgs to the caller, without a text, since sdbus sends none there."""


sd.EXCEPTION_TO_DBUS_ERROR[PropertyRefused] = f"{STANDARD_ERROR_PREFIX}.InvalidArgs"


class ErrorReply(Exception):
    """An error that a peer answered with: its D-Bus name and its text."""

    def __init__(self, name: str, text: str) -> None:
        super().__init__(f"{name}: {text}")
        self.name = name
        self.text = text


def error_of(failure: BaseException) -> ErrorReply:
    """What a failed call was answered with; a failure of the library or of the connection counts as a disconnect."""
    if isinstance(failure, sd.SdBusUnmappedMessageError):
        name, text = failure.args
        return ErrorReply(name, text)
    return ErrorReply(f"{STANDARD_ERROR_PREFIX}.Disconnected", str(failure))


class Bus:
    """One connection, for serving and for calling: that is what keeps the order of what arrives and what goes out."""

    def __init__(self, connection: sd.SdBus) -> None:
        self._connection = connection
        self._pump: Pump | None = None
        self._is_flush_due = False
        self._kept: list[object] = []  # sdbus holds exports and matches weakly
        connection.method_call_timeout_usec = NO_TIMEOUT

    @classmethod
    async def open(cls, where: str) -> "Bus":
        """Connect to `system`, `session` or an address. Raises BusUnavailable, after 5 s where nobody answers."""
        try:
            with _bus_address(where) as opener:
                bus = cls(opener())
            async with asyncio.timeout(OPEN_SECONDS):
                await bus.driver("GetId")
            bus.drive()
        except (sd.SdBusBaseError, ErrorReply) as failure:
            raise BusUnavailable(f"cannot open bus {where}: {_reason(failure)}") from failure
        except TimeoutError:
            raise BusUnavailable(
                f"bus {where} does not answer within {OPEN_SECONDS:.0f} s"
            ) from None
        return bus

    def drive(self) -> None:
        """Take the connection's input and output over from sdbus (pump.py says why), where that is possible."""
        self._pump = Pump.attach(self._connection)
        if self._pump is None:
            log.warning(
                "the bus library is another one than expected: floods of calls are less well kept from other callers"
            )

    # Calling.

    def call(
        self, to: str, path: str, interface: str, member: str, signature: str = "", *args: Any
    ) -> asyncio.Future[Message]:
        """Send a call. The future must be kept: dropped, the call is cancelled. `error_of` reads its failure."""
        message = self._connection.new_method_call_message(to, path, interface, member)
        if signature:
            message.append_data(signature, *args)
        try:
            reply = self._connection.call_async(message)
            self._sent()
            return reply
        except (
            sd.SdBusLibraryError
        ) as failure:  # the connection is gone: told like any other failed call
            lost: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
            lost.set_exception(failure)
            return lost

    async def driver(self, member: str, signature: str = "", *args: Any) -> Any:
        """Call the bus itself; its one out argument, or None. Raises ErrorReply."""
        try:
            return (
                await self.call(DRIVER, DRIVER_PATH, DRIVER, member, signature, *args)
            ).get_contents()
        except sd.SdBusBaseError as failure:
            raise error_of(failure) from None

    async def watch(
        self,
        sender: str | None,
        path: str | None,
        interface: str | None,
        member: str | None,
        seen: Callable[[Message], None],
    ) -> None:
        """Call `seen` with each such signal, in order. Anyone may forge one: it checks the sender. Raises ErrorReply."""
        try:
            self._kept.append(
                await self._connection.match_signal_async(sender, path, interface, member, seen)
            )
        except sd.SdBusBaseError as failure:
            raise error_of(failure) from None

    async def watch_disconnect(self, gone: Callable[[], None]) -> None:
        """Call `gone` when the bus has closed the connection."""

        def disconnected(message: Message) -> None:
            if message.sender == LOCAL_INTERFACE and message.interface == LOCAL_INTERFACE:
                gone()

        # Only the member may be given: a match that names the local sender never installs.
        await self.watch(None, None, None, "Disconnected", disconnected)

    # Serving.

    def serve(self, path: str, interface: Interface) -> Served:
        """Export the members; what is returned must be kept, as long as they are to be there.

        All are open to every user who gets through the bus's policy, which alone decides.
        """
        table = sd.SdBusInterface()
        for m in interface.methods:
            table.add_method(
                m.name,
                m.signature,
                m.arguments,
                m.result_signature,
                m.results,
                sd.DbusUnprivilegedFlag,
                m.answer,
            )
            if m.reads_only and self._pump is not None:
                self._pump.drop_unwanted(interface.name, m.name)
        for p in interface.properties:
            table.add_property(p.name, p.signature, _getter(p), _setter(p), _property_flags(p))
            if p.check is not None and self._pump is not None:
                self._pump.check_writes(path, interface.name, p.name, p.check)
        for s in interface.signals:
            table.add_signal(s.name, s.signature, s.arguments, 0)
        self._connection.add_interface(table, path, interface.name)
        return table

    def manage(self, path: str) -> None:
        """Have an ObjectManager at `path`, of all objects below it."""
        self._kept.append(self._connection.add_object_manager(path))

    def appear(self, path: str, interface: Interface) -> Served:
        """`serve` an object below a managed path, and say so: InterfacesAdded, with all its properties."""
        served = self.serve(path, interface)
        with suppress(sd.SdBusLibraryError):
            self._connection.emit_object_added(path)
            self._sent()
        return served

    def disappear(self, path: str, served: Served) -> None:
        """Say InterfacesRemoved, and serve the object no longer. Calls of it under way are still answered."""
        with suppress(sd.SdBusLibraryError):
            self._connection.emit_object_removed(path)
            self._sent()
        served._stop_export()  # noqa: SLF001 - as sdbus's own classes do: it has no public name

    def send(self, message: Message) -> None:
        """Send a reply or a signal. Where the bus is gone it goes nowhere: `watch_disconnect` tells of that."""
        with suppress(sd.SdBusLibraryError):
            message.send()
            self._sent()

    def _sent(self) -> None:
        """See to it that what does not fit into the socket is sent when it fits."""
        if self._pump is not None:
            self._pump.watch()
        elif not self._is_flush_due:
            # sdbus watches for output only in `process`, which may not be called inside one of its callbacks.
            self._is_flush_due = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        self._is_flush_due = False
        with suppress(sd.SdBusLibraryError):
            self._connection.process()

    def emit(self, path: str, interface: str, member: str, signature: str, *args: Any) -> None:
        """Send a signal, at its place among what else we send."""
        message = self._connection.new_signal_message(path, interface, member)
        message.append_data(signature, *args)
        self.send(message)

    def emit_changed(self, path: str, interface: str, changed: dict[str, tuple[str, Any]]) -> None:
        """Send one PropertiesChanged with all of `changed`: name to (signature, value)."""
        self.emit(path, PROPERTIES, "PropertiesChanged", "sa{sv}as", interface, changed, [])

    async def own(self, name: str) -> None:
        """Take a well-known name. Raises NameTaken."""
        try:
            await self._connection.request_name_async(name, 0)
        except sd.SdBusRequestNameExistsError:
            raise NameTaken(f"the bus name {name} belongs to another process") from None
        except (sd.SdBusBaseError, OSError) as failure:
            raise NameTaken(
                f"the bus does not give us the name {name}: {error_of(failure)}"
            ) from failure

    async def release(self, name: str) -> None:
        """Give the name back, so that no new call reaches us."""
        await self.driver("ReleaseName", "s", name)

    def close(self) -> None:
        """Flush and close."""
        self._connection.close()
        if self._pump is not None:
            self._pump.detach()


def _reason(failure: Exception) -> str:
    """sdbus tells an errno only at the end of a text about its own source files."""
    number = re.search(r"error number: (\d+)$", str(failure))
    return os.strerror(int(number[1])) if number else str(failure)


def _getter(served: Property) -> Callable[[Message], None]:
    return lambda message: message.append_data(served.signature, served.read())


def _setter(served: Property) -> Callable[[Message], None] | None:
    write, check = served.write, served.check

    def set_value(message: Message) -> None:
        value, sender = message.get_contents(), message.sender or ""
        if check is not None and check(value, sender) is not None:
            raise PropertyRefused
        if write is not None:
            write(value, sender)

    return None if write is None else set_value


def _property_flags(served: Property) -> int:
    # sd-bus wants the unprivileged flag, as methods have it, on a property only where it can be written.
    writable = 0 if served.write is None else sd.DbusUnprivilegedFlag
    kind = (
        sd.DbusPropertyConstFlag
        if served.constant
        else 0
        if served.silent
        else sd.DbusPropertyEmitsChangeFlag
    )
    return int(writable | kind)


def path_of(prefix: str, name: str) -> str:
    """The object path of something of any name, as by sd_bus_path_encode(3)."""
    return str(sd.encode_object_path(prefix, name))


@contextmanager
def _bus_address(where: str) -> Iterator[Callable[[], sd.SdBus]]:
    """The function of sdbus that opens `where`. An address can only be given to it through the environment."""
    if where == "system":
        yield sd.sd_bus_open_system
        return
    if where == "session":
        yield sd.sd_bus_open_user
        return
    variable = "DBUS_SESSION_BUS_ADDRESS"
    before = os.environ.get(variable)
    os.environ[variable] = where
    try:
        yield sd.sd_bus_open_user
    finally:
        if before is None:
            del os.environ[variable]
        else:
            os.environ[variable] = before


def signature_of(message: Message) -> str | None:
    """The D-Bus signature of a message's body; None where this python-sdbus is not known well enough to tell."""
    return _signature_reader()(message)


@cache
def _signature_reader() -> Callable[[Message], str | None]:
    """python-sdbus does not tell it; libsystemd, whose symbols its shared object exports or links, does."""
    offset = object.__basicsize__
    if not _is_known_sdbus() or Message.__basicsize__ != offset + POINTER_BYTES:
        return lambda _: None
    try:
        get_signature = ctypes.PyDLL(sd.__file__).sd_bus_message_get_signature
    except (OSError, AttributeError):
        return lambda _: None
    get_signature.restype, get_signature.argtypes = ctypes.c_char_p, (ctypes.c_void_p, ctypes.c_int)
    pointer_at = ctypes.c_void_p.from_address

    def read(message: Message) -> str | None:
        signature: bytes | None = get_signature(
            pointer_at(id(message) + offset).value, 1
        )  # 1: of the whole body
        return None if signature is None else signature.decode()

    return read


def _is_known_sdbus() -> bool:
    """By what its installation left beside it; importlib.metadata would cost 10 ms at each start."""
    beside = Path(sd.__file__).parents[1]
    return any(
        beside.joinpath(f"sdbus-{KNOWN_SDBUS}.{kind}").exists()
        for kind in ("dist-info", "egg-info")
    )

# SPDX-License-Identifier: Apache-2.0
"""One bus connection, for serving and for calling.

It uses python-sdbus's low-level classes (docs/sdbus.md, Why the low-level classes). They may change
with any release, so the version is pinned, and no other folder imports them.
"""

import asyncio
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

import structlog
from sdbus import sd_bus_internals as sd

from ocibridge.bus.interface import Interface, Method, Property
from ocibridge.bus.pump import Pump
from ocibridge.bus.sd_bus import KNOWN_VERSION
from ocibridge.names import DRIVER, DRIVER_PATH, LOCAL_INTERFACE, PROPERTIES, STANDARD_ERROR_PREFIX

log = structlog.get_logger()

Message = sd.SdBusMessage
Served = sd.SdBusInterface

# With this map, a peer could have any of Python's exceptions raised here ("org.python.Error.…").
# Without it, every error reply arrives as a name and a text (docs/sdbus.md, Calling).
sd.DBUS_ERROR_TO_EXCEPTION.clear()

# Microseconds. Callers limit their own waits; a late reply must still arrive here.
NO_TIMEOUT: Final = 2**64 - 1
OPEN_SECONDS: Final = 5.0


class BusUnavailable(Exception):
    """The bus cannot be reached or does not answer."""


class NameTaken(Exception):
    """Another process owns our bus name, or the bus refuses to give it to us."""


class PropertyRefused(Exception):
    """A value written to a property is invalid. The caller gets InvalidArgs without a text.

    (docs/sdbus.md, Properties)
    """


sd.EXCEPTION_TO_DBUS_ERROR[PropertyRefused] = f"{STANDARD_ERROR_PREFIX}.InvalidArgs"


class ErrorReply(Exception):
    """An error reply of a peer: its D-Bus name and its text."""

    def __init__(self, name: str, text: str) -> None:
        super().__init__(f"{name}: {text}")
        self.name = name
        self.text = text


def error_of(failure: BaseException) -> ErrorReply:
    """The error reply that a failed call got; Disconnected if the call failed on our side."""
    if isinstance(failure, sd.SdBusUnmappedMessageError):
        name, text = failure.args
        return ErrorReply(name, text)
    return ErrorReply(f"{STANDARD_ERROR_PREFIX}.Disconnected", str(failure))


class Bus:
    """One connection, for serving and for calling.

    Between two connections, signals and replies would have no order.
    """

    def __init__(self, connection: sd.SdBus) -> None:
        self._connection = connection
        self._pump: Pump | None = None
        self._is_flush_due = False
        self._kept: list[object] = []  # python-sdbus holds exports and matches weakly
        connection.method_call_timeout_usec = NO_TIMEOUT

    @classmethod
    async def open(cls, where: str) -> "Bus":
        """Connect to "system", "session" or an address. Raises BusUnavailable after 5 s at most."""
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
        """Drive input and output by a Pump where possible, otherwise leave it to python-sdbus."""
        self._pump = Pump.attach(self._connection)
        if self._pump is None:
            log.warning(
                f"python-sdbus is not the expected {KNOWN_VERSION}: "
                "floods of calls can delay other callers"
            )

    # Calling.

    def call(
        self, to: str, path: str, interface: str, member: str, signature: str = "", *args: Any
    ) -> asyncio.Future[Message]:
        """Send a call; the reply. Keep the future: a call whose future is dropped is cancelled.

        The future fails with an exception that `error_of` translates.
        """
        message = self._connection.new_method_call_message(to, path, interface, member)
        if signature:
            message.append_data(signature, *args)
        try:
            reply = self._connection.call_async(message)
            self._sent()
            return reply
        except sd.SdBusLibraryError as failure:  # the connection is closed
            lost: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
            lost.set_exception(failure)
            return lost

    async def driver(self, member: str, signature: str = "", *args: Any) -> Any:
        """Call the bus driver; its only result, or None. Raises ErrorReply."""
        try:
            reply = await self.call(DRIVER, DRIVER_PATH, DRIVER, member, signature, *args)
            return reply.get_contents()
        except sd.SdBusBaseError as failure:
            raise error_of(failure) from None

    async def watch(
        self,
        sender: str | None,
        path: str | None,
        interface: str | None,
        member: str | None,
        on_signal: Callable[[Message], None],
    ) -> None:
        """Call `on_signal` with each matching signal, in order. Raises ErrorReply.

        `on_signal` has to check the sender: anybody can forge a signal that is sent to us alone
        (docs/sdbus.md, Matching signals).
        """
        match = self._connection.match_signal_async
        try:
            self._kept.append(await match(sender, path, interface, member, on_signal))
        except sd.SdBusBaseError as failure:
            raise error_of(failure) from None

    async def watch_disconnect(self, on_disconnect: Callable[[], None]) -> None:
        """Call `on_disconnect` when the bus has closed the connection."""

        def on_signal(message: Message) -> None:
            if message.sender == LOCAL_INTERFACE and message.interface == LOCAL_INTERFACE:
                on_disconnect()

        # A match that also names the local sender is never installed (docs/sdbus.md, The bus dies).
        await self.watch(None, None, None, "Disconnected", on_signal)

    # Serving.

    def serve(self, path: str, interface: Interface) -> Served:
        """Export the members at `path`, for as long as the returned object is kept.

        Methods carry the unprivileged flag, since others than sd-bus decide who may call them.
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
                self._if_wanted(interface.name, m) if m.reads_only else m.answer,
            )
        for p in interface.properties:
            table.add_property(p.name, p.signature, _getter(p), _setter(p), _property_flags(p))
            if p.check is not None and self._pump is not None:
                self._pump.check_writes(path, interface.name, p.name, p.check)
        for s in interface.signals:
            table.add_signal(s.name, s.signature, s.arguments, 0)
        self._connection.add_interface(table, path, interface.name)
        return table

    def _if_wanted(self, interface: str, method: Method) -> Callable[[Message], None]:
        """Answer calls of a method that only reads; drop those that want no reply.

        From the first of these on the pump drops them, at a fraction of the cost. Its rule costs
        every other call a little as well, so that it is not there before.
        """

        def called(message: Message) -> None:
            if message.expect_reply:
                method.answer(message)
            elif self._pump is not None:
                # Not in a callback of sd-bus, since it sends a call.
                asyncio.get_running_loop().call_soon(
                    self._pump.drop_unwanted, interface, method.name
                )

        return called

    def manage(self, path: str) -> None:
        """Export an ObjectManager at `path` for all objects below it."""
        self._kept.append(self._connection.add_object_manager(path))

    def appear(self, path: str, interface: Interface) -> Served:
        """`serve` an object below a managed path and emit InterfacesAdded."""
        served = self.serve(path, interface)
        with suppress(sd.SdBusLibraryError):
            self._connection.emit_object_added(path)
            self._sent()
        return served

    def disappear(self, path: str, served: Served) -> None:
        """Emit InterfacesRemoved and stop serving the object. Calls in flight are answered."""
        with suppress(sd.SdBusLibraryError):
            self._connection.emit_object_removed(path)
            self._sent()
        served._stop_export()  # noqa: SLF001 - the classes of python-sdbus do so; it is not public

    def send(self, message: Message) -> None:
        """Send a reply or a signal. A no-op once the bus is gone (see `watch_disconnect`)."""
        with suppress(sd.SdBusLibraryError):
            message.send()
            self._sent()

    def _sent(self) -> None:
        """Have output that did not fit into the socket sent as soon as it fits."""
        if self._pump is not None:
            self._pump.update_watchers()
        elif not self._is_flush_due:
            # Only `process` has the loop watch for output, and it must not run in its callbacks.
            self._is_flush_due = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        self._is_flush_due = False
        with suppress(sd.SdBusLibraryError):
            self._connection.process()

    def emit(self, path: str, interface: str, member: str, signature: str, *args: Any) -> None:
        """Send a signal, in order with the replies and signals that we send."""
        message = self._connection.new_signal_message(path, interface, member)
        message.append_data(signature, *args)
        self.send(message)

    def emit_changed(self, path: str, interface: str, changed: dict[str, tuple[str, Any]]) -> None:
        """Send one PropertiesChanged. `changed`: property name to (signature, value)."""
        self.emit(path, PROPERTIES, "PropertiesChanged", "sa{sv}as", interface, changed, [])

    async def own(self, name: str) -> None:
        """Acquire a well-known name. Raises NameTaken."""
        try:
            await self._connection.request_name_async(name, 0)
        except sd.SdBusRequestNameExistsError:
            raise NameTaken(f"the bus name {name} belongs to another process") from None
        except (sd.SdBusBaseError, OSError) as failure:
            raise NameTaken(
                f"the bus does not give us the name {name}: {error_of(failure)}"
            ) from failure

    async def release(self, name: str) -> None:
        """Release the name, so that no new calls arrive. Raises ErrorReply."""
        await self.driver("ReleaseName", "s", name)

    def close(self) -> None:
        """Close the connection. What the bus has not read from us yet is lost."""
        if self._pump is not None:
            self._pump.detach()
        self._connection.close()


def _reason(failure: Exception) -> str:
    """python-sdbus gives an errno only at the end of a text about its own source files."""
    number = re.search(r"error number: (\d+)$", str(failure))
    return os.strerror(int(number[1])) if number else str(failure)


def _getter(served: Property) -> Callable[[Message], None]:
    return lambda message: message.append_data(served.signature, served.read())


def _setter(served: Property) -> Callable[[Message], None] | None:
    write, check = served.write, served.check

    def set_value(message: Message) -> None:
        value: Any = message.get_contents()
        sender = message.sender or ""
        if check is not None and check(value, sender, True) is not None:
            raise PropertyRefused
        if write is not None:
            write(value, sender)

    return None if write is None else set_value


def _property_flags(served: Property) -> int:
    # Without the unprivileged flag: sd-bus lets root and our own user alone write, on any bus.
    if served.constant:
        return int(sd.DbusPropertyConstFlag)
    return 0 if served.silent else int(sd.DbusPropertyEmitsChangeFlag)


def path_of(prefix: str, name: str) -> str:
    """The object path `prefix`/`name`, with any name escaped as by sd_bus_path_encode(3)."""
    return str(sd.encode_object_path(prefix, name))


@contextmanager
def _bus_address(where: str) -> Iterator[Callable[[], sd.SdBus]]:
    """The function that opens `where`. python-sdbus takes an address only from the environment."""
    if where == "system":
        yield sd.sd_bus_open_system
        return
    if where == "session":
        yield sd.sd_bus_open_user
        return
    # Not as a session bus, on which sd-bus trusts everybody.
    variable = "DBUS_SYSTEM_BUS_ADDRESS"
    before = os.environ.get(variable)
    os.environ[variable] = where
    try:
        yield sd.sd_bus_open_system
    finally:
        if before is None:
            del os.environ[variable]
        else:
            os.environ[variable] = before
